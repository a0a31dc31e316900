"""Versioned assets, the manners that data, environments, components, models and code share.

A version never changes its content; a container (the name) answers which version is the latest and which the next.
What is particular to a kind stands in that kind's own file, as a row of `AssetKind`.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

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
from localcloud.services.acting import signer_of
from localcloud.services.blob_access import BlobAccess
from localcloud.services.blob_files import Blobs
from localcloud.services.ml.ids import WORKSPACE, last_part, require_workspace
from localcloud.store import Body

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,254}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}")
_ENVELOPE = ("id", "name", "type", "properties", "systemData")
_ANY_MEMBERS = ("description", "tags", "properties", "isAnonymous", "isArchived", "provisioningState", "stage")
_CONTAINER_MEMBERS = (
    *("description", "tags", "properties", "isArchived", "provisioningState", "latestVersion", "nextVersion"),
    "dataType",
)
_CONTAINER_DEFAULTS: Body = {"tags": {}, "properties": {}, "isArchived": False}

# (cloud, workspace, asset id, properties as sent) -> properties to be kept.
Prepare = Callable[[Cloud, Body, str, Body], Body]


@dataclass(frozen=True)
class AssetKind:
    """One kind of asset: its path segment, its members beyond the common ones, and what is checked.

    `content` picks what a version never changes: a second PUT with other content is a 409.
    """

    segment: str
    members: Collection[str]
    required: Collection[str]
    content: Callable[[Body], Any]
    prepare: Prepare | None = None
    conflict: str = "Asset paths cannot be updated."
    # The contract gives data no `provisioningState`; all other kinds have one.
    has_state: bool = True


# -- routes ----------------------------------------------------------------------------------------------------


def asset_routes(cloud: Cloud, kind: AssetKind) -> list[Route]:
    service = Assets(cloud, kind)
    containers = f"{WORKSPACE}/{kind.segment}"
    versions = f"{containers}/{{name}}/versions"
    return [
        route(containers, ["GET"], service.list_containers),
        route(f"{containers}/{{name}}", ["GET"], service.get_container),
        route(f"{containers}/{{name}}", ["PUT"], service.put_container),
        route(f"{containers}/{{name}}", ["DELETE"], service.delete),
        route(versions, ["GET"], service.list_versions),
        route(f"{versions}/{{version}}", ["GET"], service.get_version),
        route(f"{versions}/{{version}}", ["PUT"], service.put_version),
        route(f"{versions}/{{version}}", ["DELETE"], service.delete),
        route(f"{versions}/{{version}}/startPendingUpload", ["POST"], service.start_pending_upload),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class Assets:
    """Containers and versions of one kind of asset in a workspace."""

    def __init__(self, cloud: Cloud, kind: AssetKind) -> None:
        self._cloud, self._kind = cloud, kind

    def _container_id(self, request: Request) -> str:
        workspace = require_workspace(self._cloud, request)
        require_api_version(request)
        return f"{workspace['id']}/{self._kind.segment}/{request.path_params['name']}"

    def _version_id(self, request: Request) -> str:
        return f"{self._container_id(request)}/versions/{request.path_params['version']}"

    async def list_containers(self, request: Request) -> Response:
        require_api_version(request)
        workspace = require_workspace(self._cloud, request)
        found = self._cloud.store.children(workspace["id"], self._kind.segment)
        shown = [self._whole_container(container) for container in found if not self._is_anonymous(container)]
        return page(request, in_view(request, list(reversed(shown))))

    async def get_container(self, request: Request) -> Response:
        container = self._cloud.store.get(self._container_id(request))
        if container is None:
            raise not_found(self._container_id(request))
        return json_response(self._whole_container(container))

    async def put_container(self, request: Request) -> Response:
        container_id, body = self._container_id(request), await read_json(request)
        _require_name(container_id, _NAME)
        properties = body.get("properties") or {}
        if self._cloud.strict:
            refuse_unknown(body, _ENVELOPE, "body")
            refuse_unknown(properties, _CONTAINER_MEMBERS, "properties")
        old = self._cloud.store.get(container_id)
        kept = {name: value for name, value in properties.items() if not name.endswith("Version")}
        whole = envelope(
            container_id, {"properties": self._with_state(_CONTAINER_DEFAULTS | kept)}, old, self._cloud.clock.now()
        )
        self._cloud.store.put(container_id, whole)
        return json_response(self._whole_container(whole), 200 if old else 201)

    async def list_versions(self, request: Request) -> Response:
        container_id = self._container_id(request)
        digest = request.query_params.get("hash")
        if digest:
            return page(request, self._with_hash(container_id, digest))
        found = self._cloud.store.children(container_id, "versions")
        return page(request, in_view(request, newest_first(request, found)))

    async def get_version(self, request: Request) -> Response:
        version_id = self._version_id(request)
        found = self._cloud.store.get(version_id)
        if found is None:
            raise not_found(version_id)
        return json_response(found)

    async def put_version(self, request: Request) -> Response:
        version_id, body = self._version_id(request), await read_json(request)
        kept, new = self.register(require_workspace(self._cloud, request), version_id, body)
        return json_response(kept, 201 if new else 200)

    async def delete(self, request: Request) -> Response:
        version = "version" in request.path_params
        wanted = self._version_id(request) if version else self._container_id(request)
        return Response(status_code=200 if self._cloud.store.delete(wanted) else 204)

    async def start_pending_upload(self, request: Request) -> Response:
        """A container of its own for what the client is about to upload, with a signature for it."""
        self._version_id(request)
        body = await read_json(request)
        kind = body.get("pendingUploadType", "None")
        if kind != "TemporaryBlobReference":
            raise ArmError(400, "UserError", f"The pending upload type '{kind}' is not 'TemporaryBlobReference'.")
        workspace = require_workspace(self._cloud, request)
        storage = workspace["properties"]["storageAccount"]
        account, container = last_part(storage).lower(), str(uuid.uuid4())
        self._cloud.part(Blobs, lambda: Blobs(self._cloud)).make_container(account, container)
        access = self._cloud.part(BlobAccess, lambda: BlobAccess(self._cloud))
        return json_response(
            {
                "pendingUploadId": body.get("pendingUploadId") or container,
                "pendingUploadType": kind,
                "blobReferenceForConsumption": {
                    "blobUri": f"https://{account}.blob.core.windows.net/{container}",
                    "storageAccountArmId": storage,
                    "credential": {
                        "credentialType": "SAS",
                        "sasUri": access.url(
                            account, container, permissions="rcwl", hours=24, signer=signer_of(self._cloud, workspace)
                        ),
                    },
                },
            }
        )

    # -- model -------------------------------------------------------------------------------------------------

    def register(self, workspace: Body, version_id: str, body: Body) -> tuple[Body, bool]:
        """Check and keep one version and its container; (what is kept, whether it is new)."""
        container_id = version_id.rsplit("/versions/", 1)[0]
        _require_name(container_id, _NAME)
        _require_name(version_id, _VERSION)
        sent = body.get("properties")
        if not isinstance(sent, dict):
            raise ArmError(400, "UserError", "The request has no 'properties'.")
        sent = {name: value for name, value in sent.items() if value is not None}
        if self._cloud.strict:
            refuse_unknown(body, _ENVELOPE, "body")
            refuse_unknown(sent, (*_ANY_MEMBERS, *self._kind.members), "properties")
        for name in self._kind.required:
            if not sent.get(name):
                raise ArmError(400, "UserError", f"'{name}' is required and missing.", target=f"properties.{name}")
        properties = self._with_state(_with_defaults(sent))
        if self._kind.prepare:
            properties = self._kind.prepare(self._cloud, workspace, version_id, properties)
        store, now = self._cloud.store, self._cloud.clock.now()
        with store.transaction():
            old = store.get(version_id)
            if old is not None:
                self._refuse_changed(old["properties"], properties)
            if store.get(container_id) is None:
                fresh: Body = {"properties": self._with_state(_CONTAINER_DEFAULTS)}
                if "dataType" in properties:
                    fresh["properties"]["dataType"] = properties["dataType"]
                store.put(container_id, envelope(container_id, fresh, None, now))
            whole = envelope(version_id, {"properties": properties}, old, now)
            return whole, store.put(version_id, whole)

    def _with_state(self, properties: Body) -> Body:
        told = {name: value for name, value in properties.items() if name != "provisioningState"}
        return told | {"provisioningState": "Succeeded"} if self._kind.has_state else told

    def _refuse_changed(self, old: Body, new: Body) -> None:
        if self._kind.content(old) != self._kind.content(new):
            raise ArmError(409, "UserError", self._kind.conflict)

    def _whole_container(self, container: Body) -> Body:
        versions = self._cloud.store.children(container["id"], "versions")
        names = [last_part(version["id"]) for version in versions]
        active = [last_part(v["id"]) for v in versions if not v["properties"].get("isArchived")]
        numbers = [int(name) for name in names if name.isdigit()]
        container["properties"] |= {
            "latestVersion": active[-1] if active else None,
            "nextVersion": str(max(numbers, default=0) + 1),
        }
        return container

    def _is_anonymous(self, container: Body) -> bool:
        versions = self._cloud.store.children(container["id"], "versions")
        return bool(versions) and all(version["properties"].get("isAnonymous") for version in versions)

    def _with_hash(self, container_id: str, digest: str) -> list[Body]:
        """Versions with this content hash under any name: a client asks with a new name every time."""
        found: list[Body] = []
        for container in self._cloud.store.children(
            container_id.rpartition("/")[0].rpartition("/")[0], self._kind.segment
        ):
            for version in self._cloud.store.children(container["id"], "versions"):
                if (version["properties"].get("properties") or {}).get("hash_sha256") == digest:
                    found.append(version)
        return found[-1:]


def newest_first(request: Request, items: list[Body]) -> list[Body]:
    """Items come oldest first; `$orderBy` may ask for that order, or for the service's own, the newest first."""
    order = (request.query_params.get("$orderBy") or request.query_params.get("orderBy") or "createdtime desc").lower()
    if order not in ("createdtime desc", "createdtime asc", "createdtime"):
        raise ArmError(400, "UserError", f"'{order}' is no order; use 'createdtime desc' or 'createdtime asc'.")
    return list(reversed(items)) if order == "createdtime desc" else items


