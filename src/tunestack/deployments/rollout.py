"""The ways to a deployment that serves, each safe to run again: a new one, the same for longer, an expired one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tunestack import cli
from tunestack.connect import Connection
from tunestack.deployments import autoscale, deployment, leases, restoration
from tunestack.deployments.deployment import Wanted
from tunestack.deployments.endpoint import Endpoint


@dataclass(frozen=True)
class Waiting:
    """Whether to wait until it serves, and how many minutes at most; `dry_run` sends nothing at all.

    `again` is the command that goes on with it.
    """

    wait: bool
    minutes: float | None
    dry_run: bool
    again: str

    @property
    def seconds(self) -> float | None:
        return self.minutes * 60 if self.minutes else None


def deploy(connection: Connection, endpoint: Endpoint, wanted: Wanted, waiting: Waiting) -> dict[str, Any]:
    """The wanted model in the wanted slot; what serves there already only gets its lease anew."""
    settings, slot = wanted.settings, wanted.slot
    autoscale.require_room(settings.autoscale, settings.instance_count, connection.workspace.max_instances)
    found = endpoint.deployment(slot)
    deployment.refuse_live(endpoint, found, wanted)
    is_there = found is not None and deployment.same(found, wanted) and found.state == "Succeeded"
    is_under_way = found is not None and found.is_pending
    if not is_there and not is_under_way:
        deployment.check_size(connection, wanted)
    if waiting.dry_run:
        cli.note(f"would deploy '{wanted.model.id}' to '{slot}' of '{endpoint.name}' on '{settings.instance_type}'")
    elif found is not None and is_there:
        deployment.extend(endpoint, found, wanted.lease)
        cli.note(f"deployment '{slot}' serves '{wanted.model.id}' already")
    else:
        poller = None if is_under_way else deployment.start(connection, wanted, found)
        if waiting.wait:
            deployment.wait(connection, endpoint, slot, poller, waiting.seconds, waiting.again)
    if not waiting.dry_run:
        deployment.scale(connection, wanted, found)
    cli.note(leases.shown(wanted.lease))
    return wanted.record


def restore(
    connection: Connection,
    endpoint: Endpoint,
    slot: str,
    lease: str,
    waiting: Waiting,
    accept: Callable[[str], Mapping[str, str]],
) -> dict[str, Any]:
    """The slot as it was when its lease ended; one that serves already is left alone, lease and all.

    `accept` takes its model's id, raises where it may not serve, and gives the tags that say so.
    """
    record = {"deployment": slot, "lease": lease}
    found = endpoint.deployment(slot)
    is_there = found is not None and found.state == "Succeeded"
    if found is not None and is_there and not restoration.lacks_autoscale(connection, found):
        cli.note(f"deployment '{slot}' is there already")
        return record
    was = restoration.wanted(connection, endpoint, slot)
    if was.model:  # else it is code of somebody's own, and no model
        was = was.tagged(accept(was.model))
    if waiting.dry_run:
        cli.note(f"would bring '{slot}' of '{endpoint.name}' back on {was.machines}")
        return record
    poller = None
    if not is_there and not (found and found.is_pending):
        poller = restoration.start(connection, endpoint, slot, was, lease)
    if waiting.wait:
        deployment.wait(connection, endpoint, slot, poller, waiting.seconds, waiting.again)
    restoration.scale(connection, slot, was)
    cli.note(f"{leases.shown(lease)}; it has no traffic: scripts/shift_traffic.py --to {slot}")
    return record
