"""Registries of one's own, as ARM knows them: each with a managed group that holds its storage and images.

Deleting a registry takes the managed group with it. What is in a registry is `registry`'s and `registry_import`'s.
"""

from __future__ import annotations

import hashlib
import re
import uuid

from starlette.routing import Route

from localcloud.arm import ArmError, envelope, timestamp
from localcloud.cloud import Cloud
from localcloud.permissions import ASSIGNMENTS, DEFINITIONS
from localcloud.services.blob_files import Blobs
from localcloud.services.ml.identity import assign_identity
from localcloud.services.ml.ids import PROVIDER
from localcloud.services.regions import plain, require_region
from localcloud.services.tracked import TrackedResources, TrackedType
from localcloud.store import Body

REGISTRIES = f"{PROVIDER}/registries"
CONTAINER = "registry"
_BLOB_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"


def routes(cloud: Cloud) -> list[Route]:
    return [*OwnRegistries(cloud, _TYPE).routes()]


# -- handlers --------------------------------------------------------------------------------------------------


class OwnRegistries(TrackedResources):
    """The generic handlers, and an identity, which every registry has."""

    def make(self, wanted: str, body: Body, old: Body | None) -> Body:
        whole = super().make(wanted, body, old)
        # Sent by the client, and never answered.
        whole["properties"].pop("managedResourceGroupTags", None)
        whole["identity"] = assign_identity(
            self.cloud, body.get("identity"), (old or {}).get("identity"), default="SystemAssigned"
        )
        return whole


# -- model -----------------------------------------------------------------------------------------------------


def find_registry(cloud: Cloud, name: str) -> Body | None:
    """The registry of that name in any group, in any case; None when there is none (or it is Microsoft's own)."""
    for found in cloud.store.beneath("/subscriptions", REGISTRIES):
        if found["name"].lower() == name.lower():
            return found
    return None


def account_of(registry: Body) -> str:
    """The name of the storage account in which the registry's assets lie."""
    details = registry["properties"]["regionDetails"][0]["storageAccountDetails"][0]
    name: str = details["systemCreatedStorageAccount"]["storageAccountName"]
    return name


