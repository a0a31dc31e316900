"""Subscriptions, resource groups and what is in them. Deleting a group deletes everything inside.

There is one subscription, the reserved all-zero one; template deployments are not here.
"""

from __future__ import annotations

import re

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
from localcloud.cloud import REGION, SUBSCRIPTION, TENANT, Cloud
from localcloud.services.regions import known_regions, plain
from localcloud.store import Body, place

_SUBSCRIPTION = "/subscriptions/{subscription}"
_GROUPS = f"{_SUBSCRIPTION}/resourceGroups"
_GROUP = f"{_GROUPS}/{{group}}"
# Resource providers, registered all: what the local cloud has types of.
_PROVIDERS = (
    *("Microsoft.Authorization", "Microsoft.ContainerRegistry", "Microsoft.Insights", "Microsoft.KeyVault"),
    *("Microsoft.Consumption", "Microsoft.MachineLearningServices", "Microsoft.ManagedIdentity", "Microsoft.Network"),
    *("Microsoft.OperationalInsights", "Microsoft.Resources", "Microsoft.Storage"),
)
_SHOWN = ("id", "name", "type", "location", "tags", "kind", "sku", "identity")

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = Groups(cloud)
    return [
        route("/subscriptions", ["GET"], service.list_subscriptions),
        route(_SUBSCRIPTION, ["GET"], service.get_subscription),
        route(f"{_SUBSCRIPTION}/locations", ["GET"], service.list_locations),
        route(f"{_SUBSCRIPTION}/resources", ["GET"], service.list_resources),
        route(f"{_SUBSCRIPTION}/providers", ["GET"], service.list_providers),
        route(f"{_SUBSCRIPTION}/providers/{{namespace}}", ["GET"], service.get_provider),
        route(f"{_SUBSCRIPTION}/providers/{{namespace}}/register", ["POST"], service.get_provider),
        route(_GROUPS, ["GET"], service.list_groups),
        route(_GROUP, ["GET", "HEAD"], service.get),
        route(_GROUP, ["PUT"], service.put),
        route(_GROUP, ["PATCH"], service.patch),
        route(_GROUP, ["DELETE"], service.delete),
        route(f"{_GROUP}/resources", ["GET"], service.list_resources),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class Groups:
    """The subscription, its groups, and lists of resources."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        cloud.operations.on("group.delete", self._finish_delete)

    async def list_subscriptions(self, request: Request) -> Response:
        require_api_version(request)
        return page(request, [_subscription()])

    async def get_subscription(self, request: Request) -> Response:
        require_api_version(request)
        _require_subscription(request)
        return json_response(_subscription())

    async def list_locations(self, request: Request) -> Response:
        require_api_version(request)
        _require_subscription(request)
        names = {REGION: "East US"}
        shown = [{"name": name, "displayName": names.get(name, name)} for name in known_regions(self._cloud)]
        return json_response({"value": shown})

    async def list_providers(self, request: Request) -> Response:
        require_api_version(request)
        _require_subscription(request)
        return page(request, [_provider(name) for name in _PROVIDERS])

    async def get_provider(self, request: Request) -> Response:
        require_api_version(request)
        _require_subscription(request)
        wanted = request.path_params["namespace"]
        for name in _PROVIDERS:
            if name.lower() == wanted.lower():
                return json_response(_provider(name))
        raise ArmError(
            404, "InvalidResourceNamespace", f"The resource namespace '{wanted}' is invalid, or not in the local cloud."
        )

    async def list_groups(self, request: Request) -> Response:
        require_api_version(request)
        _require_subscription(request)
        groups = self._cloud.store.children(_SUBSCRIPTION.format(**request.path_params), "resourceGroups")
        return page(request, _filtered(request, groups))

    async def get(self, request: Request) -> Response:
        require_api_version(request)
        found = self._require(request)
        # HEAD asks only whether it is there, and Azure answers 204.
        return Response(status_code=204) if request.method == "HEAD" else json_response(found)

    async def put(self, request: Request) -> Response:
        require_api_version(request)
        _require_subscription(request)
        body, name = await read_json(request), request.path_params["group"]
        if not re.fullmatch(r"[-\w._()]{1,89}[-\w_()]", name) and not re.fullmatch(r"[-\w_()]", name):
            raise ArmError(400, "InvalidResourceGroup", f"The provided resource group name '{name}' is not valid.")
        if self._cloud.strict:
            refuse_unknown(body, ("id", "name", "type", "location", "tags", "managedBy", "properties"), "body")
        wanted = _GROUP.format(**request.path_params)
        old = self._cloud.store.get(wanted)
        location = body.get("location")
        if not location:
            raise ArmError(400, "LocationRequired", "The location property is required for this definition.")
        known = known_regions(self._cloud)
        if plain(location) not in known:
            raise ArmError(
                400,
                "LocationNotAvailableForResourceGroup",
                f"The provided location '{location}' is not available for resource group. "
                f"List of available regions is '{','.join(known)}'.",
            )
        if old and plain(old["location"]) != plain(location):
            raise ArmError(
                409,
                "InvalidResourceGroupLocation",
                f"The resource group '{name}' already exists in location '{old['location']}'. "
                f"It cannot be created in location '{location}'.",
            )
        return self._write(wanted, body, old)

    async def patch(self, request: Request) -> Response:
        require_api_version(request)
        old = self._require(request)
        return self._write(old["id"], {**old, **await read_json(request)}, old)

    async def delete(self, request: Request) -> Response:
        require_api_version(request)
        found = self._require(request)
        operation = self._cloud.operations.start("group.delete", found["id"])
        return self._cloud.operations.respond(request, operation, None, 202)

    async def list_resources(self, request: Request) -> Response:
        require_api_version(request)
        _require_subscription(request)
        root = _GROUP if "group" in request.path_params else _SUBSCRIPTION
        if root == _GROUP:
            self._require(request)
        return page(request, _filtered(request, self.tracked(root.format(**request.path_params))))

    # -- model -------------------------------------------------------------------------------------------------

    def tracked(self, root: str) -> list[Body]:
        """The tracked resources below an id, without their properties, as ARM lists them."""
        return [
            {name: found[name] for name in _SHOWN if name in found}
            for found in self._cloud.store.beneath(root)
            if "location" in found and "/providers/" in found["id"] and "resourcegroups" in place(found["id"]).key
        ]

    def _require(self, request: Request) -> Body:
        _require_subscription(request)
        wanted = _GROUP.format(**request.path_params)
        found = self._cloud.store.get(wanted)
        if found is None:
            raise not_found(wanted)
        return found

    def _write(self, wanted: str, body: Body, old: Body | None) -> Response:
        shaped = {
            "location": body["location"],
            "tags": body.get("tags") or {},
            "properties": {"provisioningState": "Succeeded"},
        }
        if body.get("managedBy"):
            shaped["managedBy"] = body["managedBy"]
        whole = envelope(old["id"] if old else wanted, shaped, old, self._cloud.clock.now())
        self._cloud.store.put(wanted, whole)
        return json_response(whole, 200 if old else 201)

    def _finish_delete(self, resource_id: str, error: ArmError | None) -> None:
        for found in reversed(self._cloud.store.beneath(resource_id)):
            remove = self._cloud.removers.get(place(found["id"]).kind) if "id" in found else None
            if remove and self._cloud.store.get(found["id"]):
                remove(found)
        self._cloud.store.delete(resource_id)


def _require_subscription(request: Request) -> None:
    wanted = request.path_params["subscription"]
    if wanted != SUBSCRIPTION:
        raise ArmError(
            404,
            "SubscriptionNotFound",
            f"The subscription '{wanted}' could not be found. The local cloud has '{SUBSCRIPTION}' only.",
        )


def _subscription() -> Body:
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}",
        "subscriptionId": SUBSCRIPTION,
        "tenantId": TENANT,
        "displayName": "local cloud",
        "state": "Enabled",
    }


def _provider(name: str) -> Body:
    return {
        "id": f"/subscriptions/{SUBSCRIPTION}/providers/{name}",
        "namespace": name,
        "registrationState": "Registered",
        "registrationPolicy": "RegistrationRequired",
    }


def _filtered(request: Request, items: list[Body]) -> list[Body]:
    """`$filter` in the forms that clients send: resourceType eq, name eq, tagName eq and tagValue eq."""
    text = request.query_params.get("$filter")
    if not text:
        return items
    wanted = dict(re.findall(r"(resourceType|name|tagName|tagValue)\s+eq\s+'([^']*)'", text))
    if not wanted or re.sub(r"\w+\s+eq\s+'[^']*'|\band\b|\s", "", text):
        raise ArmError(400, "InvalidFilterInQueryString", f"The $filter '{text}' is not one that is known here.")

    def matches(item: Body) -> bool:
        tags = item.get("tags") or {}
        if "resourceType" in wanted and item["type"].lower() != wanted["resourceType"].lower():
            return False
        if "name" in wanted and item["name"].lower() != wanted["name"].lower():
            return False
        if "tagName" in wanted and wanted["tagName"] not in tags:
            return False
        return "tagValue" not in wanted or tags.get(wanted.get("tagName", "")) == wanted["tagValue"]

    return [item for item in items if matches(item)]
