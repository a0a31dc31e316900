"""Compute clusters: their size, scale settings and the nodes they hold, which are none while nothing runs.

No machine is started: jobs run on this one, whatever size their cluster names. Faults: `compute.create` refuses the
PUT, `compute.provision` lets the operation fail later.
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
    timestamp,
)
from localcloud.cloud import Cloud
from localcloud.services.ml.identity import assign_identity
from localcloud.services.ml.ids import WORKSPACE, require_workspace, workspace_of
from localcloud.services.ml.managed_network import activate
from localcloud.services.ml.sizes import Sizes
from localcloud.store import Body

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]")
_TOP = ("id", "name", "type", "systemData", "properties", "identity", "location", "sku", "tags")
_OUTER = (
    *("computeType", "computeLocation", "description", "disableLocalAuth", "properties", "resourceId"),
    *("provisioningState", "createdOn", "modifiedOn", "provisioningErrors", "isAttachedCompute"),
)
_INNER = (
    *("osType", "vmSize", "vmPriority", "virtualMachineImage", "isolatedNetwork", "scaleSettings", "subnet"),
    *("userAccountCredentials", "remoteLoginPortPublicAccess", "enableNodePublicIp", "propertyBag"),
    *("allocationState", "allocationStateTransitionTime", "errors", "currentNodeCount", "targetNodeCount"),
    *("nodeStateCounts",),
)
_NODE_STATES = ("idle", "running", "preparing", "unusable", "leaving", "preempted")
# Stricter than the service, which has been seen to keep the old value without a word.
# A PUT with another value is taken and changes nothing; source: azure-rest-api-specs issue 18889.
_FIXED = ("vmSize", "vmPriority", "osType", "enableNodePublicIp", "isolatedNetwork", "subnet")

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = cloud.part(Computes, lambda: Computes(cloud))
    one = f"{WORKSPACE}/computes/{{name}}"
    return [
        route(f"{WORKSPACE}/computes", ["GET"], service.list_all),
        route(one, ["GET"], service.get),
        route(one, ["PUT"], service.put),
        route(one, ["PATCH"], service.patch),
        route(one, ["DELETE"], service.delete),
        route(f"{one}/listNodes", ["POST"], service.list_nodes),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class Computes:
    """The clusters of workspaces.

    Whoever runs jobs says with `set_nodes` how many nodes are busy; reach it with
    `cloud.part(Computes, lambda: Computes(cloud))`.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._sizes = cloud.part(Sizes, lambda: Sizes(cloud))
        cloud.operations.on("compute.put", self._finish_put)
        cloud.operations.on("compute.delete", self._finish_delete)

    async def list_all(self, request: Request) -> Response:
        require_api_version(request)
        return page(request, self._cloud.store.children(require_workspace(self._cloud, request)["id"], "computes"))

    async def get(self, request: Request) -> Response:
        return json_response(self._require(request))

    async def put(self, request: Request) -> Response:
        compute_id, body = self._id(request), await read_json(request)
        self._cloud.faults.raise_if_armed("compute.create")
        workspace, old = require_workspace(self._cloud, request), self._cloud.store.get(compute_id)
        whole = self._shape(compute_id, workspace, body, old)
        return self._start(request, whole, 200 if old else 201)

    async def patch(self, request: Request) -> Response:
        """Changes the scale settings, the only thing a cluster lets change by PATCH."""
        old, body = self._require(request), await read_json(request)
        outer = body.get("properties") or {}
        inner = outer.get("properties") or {}
        settings = inner.get("scaleSettings") or outer.get("scaleSettings")
        if self._cloud.strict:
            refuse_unknown(inner, ("scaleSettings",), "properties.properties")
        if not settings:
            raise ArmError(400, "BadRequest", "'properties.properties.scaleSettings' is required and missing.")
        body = {**old, "properties": {**old["properties"]}}
        body["properties"]["properties"] = {**old["properties"]["properties"], "scaleSettings": settings}
        return self._start(request, self._shape(old["id"], require_workspace(self._cloud, request), body, old), 200)

    async def delete(self, request: Request) -> Response:
        action = request.query_params.get("underlyingResourceAction", "Delete")
        if action not in ("Delete", "Detach"):
            raise ArmError(400, "BadRequest", f"The underlyingResourceAction '{action}' is not Delete or Detach.")
        found = self._cloud.store.get(self._id(request))
        if found is None:
            return Response(status_code=204)
        found["properties"]["provisioningState"] = "Deleting"
        self._cloud.store.put(found["id"], found)
        operation = self._cloud.operations.start("compute.delete", found["id"])
        return self._cloud.operations.respond(request, operation, None, 202)

    async def list_nodes(self, request: Request) -> Response:
        inner = self._require(request)["properties"]["properties"]
        states = inner["nodeStateCounts"]
        nodes = [
            {"nodeId": f"local-node-{number}", "privateIpAddress": "127.0.0.1", "nodeState": state}
            for number, state in enumerate(
                state for state in ("running", "idle") for _ in range(states[f"{state}NodeCount"])
            )
        ]
        return json_response({"nodes": nodes, "nextLink": None})

    # -- model -------------------------------------------------------------------------------------------------

    def set_nodes(self, compute_id: str, running: int) -> None:
        """Note how many nodes run something; a cluster keeps its minimum idle and never exceeds its maximum."""
        found = self._cloud.store.get(compute_id)
        if found is None:
            return
        inner = found["properties"]["properties"]
        scale = inner["scaleSettings"]
        running = min(running, scale["maxNodeCount"])
        inner |= self._nodes(max(running, scale["minNodeCount"]), running)
        self._cloud.store.put(found["id"], found)

    def _id(self, request: Request) -> str:
        require_api_version(request)
        return f"{require_workspace(self._cloud, request)['id']}/computes/{request.path_params['name']}"

    def _require(self, request: Request) -> Body:
        found = self._cloud.store.get(self._id(request))
        if found is None:
            raise not_found(self._id(request))
        return found

    def _start(self, request: Request, whole: Body, status: int) -> Response:
        self._cloud.store.put(whole["id"], whole)
        error = self._cloud.faults.take("compute.provision")
        operation = self._cloud.operations.start("compute.put", whole["id"], held=error is not None)
        if error:
            self._cloud.operations.finish(operation, error)
        return self._cloud.operations.respond(request, operation, self._cloud.store.get(whole["id"]), status)

    def _shape(self, compute_id: str, workspace: Body, body: Body, old: Body | None) -> Body:
        """The whole resource from what was sent and what stood there."""
        name = compute_id.rpartition("/")[2]
        if not 3 <= len(name) <= 32 or not _NAME.fullmatch(name):
            raise ArmError(
                400,
                "BadRequest",
                f"The compute name '{name}' must have 3 to 32 letters, digits and '-', begin with a letter and not "
                "end with '-'.",
            )
        outer = {key: value for key, value in (body.get("properties") or {}).items() if value is not None}
        kind = outer.get("computeType")
        if kind != "AmlCompute":
            raise ArmError(501, "NotImplemented", f"The local cloud has no computes of type '{kind}', only AmlCompute.")
        inner = {key: value for key, value in (outer.get("properties") or {}).items() if value is not None}
        if self._cloud.strict:
            refuse_unknown(body, _TOP, "body")
            refuse_unknown(outer, _OUTER, "properties")
            refuse_unknown(inner, _INNER, "properties.properties")
        location = outer.get("computeLocation") or body.get("location") or workspace["location"]
        self._check_inner(workspace, location, inner, old)
        moment = timestamp(self._cloud.clock.now())
        before = ((old or {}).get("properties") or {}).get("properties") or {}
        scale = _scale(inner.get("scaleSettings") or before.get("scaleSettings") or {})
        self._sizes.require_cluster_quota(
            workspace["id"].split("/")[2],
            location,
            self._sizes.find(location, inner["vmSize"]),
            scale["maxNodeCount"],
            inner.get("vmPriority", "Dedicated"),
        )
        running = (before.get("nodeStateCounts") or {}).get("runningNodeCount", 0)
        whole_inner: Body = {
            "osType": "Linux",
            "vmPriority": "Dedicated",
            "remoteLoginPortPublicAccess": "Disabled",
            "enableNodePublicIp": True,
            "isolatedNetwork": False,
            **inner,
            "scaleSettings": scale,
            "errors": None,
            **self._nodes(max(running, scale["minNodeCount"]), running),
        }
        properties: Body = {
            "description": None,
            "disableLocalAuth": False,
            **outer,
            "computeLocation": location,
            "provisioningState": "Updating" if old else "Creating",
            "createdOn": (old or {}).get("properties", {}).get("createdOn", moment),
            "modifiedOn": moment,
            "resourceId": None,
            "isAttachedCompute": False,
            "provisioningErrors": None,
            "properties": whole_inner,
        }
        whole: Body = {"location": body.get("location") or workspace["location"], "tags": body.get("tags") or {}}
        identity = assign_identity(self._cloud, body.get("identity"), (old or {}).get("identity"))
        if identity["type"] != "None":
            whole["identity"] = identity
        return envelope(compute_id, {**whole, "properties": properties}, old, self._cloud.clock.now())

    def _check_inner(self, workspace: Body, location: str, inner: Body, old: Body | None) -> None:
        before = ((old or {}).get("properties") or {}).get("properties") or {}
        if old:
            for name in _FIXED:
                inner.pop(name, None)
            inner |= {name: before[name] for name in _FIXED if name in before}
        if not inner.get("vmSize"):
            raise ArmError(
                400, "BadRequest", "'vmSize' is required and missing.", target="properties.properties.vmSize"
            )
        priority = inner.get("vmPriority", "Dedicated")
        if priority not in ("Dedicated", "LowPriority"):
            raise ArmError(400, "BadRequest", f"The vmPriority '{priority}' is not Dedicated or LowPriority.")
        size = self._sizes.find(location, inner["vmSize"])
        if priority == "LowPriority" and not size.low_priority:
            raise ArmError(400, "BadRequest", f"The VM size '{size.name}' is not offered at low priority.")

    def _nodes(self, count: int, running: int) -> Body:
        states = {f"{state}NodeCount": 0 for state in _NODE_STATES}
        states |= {"runningNodeCount": running, "idleNodeCount": count - running}
        return {
            "allocationState": "Steady",
            "allocationStateTransitionTime": timestamp(self._cloud.clock.now()),
            "currentNodeCount": count,
            "targetNodeCount": count,
            "nodeStateCounts": states,
        }

    def _finish_put(self, resource_id: str, error: ArmError | None) -> None:
        found = self._cloud.store.get(resource_id)
        if found:
            found["properties"]["provisioningState"] = "Failed" if error else "Succeeded"
            found["properties"]["provisioningErrors"] = [error.body()] if error else None
            self._cloud.store.put(resource_id, found)
            if error is None:
                # The first compute provisions the workspace's managed network.
                activate(self._cloud, workspace_of(resource_id))

    def _finish_delete(self, resource_id: str, error: ArmError | None) -> None:
        self._cloud.store.delete(resource_id)


def _scale(sent: Body) -> Body:
    scale = {"minNodeCount": 0, "maxNodeCount": 1, "nodeIdleTimeBeforeScaleDown": "PT120S", **sent}
    low, high = scale["minNodeCount"], scale["maxNodeCount"]
    if not isinstance(low, int) or not isinstance(high, int) or not 0 <= low <= high:
        raise ArmError(400, "BadRequest", f"minNodeCount '{low}' and maxNodeCount '{high}' must be 0 <= min <= max.")
    return scale
