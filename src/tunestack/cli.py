"""The one front door of the scripts: flags they share, errors as one line, and stdout kept for the handle.

Nothing heavy is imported here, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tunestack.errors import GateSaidNo, Interrupted, TunestackError, UsageError, did_you_mean


@dataclass(frozen=True)
class Result:
    """What a script hands on: the one line for the next script, and the full record for `--json`."""

    handle: str
    record: dict[str, Any] = field(default_factory=dict)


Run = Callable[[argparse.Namespace], Result]


class Parser(argparse.ArgumentParser):
    """Argparse whose complaints look like every other error here."""

    def __init__(self, description: str | None) -> None:
        super().__init__(description=description, allow_abbrev=False)
        self.add_argument("--json", action="store_true", help="print the full record instead of the handle")
        self.add_argument("--debug", action="store_true", help="show tracebacks and the requests sent")

    def error(self, message: str) -> NoReturn:
        _, unknown, given = message.partition("unrecognized arguments: ")
        if unknown:
            message = f"unknown argument '{given}'{did_you_mean(given.split()[0], self._option_string_actions)}"
        raise UsageError(message, fix=f"See {self.prog} --help")

    def workspace_flags(self) -> None:
        """Where the workspace is: flags, else the stack's outputs, else config.json."""
        group = self.add_argument_group("workspace")
        group.add_argument("--outputs", type=Path, metavar="FILE", help="stack outputs as JSON (else the stack itself)")
        group.add_argument("--subscription", metavar="ID", help="subscription, when there is no stack")
        group.add_argument("--resource-group", metavar="NAME", help="its resource group")
        group.add_argument("--workspace-name", metavar="NAME", help="its workspace")

    def recipe_flags(self, text: str, *, required: bool = False) -> None:
        """Which recipe, and single values of it: `recipe.read(options.recipe, options.settings)`."""
        self.add_argument("--recipe", type=Path, metavar="FILE", required=required, help=text)
        self.add_argument(
            "--set",
            dest="settings",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="one value of the recipe, such as training.learning_rate=1e-5 (repeatable)",
        )

    def endpoint_flag(self) -> None:
        self.add_argument("--endpoint", metavar="NAME", help="online endpoint (else the stack's)")

    def waiting_flags(self) -> None:
        self.add_argument("--no-wait", action="store_true", help="return as soon as it is started")
        self.add_argument("--timeout", type=positive, metavar="MINUTES", help="stop waiting after so long (code 4)")

    def acceptance_flags(self) -> None:
        """To take on what preflight says no to; both are needed."""
        self.add_argument(
            "--accept",
            action="append",
            default=[],
            metavar="CHECK",
            help="go on despite this check; needs --why (repeatable)",
        )
        self.add_argument("--why", metavar="TEXT", help="why it is accepted; recorded on the job")

    def dry_run_flag(self) -> None:
        self.add_argument("--dry-run", action="store_true", help="print what would be sent, send nothing")


def words(options: argparse.Namespace, *names: str) -> list[str]:
    """Flags as they were given, for a command that is shown for later; those that were not are left out."""
    given = [(f"--{name.replace('_', '-')}", getattr(options, name, None)) for name in names]
    return [word for flag, value in given if value for word in ((flag,) if value is True else (flag, str(value)))]


def workspace_words(options: argparse.Namespace) -> list[str]:
    """The workspace flags as they were given: a command that is shown for later has to find the same workspace."""
    return words(options, "outputs", "subscription", "resource_group", "workspace_name")


def positive(text: str) -> float:
    """A flag's value above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above zero")
    return value


def count(text: str) -> int:
    """A flag's whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above zero")
    return int(text)


def percent(text: str) -> float:
    """A flag's value above 0 and up to 100."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"'{text}' is not a percentage above 0 and up to 100")
    return value


def whole_percent(text: str) -> int:
    """A flag's value from 1 to 100, whole, as traffic weights are."""
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole percentage from 1 to 100")
    return int(text)


def note(text: str) -> None:
    """One line of progress, on stderr: stdout belongs to the handle."""
    print(text, file=sys.stderr, flush=True)


def main(parser: Parser, run: Run, argv: Sequence[str] | None = None) -> int:
    """Parse, run, print the handle. Returns the exit code; every error is one `error:` line per problem."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    stdout = sys.stdout
    try:
        options = parser.parse_args(arguments)
        if argv is None:
            _quieten(debug)
        with redirect_stdout(sys.stderr):  # the SDK prints dots and links; none may reach the next program
            result = run(options)
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            import traceback

            traceback.print_exc()
        if isinstance(error, GateSaidNo) and error.shown:
            print(error.shown, file=stdout, flush=True)
        return _report(error)
    text = _record(result) if options.json else result.handle
    if text:  # an empty line would be a handle to `while read`
        print(text, file=stdout, flush=True)
    return 0


def _record(result: Result) -> str:
    import json
    from datetime import datetime

    def text(value: object) -> str:
        return value.isoformat() if isinstance(value, datetime) else str(value)

    return json.dumps(result.record, indent=2, default=text)


def _report(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        error = Interrupted("interrupted", fix="Run it again: it takes up what is there")
    if not isinstance(error, TunestackError):
        from tunestack.refusals import explain

        error = explain(error)
    for line in error.details:
        note(f"  | {line}")
    for problem in error.problems:
        note(f"error: {problem}" + (error.advice if problem is error.problems[-1] else ""))
    return error.code


def _quieten(debug: bool) -> None:
    import logging

    if debug:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
        return
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    os.environ.setdefault("AZURE_EXTENSION_DISABLE_TELEMETRY", "true")
