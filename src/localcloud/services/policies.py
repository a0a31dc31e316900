"""Policy assignments at any scope, and the built-in definitions that can be assigned here, enforced where they deny.

Only what a definition refuses is done: audits report nothing, and nothing is modified or deployed by a policy. An
assignment holds at once, where Azure takes up to half an hour. Simulated after the definitions' own JSON;
tests/conformance/azure/test_simulations.py::test_a_deny_policy_refuses_the_write settles it on Azure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import ArmError, json_response, page, read_json, require_api_version, route, type_of
from localcloud.cloud import Cloud
from localcloud.services.regions import plain
from localcloud.services.tracked import ANY_SCOPE, TrackedResources, TrackedType
from localcloud.store import Body

PROVIDER = "Microsoft.Authorization"
ASSIGNMENTS = f"{PROVIDER}/policyAssignments"
DEFINITIONS = f"/providers/{PROVIDER}/policyDefinitions"

# (type in lower case, body of the write, parameters) -> whether the policy's condition holds.
Condition = Callable[[str, Body, Mapping[str, Any]], bool]


@dataclass(frozen=True)
class Definition:
    """A built-in definition: its condition here, its parameters' defaults, and the effects that it may have.

    Source of each: the JSON of that name in github.com/Azure/azure-policy, read 2026-11-21.
    """

    name: str
    display_name: str
    applies: Condition
    parameters: Mapping[str, Any]
    effects: tuple[str, ...] = ("Audit", "Deny", "Disabled")
    default: str | None = "Audit"


def _elsewhere(kind: str, body: Body, parameters: Mapping[str, Any]) -> bool:
    allowed = {plain(region) for region in parameters["listOfAllowedLocations"]}
    location = plain(str(body.get("location") or "global"))
    return location not in (*allowed, "global") and kind != "microsoft.resources/resourcegroups"


def _group_elsewhere(kind: str, body: Body, parameters: Mapping[str, Any]) -> bool:
    allowed = {plain(region) for region in parameters["listOfAllowedLocations"]}
    return kind == "microsoft.resources/resourcegroups" and plain(str(body.get("location"))) not in allowed


def _shared_keys(kind: str, body: Body, parameters: Mapping[str, Any]) -> bool:
    return kind == "microsoft.storage/storageaccounts" and _member(body, "allowSharedKeyAccess") is not False


def _public_workspace(kind: str, body: Body, parameters: Mapping[str, Any]) -> bool:
    public = str(_member(body, "publicNetworkAccess") or "Enabled")
    return kind == "microsoft.machinelearningservices/workspaces" and public != "Disabled"


def _local_auth(kind: str, body: Body, parameters: Mapping[str, Any]) -> bool:
    return kind.endswith("/workspaces/computes") and _member(body, "disableLocalAuth") is not True


def _model(kind: str, body: Body) -> str:
    if not kind.endswith("/onlineendpoints/deployments"):
        return ""
    return str(_member(body, "model") or "")


def _of_other_registry(kind: str, body: Body, parameters: Mapping[str, Any]) -> bool:
    model = _model(kind, body).lower()
    restricted = {asset.lower() for asset in parameters["restrictedModels"]}
    own = f"azureml://registries/{parameters['allowedRegistryName']}/".lower()
    return model in restricted or (model.startswith("azureml://registries/") and not model.startswith(own))


def _not_approved(kind: str, body: Body, parameters: Mapping[str, Any]) -> bool:
    """Publishers are a property of Microsoft's own registry models and not known here; ids decide."""
    model = _model(kind, body).lower()
    approved = any(asset.lower() in model for asset in parameters["allowedAssetIds"])
    return model.startswith("azureml://registries/") and not approved


def _member(body: Body, name: str) -> Any:
    return (body.get("properties") or {}).get(name)


