"""Online endpoints: a name in front of deployments, its keys and tokens, and the traffic rules.

A PUT is the whole endpoint: one without `traffic` clears it. What answers a scoring request is `serving.router`.
Faults: `endpoint.create` and `endpoint.update` fail the PUT.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import timedelta
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
from localcloud.services import entra
from localcloud.services.ml.identity import assign_identity
from localcloud.services.ml.ids import WORKSPACE, require_workspace
from localcloud.serving.metrics import Metrics
from localcloud.serving.router import host_of, token_audience
from localcloud.serving.upkeep import Upkeep
from localcloud.store import Body

ENDPOINTS = f"{WORKSPACE}/onlineEndpoints"
ENDPOINT = f"{ENDPOINTS}/{{endpoint}}"
NAME = re.compile(r"(?=.{3,32}$)[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*")
AUTH_MODES = ("Key", "AMLToken", "AADToken")
MOST_MIRRORED = 50
MOST_ENDPOINTS = 100
_TOKEN_SECONDS = 12 * 3600

_MEMBERS = ("id", "name", "type", "systemData", "location", "tags", "identity", "kind", "sku", "properties")
_PROPERTIES = (
    "authMode",
    "compute",
    "description",
    "keys",
    "mirrorTraffic",
    "properties",
    "provisioningState",
    "publicNetworkAccess",
    "scoringUri",
    "swaggerUri",
    "traffic",
)

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = Endpoints(cloud)
    return [
        route(ENDPOINTS, ["GET"], service.list),
        route(ENDPOINT, ["GET"], service.get),
        route(ENDPOINT, ["PUT"], service.put),
        route(ENDPOINT, ["PATCH"], service.patch),
        route(ENDPOINT, ["DELETE"], service.delete),
        route(ENDPOINT + "/listKeys", ["POST"], service.list_keys),
        route(ENDPOINT + "/regenerateKeys", ["POST"], service.regenerate_keys),
        route(ENDPOINT + "/token", ["POST"], service.token),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class Endpoints:
    """Answers under `…/onlineEndpoints`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._upkeep = cloud.part(Upkeep, lambda: Upkeep(cloud))
        self._metrics = cloud.part(Metrics, lambda: Metrics(cloud.clock.now))
        cloud.operations.on("endpoint.write", self._written)
        cloud.operations.on("endpoint.delete", self._deleted)
        cloud.operations.on("endpoint.keys", lambda resource_id, error: None)

    async def list(self, request: Request) -> Response:
        require_api_version(request)
        workspace = require_workspace(self._cloud, request)
        found = self._cloud.store.children(workspace["id"], "onlineEndpoints")
        return page(request, _filtered(request, found))

    async def get(self, request: Request) -> Response:
        require_api_version(request)
        return json_response(self._existing(request))

    async def put(self, request: Request) -> Response:
        require_api_version(request)
        workspace = require_workspace(self._cloud, request)
        name = request.path_params["endpoint"]
        if not NAME.fullmatch(name):
            raise _bad(
                f"The endpoint name '{name}' is not valid: 3 to 32 letters, digits and single dashes, a letter first."
            )
        endpoint_id = f"{workspace['id']}/onlineEndpoints/{name}"
        old = self._cloud.store.get(endpoint_id)
        body = await read_json(request)
        return self._write(request, endpoint_id, body, old, workspace)

    async def patch(self, request: Request) -> Response:
        """Tags and identity only, as the public contract has it."""
        require_api_version(request)
        old = self._existing(request)
        body = await read_json(request)
        refuse_unknown(body, ("tags", "identity"), "body")
        self._refuse_while_busy(old)
        changed = {**old, **{name: value for name, value in body.items() if name == "tags"}}
        if "identity" in body:
            changed["identity"] = assign_identity(self._cloud, body["identity"], old.get("identity"))
        return self._save(request, changed, old)

    async def delete(self, request: Request) -> Response:
        require_api_version(request)
        found = self._cloud.store.get(_id(request))
        if found is None:
            return Response(status_code=204)
        for deployment in self._cloud.store.children(found["id"], "deployments"):
            await self._upkeep.retire(deployment["id"])
        found["properties"]["provisioningState"] = "Deleting"
        self._cloud.store.put(found["id"], found)
        operation = self._cloud.operations.start("endpoint.delete", found["id"])
        return self._cloud.operations.respond(request, operation, None, 202)

    async def list_keys(self, request: Request) -> Response:
        require_api_version(request)
        found = self._existing(request)
        self._require_mode(found, "Key", "keys")
        return json_response(self._cloud.store.record("endpoint-keys", found["id"].lower()))

    async def regenerate_keys(self, request: Request) -> Response:
        require_api_version(request)
        found = self._existing(request)
        self._require_mode(found, "Key", "keys")
        body = await read_json(request)
        refuse_unknown(body, ("keyType", "keyValue"), "body")
        member = {"primary": "primaryKey", "secondary": "secondaryKey"}.get(str(body.get("keyType")).lower())
        if member is None:
            raise _bad(f"'keyType' is '{body.get('keyType')}'; it must be 'Primary' or 'Secondary'.")
        keys = self._cloud.store.record("endpoint-keys", found["id"].lower()) or {}
        given = body.get("keyValue")
        # azure-ai-ml sends the old value and expects a new one.
        keys[member] = str(given) if given and given not in keys.values() else _new_key()
        self._cloud.store.put_record("endpoint-keys", found["id"].lower(), keys)
        operation = self._cloud.operations.start("endpoint.keys", found["id"])
        return self._cloud.operations.respond(request, operation, None, 202, location_only=True)

    async def token(self, request: Request) -> Response:
        require_api_version(request)
        found = self._existing(request)
        self._require_mode(found, "AMLToken", "tokens")
        now = self._cloud.clock.now()
        return json_response(
            {
                "accessToken": entra.issue_token(self._cloud, token_audience(found), lifetime=_TOKEN_SECONDS),
                "expiryTimeUtc": int((now + timedelta(seconds=_TOKEN_SECONDS)).timestamp()),
                "refreshAfterTimeUtc": int((now + timedelta(seconds=_TOKEN_SECONDS / 2)).timestamp()),
                "tokenType": "Bearer",
            }
        )

    # -- model -------------------------------------------------------------------------------------------------

    def _existing(self, request: Request) -> Body:
        require_workspace(self._cloud, request)
        found = self._cloud.store.get(_id(request))
        if found is None:
            raise not_found(_id(request))
        return found

    def _require_mode(self, endpoint: Body, mode: str, what: str) -> None:
        found = endpoint["properties"]["authMode"]
        if found != mode:
            raise _bad(f"The endpoint '{endpoint['name']}' has authMode '{found}' and therefore no {what}.")

    def _refuse_while_busy(self, old: Body) -> None:
        if old["properties"]["provisioningState"] in ("Creating", "Updating", "Deleting"):
            raise ArmError(
                409,
                "Conflict",
                f"The endpoint '{old['name']}' is {old['properties']['provisioningState'].lower()}; "
                "wait for that operation to end.",
            )

    def _write(self, request: Request, endpoint_id: str, body: Body, old: Body | None, workspace: Body) -> Response:
        if self._cloud.strict:
            refuse_unknown(body, _MEMBERS, "body")
            refuse_unknown(body.get("properties") or {}, _PROPERTIES, "properties")
        if old:
            self._refuse_while_busy(old)
        location = _location(body, old, workspace)
        given = body.get("properties") or {}
        if given.get("authMode") not in AUTH_MODES:
            raise _bad(f"'properties.authMode' is '{given.get('authMode')}'; use one of {', '.join(AUTH_MODES)}.")
        self._check_traffic(endpoint_id, given)
        self._cloud.faults.raise_if_armed("endpoint.create" if old is None else "endpoint.update")
        host = host_of(endpoint_id.rpartition("/")[2], location)
        self._claim_name(host, endpoint_id, location, new=old is None)
        keys = given.get("keys")
        properties = {
            **{name: value for name, value in given.items() if name not in ("keys", "provisioningState")},
            "properties": given.get("properties") or {},
            "traffic": given.get("traffic") or {},
            "mirrorTraffic": given.get("mirrorTraffic") or {},
            "publicNetworkAccess": given.get("publicNetworkAccess") or "Enabled",
            "scoringUri": f"https://{host}/score",
            "swaggerUri": f"https://{host}/swagger.json",
        }
        changed = {
            **{name: value for name, value in body.items() if name in _MEMBERS},
            "location": location,
            "tags": body.get("tags") or {},
            "kind": body.get("kind") or "Managed",
            "identity": assign_identity(
                self._cloud, body.get("identity"), (old or {}).get("identity"), default="SystemAssigned"
            ),
            "properties": properties,
        }
        if old is None:
            first = {"primaryKey": _new_key(), "secondaryKey": _new_key()}
            self._cloud.store.put_record("endpoint-keys", endpoint_id.lower(), {**first, **(keys or {})})
        return self._save(request, {"id": endpoint_id, **changed}, old)

    def _save(self, request: Request, changed: Body, old: Body | None) -> Response:
        resource = envelope(changed["id"], changed, old, self._cloud.clock.now())
        resource["properties"] = {**resource["properties"], "provisioningState": "Updating" if old else "Creating"}
        self._cloud.store.put(resource["id"], resource)
        operation = self._cloud.operations.start("endpoint.write", resource["id"])
        shown = self._cloud.store.get(resource["id"])
        return self._cloud.operations.respond(request, operation, shown, 200 if old else 201)

    def _check_traffic(self, endpoint_id: str, given: Mapping[str, Any]) -> None:
        known = {body["name"]: body for body in self._cloud.store.children(endpoint_id, "deployments")}
        live = _percentages(given.get("traffic") or {}, "traffic", known)
        if sum(live.values()) not in (0, 100):
            raise _bad(f"'properties.traffic' {dict(live)} sums to {sum(live.values())}; it must sum to 0 or 100.")
        mirrored = _percentages(given.get("mirrorTraffic") or {}, "mirrorTraffic", known)
        if len([name for name, percent in mirrored.items() if percent]) > 1:
            raise _bad(f"'properties.mirrorTraffic' {dict(mirrored)} names more than one deployment.")
        for name, percent in mirrored.items():
            if percent > MOST_MIRRORED:
                raise _bad(
                    f"'properties.mirrorTraffic' sends {percent} % to '{name}'; at most {MOST_MIRRORED} % is allowed."
                )
            if percent and live.get(name):
                raise _bad(f"The deployment '{name}' has {live[name]} % of live traffic, so it cannot be mirrored to.")

    def _claim_name(self, host: str, endpoint_id: str, location: str, *, new: bool) -> None:
        owner = self._cloud.store.record("endpoint-host", host)
        if owner and owner["id"].lower() != endpoint_id.lower() and self._cloud.store.get(owner["id"]):
            raise ArmError(
                409,
                "Conflict",
                f"There is already an endpoint with the name '{endpoint_id.rpartition('/')[2]}' "
                f"in the region '{location}'. Names are unique per region.",
            )
        known = [body for key, body in self._cloud.store.records("endpoint-host") if f".{location}." in key]
        if new and len([body for body in known if self._cloud.store.get(body["id"])]) >= MOST_ENDPOINTS:
            raise _bad(f"There are {MOST_ENDPOINTS} online endpoints in '{location}', which is the limit.")
        self._cloud.store.put_record("endpoint-host", host, {"id": endpoint_id})

    def _written(self, endpoint_id: str, error: ArmError | None) -> None:
        found = self._cloud.store.get(endpoint_id)
        if found:
            found["properties"]["provisioningState"] = "Failed" if error else "Succeeded"
            self._cloud.store.put(endpoint_id, found)

    def _deleted(self, endpoint_id: str, error: ArmError | None) -> None:
        found = self._cloud.store.get(endpoint_id)
        if found and not error:
            self._cloud.store.delete(endpoint_id)
            self._cloud.store.delete_record("endpoint-keys", endpoint_id.lower())
            self._cloud.store.delete_record("endpoint-host", host_of(found["name"], found["location"]))
            self._metrics.forget(endpoint_id)


