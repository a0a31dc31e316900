#!/usr/bin/env python3
"""Register a finished job's model in the workspace, with its lineage as tags. Prints name:version."""

from __future__ import annotations

import argparse
import sys

from tunestack import cli


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    flags.add_argument("--job", required=True, metavar="NAME", help="the job that submit_finetune printed")
    flags.add_argument("--name", metavar="NAME", help="the model's name (else BASE-DATASET)")
    flags.dry_run_flag()
    flags.workspace_flags()
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    from tunestack import connect, registration

    connection = connect.connect(options)
    found = registration.plan(connection, options.job, options.name or "")
    if options.dry_run:
        cli.note(f"would register '{found.path}' as {found.handle}")
    elif registration.find(connection, found):
        cli.note(f"model '{found.handle}' is registered already")
    else:
        registration.register(connection, found)
        cli.note(f"registered '{found.path}' as {found.handle}")
    return cli.Result(found.handle, found.record)


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
