"""Bringing back a deployment whose lease was over, as it was, with no traffic and a lease from now on."""

from __future__ import annotations

from datetime import date
from typing import Any

from tunestack import azure_facts, cli
from tunestack.connect import Connection
from tunestack.deployments import autoscale, kept, leases
from tunestack.deployments.endpoint import DEPLOYMENT_VERSION, Deployment, Endpoint
from tunestack.deployments.kept import Kept
from tunestack.errors import UsageError


def wanted(connection: Connection, endpoint: Endpoint, slot: str) -> Kept:
    """What is to be brought back, checked; UsageError where nothing is kept, or its size is gone since."""
    anew = f"Deploy it anew: scripts/deploy_model.py --model MODEL --slot {slot}"
    was = kept.latest(connection, slot)
    if was is None:
        raise UsageError(f"nothing is kept of a deployment '{slot}' of endpoint '{endpoint.name}'", fix=anew)
    problems = azure_facts.objections(was.size, None, "inference", "", date.today())
    if problems:
        raise UsageError(*problems, fix=anew)
    return was


def lacks_autoscale(connection: Connection, found: Deployment) -> bool:
    """Whether a command that was killed brought the deployment back without the setting that its tag promises."""
    return autoscale.TAG in found.tags and autoscale.find(connection, found) is None


def start(connection: Connection, endpoint: Endpoint, slot: str, was: Kept, lease: str) -> Any:
    """Send it; the poller of the operation. Quota and capacity are Azure's to give again, or not."""
    cli.note(f"this needs quota and capacity for {was.machines} again: Azure has kept neither")
    body = {**was.body, "tags": {**was.body.get("tags", {}), **leases.tags(lease, leases.now())}}
    return connection.arm.begin_put(f"{endpoint.path}/deployments/{slot}", DEPLOYMENT_VERSION, body)


def scale(connection: Connection, slot: str, was: Kept) -> None:
    """Its autoscale setting as it was, where it had one."""
    if was.autoscale:
        autoscale.put(connection, slot, was.autoscale)