def _check(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    name, sent = wanted.rpartition("/")[2], body.get("properties") or {}
    taken = find_registry(cloud, name)
    if name.lower() == "azureml" or (old is None and taken is not None):
        raise ArmError(
            409, "Conflict", f"A registry with the name '{name}' already exists in this tenant. Choose another name."
        )
    regions = [plain(str(detail.get("location") or "")) for detail in sent.get("regionDetails") or []]
    if not regions:
        raise ArmError(400, "ValidationError", "A registry needs 'properties.regionDetails'.", target="regionDetails")
    for region in regions:
        require_region(cloud, region, REGISTRIES)
    if plain(body.get("location") or "") not in regions:
        raise ArmError(
            400,
            "ValidationError",
            f"The location '{body.get('location')}' is not one of the registry's regions: {', '.join(regions)}.",
        )
    if old:
        before = [plain(str(detail["location"])) for detail in old["properties"]["regionDetails"]]
        if missing := [region for region in before if region not in regions]:
            raise ArmError(
                400, "ValidationError", f"Regions cannot be taken from a registry: '{', '.join(missing)}' is missing."
            )


def _shape(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> Body:
    name, sent, kept = wanted.rpartition("/")[2], body.get("properties") or {}, (old or {}).get("properties", {})
    region = plain(body.get("location") or "")
    subscription = wanted.split("/")[2]
    group = (kept.get("managedResourceGroup") or {}).get("resourceId") or (
        f"/subscriptions/{subscription}/resourceGroups/azureml-rg-{name}_{uuid.uuid4()}"
    )
    return {
        "publicNetworkAccess": sent.get("publicNetworkAccess") or "Enabled",
        "discoveryUrl": f"https://{region}.api.azureml.ms/registrymanagement/v1.0/registries/{name}/discovery",
        "mlFlowRegistryUri": f"azureml://{region}.api.azureml.ms/mlflow/v1.0{wanted}",
        "managedResourceGroup": {"resourceId": group},
        "regionDetails": [_region(wanted, group, detail) for detail in sent["regionDetails"]],
    }


def _region(wanted: str, group: str, detail: Body) -> Body:
    """One region with the accounts that Azure makes there; their names are derived, so that they stay."""
    region = plain(str(detail["location"]))
    digest = hashlib.sha256(f"{wanted.lower()}|{region}".encode()).hexdigest()
    name = re.sub(r"[^a-z0-9]", "", wanted.rpartition("/")[2].lower())[:10] + digest[:8]
    storage, images = (
        dict((detail.get("storageAccountDetails") or [{}])[0]),
        dict((detail.get("acrDetails") or [{}])[0]),
    )
    wish = storage.get("systemCreatedStorageAccount") or {}
    return {
        "location": region,
        "storageAccountDetails": [
            {
                "systemCreatedStorageAccount": {
                    "storageAccountHnsEnabled": bool(wish.get("storageAccountHnsEnabled")),
                    "storageAccountType": wish.get("storageAccountType") or "standard_lrs",
                    "allowBlobPublicAccess": bool(wish.get("allowBlobPublicAccess")),
                    "storageAccountName": name,
                    "armResourceId": {"resourceId": f"{group}/providers/Microsoft.Storage/storageAccounts/{name}"},
                }
            }
        ],
        "acrDetails": [
            {
                "systemCreatedAcrAccount": {
                    "acrAccountSku": (images.get("systemCreatedAcrAccount") or {}).get("acrAccountSku") or "Premium",
                    "acrAccountName": name,
                    "armResourceId": {"resourceId": f"{group}/providers/Microsoft.ContainerRegistry/registries/{name}"},
                }
            }
        ],
    }


def _keep_managed_group(cloud: Cloud, registry: Body) -> None:
    """Make the group that Azure manages for the registry, and the accounts in it."""
    now, tags, properties = cloud.clock.now(), registry.get("tags") or {}, registry["properties"]
    group = properties["managedResourceGroup"]["resourceId"]

    def keep(resource_id: str, body: Body) -> None:
        whole = {"tags": tags, "managedBy": registry["id"], **body}
        cloud.store.put(resource_id, envelope(resource_id, whole, cloud.store.get(resource_id), now))

    keep(group, {"location": registry["location"], "properties": {"provisioningState": "Succeeded"}})
    # The registry's identity signs the addresses at which models are uploaded and read.
    principal = registry["identity"]["principalId"]
    assignment = f"{group}/providers/{ASSIGNMENTS}/{uuid.uuid5(uuid.NAMESPACE_URL, principal)}"
    role = f"/subscriptions/{group.split('/')[2]}/providers/{DEFINITIONS}/{_BLOB_CONTRIBUTOR}"
    granted = {"principalId": principal, "principalType": "ServicePrincipal", "roleDefinitionId": role, "scope": group}
    cloud.store.put(assignment, envelope(assignment, {"properties": granted}, None, now))
    for region in properties["regionDetails"]:
        storage = region["storageAccountDetails"][0]["systemCreatedStorageAccount"]
        images = region["acrDetails"][0]["systemCreatedAcrAccount"]
        keep(
            storage["armResourceId"]["resourceId"],
            {
                "location": region["location"],
                "kind": "StorageV2",
                "sku": {"name": "Standard_LRS"},
                "properties": {
                    "allowSharedKeyAccess": False,
                    "allowBlobPublicAccess": False,
                    "creationTime": timestamp(now),
                    "provisioningState": "Succeeded",
                },
            },
        )
        keep(
            images["armResourceId"]["resourceId"],
            {
                "location": region["location"],
                "sku": {"name": images["acrAccountSku"]},
                "properties": {"adminUserEnabled": False, "provisioningState": "Succeeded"},
            },
        )
        blobs = cloud.part(Blobs, lambda: Blobs(cloud))
        if CONTAINER not in blobs.containers(storage["storageAccountName"]):
            blobs.make_container(storage["storageAccountName"], CONTAINER)


def _drop_managed_group(cloud: Cloud, registry: Body) -> None:
    blobs = cloud.part(Blobs, lambda: Blobs(cloud))
    for region in registry["properties"]["regionDetails"]:
        blobs.remove_account(region["storageAccountDetails"][0]["systemCreatedStorageAccount"]["storageAccountName"])
    cloud.store.delete(registry["properties"]["managedResourceGroup"]["resourceId"])


_TYPE = TrackedType(
    REGISTRIES,
    r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}",
    top=("identity", "kind", "sku"),
    members=(
        *("discoveryUrl", "intellectualPropertyPublisher", "managedResourceGroup", "managedResourceGroupSettings"),
        *("managedResourceGroupTags", "mlFlowRegistryUri", "publicNetworkAccess", "regionDetails"),
        "registryPrivateEndpointConnections",
    ),
    check=_check,
    shape=_shape,
    on_put=_keep_managed_group,
    on_delete=_drop_managed_group,
)