def in_view(request: Request, items: list[Body]) -> list[Body]:
    """Items that `listViewType` asks for: active ones unless it says otherwise."""
    asked = request.query_params.get("listViewType", "ActiveOnly")
    # azure-ai-ml 1.35.2 writes the name of its enum member when it lists a registry: `ListViewType.ACTIVE_ONLY`.
    view = asked.removeprefix("ListViewType.").replace("_", "").lower()
    if view not in ("activeonly", "archivedonly", "all"):
        raise ArmError(400, "UserError", f"'{asked}' is no listViewType; use ActiveOnly, ArchivedOnly or All.")
    if view == "all":
        return items
    return [item for item in items if bool(item["properties"].get("isArchived")) == (view == "archivedonly")]


def _with_defaults(properties: Body) -> Body:
    defaults: dict[str, Any] = {"tags": {}, "properties": {}, "isAnonymous": False, "isArchived": False}
    whole = {**defaults, **properties}
    for name in ("tags", "properties"):
        # The service keeps text: the SDK sends a code's `hash_version` as a number.
        if not isinstance(whole[name], dict):
            raise ArmError(400, "UserError", f"'{name}' is no object of texts.", target=f"properties.{name}")
        whole[name] = {
            key: value if value is None or isinstance(value, str) else json.dumps(value)
            for key, value in whole[name].items()
        }
    return whole


def _require_name(resource_id: str, pattern: re.Pattern[str]) -> None:
    name = last_part(resource_id)
    if not pattern.fullmatch(name):
        raise ArmError(
            400, "UserError", f"'{name}' is no asset name or version: letters, digits, '_', '-' and '.', at most 255."
        )
