"""Soft-deleted workspaces: what is kept of them for 14 days, how their name is blocked, recovered and given free.

Sources: the documentation's page on workspace soft deletion (what is kept and for how long), and what the service has
been seen to answer (the message; `allowRecoverSoftDeletedWorkspace`, which api-version 2022-05-01 has).
Simulated after these; tests/conformance/azure/test_simulations.py::test_a_soft_deleted_workspace settles it on Azure.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from localcloud.arm import ArmError
from localcloud.cloud import Cloud
from localcloud.store import Body, place

RECORDS = "deleted-workspace"
DAYS = 14
RECOVER = "allowRecoverSoftDeletedWorkspace"
# Service-side metadata comes back; computes and endpoints are gone for good.
_KEPT = ("models", "data", "environments", "components", "codes", "versions", "jobs", "datastores")


def keep(cloud: Cloud, workspace: Body) -> None:
    """Remember a workspace that is about to go, with what can come back."""
    inside = [found for found in cloud.store.beneath(workspace["id"]) if place(found["id"]).kind in _KEPT]
    record = {"deleted": cloud.clock.now().isoformat(), "workspace": workspace, "inside": inside}
    cloud.store.put_record(RECORDS, workspace["id"].lower(), record)


def find(cloud: Cloud, resource_id: str) -> Body | None:
    """The record of a soft-deleted workspace; None when there is none, or none any more."""
    record = cloud.store.record(RECORDS, resource_id.lower())
    if record and cloud.clock.now() >= datetime.fromisoformat(record["deleted"]) + timedelta(days=DAYS):
        cloud.store.delete_record(RECORDS, resource_id.lower())
        return None
    return record


def purge(cloud: Cloud, resource_id: str) -> bool:
    """Give the name free; whether there was anything to purge."""
    found = find(cloud, resource_id) is not None
    cloud.store.delete_record(RECORDS, resource_id.lower())
    return found


def take_back(cloud: Cloud, resource_id: str, sent: dict[str, Any]) -> Body | None:
    """The soft-deleted workspace of that id, to be made again, when `sent` asks for it; ArmError 400 when it does not.

    None when there is none. Its children are in the store again, its record is gone.
    """
    record = find(cloud, resource_id)
    if record is None:
        return None
    if str(sent.get(RECOVER)).lower() != "true":
        raise ArmError(
            400,
            "BadRequest",
            "Soft-deleted workspace exists. Please purge or recover it. https://aka.ms/wsoftdelete",
        )
    workspace: Body = record["workspace"]
    properties = workspace["properties"]
    for name in ("storageAccount", "keyVault", "applicationInsights", "containerRegistry"):
        if properties.get(name) and cloud.store.get(properties[name]) is None:
            raise ArmError(
                400,
                "BadRequest",
                f"The workspace cannot be recovered: its {name} '{properties[name]}' does not exist. Recover it first.",
            )
    for found in record["inside"]:
        cloud.store.put(found["id"], found)
    cloud.store.delete_record(RECORDS, resource_id.lower())
    return workspace
