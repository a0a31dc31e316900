#!/usr/bin/env python3
"""Deploy a model to a slot of the endpoint, with no traffic, or delete slots. Prints the slot.

Machine, count, probes and time limits stand in pipelines/serve/BASE-MODEL.yml.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tunestack import cli
from tunestack.errors import UsageError

SERVE = Path(__file__).parent.parent / "pipelines" / "serve"


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    flags.add_argument("--model", metavar="MODEL", help="name:version, or azureml://registries/… for a base model")
    flags.add_argument("--slot", metavar="SLOT", help="the deployment's name, e.g. blue")
    flags.add_argument("--deployment", type=Path, metavar="FILE", help="settings (else pipelines/serve/BASE-MODEL.yml)")
    flags.add_argument("--delete", action="append", default=[], metavar="SLOT", help="delete this one (repeatable)")
    flags.endpoint_flag()
    flags.dry_run_flag()
    flags.waiting_flags()
    flags.workspace_flags()
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    if bool(options.delete) == bool(options.model or options.slot):
        raise UsageError("either --model and --slot, or --delete", fix="See deploy_model.py --help")
    if not options.delete and not (options.model and options.slot):
        raise UsageError("--model and --slot are needed together")
    from tunestack import connect, deployment, deployment_settings, retirement
    from tunestack.endpoint import Endpoint

    connection = connect.connect(options)
    endpoint = Endpoint(connection)
    if options.delete:
        gone = retirement.delete(endpoint, options.delete, dry_run=options.dry_run)
        return cli.Result(" ".join(options.delete), {"endpoint": endpoint.name, "deleted": gone})
    slot = deployment_settings.slot_name(options.slot)
    endpoint.body()
    model = deployment.served(connection, options.model)
    file = options.deployment or deployment_settings.for_base(SERVE, model.base.name if model.base else "")
    wanted = deployment.Wanted(slot, model, deployment_settings.read(file))
    found = endpoint.deployment(slot)
    deployment.refuse_live(endpoint, found, wanted)
    if found and deployment.same(found, wanted) and found.state == "Succeeded":
        cli.note(f"deployment '{slot}' serves '{model.id}' already")
        return cli.Result(slot, wanted.record)
    under_way = found is not None and found.is_pending
    if not under_way:
        deployment.check_size(connection, wanted)
    if options.dry_run:
        cli.note(f"would deploy '{model.id}' to '{slot}' of '{endpoint.name}' on '{wanted.settings.instance_type}'")
        return cli.Result(slot, wanted.record)
    poller = None if under_way else deployment.start(connection, wanted, found)
    if not options.no_wait:
        again = f"scripts/deploy_model.py --model {options.model} --slot {slot}"
        timeout = options.timeout * 60 if options.timeout else None
        deployment.wait(connection, endpoint, slot, poller, timeout, again)
    return cli.Result(slot, wanted.record)


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
