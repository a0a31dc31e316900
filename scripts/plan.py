#!/usr/bin/env python3
"""Plan a stack: what `pulumi up` would change, what the policies say, and what it costs. Changes nothing.

Prints the count of changes. A refused plan, or one over the budget, ends with 5.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

try:
    from tunestack import cli
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}. In the checkout run: make setup && source .venv/bin/activate")


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    flags.add_argument("--stack", required=True, metavar="NAME", help="the stack to plan")
    flags.add_argument("--markdown", action="store_true", help="print the whole page instead of the count")
    flags.add_argument("--output", type=Path, metavar="FILE", help="write the page here as well, also a refused one")
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    from tunestack.stacks import plan

    found = plan.make(options.stack)
    page = found.markdown()
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(page)
    else:
        cli.note(page)
    plan.refuse(found)
    return cli.Result(page if options.markdown else found.summary, found.record)


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
