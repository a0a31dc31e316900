#!/usr/bin/env python3
"""Promote a model: copy it from the stack's workspace into the shared registry, with its lineage and its evidence.

The evidence must hold. Prints the id under which deploy_model of any other stack takes it. What is there already is
left as it is.
"""

from __future__ import annotations

import argparse
import sys

try:
    from tunestack import cli
    from tunestack.models import signers
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}. In the checkout run: make setup && source .venv/bin/activate")


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    flags.add_argument("--model", required=True, metavar="NAME:VERSION", help="the model that register_model printed")
    flags.add_argument("--registry", metavar="NAME", help="the shared registry (else the stack's)")
    signers.add_trust_flags(flags)
    flags.dry_run_flag()
    flags.workspace_flags()
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    from tunestack import connect
    from tunestack.models import promotion

    registry = promotion.registry_of(options)
    connection = connect.connect(options)
    found = promotion.plan(connection, options.model, registry)
    trust = signers.trust(options, production=connection.workspace.is_production)
    promotion.check(connection, options.model, trust, full=options.full)
    if options.dry_run:
        cli.note(f"would copy '{options.model}' to '{found.id}'")
    else:
        promotion.promote(connection, found)
    return cli.Result(found.id, found.record)


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