def _id(request: Request) -> str:
    return ENDPOINT.format(**request.path_params)


def _bad(message: str) -> ArmError:
    return ArmError(400, "BadRequest", message)


def _new_key() -> str:
    return secrets.token_urlsafe(24)


def _location(body: Body, old: Body | None, workspace: Body) -> str:
    location = str(body.get("location") or "").replace(" ", "").lower()
    if not location:
        raise ArmError(400, "LocationRequired", "The location property is required for this definition.")
    if location != str(workspace["location"]).replace(" ", "").lower():
        raise _bad(f"The endpoint's location '{location}' is not the workspace's, '{workspace['location']}'.")
    if old and old["location"] != location:
        raise ArmError(
            409,
            "InvalidResourceLocation",
            f"The endpoint '{old['name']}' exists in location '{old['location']}' and cannot move to '{location}'.",
        )
    return location


def _percentages(given: Any, member: str, known: Mapping[str, Body]) -> dict[str, int]:
    if not isinstance(given, dict):
        raise _bad(f"'properties.{member}' must be an object of deployment names and whole percentages.")
    for name, percent in given.items():
        if not isinstance(percent, int) or isinstance(percent, bool) or not 0 <= percent <= 100:
            raise _bad(f"'properties.{member}' gives '{name}' the share '{percent}'; use a whole number, 0 to 100.")
        if name not in known:
            names = ", ".join(f"'{found}'" for found in known) or "none"
            raise _bad(f"'properties.{member}' names the absent deployment '{name}'. There are: {names}.")
    return given


def _filtered(request: Request, found: list[Body]) -> list[Body]:
    """The query parameters of the list: `name`, `tags` (`a=1,b`) and `orderBy`."""
    query = request.query_params
    if query.get("name"):
        found = [body for body in found if body["name"].lower() == query["name"].lower()]
    for wanted in (query.get("tags") or "").split(",") if query.get("tags") else []:
        name, equal, value = wanted.partition("=")
        found = [body for body in found if name in body["tags"] and (not equal or body["tags"][name] == value)]
    order = query.get("orderBy", "")
    if order:
        member = "createdAt" if order.startswith("Created") else "lastModifiedAt"
        found = sorted(found, key=lambda body: str(body["systemData"][member]), reverse=order.endswith("Desc"))
    return found
