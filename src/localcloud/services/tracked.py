"""What all of ARM's plain types share, driven by one description per type: resources of a group, parts of another
resource, and what is attached to any scope.

A service file describes its type and adds what only it has; state changes of long-running types go through the
operations, so the same pace rules them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from localcloud.arm import (
    ArmError,
    ArmRoute,
    envelope,
    json_response,
    not_found,
    page,
    read_json,
    refuse_unknown,
    require_api_version,
    route,
)
from localcloud.cloud import SUBSCRIPTION, Cloud
from localcloud.services.regions import require_region
from localcloud.store import Body, place

ANY_SCOPE = "/{scope:path}"
GROUP = "/subscriptions/{subscription}/resourceGroups/{group}"
_READ = ("id", "name", "type", "systemData", "etag")


@dataclass(frozen=True)
class TrackedType:
    """One type, e.g. `Microsoft.Storage/storageAccounts`.

    `top` are the envelope's members beside location and tags; `members` those of `properties`, in any case;
    `read_only` ones may be sent back and are ignored. `shape` makes the answer's properties from (id, body, old).
    `under` is the path of what it belongs to: a group, another resource, or `ANY_SCOPE`. `home` says where it stands:
    in a region, in `global`, or nowhere of its own, which goes without tags. `waits`: a DELETE is a long-running one.
    """

    name: str
    pattern: str
    under: str = GROUP
    home: Literal["region", "global", "none"] = "region"
    waits: bool = True
    top: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    shape: Callable[[Cloud, str, Body, Body | None], Body] = field(default=lambda cloud, found, body, old: {})
    check: Callable[[Cloud, str, Body, Body | None], None] = field(default=lambda cloud, found, body, old: None)
    on_put: Callable[[Cloud, Body], None] = field(default=lambda cloud, found: None)
    may_delete: Callable[[Cloud, Body], None] = field(default=lambda cloud, found: None)
    on_delete: Callable[[Cloud, Body], None] = field(default=lambda cloud, found: None)
    after_delete: Callable[[Cloud, Body], None] = field(default=lambda cloud, found: None)

    @property
    def provider(self) -> str:
        return self.name.partition("/")[0]

    @property
    def kind(self) -> str:
        return self.name.partition("/")[2]

    @property
    def segment(self) -> str:
        """What stands between the path of the parent and the name."""
        nested = "/providers/" in self.under
        return self.name.rpartition("/")[2] if nested else f"providers/{self.name}"


def require_group(cloud: Cloud, request: Request) -> Body:
    """The resource group of the path, or Azure's 404."""
    wanted = GROUP.format(**request.path_params)
    found = cloud.store.get(wanted)
    if found is None:
        raise not_found(wanted)
    return found


def require_parent(cloud: Cloud, request: Request, under: str) -> str:
    """The id of what the path says that a resource belongs to, as it is kept; Azure's 404 when it is not there."""
    wanted = "/" + under.replace(":path", "").format(**request.path_params).strip("/")
    if wanted.lower() == f"/subscriptions/{SUBSCRIPTION}":
        return wanted
    # Every storage account has these four; nobody makes them.
    holder = re.sub(r"/(blob|file|queue|table)Services/default$", "", wanted, flags=re.IGNORECASE)
    found = cloud.store.get(holder)
    if found is None:
        group = re.match(r"(/subscriptions/[^/]+/resourceGroups/[^/]+)/", wanted, re.IGNORECASE)
        raise not_found(group[1] if group and cloud.store.get(group[1]) is None else holder)
    kept: str = found["id"]
    return kept + wanted[len(holder) :]


