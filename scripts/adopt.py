#!/usr/bin/env python3
"""Fill the ids into the file of `pulumi preview --import-file`, for what is in the cloud and not in the state.

The file is written anew without what does not exist: `pulumi import --file` takes it, `pulumi up` makes the rest.
Prints the file. See docs/recovery.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

try:
    from tunestack import cli
    from tunestack.errors import GateSaidNo, UsageError
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}. In the checkout run: make setup && source .venv/bin/activate")


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    flags.add_argument("--file", required=True, type=Path, metavar="FILE", help="what --import-file wrote")
    flags.add_argument("--stack", required=True, metavar="NAME", help="the stack, as the tags in the cloud name it")
    flags.add_argument("--subscription", metavar="ID", help="else AZURE_SUBSCRIPTION_ID, or the stack's")
    flags.add_argument("--outputs", type=Path, metavar="FILE", help="stack outputs as JSON, to know the subscription")
    flags.dry_run_flag()
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    from tunestack import connect
    from tunestack.arm import Arm
    from tunestack.stacks.adoption import Adoption

    try:
        content = json.loads(options.file.read_text())
        entries = content["resources"]
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"'{options.file}' is not an import file: it has no resources as JSON",
            fix=f"Write it with: pulumi preview --import-file {options.file}",
        ) from error
    adopted = Adoption(Arm(connect.credential()), connect.subscription(options), options.stack).fill_in(content)
    for name in adopted.absent:
        cli.note(f"'{name}' is not in the cloud: `pulumi up` makes it")
    if adopted.unclear:
        raise GateSaidNo(
            *(f"'{name}' is in the cloud more than once" for name in adopted.unclear),
            fix="Delete the one that nothing uses, then run it again",
        )
    if not options.dry_run:
        options.file.write_text(json.dumps(adopted.content, indent=4) + "\n")
    cli.note(f"{len(adopted.found)} of {len(entries)} entries are in the cloud and can be imported")
    return cli.Result(str(options.file), {"found": adopted.found, "absent": adopted.absent})


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
