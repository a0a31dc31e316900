"""Online deployments: a model on so many instances of a size, and the process that serves it.

A PUT ends (its operation is held) when the process answers its probe, or never did. One process stands for all
instances; sizes and quota are checked, memory and devices of the size are not. Fault: `deployment.create` ends the
operation of a PUT with its error.
"""

from __future__ import annotations

import re
import shutil

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
from localcloud.services.ml.ids import WORKSPACE, require_workspace
from localcloud.services.ml.sizes import Sizes
from localcloud.services.ml.workspaces import Workspaces
from localcloud.serving import programs
from localcloud.serving.fleet import tail
from localcloud.serving.settings import Probe, RequestSettings
from localcloud.serving.upkeep import Upkeep
from localcloud.store import Body

DEPLOYMENTS = f"{WORKSPACE}/onlineEndpoints/{{endpoint}}/deployments"
DEPLOYMENT = f"{DEPLOYMENTS}/{{deployment}}"
NAME = re.compile(r"(?=.{3,32}$)[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*")
MOST_DEPLOYMENTS, MOST_INSTANCES = 20, 50

_MEMBERS = ("id", "name", "type", "systemData", "location", "tags", "identity", "kind", "sku", "properties")
_PROPERTIES = (
    "appInsightsEnabled",
    "codeConfiguration",
    "dataCollector",
    "description",
    "egressPublicNetworkAccess",
    "endpointComputeType",
    "environmentId",
    "environmentVariables",
    "instanceType",
    "livenessProbe",
    "model",
    "modelMountPath",
    "privateNetworkConnection",
    "properties",
    "provisioningState",
    "readinessProbe",
    "requestSettings",
    "scaleSettings",
)
_SCALE = ("scaleType", "minInstances", "maxInstances", "pollingInterval", "targetUtilizationPercentage")

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = cloud.part(Deployments, lambda: Deployments(cloud))
    return [
        route(DEPLOYMENTS, ["GET"], service.list),
        route(DEPLOYMENT, ["GET"], service.get),
        route(DEPLOYMENT, ["PUT"], service.put),
        route(DEPLOYMENT, ["PATCH"], service.patch),
        route(DEPLOYMENT, ["DELETE"], service.delete),
        route(DEPLOYMENT + "/getLogs", ["POST"], service.get_logs),
        route(DEPLOYMENT + "/skus", ["GET"], service.skus),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class Deployments:
    """Answers under `…/deployments`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._upkeep = cloud.part(Upkeep, lambda: Upkeep(cloud))
        self._sizes = cloud.part(Sizes, lambda: Sizes(cloud))
        cloud.part(Workspaces, lambda: Workspaces(cloud)).on_delete.append(self._upkeep.retire_beneath)
        cloud.operations.on("deployment.write", self._written)
        cloud.operations.on("deployment.delete", self._deleted)

    async def list(self, request: Request) -> Response:
        require_api_version(request)
        endpoint = self._endpoint(request)
        return page(request, self._cloud.store.children(endpoint["id"], "deployments"))

    async def get(self, request: Request) -> Response:
        require_api_version(request)
        return json_response(self._existing(request))

    async def put(self, request: Request) -> Response:
        require_api_version(request)
        endpoint = self._endpoint(request)
        name = request.path_params["deployment"]
        if not NAME.fullmatch(name):
            raise _bad(
                f"The deployment name '{name}' is not valid: 3 to 32 letters, digits and single dashes, a letter first."
            )
        deployment_id = f"{endpoint['id']}/deployments/{name}"
        body = await read_json(request)
        return self._write(request, endpoint, deployment_id, body, self._cloud.store.get(deployment_id))

    async def patch(self, request: Request) -> Response:
        """Tags and the number of instances, as the public contract has it."""
        require_api_version(request)
        endpoint, old = self._endpoint(request), self._existing(request)
        body = await read_json(request)
        refuse_unknown(body, ("tags", "sku"), "body")
        return self._write(request, endpoint, old["id"], {**old, **body}, old)

    async def delete(self, request: Request) -> Response:
        require_api_version(request)
        endpoint = self._endpoint(request)
        found = self._cloud.store.get(_id(request))
        if found is None:
            return Response(status_code=204)
        for member in ("traffic", "mirrorTraffic"):
            share = (endpoint["properties"].get(member) or {}).get(found["name"])
            if share:
                raise _bad(
                    f"The deployment '{found['name']}' has {share} % of the endpoint's {member} and cannot be deleted. "
                    f"Set its {member} to 0 first."
                )
        await self._upkeep.retire(found["id"])
        found["properties"]["provisioningState"] = "Deleting"
        self._cloud.store.put(found["id"], found)
        operation = self._cloud.operations.start("deployment.delete", found["id"])
        return self._cloud.operations.respond(request, operation, None, 202)

    async def get_logs(self, request: Request) -> Response:
        require_api_version(request)
        found = self._existing(request)
        body = await read_json(request)
        refuse_unknown(body, ("tail", "containerType"), "body")
        container, lines = body.get("containerType") or "InferenceServer", body.get("tail") or 500
        if container not in ("InferenceServer", "StorageInitializer"):
            raise _bad(f"'containerType' is '{container}'; it must be 'InferenceServer' or 'StorageInitializer'.")
        if not isinstance(lines, int) or lines < 1:
            raise _bad(f"'tail' is '{lines}'; it must be a whole number of 1 or more.")
        log = self._upkeep.folder(found) / ("server.log" if container == "InferenceServer" else "storage.log")
        return json_response({"content": tail(log, lines)})

    async def skus(self, request: Request) -> Response:
        require_api_version(request)
        found = self._existing(request)
        return json_response(
            {
                "value": [
                    {
                        "resourceType": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments",
                        "sku": {"name": "Default"},
                        "capacity": {
                            "minimum": 1,
                            "maximum": MOST_INSTANCES,
                            "default": found["sku"]["capacity"],
                            "scaleType": "Manual",
                        },
                    }
                ],
                "nextLink": None,
            }
        )

    # -- model: what a deployment may be -----------------------------------------------------------------------

    def _endpoint(self, request: Request) -> Body:
        workspace = require_workspace(self._cloud, request)
        endpoint_id = f"{workspace['id']}/onlineEndpoints/{request.path_params['endpoint']}"
        found = self._cloud.store.get(endpoint_id)
        if found is None:
            raise not_found(endpoint_id)
        return found

    def _existing(self, request: Request) -> Body:
        self._endpoint(request)
        found = self._cloud.store.get(_id(request))
        if found is None:
            raise not_found(_id(request))
        return found

    def _write(self, request: Request, endpoint: Body, deployment_id: str, body: Body, old: Body | None) -> Response:
        self._refuse_while_busy(endpoint, old)
        resource = self._checked(endpoint, deployment_id, body, old)
        sources = programs.find_sources(self._cloud, deployment_id, resource["properties"])
        error = self._over_quota(resource, old) or self._cloud.faults.take("deployment.create")
        self._cloud.store.put(deployment_id, resource)
        operation = self._cloud.operations.start("deployment.write", deployment_id, held=True)
        if error:
            self._cloud.operations.finish(operation, error)
        elif self._upkeep.is_served(deployment_id) and _serves_the_same(old, resource):
            # Tags, instances and settings change without a new process, and without a moment of not answering.
            self._cloud.operations.finish(operation)
        else:
            self._upkeep.begin(resource, sources, operation)
        shown = self._cloud.store.get(deployment_id)
        return self._cloud.operations.respond(request, operation, shown, 200 if old else 201)

    def _refuse_while_busy(self, endpoint: Body, old: Body | None) -> None:
        for found in (endpoint, *([old] if old else [])):
            state = found["properties"]["provisioningState"]
            if state in ("Creating", "Updating", "Deleting"):
                raise ArmError(
                    409, "Conflict", f"'{found['name']}' is {state.lower()}; wait for that operation to end."
                )

    def _checked(self, endpoint: Body, deployment_id: str, body: Body, old: Body | None) -> Body:
        given = body.get("properties") or {}
        if self._cloud.strict:
            refuse_unknown(body, _MEMBERS, "body")
            refuse_unknown(given, _PROPERTIES, "properties")
        if given.get("endpointComputeType") != "Managed":
            raise _bad(
                f"'properties.endpointComputeType' is '{given.get('endpointComputeType')}'; "
                "the local cloud has 'Managed' deployments only."
            )
        self._sizes.find(endpoint["location"], str(given.get("instanceType") or ""))
        RequestSettings.read(given)
        for probe in ("livenessProbe", "readinessProbe"):
            Probe.read(given, probe)
        others = self._cloud.store.children(endpoint["id"], "deployments")
        if old is None and len(others) >= MOST_DEPLOYMENTS:
            raise _bad(f"The endpoint '{endpoint['name']}' has {MOST_DEPLOYMENTS} deployments, which is its limit.")
        sku = {"name": "Default", "capacity": 1, **{k: v for k, v in (body.get("sku") or {}).items() if v is not None}}
        capacity = sku["capacity"]
        if not isinstance(capacity, int) or not 1 <= capacity <= MOST_INSTANCES:
            raise _bad(f"'sku.capacity' is '{capacity}'; a deployment has 1 to {MOST_INSTANCES} instances.")
        scale = given.get("scaleSettings") or {}
        refuse_unknown(scale, _SCALE, "properties.scaleSettings")
        changed = {
            **{name: value for name, value in body.items() if name in _MEMBERS},
            "location": endpoint["location"],
            "tags": body.get("tags") or {},
            "kind": body.get("kind") or "Managed",
            "sku": sku,
            "properties": {
                **given,
                "properties": given.get("properties") or {},
                "environmentVariables": given.get("environmentVariables") or {},
                "scaleSettings": {"scaleType": "Default", **scale},
                "provisioningState": "Updating" if old else "Creating",
            },
        }
        return envelope(deployment_id, changed, old, self._cloud.clock.now())

    def _over_quota(self, resource: Body, old: Body | None) -> ArmError | None:
        """OutOfQuota when the instances, with the 20 % that Azure reserves for upgrades, do not fit any more."""
        location, properties = resource["location"], resource["properties"]
        size = self._sizes.find(location, properties["instanceType"])
        subscription = resource["id"].split("/")[2]
        used = self._sizes.used(subscription, location, size.family)
        if old and old["properties"]["provisioningState"] != "Failed":
            before = self._sizes.find(location, old["properties"]["instanceType"])
            if before.family == size.family:
                used -= self._sizes.deployment_cores(before, old["sku"]["capacity"])
        needed = self._sizes.deployment_cores(size, resource["sku"]["capacity"])
        limit = self._sizes.limit(subscription, location, size.family)
        if used + needed <= limit:
            return None
        message = (
            f"Not enough quota available for {size.name} in SubscriptionId {subscription}. Current usage/limit: "
            f"{used}/{limit}. Additional needed: {needed}. (The quota of the local cloud is simulated.)"
        )
        return ArmError(400, "OutOfQuota", message)

    def _written(self, deployment_id: str, error: ArmError | None) -> None:
        found = self._cloud.store.get(deployment_id)
        if found:
            found["properties"]["provisioningState"] = "Failed" if error else "Succeeded"
            self._cloud.store.put(deployment_id, found)

    def _deleted(self, deployment_id: str, error: ArmError | None) -> None:
        found = self._cloud.store.get(deployment_id)
        if found and not error:
            self._cloud.store.delete(deployment_id)
            self._forget_share(deployment_id.rpartition("/deployments/")[0], found["name"])
            shutil.rmtree(self._upkeep.folder(found), ignore_errors=True)

    def _forget_share(self, endpoint_id: str, name: str) -> None:
        """A share of 0 that names the deleted deployment would make the next PUT of what was read wrong."""
        endpoint = self._cloud.store.get(endpoint_id)
        if endpoint:
            for member in ("traffic", "mirrorTraffic"):
                (endpoint["properties"].get(member) or {}).pop(name, None)
            self._cloud.store.put(endpoint_id, endpoint)


def _serves_the_same(old: Body | None, new: Body) -> bool:
    """Whether the process that serves now may go on: the last PUT succeeded, and this one asks for no other."""
    if old is None or old["properties"]["provisioningState"] != "Succeeded":
        return False
    return programs.fingerprint(old) == programs.fingerprint(new)


def _id(request: Request) -> str:
    return DEPLOYMENT.format(**request.path_params)


def _bad(message: str) -> ArmError:
    return ArmError(400, "BadRequest", message)
