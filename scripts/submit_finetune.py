#!/usr/bin/env python3
"""Fine-tune: preflight, then a recipe's pipeline with prepared data and the gate behind it; watch it to its verdict.

Prints the job's name. The same recipe and data find the job that is there; --again makes a new one. When preflight or
the gate says no it ends with 5.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

try:
    from tunestack import cli
    from tunestack.errors import UsageError
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}. In the checkout run: make setup && source .venv/bin/activate")

PIPELINES = Path(__file__).parent.parent / "pipelines"


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    flags.recipe_flags("the recipe to run")
    flags.add_argument("--data", type=Path, metavar="FOLDER", help="the folder that prepare_data printed")
    flags.add_argument("--deployment", type=Path, metavar="FILE", help="settings that preflight checks serving with")
    flags.add_argument("--again", action="store_true", help="make a new job although this run has one")
    flags.add_argument("--attach", metavar="JOB", help="only watch this job")
    flags.add_argument("--evaluate", metavar="JOB", help="gate this finished job anew, without training again")
    flags.add_argument("--cancel", metavar="JOB", help="cancel this job and say what it has cost")
    flags.add_argument("--cpu-cluster", metavar="NAME", help="cluster of the role cpu (else the stack's)")
    flags.add_argument("--gpu-cluster", metavar="NAME", help="cluster of the role gpu (else the stack's)")
    flags.acceptance_flags()
    flags.dry_run_flag()
    flags.waiting_flags()
    flags.add_argument(
        "--queue-timeout", type=cli.positive, metavar="MINUTES", help="stop waiting when it queues for so long (code 4)"
    )
    flags.workspace_flags()
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    _check(options)
    from tunestack import connect
    from tunestack.data import data_folder
    from tunestack.jobs import cancelling, evaluation_job, submission
    from tunestack.recipes import recipe

    places = submission.Places(PIPELINES / "evaluate", PIPELINES / "serve")
    if options.evaluate:
        return evaluation_job.run(options, places)
    if options.attach:
        return submission.attach(connect.connect(options), options)
    if options.cancel:
        return cancelling.run(connect.connect(options), options)
    found = recipe.read(options.recipe, options.settings)
    data = data_folder.read(options.data)
    return submission.run(connect.connect(options), found, data, places, options)


def _check(options: argparse.Namespace) -> None:
    """Flags that go together, and flags that do not."""
    alone = [flag for flag in ("attach", "evaluate", "cancel") if getattr(options, flag)]
    if len(alone) > 1:
        raise UsageError(f"{' and '.join(f'--{flag}' for flag in alone)} were given together", fix="Give one of them")
    if not alone and not (options.recipe and options.data):
        raise UsageError("--recipe and --data are needed, or --attach, --evaluate or --cancel with a job")
    if not alone:
        return
    making = {"--deployment": options.deployment, "--accept": options.accept, "--why": options.why}
    if alone != ["evaluate"]:
        making = {"--recipe": options.recipe, "--data": options.data, "--set": options.settings, **making}
        making |= {"--again": options.again, "--dry-run": options.dry_run}
    extra = [flag for flag, value in making.items() if value]
    if extra:
        raise UsageError(f"--{alone[0]} takes a job that is there, and {', '.join(extra)} is for a new one")


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
