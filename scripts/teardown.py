#!/usr/bin/env python3
"""Take a stack down: traffic, deployments and jobs of the scripts first, then `pulumi destroy`. Prints the stack.

Works from any state: half-built, without outputs, with deployments and running jobs. Run scripts/sweep.py after it.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

try:
    from tunestack import cli
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}. In the checkout run: make setup && source .venv/bin/activate")


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    flags.add_argument("--stack", required=True, metavar="NAME", help="the stack; it must be one of this project")
    flags.add_argument(
        "--confirm", metavar="NAME", help="the stack's name again; a production stack takes nothing less"
    )
    flags.add_argument("--yes", action="store_true", help="do not ask (a production stack still needs its name)")
    flags.add_argument("--subscription", metavar="ID", help="else the stack's, or AZURE_SUBSCRIPTION_ID")
    flags.add_argument("--outputs", type=Path, metavar="FILE", help="stack outputs as JSON (else the stack itself)")
    flags.add_argument(
        "--timeout", type=cli.positive, default=30, metavar="MINUTES", help="longest wait for one deletion (30)"
    )
    flags.dry_run_flag()
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    from tunestack import confirmation, connect
    from tunestack.arm import Arm
    from tunestack.stacks.emptying import Emptying, Patience
    from tunestack.stacks.stack_commands import StackCommands

    stack = StackCommands(options.stack)
    dials = stack.config()
    production = dials.get("production", "true") == "true"
    if not options.dry_run:
        confirmation.require(options.stack, options.confirm, production=production, yes=options.yes)
    options.subscription = options.subscription or stack.outputs().get("subscription_id")
    subscription = connect.subscription(options)
    emptying = Emptying(
        Arm(connect.credential()),
        subscription,
        options.stack,
        Patience(options.timeout * 60),
        dry_run=options.dry_run,
    )
    purge = dials.get("purgeOnTeardown") == "true"
    for workspace in emptying.workspaces():
        emptying.empty(workspace["id"])
        if purge:
            emptying.purge(workspace)
    if options.dry_run:
        cli.note(
            "would " + ("lift the protection of what is protected and " if production else "") + "run pulumi destroy"
        )
    else:
        if production:
            stack.unprotect()
        stack.destroy()
    if purge:
        emptying.purge_vaults()
    cli.note(f"now the proof that nothing is left: scripts/sweep.py --stack {options.stack}")
    return cli.Result(options.stack, {"stack": options.stack, "subscription": subscription, **asdict(emptying.done)})


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