class TrackedResources:
    """Routes and handlers of one type."""

    def __init__(self, cloud: Cloud, described: TrackedType) -> None:
        self.cloud, self.type = cloud, described
        self._delete_kind = f"{described.name.lower()}.delete"
        cloud.operations.on(self._delete_kind, self._finish_delete)
        cloud.removers[place(f"{described.under}/{described.segment}/name").kind] = self.remove

    def routes(self) -> list[ArmRoute]:
        provider, kind = self.type.provider, self.type.kind
        listed = f"{self.type.under}/{self.type.segment}"
        everywhere = f"/subscriptions/{{subscription}}/providers/{provider}/{kind}"
        return [
            *([route(everywhere, ["GET"], self.list_subscription)] if self.type.under == GROUP else []),
            route(listed, ["GET"], self.list_parent),
            route(f"{listed}/{{name}}", ["GET", "HEAD"], self.get),
            route(f"{listed}/{{name}}", ["PUT"], self.put),
            route(f"{listed}/{{name}}", ["PATCH"], self.patch),
            route(f"{listed}/{{name}}", ["DELETE"], self.delete),
        ]

    # -- handlers ----------------------------------------------------------------------------------------------

    async def list_subscription(self, request: Request) -> Response:
        require_api_version(request)
        return page(
            request, self.cloud.store.beneath(f"/subscriptions/{request.path_params['subscription']}", self.type.name)
        )

    async def list_parent(self, request: Request) -> Response:
        require_api_version(request)
        parent = require_parent(self.cloud, request, self.type.under)
        return page(request, self.cloud.store.children(parent, place(self._wanted(request, "name")).kind))

    async def get(self, request: Request) -> Response:
        require_api_version(request)
        return json_response(self.require(request))

    async def put(self, request: Request) -> Response:
        require_api_version(request)
        parent, body = require_parent(self.cloud, request, self.type.under), await read_json(request)
        wanted = f"{parent}/{self.type.segment}/{request.path_params['name']}"
        self.cloud.faults.raise_if_armed(f"{self.type.kind}.create")
        old = self.cloud.store.get(wanted)
        whole = self.make(wanted, body, old)
        self.cloud.store.put(wanted, whole)
        self.type.on_put(self.cloud, whole)
        return json_response(self.cloud.store.get(wanted), 200 if old else 201)

    async def patch(self, request: Request) -> Response:
        require_api_version(request)
        old, body = self.require(request), await read_json(request)
        merged = {name: old[name] for name in ("location", "tags", *self.type.top) if name in old} | body
        merged["properties"] = old.get("properties", {}) | (body.get("properties") or {})
        whole = self.make(old["id"], merged, old)
        self.cloud.store.put(old["id"], whole)
        self.type.on_put(self.cloud, whole)
        return json_response(self.cloud.store.get(old["id"]))

    async def delete(self, request: Request) -> Response:
        require_api_version(request)
        found = self.cloud.store.get(self._wanted(request))
        if found is None:
            return Response(status_code=204)
        self.type.may_delete(self.cloud, found)
        if not self.type.waits:
            self.remove(found)
            return Response(status_code=200)
        operation = self.cloud.operations.start(self._delete_kind, found["id"])
        return self.cloud.operations.respond(request, operation, None, 202)

    # -- model -------------------------------------------------------------------------------------------------

    def _wanted(self, request: Request, name: str | None = None) -> str:
        """The id that the path names, or one of that name beside it."""
        parent = "/" + self.type.under.replace(":path", "").format(**request.path_params).strip("/")
        return f"{parent}/{self.type.segment}/{name or request.path_params['name']}"

    def require(self, request: Request) -> Body:
        wanted = self._wanted(request)
        found = self.cloud.store.get(wanted)
        if found is None:
            raise not_found(wanted)
        return found

    def make(self, wanted: str, body: Body, old: Body | None) -> Body:
        """The whole resource; ArmError when the body is not one that Azure would take."""
        name = wanted.rpartition("/")[2]
        if not re.fullmatch(self.type.pattern, name):
            raise ArmError(
                400, "InvalidResourceName", f"'{name}' is no valid name for {self.type.name}: {self.type.pattern}"
            )
        sent = {key: value for key, value in (body.get("properties") or {}).items() if value is not None}
        if self.cloud.strict:
            own = () if self.type.home == "none" else ("location", "tags")
            refuse_unknown(body, (*own, "properties", *self.type.top, *_READ), "body")
            known = {member.lower() for member in (*self.type.members, *self.type.read_only)}
            strange = {key: value for key, value in sent.items() if key.lower() not in known}
            refuse_unknown(strange, () if strange else self.type.members, "properties")
        for member in self.type.required:
            head, _, inner = member.partition(".")
            value = body.get(head) if head != "properties" else sent.get(inner)
            if value is None:
                raise ArmError(400, "InvalidRequestContent", f"The required member '{member}' is missing.")
        location = self._home(name, body, old)
        self.type.check(self.cloud, wanted, body, old)
        ignored = {member.lower() for member in self.type.read_only}
        kept = {key: value for key, value in sent.items() if key.lower() not in ignored}
        whole = {
            **({} if self.type.home == "none" else {"location": location, "tags": body.get("tags") or {}}),
            **{key: body[key] for key in self.type.top if body.get(key) is not None},
            "properties": kept | self.type.shape(self.cloud, wanted, body, old),
        }
        connections = ((old or {}).get("properties") or {}).get("privateEndpointConnections")
        if connections:
            whole["properties"]["privateEndpointConnections"] = connections
        return envelope(old["id"] if old else wanted, whole, old, self.cloud.clock.now())

    def _home(self, name: str, body: Body, old: Body | None) -> str | None:
        """The location, which must be one of the type's and stays what it was."""
        if self.type.home == "none":
            return None
        location: str | None = body.get("location") or (old or {}).get("location")
        if not location:
            raise ArmError(400, "LocationRequired", "The location property is required for this definition.")
        require_region(self.cloud, location, self.type.name, everywhere=self.type.home == "global")
        if old and old["location"].replace(" ", "").lower() != location.replace(" ", "").lower():
            raise ArmError(
                409,
                "InvalidResourceLocation",
                f"The resource '{name}' already exists in location '{old['location']}'. "
                f"A resource with the same name cannot be created in location '{location}'.",
            )
        return location

    def _finish_delete(self, resource_id: str, error: ArmError | None) -> None:
        found = self.cloud.store.get(resource_id)
        if found:
            self.remove(found)

    def remove(self, found: Body) -> None:
        """Delete now, with what the type does on deletion (soft delete, say)."""
        self.type.on_delete(self.cloud, found)
        self.cloud.store.delete(found["id"])
        self.type.after_delete(self.cloud, found)
