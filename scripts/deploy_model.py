#!/usr/bin/env python3
"""Deploy a model to a slot of the endpoint, with no traffic; bring an expired slot back; delete slots. Prints the slot.

A model's signed evidence is checked before anything is made. Machine, count, autoscale, probes and time limits stand in
pipelines/serve/BASE-MODEL.yml. A deployment costs until its lease ends; deploying the same again extends the lease.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from pathlib import Path

try:
    from tunestack import cli
    from tunestack.errors import UsageError
    from tunestack.models import signers
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}. In the checkout run: make setup && source .venv/bin/activate")

SERVE = Path(__file__).parent.parent / "pipelines" / "serve"
AS_GIVEN = (
    *("endpoint", "model", "slot", "restore", "lease", "deployment"),
    *("public_key", "signer", "issuer", "unsigned", "why"),
)


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    flags.add_argument("--model", metavar="MODEL", help="name:version, or azureml://registries/… for a base model")
    flags.add_argument("--slot", metavar="SLOT", help="the deployment's name, e.g. blue")
    flags.add_argument(
        "--lease", metavar="TIME", help="how long it may live: 8h, 3d, never (else the stack's leaseCap)"
    )
    flags.add_argument("--deployment", type=Path, metavar="FILE", help="settings (else pipelines/serve/BASE-MODEL.yml)")
    flags.add_argument("--restore", metavar="SLOT", help="bring back this slot, whose lease was over")
    flags.add_argument("--delete", action="append", default=[], metavar="SLOT", help="delete this slot (repeatable)")
    signers.add_trust_flags(flags, may_be_unsigned=True)
    flags.endpoint_flag()
    flags.dry_run_flag()
    flags.waiting_flags()
    flags.workspace_flags()
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    named = (bool(options.model), bool(options.slot))
    if sum((bool(options.delete), bool(options.restore), any(named))) != 1:
        raise UsageError("either --model and --slot, or --restore, or --delete", fix="See deploy_model.py --help")
    if any(named) and not all(named):
        raise UsageError("--model and --slot are needed together")
    from tunestack import connect
    from tunestack.deployments import deployment, deployment_settings, leases, retirement, rollout
    from tunestack.deployments.endpoint import Endpoint
    from tunestack.models import acceptance

    connection = connect.connect(options)
    endpoint = Endpoint(connection)
    if options.delete:
        gone = retirement.delete(endpoint, options.delete, dry_run=options.dry_run)
        return cli.Result(" ".join(options.delete), {"endpoint": endpoint.name, "deleted": gone})
    lease = leases.chosen(options.lease, connection.workspace.lease_cap)
    endpoint.body()
    again = shlex.join(["scripts/deploy_model.py", *cli.words(options, *AS_GIVEN), *cli.workspace_words(options)])
    waiting = rollout.Waiting(not options.no_wait, options.timeout, options.dry_run, again)

    def accept(model: str) -> dict[str, str]:
        return acceptance.of(connection, model, options)

    if options.restore:
        record = rollout.restore(connection, endpoint, options.restore, lease, waiting, accept)
        return cli.Result(options.restore, record)
    slot = deployment_settings.slot_name(options.slot)
    model = deployment.served(connection, options.model)
    file = options.deployment or deployment_settings.for_base(SERVE, model.base.name if model.base else "")
    settings = deployment_settings.read(file)
    model = dataclasses.replace(model, tags={**model.tags, **accept(model.id)})
    wanted = deployment.Wanted(slot, model, settings, lease)
    return cli.Result(slot, rollout.deploy(connection, endpoint, wanted, waiting))


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
