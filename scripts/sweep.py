#!/usr/bin/env python3
"""List what of the stack is left in the subscription, asking every API that could know. Nothing is changed.

Prints "nothing left" and ends with 0, or ends with 5. Works after the stack is gone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tunestack import cli
from tunestack.errors import GateSaidNo


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    flags.add_argument("--subscription", metavar="ID", help="else AZURE_SUBSCRIPTION_ID, or the stack's")
    flags.add_argument("--stack", metavar="NAME", help="only what this stack made (else all of tunestack's)")
    flags.add_argument("--everything", action="store_true", help="whatever is there, ours or not")
    flags.add_argument("--outputs", type=Path, metavar="FILE", help="stack outputs as JSON, to know the subscription")
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    from tunestack import connect, leftovers, tables
    from tunestack.arm import Arm

    subscription = connect.subscription(options)
    tags = {} if options.everything else {"project": "tunestack"} | ({"stack": options.stack} if options.stack else {})
    cli.note(f"subscription '{subscription}', " + (f"tags {tags}" if tags else "everything in it"))
    asked = leftovers.Sweep(Arm(connect.credential()), subscription, tags).ask()
    leftovers.tell(asked)
    found = [one for answer in asked for one in answer.found]
    tables.show("left", ("kind", "name", "remove it with"), [(one.kind, one.name, one.remedy) for one in found])
    refused = [f"'{answer.api}' could not be asked: {answer.refusal}" for answer in asked if answer.refusal]
    if found or refused:
        left = [f"{len(found)} things are left: {', '.join(one.name for one in found)}"] if found else []
        raise GateSaidNo(*left, *refused)
    return cli.Result("nothing left", {"subscription": subscription, "asked": [one.api for one in asked], "left": []})


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
