"""Set-up of the engine: `python -m localcloud.engine [--modules tools/pulumi]` prints the path of a `pulumi` that fits.

Builds it if there is none; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from localcloud.engine.build import find_or_build
from localcloud.engine.find import EngineError


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m localcloud.engine", description="Find a Pulumi engine that fits, or build it; print its path."
    )
    parser.add_argument(
        "--modules",
        type=Path,
        metavar="FOLDER",
        help="go.mod and go.sum to build from (in this repository: tools/pulumi)",
    )
    arguments = parser.parse_args()
    try:
        engine = find_or_build(arguments.modules)
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("\ninterrupted; nothing half-built is left", file=sys.stderr)
        return 130
    print(engine.path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
