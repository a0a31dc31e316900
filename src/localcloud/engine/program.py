"""Runs one Pulumi program: `python program.py SETTINGS_JSON PROGRAM [ARGUMENT...]`.

The language host starts this file with the project's own Python, so it uses the standard library and that Python's
`pulumi` only. An error of the program is told to the engine here, once; the exit status says that it was.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

REPORTED = 32
WITHOUT_PULUMI = 33


def main() -> int:
    settings, program = json.loads(sys.argv[1]), sys.argv[2]
    # this file's folder must not shadow modules of the program
    sys.path[0] = program if os.path.isdir(program) else os.path.dirname(program)
    sys.argv = sys.argv[2:]
    try:
        import pulumi  # noqa: F401
    except ImportError:
        return WITHOUT_PULUMI
    return run(settings, program)


def run(settings: dict[str, Any], program: str) -> int:
    """Runs the program to its end and tells the engine what went wrong; the exit status."""
    import asyncio
    import logging
    import runpy
    from concurrent.futures import ThreadPoolExecutor

    import pulumi

    # futures that a failed program leaves behind are not its user's business
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    runtime = pulumi.runtime
    runtime.set_all_config(runtime.get_config_env(), runtime.get_config_secret_keys_env())
    runtime.configure(runtime.Settings(**settings))
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    executor = ThreadPoolExecutor(max_workers=max(settings["parallel"] or 1, 1) * 4)
    loop.set_default_executor(executor)

    def execute() -> None:
        runpy.run_path(program, run_name="__main__")

    try:
        loop.run_until_complete(runtime.run_in_stack(execute))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return REPORTED
    except SystemExit as ended:
        if ended.code in (None, 0):
            return 0
        said = ended.code if isinstance(ended.code, str) else f"the program ended with exit status {ended.code}"
        pulumi.log.error(said)
        return REPORTED
    except Exception as error:
        pulumi.log.error("Program failed with an unhandled exception:\n" + traceback_of(error, program))
        return REPORTED
    finally:
        executor.shutdown(wait=True)
        loop.close()
    return 0


def traceback_of(error: Exception, program: str) -> str:
    """The traceback from the program's own first line on, without the frames that started it."""
    import traceback

    main_file = os.path.join(program, "__main__.py") if os.path.isdir(program) else program
    frames = traceback.extract_tb(error.__traceback__)
    first = next((at for at, frame in enumerate(frames) if os.path.abspath(frame.filename) == main_file), None)
    if first is None and isinstance(error, SyntaxError):
        return "".join(traceback.format_exception_only(type(error), error))
    limit = None if first is None else first - len(frames)
    return "".join(traceback.format_exception(type(error), error, error.__traceback__, limit=limit))


if __name__ == "__main__":
    sys.exit(main())
