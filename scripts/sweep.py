#!/usr/bin/env python3
"""List what of the stack is left in the subscription, asking every API that could know. Works after the stack is gone.

Prints "nothing left" and ends with 0, or ends with 5. What Azure retains after a delete, at no cost, is shown as well.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

try:
    from tunestack import cli
    from tunestack.errors import GateSaidNo, UsageError
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}. In the checkout run: make setup && source .venv/bin/activate")


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    flags.add_argument("--subscription", metavar="ID", help="else AZURE_SUBSCRIPTION_ID, or the stack's")
    flags.add_argument("--stack", metavar="NAME", help="only what this stack made (else all of tunestack's)")
    flags.add_argument("--everything", action="store_true", help="whatever is there, ours or not")
    flags.add_argument("--purge", action="store_true", help="give up for good what is soft-deleted or orphaned")
    flags.add_argument("--expired", action="store_true", help="only deployments whose lease is over: warn, then delete")
    flags.add_argument("--grace", metavar="TIME", help="with --expired: how long after the warning (30m)")
    flags.add_argument("--outputs", type=Path, metavar="FILE", help="stack outputs as JSON, to know the subscription")
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    if options.expired and (options.purge or options.everything):
        raise UsageError("--expired is about our own deployments and goes with neither --purge nor --everything")
    if options.grace and not options.expired:
        raise UsageError("--grace was given without --expired", fix="Give both")
    from tunestack import connect, tables
    from tunestack.arm import Arm
    from tunestack.stacks import leftovers

    subscription = connect.subscription(options)
    tags = {} if options.everything else {"project": "tunestack"} | ({"stack": options.stack} if options.stack else {})
    cli.note(f"subscription '{subscription}', " + (f"tags {tags}" if tags else "everything in it"))
    if options.expired:
        from tunestack.deployments import expiry

        return expiry.run(Arm(connect.credential()), subscription, tags, options.grace or "30m")
    credential = connect.credential()
    graph = Arm(credential, "https://graph.microsoft.com/.default")
    sweep = leftovers.Sweep(Arm(credential), subscription, tags, graph)
    asked = sweep.ask()
    leftovers.tell(asked)
    found = [one for answer in asked for one in answer.found]
    tables.show("left", ("kind", "name", "remove it with"), [(one.kind, one.name, one.remedy) for one in found])
    if options.purge:
        found = [one for one in found if not sweep.purged(one)]
    left = [one for one in found if not one.is_retained]
    refused = [f"'{answer.api}' could not be asked: {answer.refusal}" for answer in asked if answer.refusal]
    if left or refused:
        named = f"{len(left)} things are left: {', '.join(one.name for one in left)}"
        raise GateSaidNo(*([named] if left else []), *refused)
    return cli.Result("nothing left", {"subscription": subscription, "retained": [one.name for one in found]})


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
