#!/usr/bin/env python3
"""Every check that can be made before a cent is spent: model, sizes, quota, memory, rights, names, cost.

Prints the worst verdict; the table is on stderr. An error or an unknown ends with 5, unless it is accepted.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

try:
    from tunestack import cli
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}. In the checkout run: make setup && source .venv/bin/activate")

SERVE = Path(__file__).parent.parent / "pipelines" / "serve"


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    flags.recipe_flags("the recipe to check", required=True)
    flags.add_argument(
        "--deployment", type=Path, metavar="FILE", help="how it is served (else pipelines/serve/BASE-MODEL.yml)"
    )
    flags.add_argument("--data", type=Path, metavar="FOLDER", help="the folder that prepare_data printed")
    flags.add_argument("--stack", metavar="NAME", help="whose dials to read (else the stack that is connected to)")
    flags.add_argument("--offline", action="store_true", help="ask nobody: the stack's file and the dated table")
    flags.acceptance_flags()
    flags.workspace_flags()
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    from tunestack.preflight import preflight, preflight_inputs

    accepted = preflight.accepted(options)
    report = preflight.run(preflight_inputs.subject(options, SERVE))
    preflight.show(report)
    record = report.record(accepted)
    preflight.refuse(report, accepted, shown=json.dumps(record, indent=2) if options.json else "")
    return cli.Result(report.verdict, record)


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
