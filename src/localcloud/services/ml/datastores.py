"""Datastores: names for containers of storage accounts, the workspace's own four among them, and their secrets.

Credentials that a client sends are kept apart and only `listSecrets` shows them.
"""

from __future__ import annotations

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
from localcloud.cloud import Cloud
from localcloud.services.acting import GET_SECRET, SET_SECRET, check_secrets
from localcloud.services.blob_access import BlobAccess
from localcloud.services.blob_files import BlobError, Blobs
from localcloud.services.ml.ids import WORKSPACE, last_part, require_workspace
from localcloud.store import Body

_KNOWN = (
    *("resourceGroup", "subscriptionId", "accountName", "containerName", "filesystem", "fileShareName", "storeName"),
    *("endpoint", "protocol", "serviceDataAccessAuthIdentity", "datastoreType", "credentials", "isDefault"),
    *("description", "properties", "tags", "intellectualProperty"),
)
_PLACE = {"AzureBlob": "containerName", "AzureDataLakeGen2": "filesystem", "AzureFile": "fileShareName"}
_SECRETS = {"AccountKey": "key", "Sas": "sasToken"}

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = Datastores(cloud)
    one = f"{WORKSPACE}/datastores/{{name}}"
    return [
        route(f"{WORKSPACE}/datastores", ["GET"], service.list_all),
        route(one, ["GET"], service.get),
        route(one, ["PUT"], service.put),
        route(one, ["DELETE"], service.delete),
        route(f"{one}/listSecrets", ["POST"], service.list_secrets),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class Datastores:
    """The datastores of workspaces."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def _id(self, request: Request) -> str:
        require_api_version(request)
        return f"{require_workspace(self._cloud, request)['id']}/datastores/{request.path_params['name']}"

    def _require(self, request: Request) -> Body:
        found = self._cloud.store.get(self._id(request))
        if found is None:
            raise not_found(self._id(request))
        return found

    async def list_all(self, request: Request) -> Response:
        require_api_version(request)
        workspace = require_workspace(self._cloud, request)
        found = self._cloud.store.children(workspace["id"], "datastores")
        wanted = request.query_params.get("isDefault")
        if wanted is not None:
            found = [item for item in found if item["properties"]["isDefault"] == (wanted.lower() == "true")]
        return page(request, found)

    async def get(self, request: Request) -> Response:
        return json_response(self._require(request))

    async def put(self, request: Request) -> Response:
        datastore_id, body = self._id(request), await read_json(request)
        properties = {name: value for name, value in (body.get("properties") or {}).items() if value is not None}
        if self._cloud.strict:
            refuse_unknown(body, ("id", "name", "type", "properties", "systemData"), "body")
            refuse_unknown(properties, _KNOWN, "properties")
        skip = request.query_params.get("skipValidation", "false").lower() == "true"
        self._check(properties, skip)
        if properties["credentials"]["credentialsType"] != "None":
            check_secrets(self._cloud, require_workspace(self._cloud, request), SET_SECRET)
        new = self._keep(datastore_id, properties)
        kept = self._cloud.store.get(datastore_id)
        return json_response(kept, 201 if new else 200)

    async def delete(self, request: Request) -> Response:
        datastore_id = self._id(request)
        found = self._cloud.store.get(datastore_id)
        if found is None:
            return Response(status_code=204)
        if found["properties"]["isDefault"]:
            raise ArmError(409, "UserError", f"'{found['name']}' is the workspace's default datastore; it stays.")
        self._cloud.store.delete(datastore_id)
        self._cloud.store.delete_record("datastore-secret", datastore_id.lower())
        return Response(status_code=200)

    async def list_secrets(self, request: Request) -> Response:
        """A key even where a client asks for an expirable secret: `jobs.stream` takes what it gets for a key."""
        found = self._require(request)
        properties = found["properties"]
        kind = properties["credentials"]["credentialsType"]
        if kind == "None":
            raise ArmError(
                400,
                "UserError",
                f"The datastore '{found['name']}' has no credentials; use an identity with access to its account.",
            )
        check_secrets(self._cloud, require_workspace(self._cloud, request), GET_SECRET)
        sent = self._cloud.store.record("datastore-secret", found["id"].lower())
        if sent:
            return json_response(sent)
        key = self._cloud.part(BlobAccess, lambda: BlobAccess(self._cloud)).account_key(properties["accountName"])
        return json_response({"secretsType": "AccountKey", "key": key})

    # -- model -------------------------------------------------------------------------------------------------

    def _check(self, properties: Body, skip: bool) -> None:
        kind = properties.get("datastoreType")
        if kind not in _PLACE:
            raise ArmError(400, "UserError", f"The datastore type '{kind}' is not one of {', '.join(_PLACE)}.")
        for name in ("accountName", _PLACE[kind]):
            if not properties.get(name):
                raise ArmError(400, "UserError", f"'{name}' is required and missing.", target=f"properties.{name}")
        credentials = properties.get("credentials") or {}
        type_ = credentials.get("credentialsType")
        if type_ not in ("None", *_SECRETS):
            raise ArmError(400, "UserError", f"The credentials type '{type_}' is not None, AccountKey or Sas.")
        if type_ != "None" and not (credentials.get("secrets") or {}).get(_SECRETS[type_]):
            raise ArmError(400, "UserError", f"Credentials of type '{type_}' need 'secrets.{_SECRETS[type_]}'.")
        if not skip and kind == "AzureBlob":
            try:
                self._cloud.part(BlobAccess, lambda: BlobAccess(self._cloud)).account(properties["accountName"])
                self._blobs.require_container(properties["accountName"], properties["containerName"])
            except BlobError as error:
                raise ArmError(400, "UserError", f"{error.message} (skipValidation=true keeps it anyway.)") from None

    @property
    def _blobs(self) -> Blobs:
        return self._cloud.part(Blobs, lambda: Blobs(self._cloud))

    def _keep(self, datastore_id: str, properties: Body) -> bool:
        store = self._cloud.store
        old = store.get(datastore_id)
        credentials = properties["credentials"]
        type_ = credentials["credentialsType"]
        whole = {
            "description": None,
            "tags": {},
            "properties": {},
            "isDefault": bool(old and old["properties"]["isDefault"]),
            "endpoint": "core.windows.net",
            "protocol": "https",
            "serviceDataAccessAuthIdentity": "None",
            **properties,
            "credentials": {"credentialsType": type_},
        }
        with store.transaction():
            if whole["isDefault"]:
                for other in store.children(datastore_id.rpartition("/datastores/")[0], "datastores"):
                    if other["properties"]["isDefault"]:
                        other["properties"]["isDefault"] = False
                        store.put(other["id"], other)
            if type_ != "None" and credentials.get("secrets"):
                secret = {"secretsType": type_, _SECRETS[type_]: credentials["secrets"][_SECRETS[type_]]}
                store.put_record("datastore-secret", datastore_id.lower(), secret)
            return store.put(datastore_id, envelope(datastore_id, {"properties": whole}, old, self._cloud.clock.now()))

    def make_defaults(self, workspace: Body) -> None:
        """The four datastores that every workspace is born with, and the containers behind them."""
        properties = workspace["properties"]
        account, suffix = last_part(properties["storageAccount"]).lower(), properties["workspaceId"]
        parts = properties["storageAccount"].strip("/").split("/")
        keyless = properties["systemDatastoresAuthMode"].lower() == "identity"
        shared: Body = {
            "accountName": account,
            "subscriptionId": parts[1],
            "resourceGroup": parts[3],
            "credentials": {"credentialsType": "None" if keyless else "AccountKey"},
            "serviceDataAccessAuthIdentity": "WorkspaceSystemAssignedIdentity" if keyless else "None",
        }
        blob, file = {"datastoreType": "AzureBlob"}, {"datastoreType": "AzureFile"}
        wanted: dict[str, Body] = {
            "workspaceblobstore": {**blob, "containerName": f"azureml-blobstore-{suffix}", "isDefault": True},
            "workspaceartifactstore": {**blob, "containerName": "azureml"},
            "workspaceworkingdirectory": {**file, "fileShareName": f"code-{suffix}"},
            "workspacefilestore": {**file, "fileShareName": f"azureml-filestore-{suffix}"},
        }
        for name, own in wanted.items():
            if "containerName" in own:
                self._blobs.make_container(account, own["containerName"])
            self._keep(f"{workspace['id']}/datastores/{name}", {**shared, **own})
