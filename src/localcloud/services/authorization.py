"""Role definitions and role assignments at any scope. They are kept and checked, not enforced."""

from __future__ import annotations

import uuid

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import (
    ArmError,
    envelope,
    json_response,
    page,
    read_json,
    refuse_unknown,
    require_api_version,
    route,
    timestamp,
)
from localcloud.cloud import PRINCIPAL_ID, Cloud
from localcloud.store import Body

PROVIDER = "Microsoft.Authorization"
ASSIGNMENTS = f"{PROVIDER}/roleAssignments"
_AT = f"/{{scope:path}}/providers/{ASSIGNMENTS}"
_DEFINITION = f"/{{scope:path}}/providers/{PROVIDER}/roleDefinitions"
_MEMBERS = (
    *("roleDefinitionId", "principalId", "principalType", "description", "condition", "conditionVersion"),
    "delegatedManagedIdentityResourceId",
)
_READ_ONLY = ("scope", "createdOn", "createdBy", "updatedOn", "updatedBy")
_PRINCIPAL_TYPES = ("User", "Group", "ServicePrincipal", "ForeignGroup", "Device")

# Built-in roles by their GUID; source: Azure built-in roles, read 2026-11.
ROLES = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
    "b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": "Reader",
    "b78c5d69-af96-48a3-bf8d-a8b4d589de94": "Azure AI Administrator",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "69566ab7-960f-475b-8e7c-b3118f30c6bd": "Storage File Data Privileged Contributor",
    "00482a5a-887f-4fb3-b363-3b7fe8e74483": "Key Vault Administrator",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "b556d68e-0be0-4f35-a333-ad7ee1ce17ea": "Azure AI Enterprise Network Connection Approver",
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
    "635dd51f-9968-44d3-b7fb-6d9a6bd613ae": "AzureML Metrics Writer (preview)",
    "f6c7c914-8db3-469d-8ca1-694a8f32e121": "AzureML Data Scientist",
    "e503ece1-11d0-4e8e-8e2c-7a6c3bf38815": "AzureML Compute Operator",
    "1823dd4f-9b8c-4ab6-ab4e-7397a3684615": "AzureML Registry User",
    "f58310d9-a9f6-439a-9e8d-f62e7b41a168": "Role Based Access Control Administrator",
}

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = RoleAssignments(cloud)
    return [
        route(_AT, ["GET"], service.list_assignments),
        route(f"{_AT}/{{name}}", ["PUT"], service.put),
        route(f"{_AT}/{{name}}", ["GET"], service.get),
        route(f"{_AT}/{{name}}", ["DELETE"], service.delete),
        route(_DEFINITION, ["GET"], service.list_definitions),
        route(f"{_DEFINITION}/{{name}}", ["GET"], service.get_definition),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class RoleAssignments:
    """Assignments at the subscription, a group or a resource, and the built-in definitions."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def list_assignments(self, request: Request) -> Response:
        require_api_version(request)
        scope = self._scope(request)
        found = self._cloud.store.children(scope, ASSIGNMENTS) + self._cloud.store.beneath(scope, ASSIGNMENTS)
        once = {assignment["id"].lower(): assignment for assignment in found}
        return page(request, [*once.values()])

    async def put(self, request: Request) -> Response:
        require_api_version(request)
        scope, name, body = self._scope(request), request.path_params["name"], await read_json(request)
        wanted = f"{scope}/providers/{ASSIGNMENTS}/{name}"
        old = self._cloud.store.get(wanted)
        properties = self._checked(scope, name, body.get("properties") or {})
        same = _same(self._cloud.store.children(scope, ASSIGNMENTS), properties)
        if same and same["name"] != name:
            raise ArmError(
                409, "RoleAssignmentExists", f"The role assignment already exists. Its name is '{same['name']}'."
            )
        if old and _key(old["properties"]) != _key(properties):
            raise ArmError(
                409,
                "RoleAssignmentUpdateNotPermitted",
                "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
            )
        moment = timestamp(self._cloud.clock.now())
        shaped = {
            "principalType": "User",
            **properties,
            "scope": scope,
            "createdOn": old["properties"]["createdOn"] if old else moment,
            "updatedOn": moment,
            "createdBy": PRINCIPAL_ID,
            "updatedBy": PRINCIPAL_ID,
        }
        whole = envelope(wanted, {"properties": shaped}, old, self._cloud.clock.now())
        self._cloud.store.put(wanted, whole)
        return json_response(whole, 200 if old else 201)

    async def get(self, request: Request) -> Response:
        require_api_version(request)
        wanted = f"{self._scope(request)}/providers/{ASSIGNMENTS}/{request.path_params['name']}"
        found = self._cloud.store.get(wanted)
        if found is None:
            raise ArmError(
                404, "RoleAssignmentNotFound", f"The role assignment '{request.path_params['name']}' is not found."
            )
        return json_response(found)

    async def delete(self, request: Request) -> Response:
        require_api_version(request)
        wanted = f"{self._scope(request)}/providers/{ASSIGNMENTS}/{request.path_params['name']}"
        found = self._cloud.store.get(wanted)
        if found is None:
            return Response(status_code=204)
        self._cloud.store.delete(wanted)
        return json_response(found)

    async def list_definitions(self, request: Request) -> Response:
        require_api_version(request)
        return page(request, [_definition(name) for name in ROLES])

    async def get_definition(self, request: Request) -> Response:
        require_api_version(request)
        name = request.path_params["name"].lower()
        if name not in ROLES:
            raise _no_role(name)
        return json_response(_definition(name))

    # -- model -------------------------------------------------------------------------------------------------

    def _scope(self, request: Request) -> str:
        scope: str = "/" + request.path_params["scope"].strip("/")
        if scope.count("/") > 2 and self._cloud.store.get(scope) is None:
            raise ArmError(404, "ResourceNotFound", f"The scope '{scope}' of the role assignment was not found.")
        return scope

    def _checked(self, scope: str, name: str, properties: Body) -> Body:
        try:
            uuid.UUID(name)
        except ValueError:
            raise ArmError(
                400, "InvalidRoleAssignmentId", f"The role assignment ID '{name}' is not valid. It must be a GUID."
            ) from None
        if self._cloud.strict:
            refuse_unknown(properties, (*_MEMBERS, *_READ_ONLY), "properties")
        for member in ("roleDefinitionId", "principalId"):
            if not properties.get(member):
                raise ArmError(400, "BadRequestFormat", f"The required member 'properties.{member}' is missing.")
        role = properties["roleDefinitionId"].rpartition("/")[2].lower()
        if role not in ROLES:
            raise _no_role(role)
        kind = properties.get("principalType") or "User"
        if kind not in _PRINCIPAL_TYPES:
            raise ArmError(400, "InvalidPrincipalType", f"The principal type '{kind}' is not known.")
        if kind == "User" and properties["principalId"] in self._identities():
            raise ArmError(
                400,
                "UnmatchedPrincipalType",
                f"The PrincipalId '{properties['principalId']}' has type 'ServicePrincipal', "
                "which is different from specified PrincipalType 'User'.",
            )
        return {key: value for key, value in properties.items() if key in _MEMBERS and value is not None}

    def _identities(self) -> set[str]:
        """Principals of every managed identity that there is."""
        found: set[str] = {PRINCIPAL_ID}
        for resource in self._cloud.store.beneath("/subscriptions"):
            for place_of in (resource.get("identity"), resource.get("properties")):
                if isinstance(place_of, dict) and "principalId" in place_of and "roleDefinitionId" not in place_of:
                    found.add(place_of["principalId"])
        return found


def _key(properties: Body) -> tuple[str, str]:
    return properties["principalId"].lower(), properties["roleDefinitionId"].rpartition("/")[2].lower()


def _same(assignments: list[Body], properties: Body) -> Body | None:
    return next((found for found in assignments if _key(found["properties"]) == _key(properties)), None)


def _no_role(name: str) -> ArmError:
    return ArmError(
        404, "RoleDefinitionDoesNotExist", f"The specified role definition with ID '{name}' does not exist."
    )


def _definition(name: str) -> Body:
    return {
        "id": f"/providers/{PROVIDER}/roleDefinitions/{name}",
        "name": name,
        "type": f"{PROVIDER}/roleDefinitions",
        "properties": {"roleName": ROLES[name], "type": "BuiltInRole", "assignableScopes": ["/"]},
    }
