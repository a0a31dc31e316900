#!/usr/bin/env python3
"""Register a finished job's model in the workspace, with its lineage as tags. Prints name:version.

With --finished, every fine-tune that ended well and has no model yet; what failed is said and left alone.
"""

from __future__ import annotations

import argparse
import sys

from tunestack import cli
from tunestack.errors import UsageError


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    which = flags.add_mutually_exclusive_group(required=True)
    which.add_argument("--job", metavar="NAME", help="the job that submit_finetune printed")
    which.add_argument("--finished", action="store_true", help="all finished fine-tunes without a model")
    flags.add_argument("--name", metavar="NAME", help="the model's name (else BASE-DATASET)")
    flags.dry_run_flag()
    flags.workspace_flags()
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    from tunestack import connect, registration

    if options.finished and options.name:
        raise UsageError("--name names one model, and --finished may register several", fix="Give --job with it")
    connection = connect.connect(options)
    jobs = registration.finished(connection) if options.finished else [options.job]
    models = []
    for job in jobs:
        found = registration.plan(connection, job, options.name or "")
        if registration.find(connection, found):
            cli.note(f"model '{found.handle}' is registered already")
            if options.finished:
                continue
        elif options.dry_run:
            cli.note(f"would register '{found.path}' as {found.handle}")
        else:
            registration.register(connection, found)
            cli.note(f"registered '{found.path}' as {found.handle}")
        models.append(found)
    if not options.finished:
        return cli.Result(models[0].handle, models[0].record)
    handles = "\n".join(found.handle for found in models)
    return cli.Result(handles or "nothing to register", {"models": [found.record for found in models]})


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
