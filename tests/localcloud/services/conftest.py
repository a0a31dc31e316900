"""A storage account, and a workspace over it, in the local cloud that a test runs against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from localcloud.arm import envelope
from localcloud.permissions import BLOB_CONTRIBUTOR
from localcloud.services.blob_access import BlobAccess
from localcloud.services.blob_files import Blobs
from tests.conftest import RunningCloud

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/acct"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/kv"
WORKSPACE = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/ws"
LOCATION = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices/locations/eastus"
VERSION = "?api-version=2024-10-01"


def place(cloud: RunningCloud, resource_id: str, properties: dict[str, Any] | None = None) -> None:
    """Put a resource there as its own service would leave it."""
    body = {"location": "eastus", "properties": properties or {}}
    cloud.cloud.store.put(resource_id, envelope(resource_id, body, None, cloud.cloud.clock.now()))


@dataclass
class Account:
    """The storage account `acct`, its keys and its files."""

    cloud: RunningCloud
    url: str
    access: BlobAccess
    blobs: Blobs


@pytest.fixture
def account(local_cloud: RunningCloud) -> Account:
    place(local_cloud, GROUP)
    place(local_cloud, STORAGE)
    local_cloud.grant(BLOB_CONTRIBUTOR, STORAGE)
    cloud = local_cloud.cloud
    blobs = cloud.part(Blobs, lambda: Blobs(cloud))
    access = cloud.part(BlobAccess, lambda: BlobAccess(cloud))
    return Account(local_cloud, "https://acct.blob.core.windows.net", access, blobs)


def make_workspace(cloud: RunningCloud, **properties: Any) -> dict[str, Any]:
    body = {
        "location": "eastus",
        "identity": {"type": "SystemAssigned"},
        "properties": {"storageAccount": STORAGE, "keyVault": VAULT, **properties},
    }
    made: dict[str, Any] = cloud.arm("PUT", WORKSPACE + VERSION, body)
    return made


@pytest.fixture
def workspace(account: Account) -> dict[str, Any]:
    """The workspace `ws` with keys for its datastores."""
    place(account.cloud, VAULT, {"softDeleteRetentionInDays": 7})
    return make_workspace(account.cloud)


@pytest.fixture
def ml(workspace: dict[str, Any]) -> Any:
    """The unmodified SDK's client of that workspace."""
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(DefaultAzureCredential(), SUBSCRIPTION, "rg", "ws")
