"""The managed identity of a workspace, cluster or endpoint: who it is, from what was asked for."""

from __future__ import annotations

import uuid

from localcloud.arm import ArmError
from localcloud.cloud import TENANT, Cloud
from localcloud.store import Body

_TYPES = ("SystemAssigned", "UserAssigned", "SystemAssigned,UserAssigned", "None")


def assign_identity(cloud: Cloud, sent: Body | None, old: Body | None, *, default: str = "None") -> Body:
    """The identity with its principals; a system-assigned one keeps its principal for the resource's whole life.

    400 for an unknown type, and for user-assigned identities that are not named or do not exist.
    """
    kind = ((sent or {}).get("type") or default).replace(" ", "")
    if kind not in _TYPES:
        raise ArmError(400, "ValidationError", f"The identity type '{kind}' is not one of {', '.join(_TYPES)}.")
    identity: Body = {"type": kind}
    if kind.startswith("SystemAssigned"):
        identity["principalId"] = (old or {}).get("principalId") or str(uuid.uuid4())
        identity["tenantId"] = TENANT
    if kind.endswith("UserAssigned"):
        named = (sent or {}).get("userAssignedIdentities") or {}
        if not named:
            raise ArmError(400, "ValidationError", f"An identity of type '{kind}' needs 'userAssignedIdentities'.")
        identity["userAssignedIdentities"] = {resource_id: _principal(cloud, resource_id) for resource_id in named}
    return identity


def _principal(cloud: Cloud, resource_id: str) -> Body:
    found = cloud.store.get(resource_id)
    if found is None:
        raise ArmError(400, "FailedIdentityOperation", f"The user-assigned identity '{resource_id}' does not exist.")
    properties = found.get("properties") or {}
    return {name: properties[name] for name in ("principalId", "clientId") if name in properties}
