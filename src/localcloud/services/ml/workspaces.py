"""Workspaces: made over a storage account and a key vault that exist, with their default datastores, soft-deleted.

Only workspaces of kind `Default` are here: no hubs, projects or feature stores. Fault: `workspace.create`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import (
    ArmError,
    envelope,
    json_response,
    not_found,
    page,
    read_json,
    refuse_unknown,
    require_api_version,
    route,
)
from localcloud.cloud import TENANT, Cloud
from localcloud.services.acting import check_workspace
from localcloud.services.blob_access import BlobAccess
from localcloud.services.ml import deleted_workspaces, managed_network
from localcloud.services.ml.datastores import Datastores
from localcloud.services.ml.identity import assign_identity
from localcloud.services.ml.ids import (
    GROUP,
    PROVIDER,
    WORKSPACE,
    WORKSPACES,
    last_part,
    require_workspace,
    workspace_id,
)
from localcloud.services.regions import require_region
from localcloud.store import Body

_TOP = ("id", "name", "type", "systemData", "properties", "identity", "kind", "location", "sku", "tags")
_UPDATABLE = (
    *("allowPublicAccessWhenBehindVnet", "applicationInsights", "containerRegistry", "description"),
    *("enableDataIsolation", "enableServiceSideCMKEncryption", "encryption", "featureStoreSettings", "friendlyName"),
    *("imageBuildCompute", "managedNetwork", "primaryUserAssignedIdentity", "publicNetworkAccess"),
    *("serverlessComputeSettings", "serviceManagedResourcesSettings", "systemDatastoresAuthMode", "v1LegacyMode"),
    # Only in preview versions of the contract, which the SDK sends:
    *("allowRoleAssignmentOnRG", "networkAcls", "ipAllowlist", "softDeleteEnabled", "enableSoftwareBillOfMaterials"),
)
_AT_CREATION = (
    *("associatedWorkspaces", "hbiWorkspace", "hubResourceId", "keyVault", "storageAccount", "workspaceHubConfig"),
    *("provisionNetworkNow", "sharedPrivateLinkResources", deleted_workspaces.RECOVER),
)
# What only creation can set, and what it is where it was not sent. That Azure refuses a change, and does not ignore
# it, is simulated after the members' descriptions in the contract ("cannot be changed once …"); the conformance test
# azure/test_simulations.py::test_what_creation_fixed_is_not_changed settles it.
_FIXED = {
    "storageAccount": None,
    "keyVault": None,
    "encryption": None,
    "hbiWorkspace": False,
    "enableDataIsolation": False,
}
_READ_ONLY = (
    *("discoveryUrl", "mlFlowTrackingUri", "notebookInfo", "privateEndpointConnections", "privateLinkCount"),
    *("provisioningState", "serviceProvisionedResourceGroup", "storageHnsEnabled", "tenantId", "workspaceId"),
    *("creationTime", "agentsEndpointUri"),
)
_DEPENDENCIES = {
    "storageAccount": "microsoft.storage/storageaccounts",
    "keyVault": "microsoft.keyvault/vaults",
    "applicationInsights": "microsoft.insights/components",
    "containerRegistry": "microsoft.containerregistry/registries",
}

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = cloud.part(Workspaces, lambda: Workspaces(cloud))
    return [
        route(f"/subscriptions/{{subscription}}/providers/{PROVIDER}/workspaces", ["GET"], service.list_subscription),
        route(WORKSPACES, ["GET"], service.list_group),
        route(WORKSPACE, ["GET"], service.get),
        route(WORKSPACE, ["PUT"], service.put),
        route(WORKSPACE, ["PATCH"], service.patch),
        route(WORKSPACE, ["DELETE"], service.delete),
        route(f"{WORKSPACE}/listKeys", ["POST"], service.list_keys),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class Workspaces:
    """The workspaces of a cloud. Whoever runs something inside one appends to `on_delete` what ends it."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.on_delete: list[Callable[[str], None]] = []
        cloud.operations.on("workspace.put", self._finish_put)
        cloud.operations.on("workspace.delete", lambda found, error: self._finish_delete(found, purge=False))
        cloud.removers[f"{PROVIDER}/workspaces".lower()] = lambda found: self._finish_delete(found["id"], purge=False)
        cloud.operations.on("workspace.purge", lambda found, error: self._finish_delete(found, purge=True))
        cloud.removers[f"{PROVIDER}/workspaces".lower()] = lambda found: self._finish_delete(found["id"], purge=False)

    async def list_subscription(self, request: Request) -> Response:
        require_api_version(request)
        root = f"/subscriptions/{request.path_params['subscription']}"
        return page(request, self._cloud.store.beneath(root, f"{PROVIDER}/workspaces"))

    async def list_group(self, request: Request) -> Response:
        require_api_version(request)
        return page(request, self._cloud.store.children(self._group(request)["id"], f"{PROVIDER}/workspaces"))

    async def get(self, request: Request) -> Response:
        require_api_version(request)
        return json_response(require_workspace(self._cloud, request))

    async def put(self, request: Request) -> Response:
        require_api_version(request)
        self._group(request)
        body, wanted = await read_json(request), workspace_id(request)
        self._cloud.faults.raise_if_armed("workspace.create")
        old = self._cloud.store.get(wanted)
        self._check_body(body, (*_UPDATABLE, *_AT_CREATION, *_READ_ONLY))
        recovered = None
        if old is None:
            recovered = deleted_workspaces.take_back(self._cloud, wanted, body.get("properties") or {})
            old = recovered
        whole = self._shape(old["id"] if old else wanted, body, old)
        check_workspace(self._cloud, whole)
        self._cloud.store.put(whole["id"], whole)
        if old is None:
            self._cloud.part(Datastores, lambda: Datastores(self._cloud)).make_defaults(whole)
        operation = self._cloud.operations.start("workspace.put", whole["id"])
        status = 200 if old and not recovered else 201
        return self._cloud.operations.respond(request, operation, self._cloud.store.get(whole["id"]), status)

    async def patch(self, request: Request) -> Response:
        require_api_version(request)
        old, body = require_workspace(self._cloud, request), await read_json(request)
        self._check_body(body, (*_UPDATABLE, *_READ_ONLY))
        changed = {name: value for name, value in (body.get("properties") or {}).items() if value is not None}
        merged = {**old, **{name: body[name] for name in ("tags", "sku", "identity") if body.get(name) is not None}}
        merged["properties"] = old["properties"] | changed
        whole = self._shape(old["id"], merged, old)
        check_workspace(self._cloud, whole)
        self._cloud.store.put(old["id"], whole)
        operation = self._cloud.operations.start("workspace.put", old["id"])
        return self._cloud.operations.respond(request, operation, self._cloud.store.get(old["id"]), 200)

    async def delete(self, request: Request) -> Response:
        require_api_version(request)
        purge = request.query_params.get("forceToPurge", "false").lower() == "true"
        wanted = workspace_id(request)
        found = self._cloud.store.get(wanted)
        if found is None:
            return Response(status_code=200 if purge and deleted_workspaces.purge(self._cloud, wanted) else 204)
        found["properties"]["provisioningState"] = "Deleting"
        self._cloud.store.put(found["id"], found)
        operation = self._cloud.operations.start("workspace.purge" if purge else "workspace.delete", found["id"])
        return self._cloud.operations.respond(request, operation, None, 202)

    async def list_keys(self, request: Request) -> Response:
        properties = require_workspace(self._cloud, request)["properties"]
        access = self._cloud.part(BlobAccess, lambda: BlobAccess(self._cloud))
        account = last_part(properties["storageAccount"])
        if self._cloud.store.get(properties["storageAccount"]) is None:
            raise ArmError(
                400, "ValidationError", f"The workspace's storage account '{properties['storageAccount']}' is gone."
            )
        insights = self._cloud.store.get(properties["applicationInsights"] or "") or {}
        return json_response(
            {
                "userStorageKey": access.account_key(account) if access.allows_shared_key(account) else None,
                "userStorageArmId": properties["storageAccount"],
                "appInsightsInstrumentationKey": insights.get("properties", {}).get("InstrumentationKey"),
            }
        )

    # -- model -------------------------------------------------------------------------------------------------

    def _group(self, request: Request) -> Body:
        wanted = GROUP.format(**request.path_params)
        found = self._cloud.store.get(wanted)
        if found is None:
            raise not_found(wanted)
        return found

    def _check_body(self, body: Body, known: tuple[str, ...]) -> None:
        properties = body.get("properties") or {}
        if self._cloud.strict:
            refuse_unknown(body, _TOP, "body")
            refuse_unknown(properties, known, "properties")
            refuse_unknown(properties.get("managedNetwork") or {}, managed_network.MEMBERS, "properties.managedNetwork")
        kind = body.get("kind") or "Default"
        if kind.lower() != "default":
            raise ArmError(501, "NotImplemented", f"The local cloud has no workspaces of kind '{kind}'.")
        mode = properties.get("systemDatastoresAuthMode") or "AccessKey"
        if mode.lower() not in ("accesskey", "identity", "userdelegationsas"):
            raise ArmError(
                400, "ValidationError", f"'{mode}' is no systemDatastoresAuthMode; use AccessKey or Identity."
            )
        for name, kind in _DEPENDENCIES.items():
            self._check_dependency(name, kind, properties.get(name))

    def _check_dependency(self, name: str, kind: str, resource_id: str | None) -> None:
        if not resource_id:
            return
        if f"/providers/{kind}/" not in resource_id.lower():
            raise ArmError(
                400, "ValidationError", f"'{resource_id}' is no id of a {kind}.", target=f"properties.{name}"
            )
        if self._cloud.store.get(resource_id) is None:
            raise ArmError(
                400,
                "ValidationError",
                f"Missing dependent resources in workspace json: '{name}' names '{resource_id}', which does not "
                "exist. Create it first.",
                target=f"properties.{name}",
            )

    def _shape(self, wanted: str, body: Body, old: Body | None) -> Body:
        """The whole resource from what was sent and what stood there."""
        sent = {name: value for name, value in (body.get("properties") or {}).items() if value is not None}
        sent = {name: value for name, value in sent.items() if name not in _READ_ONLY}
        kept = (old or {}).get("properties", {})
        sent.pop(deleted_workspaces.RECOVER, None)
        for name in _FIXED:
            if kept.get(name) is not None:
                sent.setdefault(name, kept[name])
        for name in ("storageAccount", "keyVault"):
            if not sent.get(name):
                raise ArmError(
                    400, "ValidationError", f"'{name}' is required and missing.", target=f"properties.{name}"
                )
        for name, unset in _FIXED.items():
            if old and str(sent.get(name, unset)).lower() != str(kept.get(name, unset)).lower():
                raise ArmError(400, "ValidationError", f"'{name}' of a workspace cannot be changed after creation.")
        location = body.get("location") or (old or {}).get("location")
        if not location:
            raise ArmError(400, "LocationRequired", "The location property is required for this definition.")
        if old and location.replace(" ", "").lower() != old["location"].replace(" ", "").lower():
            raise ArmError(
                409,
                "InvalidResourceLocation",
                f"The resource '{last_part(wanted)}' already exists in location '{old['location']}'. "
                f"A resource with the same name cannot be created in location '{location}'.",
            )
        require_region(self._cloud, location, f"{PROVIDER}/workspaces")
        network = managed_network.network_of(
            self._cloud, kept, sent, provision=bool(sent.get("provisionNetworkNow") or kept.get("provisionNetworkNow"))
        )
        own_id = kept.get("workspaceId") or str(uuid.uuid4())
        region = location.replace(" ", "").lower()
        properties: Body = {
            "friendlyName": last_part(wanted),
            "description": "",
            "applicationInsights": None,
            "containerRegistry": None,
            "hbiWorkspace": False,
            "v1LegacyMode": False,
            "publicNetworkAccess": "Enabled",
            "enableDataIsolation": False,
            "systemDatastoresAuthMode": kept.get("systemDatastoresAuthMode", "AccessKey"),
            **sent,
            "managedNetwork": network,
            "workspaceId": own_id,
            "tenantId": TENANT,
            "discoveryUrl": f"https://{region}.api.azureml.ms/discovery",
            "mlFlowTrackingUri": f"azureml://{region}.api.azureml.ms/mlflow/v1.0{wanted}",
            "privateLinkCount": len(kept.get("privateEndpointConnections") or []),
            "privateEndpointConnections": kept.get("privateEndpointConnections") or [],
            "storageHnsEnabled": False,
            "provisioningState": "Updating" if old else "Creating",
        }
        whole = {
            "location": location,
            "kind": "Default",
            "sku": body.get("sku") or {"name": "Basic", "tier": "Basic"},
            "tags": body.get("tags") or {},
            "identity": assign_identity(
                self._cloud, body.get("identity"), (old or {}).get("identity"), default="SystemAssigned"
            ),
            "properties": properties,
        }
        return envelope(wanted, whole, old, self._cloud.clock.now())

    def _finish_put(self, resource_id: str, error: ArmError | None) -> None:
        found = self._cloud.store.get(resource_id)
        if found:
            found["properties"]["provisioningState"] = "Failed" if error else "Succeeded"
            self._cloud.store.put(resource_id, found)

    def _finish_delete(self, resource_id: str, *, purge: bool) -> None:
        for end in self.on_delete:
            end(resource_id)
        found = self._cloud.store.get(resource_id)
        if found and not purge:
            deleted_workspaces.keep(self._cloud, found)
        self._cloud.store.delete(resource_id)
        for key, _ in self._cloud.store.records("datastore-secret"):
            if key.startswith(f"{resource_id.lower()}/"):
                self._cloud.store.delete_record("datastore-secret", key)