BUILT_IN = (
    Definition(
        "e56962a6-4747-49cd-b67b-bf8b01975c4c",
        "Allowed locations",
        _elsewhere,
        {"listOfAllowedLocations": None},
        ("Deny",),
        "Deny",
    ),
    Definition(
        "e765b5de-1225-4ba3-bd56-1ac6695af988",
        "Allowed locations for resource groups",
        _group_elsewhere,
        {"listOfAllowedLocations": None},
        ("Deny",),
        "Deny",
    ),
    Definition(
        "8c6a50c6-9ffd-4ae7-986f-5fa6111f9a54",
        "Storage accounts should prevent shared key access",
        _shared_keys,
        {},
    ),
    Definition(
        "438c38d2-3772-465a-a9cc-7a6666a275ce",
        "Azure Machine Learning Workspaces should disable public network access",
        _public_workspace,
        {},
    ),
    Definition(
        "e96a9a5f-07ca-471b-9bc5-6a0f33cbd68f",
        "Azure Machine Learning Computes should have local authentication methods disabled",
        _local_auth,
        {},
    ),
    Definition(
        "19539b54-c61e-4196-9a38-67598701be90",
        "[Preview]: Azure Machine Learning Model Registry Deployments are restricted except for the allowed Registry",
        _of_other_registry,
        {"allowedRegistryName": "", "restrictedModels": []},
        ("Deny", "Disabled"),
        None,
    ),
    Definition(
        "12e5dd16-d201-47ff-849b-8454061c293d",
        "[Preview]: Azure Machine Learning Deployments should only use approved Registry Models",
        _not_approved,
        {"allowedPublishers": [], "allowedAssetIds": []},
    ),
)

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    return [
        *TrackedResources(cloud, _ASSIGNMENT).routes(),
        route(DEFINITIONS, ["GET"], _list_definitions),
        route(f"{DEFINITIONS}/{{name}}", ["GET"], _get_definition),
        route(f"/{{scope:path}}{DEFINITIONS}", ["GET"], _list_definitions),
        route(f"/{{scope:path}}{DEFINITIONS}/{{name}}", ["GET"], _get_definition),
    ]


async def _list_definitions(request: Request) -> Response:
    require_api_version(request)
    return page(request, [_shown(found) for found in BUILT_IN])


async def _get_definition(request: Request) -> Response:
    require_api_version(request)
    name = request.path_params["name"]
    found = _definition(name)
    if found is None:
        raise ArmError(404, "PolicyDefinitionNotFound", f"The policy definition '{name}' could not be found.")
    return json_response(_shown(found))


# -- the guard -------------------------------------------------------------------------------------------------


async def refuse_denied(cloud: Cloud, request: Request) -> None:
    """`RequestDisallowedByPolicy` when an assignment over what is written denies it.

    A PATCH is judged by what it would leave behind.
    """
    assignments = cloud.store.beneath("/subscriptions", ASSIGNMENTS) if request.method in ("PUT", "PATCH") else []
    path = request.url.path.rstrip("/")
    over = [found for found in assignments if _covers(found, path)]
    if not over:
        return
    body = await read_json(request)
    if request.method == "PATCH":
        old = cloud.store.get(path) or {}
        body = {**old, **body, "properties": (old.get("properties") or {}) | (body.get("properties") or {})}
    for assignment in over:
        definition, parameters = _definition(_assigned(assignment["properties"])), _values(assignment["properties"])
        if (
            definition
            and parameters["effect"] == "Deny"
            and definition.applies(type_of(path).lower(), body, parameters)
        ):
            raise _disallowed(path.rpartition("/")[2], assignment, definition)


def _covers(assignment: Body, path: str) -> bool:
    told = assignment["properties"]
    scope, wanted = str(told["scope"]).lower(), path.lower()
    outside = [str(one).lower() for one in told.get("notScopes") or []]
    return (
        told.get("enforcementMode", "Default") != "DoNotEnforce"
        and wanted.startswith(scope + "/")
        and not any(wanted == one or wanted.startswith(one + "/") for one in outside)
    )


