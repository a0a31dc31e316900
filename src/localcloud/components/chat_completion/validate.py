"""Step 1: tells the next step that the inputs were looked at.

The published step writes one line and checks nothing; types, enums and minima are checked when the job is submitted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from localcloud.components.chat_completion.program import run, say


def validate(validation_info: Path) -> None:
    """Write the file that orders this step before the import."""
    validation_info.parent.mkdir(parents=True, exist_ok=True)
    validation_info.write_text("Validation Completed\n")
    say("Validation Completed")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="validate", description=__doc__, allow_abbrev=False)
    parser.add_argument("--validation_info", type=Path, required=True, help="the file to write")
    found, _ = parser.parse_known_args(argv)
    return run(lambda: validate(found.validation_info))


if __name__ == "__main__":
    sys.exit(main())
