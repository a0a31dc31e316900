#!/usr/bin/env python3
"""Fine-tune: submit a recipe's pipeline with prepared data, watch it, and show its metrics.

Prints the job's name. The same recipe and data find the job that is there; --again makes a new one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tunestack import cli
from tunestack.errors import UsageError


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    flags.add_argument("--recipe", type=Path, metavar="FILE", help="the recipe to run")
    flags.add_argument("--data", type=Path, metavar="FOLDER", help="the folder that prepare_data printed")
    flags.add_argument("--again", action="store_true", help="make a new job although this run has one")
    flags.add_argument("--attach", metavar="JOB", help="only watch this job")
    flags.add_argument("--accept-archived", action="store_true", help="start from an archived base model all the same")
    flags.add_argument("--cpu-cluster", metavar="NAME", help="cluster of the role cpu (else the stack's)")
    flags.add_argument("--gpu-cluster", metavar="NAME", help="cluster of the role gpu (else the stack's)")
    flags.dry_run_flag()
    flags.waiting_flags()
    flags.workspace_flags()
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    if not options.attach and not (options.recipe and options.data):
        raise UsageError("--recipe and --data are needed, or --attach alone")
    from tunestack import connect, data_folder, finetune, job_report, recipe
    from tunestack.run_history import RunHistory

    if options.attach:
        connection = connect.connect(options)
        return job_report.watch(RunHistory(connection), options.attach, options)
    found = recipe.read(options.recipe)
    data = data_folder.read(options.data)
    finetune.check_sources(found, data)
    connection = connect.connect(options)
    history = RunHistory(connection)
    job = None if options.again else finetune.existing(found, data, history)
    if job is None:
        plan = finetune.plan(connection, found, data, accept_archived=options.accept_archived, again=options.again)
        job_report.show_plan(plan)
        if options.dry_run:
            return cli.Result(plan.name, plan.record)
        if history.job(plan.name) is None:
            finetune.submit(connection, plan, options.data)
        name = plan.name
    else:
        name = job["name"]
        cli.note(f"job '{name}' runs or ran this very recipe and data; --again makes a new one")
    if options.no_wait or options.dry_run:
        return cli.Result(name, {"job": name})
    return job_report.watch(history, name, options)


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
