"""A workspace's managed network: its outbound rules, one by one or in the workspace's body, and its provisioning.

No network is built. The service's own rules (category `Required`) are there as soon as the network is isolated, and
the network is `Active` when it was provisioned or the first compute was made. Simulated after how-to-managed-network;
tests/conformance/azure/test_simulations.py::test_a_managed_network_goes_one_way settles the way back on Azure.
"""

from __future__ import annotations

import hashlib
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
from localcloud.cloud import Cloud
from localcloud.services.ml.ids import WORKSPACE, last_part, require_workspace
from localcloud.services.private_endpoints import GROUP_IDS
from localcloud.store import Body, place

ISOLATION = ("Disabled", "AllowInternetOutbound", "AllowOnlyApprovedOutbound")
MEMBERS = (
    *("isolationMode", "networkId", "outboundRules", "status", "firewallSku", "enableNetworkMonitor"),
    *("managedNetworkKind", "firewallPublicIpAddress", "changeableIsolationModes"),
)
_RULES = f"{WORKSPACE}/outboundRules"
_RULE = ("type", "category", "status", "destination", "fqdns", "errorInformation", "parentRuleNames")
# A private endpoint may lead to these too, though the local cloud makes no other private endpoint to them.
_TARGETS = {
    **GROUP_IDS,
    "microsoft.cognitiveservices/accounts": ("account",),
    "microsoft.search/searchservices": ("searchService",),
}
_REQUIRED = (
    ("storageAccount", "blob"),
    ("storageAccount", "file"),
    ("keyVault", "vault"),
    ("containerRegistry", "registry"),
)

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = OutboundRules(cloud)
    return [
        route(_RULES, ["GET"], service.list),
        route(f"{_RULES}/{{rule}}", ["GET"], service.get),
        route(f"{_RULES}/{{rule}}", ["PUT"], service.put),
        route(f"{_RULES}/{{rule}}", ["DELETE"], service.delete),
        route(f"{WORKSPACE}/provisionManagedNetwork", ["POST"], service.provision),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class OutboundRules:
    """The rules of a workspace. They are kept in its body, where a client of the workspace sees them too."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        cloud.operations.on("outbound-rule.put", lambda found, error: None)
        cloud.operations.on("outbound-rule.delete", lambda found, error: self._drop(found))
        cloud.operations.on("managed-network.provision", lambda found, error: activate(cloud, found))

    async def list(self, request: Request) -> Response:
        require_api_version(request)
        workspace = require_workspace(self._cloud, request)
        return page(request, [self._shown(workspace, name) for name in _rules(workspace)])

    async def get(self, request: Request) -> Response:
        require_api_version(request)
        workspace, name = require_workspace(self._cloud, request), request.path_params["rule"]
        if name not in _rules(workspace):
            raise not_found(f"{workspace['id']}/outboundRules/{name}")
        return json_response(self._shown(workspace, name))

    async def put(self, request: Request) -> Response:
        require_api_version(request)
        workspace, name = require_workspace(self._cloud, request), request.path_params["rule"]
        body = await read_json(request)
        if self._cloud.strict:
            refuse_unknown(body, ("id", "name", "type", "systemData", "properties"), "body")
        old = _rules(workspace).get(name)
        network = workspace["properties"]["managedNetwork"]
        rule = checked_rule(self._cloud, network, name, body.get("properties") or {})
        if old and old.get("category") == "Required":
            raise _bad(f"The outbound rule '{name}' is one of the service's own and cannot be changed.")
        network["outboundRules"] = {**_rules(workspace), name: rule}
        self._cloud.store.put(workspace["id"], workspace)
        operation = self._cloud.operations.start("outbound-rule.put", f"{workspace['id']}/outboundRules/{name}")
        # The contract knows 200 and 202 here, and no 201.
        done = self._cloud.operations.status(operation) == "Succeeded"
        return self._cloud.operations.respond(request, operation, self._shown(workspace, name), 200 if done else 202)

    async def delete(self, request: Request) -> Response:
        require_api_version(request)
        workspace, name = require_workspace(self._cloud, request), request.path_params["rule"]
        rule = _rules(workspace).get(name)
        if rule is None:
            return Response(status_code=204)
        if rule.get("category") == "Required":
            raise _bad(f"The outbound rule '{name}' is one of the service's own and cannot be deleted.")
        operation = self._cloud.operations.start("outbound-rule.delete", f"{workspace['id']}/outboundRules/{name}")
        return self._cloud.operations.respond(request, operation, None, 202)

    async def provision(self, request: Request) -> Response:
        require_api_version(request)
        workspace, body = require_workspace(self._cloud, request), await read_json(request)
        refuse_unknown(body, ("includeSpark",), "body")
        if workspace["properties"]["managedNetwork"]["isolationMode"] == "Disabled":
            raise _bad(f"The workspace '{workspace['name']}' has no managed network: its isolationMode is 'Disabled'.")
        operation = self._cloud.operations.start("managed-network.provision", workspace["id"])
        done = {"status": "Active", "sparkReady": bool(body.get("includeSpark"))}
        if self._cloud.operations.status(operation) == "Succeeded":
            return json_response(done)
        return self._cloud.operations.respond(request, operation, None, 202)

    def _shown(self, workspace: Body, name: str) -> Body:
        whole = {"properties": _rules(workspace)[name]}
        return envelope(f"{workspace['id']}/outboundRules/{name}", whole, None, self._cloud.clock.now())

    def _drop(self, rule_id: str) -> None:
        workspace = self._cloud.store.get(rule_id.rpartition("/outboundRules/")[0])
        if workspace:
            _rules(workspace).pop(last_part(rule_id), None)
            self._cloud.store.put(workspace["id"], workspace)


# -- model -----------------------------------------------------------------------------------------------------


def _bad(message: str) -> ArmError:
    return ArmError(400, "ValidationError", message)


def _rules(workspace: Body) -> Body:
    found: Body = workspace["properties"]["managedNetwork"].setdefault("outboundRules", {})
    return found


def network_of(cloud: Cloud, old: Body | None, sent: Body, *, provision: bool) -> Body:
    """The `managedNetwork` of a workspace, from what is sent and what stood there; ArmError for what cannot be.

    `sent` are the workspace's properties, whole. Isolation only ever grows. Rules that are not sent stay.
    """
    before, wanted = (old or {}).get("managedNetwork") or {}, sent.get("managedNetwork") or {}
    was, mode = (
        before.get("isolationMode", "Disabled"),
        wanted.get("isolationMode") or before.get("isolationMode", "Disabled"),
    )
    if mode not in ISOLATION:
        raise _bad(f"The isolationMode '{mode}' is not one of {', '.join(ISOLATION)}.")
    if ISOLATION.index(mode) < ISOLATION.index(was):
        raise _bad(f"The isolationMode cannot go back from '{was}' to '{mode}': a managed network is one-way.")
    network = {**before, **{name: value for name, value in wanted.items() if name != "status"}, "isolationMode": mode}
    if mode == "Disabled":
        if wanted.get("outboundRules"):
            raise _bad("Outbound rules need a managed network, and its isolationMode is 'Disabled'.")
        return {"isolationMode": "Disabled"}
    rules = dict(before.get("outboundRules") or {})
    for name, rule in (wanted.get("outboundRules") or {}).items():
        if (rules.get(name) or rule or {}).get("category") != "Required":
            rules[name] = checked_rule(cloud, network, name, rule or {})
    network["outboundRules"] = {**rules, **_required(sent)}
    active = provision or (before.get("status") or {}).get("status") == "Active"
    network["status"] = before.get("status") or {"status": "Inactive", "sparkReady": False}
    if active:
        network["status"] = {"status": "Active", "sparkReady": False}
    if mode == "AllowOnlyApprovedOutbound":
        network.setdefault("firewallSku", "Standard")
    return network


def activate(cloud: Cloud, workspace_id: str) -> None:
    """What the provisioning, or the first compute, does to a workspace whose managed network is still inactive."""
    workspace = cloud.store.get(workspace_id)
    network = ((workspace or {}).get("properties") or {}).get("managedNetwork") or {}
    if workspace and network.get("isolationMode", "Disabled") != "Disabled":
        network["status"] = {"status": "Active", "sparkReady": False}
        for rule in (network.get("outboundRules") or {}).values():
            rule["status"] = "Active"
        cloud.store.put(workspace_id, workspace)


def _required(sent: Body) -> Body:
    """The service's own rules: private endpoints to what the workspace depends on."""
    found: Body = {}
    for name, group in _REQUIRED:
        target = sent.get(name)
        if target:
            digest = hashlib.sha256(f"{target.lower()}|{group}".encode()).hexdigest()[:8]
            found[f"__SYS_PE_{last_part(target)}_{group}_{digest}"] = {
                "type": "PrivateEndpoint",
                "category": "Required",
                "status": "Inactive",
                "destination": {"serviceResourceId": target, "subresourceTarget": group, "sparkEnabled": False},
            }
    return found


def checked_rule(cloud: Cloud, network: Body, name: str, rule: Body) -> Body:
    """One rule as it is kept; ArmError for one that Azure would not take."""
    if cloud.strict:
        refuse_unknown(rule, _RULE, f"outboundRules.{name}")
    mode, kind, destination = network.get("isolationMode", "Disabled"), rule.get("type"), rule.get("destination")
    if mode == "Disabled":
        raise _bad(
            f"The outbound rule '{name}' needs a managed network, and the workspace's isolationMode is 'Disabled'."
        )
    if kind == "FQDN":
        if mode != "AllowOnlyApprovedOutbound":
            raise _bad(f"The outbound rule '{name}' of type FQDN needs the isolationMode AllowOnlyApprovedOutbound.")
        if not isinstance(destination, str) or not re.fullmatch(r"(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", destination):
            raise _bad(f"The destination '{destination}' of the outbound rule '{name}' is no name of a host.")
    elif kind == "PrivateEndpoint":
        _check_target(cloud, name, destination or {})
    elif kind == "ServiceTag":
        if mode != "AllowOnlyApprovedOutbound":
            raise _bad(
                f"The outbound rule '{name}' of type ServiceTag needs the isolationMode AllowOnlyApprovedOutbound."
            )
        missing = [part for part in ("serviceTag", "protocol", "portRanges") if not (destination or {}).get(part)]
        if missing:
            raise _bad(f"The destination of the outbound rule '{name}' lacks {', '.join(missing)}.")
    else:
        raise _bad(f"The type '{kind}' of the outbound rule '{name}' is not FQDN, PrivateEndpoint or ServiceTag.")
    active = (network.get("status") or {}).get("status") == "Active"
    return {**rule, "category": rule.get("category") or "UserDefined", "status": "Active" if active else "Inactive"}


def _check_target(cloud: Cloud, name: str, destination: Body) -> None:
    target, group = destination.get("serviceResourceId") or "", destination.get("subresourceTarget")
    kind = place(target).kind if target.count("/") > 3 else ""
    if kind not in _TARGETS or cloud.store.get(target) is None:
        raise _bad(f"The target '{target}' of the outbound rule '{name}' does not exist.")
    if group not in _TARGETS[kind]:
        raise _bad(
            f"The subresourceTarget '{group}' of the outbound rule '{name}' is not one of {', '.join(_TARGETS[kind])}."
        )
