"""What is in a registry of one's own: models, imported from a workspace or uploaded, in the registry's own storage.

An import copies the files, so that the registry's model outlives the workspace. Other kinds of assets are not here.
Simulated after the calls of azure-ai-ml 1.35.2: tests/conformance/azure/test_simulations.py, in its
test_a_shared_model_is_a_copy, settles on Azure whether the copy keeps tags and description.
"""

from __future__ import annotations

import re
import shutil
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from localcloud.arm import ArmError, json_response, not_found, page, read_json, refuse_unknown, require_api_version
from localcloud.cloud import Cloud
from localcloud.services.blob_access import BlobAccess
from localcloud.services.blob_files import Blobs
from localcloud.services.ml.assets import Assets, in_view, newest_first
from localcloud.services.ml.ids import PROVIDER, last_part
from localcloud.services.ml.models import MODEL, read_flavors
from localcloud.services.ml.paths import local_path
from localcloud.services.ml.registries import CONTAINER, account_of, find_registry
from localcloud.services.regions import plain
from localcloud.store import Body

_SOURCE = re.compile(
    r"azureml://locations/(?P<location>[^/]+)/workspaces/(?P<workspace>[^/]+)/models/(?P<name>[^/]+)"
    r"/versions/(?P<version>[^/]+)"
)
_OWN = re.compile(r"azureml://registries/(?P<registry>[^/]+)/models/(?P<name>[^/]+)/versions/(?P<version>[^/]+).*")
_IMPORT = ("referenceType", "destinationName", "destinationVersion", "sourceAssetId")
# What a copy takes over from the model that it is a copy of.
_COPIED = ("description", "tags", "properties", "modelType", "flavors")


def own_model_path(cloud: Cloud, reference: str) -> Path | None:
    """Where the files of a model in a registry of one's own lie; None when the reference is of another registry."""
    parts = _OWN.fullmatch(reference)
    registry = find_registry(cloud, parts["registry"]) if parts else None
    if parts is None or registry is None:
        return None
    found = cloud.store.get(f"{registry['id']}/models/{parts['name']}/versions/{parts['version']}")
    if found is None:
        raise ArmError(
            404, "NotFound", f"'{reference}' does not exist: registry '{registry['name']}' has no such model."
        )
    return _path(cloud, found["properties"]["modelUri"])


class RegistryModels(Assets):
    """Answers for the models of a registry of one's own, in the manners of all assets."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud, replace(MODEL, prepare=_prepare))
        cloud.operations.on("registry.import", lambda resource, error: None)
        cloud.operations.on("registry.put", lambda resource, error: None)

    # -- handlers ----------------------------------------------------------------------------------------------

    async def list_containers(self, request: Request) -> Response:
        registry = self._registry(request)
        found = [self._whole_container(one) for one in self._cloud.store.children(registry["id"], "models")]
        return page(request, in_view(request, [_shown(registry, one) for one in reversed(found)]))

    async def get_container(self, request: Request) -> Response:
        found = self._cloud.store.get(self._container_id(request))
        if found is None:
            raise not_found(self._container_id(request))
        return json_response(_shown(self._registry(request), self._whole_container(found)))

    async def list_versions(self, request: Request) -> Response:
        registry = self._registry(request)
        found = newest_first(request, self._cloud.store.children(self._container_id(request), "versions"))
        return page(request, in_view(request, [_shown(registry, one) for one in found]))

    async def get_version(self, request: Request) -> Response:
        found = self._cloud.store.get(self._version_id(request))
        if found is None:
            raise not_found(self._version_id(request))
        return json_response(_shown(self._registry(request), found))

    async def put_version(self, request: Request) -> Response:
        registry, version_id = self._registry(request), self._version_id(request)
        kept, new = self.register(registry, version_id, await read_json(request))
        operation = self._cloud.operations.start("registry.put", version_id)
        return self._cloud.operations.respond(request, operation, _shown(registry, kept), 201 if new else 200)

    async def import_asset(self, request: Request) -> Response:
        """Copies a workspace's model; the answer has no body, and the client then asks for the model itself."""
        registry, body = self._registry(request), await read_json(request)
        sent = body.get("properties") or {}
        if self._cloud.strict:
            refuse_unknown(body, ("id", "name", "type", "properties"), "body")
            refuse_unknown(sent, _IMPORT, "properties")
        workspace, model = self._source(registry, str(sent.get("sourceAssetId") or ""))
        name = sent.get("destinationName") or last_part(model["id"].rpartition("/versions/")[0])
        version_id = (
            f"{registry['id']}/models/{name}/versions/{sent.get('destinationVersion') or last_part(model['id'])}"
        )
        if self._cloud.store.get(version_id) is not None:
            raise ArmError(
                409, "Conflict", f"'{_reference(registry, version_id)}' exists already; a version never changes."
            )
        properties = {key: value for key, value in model["properties"].items() if key in _COPIED}
        uri = _copy(self._cloud, registry, local_path(self._cloud, workspace["id"], model["id"]), version_id)
        self.register(registry, version_id, {"properties": {**properties, "modelUri": uri}})
        operation = self._cloud.operations.start("registry.import", f"{registry['id']}/imports/{uuid.uuid4()}")
        return self._cloud.operations.respond(request, operation, None, 202)

    async def start_upload(self, request: Request) -> Response:
        """A container of its own for what the client is about to upload, with a signature for it."""
        registry, name, version = self._registry(request), request.path_params["name"], request.path_params["version"]
        await read_json(request)
        if self._cloud.store.get(f"{registry['id']}/models/{name}/versions/{version}") is not None:
            raise ArmError(409, "Conflict", f"Registry '{registry['name']}' has '{name}:{version}' already.")
        container = str(uuid.uuid4())
        self._cloud.part(Blobs, lambda: Blobs(self._cloud)).make_container(account_of(registry), container)
        return self._signed(registry, container, "rcwl")

    async def data_reference(self, request: Request) -> Response:
        """A signature with which the files of a model can be read."""
        registry, body = self._registry(request), await read_json(request)
        parts = _OWN.fullmatch(str(body.get("assetId") or ""))
        path = f"{parts['name']}/versions/{parts['version']}" if parts else ""
        found = self._cloud.store.get(f"{registry['id']}/models/{path}")
        if found is None:
            raise ArmError(404, "NotFound", f"'{body.get('assetId')}' does not exist.")
        container = urlsplit(found["properties"]["modelUri"]).path.strip("/").partition("/")[0]
        return self._signed(registry, container, "rl")

    # -- model -------------------------------------------------------------------------------------------------

    def _registry(self, request: Request) -> Body:
        require_api_version(request)
        found = find_registry(self._cloud, request.path_params["registry"])
        if found is None:
            raise ArmError(404, "NotFound", f"The registry '{request.path_params['registry']}' was not found.")
        return found

    def _container_id(self, request: Request) -> str:
        return f"{self._registry(request)['id']}/models/{request.path_params['name']}"

    def _signed(self, registry: Body, container: str, permissions: str) -> Response:
        account = account_of(registry)
        access = self._cloud.part(BlobAccess, lambda: BlobAccess(self._cloud))
        signer = registry["identity"]["principalId"]
        details = registry["properties"]["regionDetails"][0]["storageAccountDetails"][0]["systemCreatedStorageAccount"]
        return json_response(
            {
                "blobReferenceForConsumption": {
                    "blobUri": f"https://{account}.blob.core.windows.net/{container}",
                    "storageAccountArmId": details["armResourceId"]["resourceId"],
                    "credential": {
                        "credentialType": "SAS",
                        "sasUri": access.url(account, container, permissions=permissions, hours=24, signer=signer),
                    },
                }
            }
        )

    def _source(self, registry: Body, asset_id: str) -> tuple[Body, Body]:
        """The workspace and its model that an asset id names; the registry must have the workspace's region."""
        parts = _SOURCE.fullmatch(asset_id)
        if parts is None:
            raise ArmError(400, "UserError", f"'{asset_id}' is no id of a model in a workspace.")
        for workspace in self._cloud.store.beneath("/subscriptions", f"{PROVIDER}/workspaces"):
            if workspace["properties"]["workspaceId"] != parts["workspace"]:
                continue
            regions = [detail["location"] for detail in registry["properties"]["regionDetails"]]
            if plain(workspace["location"]) not in regions:
                raise ArmError(
                    400,
                    "UserError",
                    f"The workspace '{workspace['name']}' is in '{workspace['location']}', and the registry "
                    f"'{registry['name']}' has {', '.join(regions)} only.",
                )
            model = self._cloud.store.get(f"{workspace['id']}/models/{parts['name']}/versions/{parts['version']}")
            if model is not None:
                return workspace, model
        raise ArmError(404, "NotFound", f"The asset '{asset_id}' does not exist.")


