#!/usr/bin/env python3
"""Register a finished job's model, with lineage and signed evidence, if the gate let it pass. Prints name:version.

With --finished, every fine-tune that passed and has no model yet; the others are said and left alone.
"""

from __future__ import annotations

import argparse
import sys

try:
    from tunestack import cli
    from tunestack.errors import UsageError
    from tunestack.models import signers
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}. In the checkout run: make setup && source .venv/bin/activate")


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    which = flags.add_mutually_exclusive_group(required=True)
    which.add_argument("--job", metavar="NAME", help="the job that submit_finetune printed")
    which.add_argument("--finished", action="store_true", help="all finished fine-tunes without a model")
    flags.add_argument("--name", metavar="NAME", help="the model's name (else BASE-DATASET)")
    flags.add_argument("--force", action="store_true", help="register what did not pass; needs --why")
    flags.add_argument("--why", metavar="TEXT", help="why it is forced; recorded on the model, with your identity")
    signers.add_signing_flags(flags)
    flags.dry_run_flag()
    flags.workspace_flags()
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    why = (options.why or "").strip()
    if options.force != bool(why):
        raise UsageError("--force and --why are needed together", fix="Say why with --force --why TEXT")
    if options.finished and (options.name or options.force):
        raise UsageError("--finished takes neither --name nor --force: these are for one model", fix="Give --job")
    from tunestack import connect
    from tunestack.models import nightly, registration

    connection = connect.connect(options)
    production = connection.workspace.is_production
    if options.finished:
        models = nightly.register(
            connection, None if options.dry_run else signers.signer(options, production=production)
        )
        if not models:
            cli.note("nothing to register")
        handles = "\n".join(found.handle for found in models)
        return cli.Result(handles, {"models": [found.record for found in models]})
    planned = registration.plan(connection, options.job, options.name or "")
    handle = planned[0].handle
    there = registration.find(connection, planned[0])
    if there:
        cli.note(f"model '{handle}' is registered already")
        return cli.Result(handle, there.record)
    found = registration.judge(connection, planned, why)
    if options.dry_run:
        cli.note(f"would register '{found.path}' as {handle}")
    else:
        registration.register(connection, found, signers.signer(options, production=production))
        cli.note(f"registered '{found.path}' as {handle}")
    return cli.Result(handle, found.record)


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