def _disallowed(name: str, assignment: Body, definition: Definition) -> ArmError:
    shown = assignment["properties"].get("displayName") or assignment["name"]
    named = [
        {
            "policyAssignment": {"name": shown, "id": assignment["id"]},
            "policyDefinition": {"name": definition.display_name, "id": f"{DEFINITIONS}/{definition.name}"},
        }
    ]
    reasons = [one.get("message") for one in assignment["properties"].get("nonComplianceMessages") or []]
    reason = f" Reasons: '{'; '.join(str(one) for one in reasons)}'." if reasons else ""
    return ArmError(
        403,
        "RequestDisallowedByPolicy",
        f"Resource '{name}' was disallowed by policy.{reason} Policy identifiers: "
        f"'{json.dumps(named, separators=(',', ':'))}'.",
        target=name,
    )


# -- model -----------------------------------------------------------------------------------------------------


def _definition(name: str) -> Definition | None:
    return next((found for found in BUILT_IN if found.name == name.lower()), None)


def _assigned(properties: Body) -> str:
    """The name at the end of the definition that is assigned."""
    found: str = str(properties.get("policyDefinitionId") or "").rpartition("/")[2]
    return found


def _values(properties: Body) -> dict[str, Any]:
    """The parameters as assigned, and else their defaults."""
    definition = _definition(_assigned(properties))
    assert definition
    given = {name: one.get("value") for name, one in (properties.get("parameters") or {}).items()}
    return {"effect": definition.default, **definition.parameters, **given}


def _shown(definition: Definition) -> Body:
    parameters = {name: {"defaultValue": value} for name, value in definition.parameters.items()}
    if len(definition.effects) > 1:
        parameters["effect"] = {"allowedValues": list(definition.effects), "defaultValue": definition.default}
    return {
        "id": f"{DEFINITIONS}/{definition.name}",
        "name": definition.name,
        "type": f"{PROVIDER}/policyDefinitions",
        "properties": {
            "displayName": definition.display_name,
            "policyType": "BuiltIn",
            "mode": "Indexed",
            "parameters": parameters,
        },
    }


def _check(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    sent = body.get("properties") or {}
    definition = _definition(_assigned(sent))
    if definition is None:
        raise ArmError(
            404,
            "PolicyDefinitionNotFound",
            f"The policy definition '{sent.get('policyDefinitionId')}' could not be found. The local cloud has: "
            + "; ".join(f"{found.name} ({found.display_name})" for found in BUILT_IN),
        )
    named = (*definition.parameters, *(("effect",) if len(definition.effects) > 1 else ()))
    for name in sent.get("parameters") or {}:
        if name not in named:
            raise ArmError(
                400,
                "UndefinedPolicyParameter",
                f"The policy parameter '{name}' is not defined in policy definition '{definition.name}'.",
            )
    values = _values(sent)
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise ArmError(
            400,
            "MissingPolicyParameter",
            f"The policy assignment '{wanted.rpartition('/')[2]}' is missing the parameter(s) "
            f"'{','.join(missing)}' as defined in the policy definition '{definition.name}'.",
        )
    if values["effect"] not in definition.effects:
        raise ArmError(
            400,
            "PolicyParameterValueNotAllowed",
            f"The value '{values['effect']}' is not allowed for policy parameter 'effect' in policy definition "
            f"'{definition.name}'. The allowed values are '{', '.join(definition.effects)}'.",
        )


_ASSIGNMENT = TrackedType(
    ASSIGNMENTS,
    r"[^<>*%&:\\?.+/]{1,64}",
    under=ANY_SCOPE,
    home="none",
    waits=False,
    top=("identity", "location"),
    required=("properties.policyDefinitionId",),
    members=(
        *("assignmentType", "definitionVersion", "description", "displayName", "enforcementMode", "metadata"),
        *("nonComplianceMessages", "notScopes", "overrides", "parameters", "policyDefinitionId", "resourceSelectors"),
    ),
    read_only=("scope", "effectiveDefinitionVersion", "instanceId", "latestDefinitionVersion"),
    check=_check,
    shape=lambda cloud, wanted, body, old: {
        "enforcementMode": (body.get("properties") or {}).get("enforcementMode") or "Default",
        "scope": wanted.rpartition(f"/providers/{ASSIGNMENTS}")[0],
    },
)