def _prepare(cloud: Cloud, registry: Body, asset_id: str, properties: Body) -> Body:
    """A registry's model lies in the registry's storage, and its flavors are read there."""
    uri = properties["modelUri"]
    if _OWN.fullmatch(uri):
        own = cloud.store.get(asset_id)
        uri = own["properties"]["modelUri"] if own else uri
    if not uri.startswith(f"https://{account_of(registry)}.blob.core.windows.net/"):
        raise ArmError(
            400,
            "UserError",
            f"'{uri}' does not lie in the storage of the registry '{registry['name']}'. Upload the files, or share the "
            "model from its workspace.",
        )
    path, kind = _path(cloud, uri), properties.setdefault("modelType", "custom_model")
    if not path.exists():
        raise ArmError(404, "NotFound", f"Nothing lies at the model's path '{uri}'.")
    flavors = read_flavors(path, uri) if kind == "mlflow_model" else {}
    return properties | {"modelUri": uri.rstrip("/"), "flavors": flavors}


def _path(cloud: Cloud, uri: str) -> Path:
    parts = urlsplit(uri)
    container, _, rest = parts.path.strip("/").partition("/")
    blobs, account = cloud.part(Blobs, lambda: Blobs(cloud)), (parts.hostname or "").partition(".")[0]
    return blobs.path(account, container, rest) if rest else blobs.container(account, container)


def _copy(cloud: Cloud, registry: Body, source: Path, version_id: str) -> str:
    """Copy a model's file or folder into the registry's storage; its address there."""
    if not source.exists():
        raise ArmError(404, "NotFound", f"The files of the model do not exist any more: '{source.name}'.")
    account, place = account_of(registry), f"{version_id.rpartition('/models/')[2].replace('/versions/', '/')}"
    target = cloud.part(Blobs, lambda: Blobs(cloud)).path(account, CONTAINER, f"{place}/{source.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy2(source, target)
    return f"https://{account}.blob.core.windows.net/{CONTAINER}/{place}/{source.name}"


def _reference(registry: Body, resource_id: str) -> str:
    """The id under which a registry's asset is known everywhere."""
    return f"azureml://registries/{registry['name']}{resource_id[len(registry['id']) :]}"


def _shown(registry: Body, found: Body) -> dict[str, Any]:
    return {**found, "id": _reference(registry, found["id"])}
