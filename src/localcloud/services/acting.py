"""Identities at work: as whom workspaces, jobs and deployments act, and what they may not do for want of a role.

Simulated after Azure ML's pages on identity-based service authentication and on troubleshooting online
endpoints; the conformance tests of roles settle it on Azure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.arm import ArmError
from localcloud.assertions import derived
from localcloud.cloud import Cloud
from localcloud.permissions import permissions_of
from localcloud.store import Body

IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
TOKEN_PATH = "/localcloud/identity/token"  # a path, no secret
_CONTAINERS = "Microsoft.Storage/storageAccounts/blobServices/containers"
READ_BLOB, WRITE_BLOB = f"{_CONTAINERS}/blobs/read", f"{_CONTAINERS}/blobs/write"
WRITE_FILE = "Microsoft.Storage/storageAccounts/fileServices/fileshares/files/write"
SET_SECRET = "Microsoft.KeyVault/vaults/secrets/setSecret/action"
GET_SECRET = "Microsoft.KeyVault/vaults/secrets/getSecret/action"
PUSH = "Microsoft.ContainerRegistry/registries/push/write"
PULL = "Microsoft.ContainerRegistry/registries/pull/read"
WRITE_METRICS = "Microsoft.MachineLearningServices/workspaces/metrics/resource/write"


@dataclass(frozen=True)
class Lack:
    """What an identity would have needed."""

    identity: str
    action: str
    scope: str

    def __str__(self) -> str:
        return (
            f"The identity '{self.identity}' does not have authorization to perform action '{self.action}' "
            f"over scope '{self.scope}'."
        )


@dataclass(frozen=True)
class Acting:
    """An identity that something runs as; `client` is empty for a system-assigned one."""

    cloud: Cloud
    id: str
    principal: str
    client: str

    @property
    def name(self) -> str:
        return self.id.rpartition("/")[2]

    def lacks(self, action: str, scope: str, *, data: bool = False) -> Lack | None:
        """None when it may."""
        if permissions_of(self.cloud).allowed(self.principal, action, scope, data=data):
            return None
        return Lack(self.name, action, scope)

    def lacks_any(self, *wanted: tuple[str, str, bool]) -> Lack | None:
        """The first of (action, scope, whether it is a data action) that it may not do."""
        return next((lack for action, scope, data in wanted if (lack := self.lacks(action, scope, data=data))), None)

    def environment(self) -> dict[str, str]:
        """The identity endpoint as Azure ML's nodes and containers name it; none for a system-assigned identity."""
        if not self.client:
            return {}
        return {
            "MSI_ENDPOINT": f"https://127.0.0.1:{self.cloud.addresses.tls}{TOKEN_PATH}",
            "MSI_SECRET": secret_of(self.cloud, self.client),
            "DEFAULT_IDENTITY_CLIENT_ID": self.client,
        }


def secret_of(cloud: Cloud, client: str) -> str:
    return derived(cloud.client_secret, f"identity {client}")


def by_client_id(cloud: Cloud, client: str) -> Mapping[str, Any] | None:
    """The properties of the user-assigned identity with this client id."""
    for body in cloud.store.beneath("/subscriptions", IDENTITIES):
        if body["properties"].get("clientId") == client:
            properties: Mapping[str, Any] = body["properties"]
            return properties
    return None


def acting_as(cloud: Cloud, resource: Body | None) -> Acting | None:
    """As whom a workspace, cluster or endpoint acts; None where it has no identity."""
    identity = (resource or {}).get("identity") or {}
    named = list(identity.get("userAssignedIdentities") or {})
    if named:
        first = ((resource or {}).get("properties") or {}).get("primaryUserAssignedIdentity") or named[0]
        found = (cloud.store.get(first) or {}).get("properties") or {}
        # One that was deleted from under the resource has no principal, and may do nothing any more.
        return Acting(cloud, first, found.get("principalId", ""), found.get("clientId", ""))
    if resource is not None and identity.get("principalId"):
        return Acting(cloud, resource["id"], identity["principalId"], "")
    return None


def signer_of(cloud: Cloud, workspace: Body | None) -> str:
    """Who signs the addresses that a workspace hands out: its identity, by object id."""
    identity = acting_as(cloud, workspace)
    return identity.principal if identity else ""


# -- workspaces ------------------------------------------------------------------------------------------------


def check_workspace(cloud: Cloud, workspace: Body) -> None:
    """ArmError 400 when the workspace's own identity cannot reach what the workspace rests on."""
    identity, properties = acting_as(cloud, workspace), workspace["properties"]
    if identity is None or identity.id == workspace["id"]:
        return  # a system-assigned one gets its roles with the workspace
    lack = identity.lacks_any(*_of_workspace(properties))
    if lack:
        raise ArmError(
            400,
            "ValidationError",
            f"The workspace's identity lacks a role that it needs. {lack} If access was recently granted, wait until "
            "the role assignment has spread and try again.",
            target="identity",
        )


def _of_workspace(properties: Mapping[str, Any]) -> Iterator[tuple[str, str, bool]]:
    storage = properties["storageAccount"]
    for member, kind in (
        ("applicationInsights", "Microsoft.Insights/components"),
        ("containerRegistry", "Microsoft.ContainerRegistry/registries"),
        ("keyVault", "Microsoft.KeyVault/vaults"),
        ("storageAccount", "Microsoft.Storage/storageAccounts"),
    ):
        if properties.get(member):
            yield f"{kind}/read", properties[member], False
    yield f"{_CONTAINERS}/write", storage, False  # the containers of its datastores
    yield WRITE_FILE, storage, True  # and their file shares


def check_secrets(cloud: Cloud, workspace: Body, action: str) -> None:
    """ArmError 400 when the workspace's identity may not touch secrets in the workspace's vault."""
    identity = acting_as(cloud, workspace)
    lack = identity.lacks(action, workspace["properties"]["keyVault"], data=True) if identity else None
    if lack:
        raise ArmError(400, "UserError", f"The workspace's key vault cannot be used. {lack}")


# -- jobs and deployments --------------------------------------------------------------------------------------


def container_scope(cloud: Cloud, account: str, container: str) -> str:
    """The id of a container; ArmError 404 when there is no such account."""
    for found in cloud.store.beneath("/subscriptions", "microsoft.storage/storageaccounts"):
        if found["name"].lower() == account.lower():
            return f"{found['id']}/blobServices/default/containers/{container}"
    raise ArmError(404, "ResourceNotFound", f"There is no storage account '{account}'.")


def registry_of(cloud: Cloud, workspace_id: str) -> str | None:
    """The id of the workspace's container registry."""
    workspace = cloud.store.get(workspace_id) or {}
    found: str | None = (workspace.get("properties") or {}).get("containerRegistry")
    return found
