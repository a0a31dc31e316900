"""Role definitions, built-in and custom, and role assignments at any scope. What they allow is `permissions`' matter.

The throw-away principal is the subscription's owner from the start; its assignment is not listed.
"""

from __future__ import annotations

import re
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
from localcloud.cloud import PRINCIPAL_ID, SUBSCRIPTION, Cloud
from localcloud.conditions import Condition, NotUnderstood
from localcloud.permissions import ASSIGNMENTS, DEFINITIONS, permissions_of
from localcloud.roles import PROVIDER
from localcloud.store import Body

_AT = f"/{{scope:path}}/providers/{ASSIGNMENTS}"
_PERMISSIONS = f"/{{scope:path}}/providers/{PROVIDER}/permissions"
_DEFINITION = f"/{{scope:path}}/providers/{DEFINITIONS}"
_DEFINITION_MEMBERS = ("roleName", "description", "type", "permissions", "assignableScopes")
_MEMBERS = (
    *("roleDefinitionId", "principalId", "principalType", "description", "condition", "conditionVersion"),
    "delegatedManagedIdentityResourceId",
)
_READ_ONLY = ("scope", "createdOn", "createdBy", "updatedOn", "updatedBy")
_PRINCIPAL_TYPES = ("User", "Group", "ServicePrincipal", "ForeignGroup", "Device")

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = RoleAssignments(cloud)
    return [
        route(_AT, ["GET"], service.list_assignments),
        route(_PERMISSIONS, ["GET"], service.list_permissions),
        route(f"{_AT}/{{name}}", ["PUT"], service.put),
        route(f"{_AT}/{{name}}", ["GET"], service.get),
        route(f"{_AT}/{{name}}", ["DELETE"], service.delete),
        route(_DEFINITION, ["GET"], service.list_definitions),
        route(f"{_DEFINITION}/{{name}}", ["GET"], service.get_definition),
        route(f"{_DEFINITION}/{{name}}", ["PUT"], service.put_definition),
        route(f"{_DEFINITION}/{{name}}", ["DELETE"], service.delete_definition),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class RoleAssignments:
    """Assignments at the subscription, a group or a resource, and the built-in definitions."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud, self._permissions = cloud, permissions_of(cloud)

    async def list_assignments(self, request: Request) -> Response:
        require_api_version(request)
        scope = self._scope(request)
        found = self._cloud.store.children(scope, ASSIGNMENTS) + self._cloud.store.beneath(scope, ASSIGNMENTS)
        once = {assignment["id"].lower(): assignment for assignment in found}
        return page(request, [*once.values()])

    async def list_permissions(self, request: Request) -> Response:
        """What the caller may do at the scope, one set for each role that counts there; it takes `permissions/read`.

        After the public REST contract of Permissions (2022-04-01): test_an_owner_is_told_what_it_may_do settles it.
        """
        require_api_version(request)
        held = self._permissions.held(request.state.claims["oid"], self._scope(request))
        return page(request, [role.body["properties"]["permissions"][0] for role in held])

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
        if old is None:
            self._permissions.begin_later(wanted)
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
        """All that may be assigned at the scope; `$filter` by roleName or by type, as clients look a role up."""
        require_api_version(request)
        scope = self._scope(request).lower()
        found = [role.body for role in self._permissions.all_roles() if not role.custom]
        for body in self._cloud.store.beneath("/subscriptions", DEFINITIONS):
            if any(_is_within(scope, each) for each in body["properties"]["assignableScopes"]):
                found.append(body)
        wanted = dict(re.findall(r"(roleName|type)\s+eq\s+'([^']*)'", request.query_params.get("$filter", "")))
        return page(request, [body for body in found if wanted.items() <= body["properties"].items()])

    async def get_definition(self, request: Request) -> Response:
        require_api_version(request)
        name = request.path_params["name"].lower()
        return json_response(self._definition(name))

    async def put_definition(self, request: Request) -> Response:
        """A custom role, kept at the subscription."""
        require_api_version(request)
        name, body = request.path_params["name"].lower(), await read_json(request)
        properties = body.get("properties") or {}
        known = self._permissions.role(name)
        if known and not known.custom:
            raise ArmError(409, "RoleDefinitionUpdateNotPermitted", f"The built-in role '{name}' cannot be changed.")
        if self._cloud.strict:
            refuse_unknown(properties, _DEFINITION_MEMBERS, "properties")
        for member in ("roleName", "permissions", "assignableScopes"):
            if not properties.get(member):
                raise ArmError(400, "BadRequestFormat", f"The required member 'properties.{member}' is missing.")
        same = [role for role in self._permissions.all_roles() if role.role_name == properties["roleName"]]
        if any(role.name != name for role in same):
            raise ArmError(
                409, "RoleDefinitionWithSameNameExists", f"A role named '{properties['roleName']}' exists already."
            )
        wanted = f"/subscriptions/{SUBSCRIPTION}/providers/{DEFINITIONS}/{name}"
        old = self._cloud.store.get(wanted)
        shaped = {**properties, "type": "CustomRole"}
        whole = envelope(wanted, {"properties": shaped}, old, self._cloud.clock.now())
        self._cloud.store.put(wanted, whole)
        return json_response(whole, 201)

    async def delete_definition(self, request: Request) -> Response:
        require_api_version(request)
        name = request.path_params["name"].lower()
        found = self._cloud.store.get(f"/subscriptions/{SUBSCRIPTION}/providers/{DEFINITIONS}/{name}")
        if found is None:
            return Response(status_code=204)
        for assignment in self._cloud.store.beneath("/subscriptions", ASSIGNMENTS):
            if assignment["properties"]["roleDefinitionId"].lower().endswith(name):
                raise ArmError(
                    400, "RoleDefinitionHasAssignments", f"There are existing role assignments to the role '{name}'."
                )
        self._cloud.store.delete(found["id"])
        return json_response(found)

    # -- model -------------------------------------------------------------------------------------------------

    def _definition(self, name: str) -> Body:
        role = self._permissions.role(name)
        if role is None:
            raise _no_role(name)
        if not role.custom:
            return role.body
        found = self._cloud.store.get(f"/subscriptions/{SUBSCRIPTION}/providers/{DEFINITIONS}/{name}")
        assert found is not None
        return found

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
        if self._permissions.role(role) is None:
            raise _no_role(role)
        if properties.get("condition"):
            try:
                Condition(properties["condition"])
            except NotUnderstood as error:
                raise ArmError(400, "InvalidCondition", str(error)) from None
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


def _is_within(scope: str, outer: str) -> bool:
    outer = outer.lower().rstrip("/")
    return scope == outer or scope.startswith(f"{outer}/") or outer.startswith(f"{scope}/")
