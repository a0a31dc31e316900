"""Who may do what: role assignments, looked up by principal, scope and action, as Azure's access control decides.

Control plane and data plane ask here, and so does whatever runs as an identity. Groups have no members here: an
assignment to a group grants nothing. Deny assignments do not exist.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from localcloud import roles
from localcloud.arm import ArmError
from localcloud.cloud import PRINCIPAL_ID, SUBSCRIPTION, Cloud
from localcloud.conditions import Condition
from localcloud.needs import Need
from localcloud.roles import Role
from localcloud.store import Body, Store

ASSIGNMENTS = f"{roles.PROVIDER}/roleAssignments"
DEFINITIONS = f"{roles.PROVIDER}/roleDefinitions"
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
AI_ADMINISTRATOR = "b78c5d69-af96-48a3-bf8d-a8b4d589de94"
BLOB_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
BLOB_READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
FILE_CONTRIBUTOR = "69566ab7-960f-475b-8e7c-b3118f30c6bd"
VAULT_ADMINISTRATOR = "00482a5a-887f-4fb3-b363-3b7fe8e74483"
IMAGE_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
METRICS_WRITER = "635dd51f-9968-44d3-b7fb-6d9a6bd613ae"
DELAY = "LOCALCLOUD_ROLE_DELAY"
_REMEMBERED = 10_000


@dataclass(frozen=True)
class Grant:
    """One assignment: a role at a scope (lower case, without a slash at its end), from a moment on."""

    scope: str
    role: Role
    condition: str = ""
    begins: datetime | None = None

    @cached_property
    def holds(self) -> Condition:
        return Condition(self.condition)

    def covers(self, scope: str) -> bool:
        return scope == self.scope or scope.startswith(f"{self.scope}/")


class Permissions:
    """Reach it with `permissions_of(cloud)`. Answers are remembered until an assignment changes or takes effect."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self.delay = float(os.environ.get(DELAY) or 0)
        self._revision = -1
        self._next: datetime | None = None
        self._grants: dict[str, list[Grant]] = {}
        self._roles: Mapping[str, Role] = {}
        self._answers: dict[tuple[str, str, str, bool], bool] = {}

    def allowed(
        self,
        principal: str,
        action: str,
        scope: str,
        *,
        data: bool = False,
        attributes: Mapping[str, str] | None = None,
    ) -> bool:
        """Whether a principal (an object id) may do this at the scope or above; `attributes` are for conditions."""
        self._refresh()
        key = (principal, action, scope, data)
        known = self._answers.get(key) if attributes is None else None
        if known is not None:
            return known
        at = scope.lower().rstrip("/")
        found = any(
            grant.covers(at)
            and grant.role.allows(action, data=data)
            and (not grant.condition or grant.holds.holds(action, attributes or {}))
            for grant in self._grants.get(principal.lower(), ())
        )
        if attributes is None:
            if len(self._answers) >= _REMEMBERED:
                self._answers.clear()
            self._answers[key] = found
        return found

    def scopes(self, principal: str, action: str, beneath: str) -> tuple[str, ...]:
        """Where below a scope the principal has the action: what a list shows to one who may not read all of it."""
        self._refresh()
        below = beneath.lower().rstrip("/") + "/"
        return tuple(
            grant.scope
            for grant in self._grants.get(principal.lower(), ())
            if grant.scope.startswith(below) and grant.role.allows(action)
        )

    def held(self, principal: str, scope: str) -> list[Role]:
        """The roles that count for a principal at a scope; those with a condition are left out."""
        self._refresh()
        at = scope.lower().rstrip("/")
        grants = self._grants.get(principal.lower(), ())
        return [grant.role for grant in grants if grant.covers(at) and not grant.condition]

    def require(self, claims: Mapping[str, Any], need: Need, attributes: Mapping[str, str] | None = None) -> None:
        """Azure's 403 unless the caller may."""
        if not self.allowed(claims["oid"], need.action, need.scope, attributes=attributes):
            raise denied(claims, need)

    def role(self, name: str) -> Role | None:
        """A definition by its GUID."""
        self._refresh()
        return self._roles.get(name.lower())

    def all_roles(self) -> list[Role]:
        self._refresh()
        return list(self._roles.values())

    # -- what is remembered ------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        revision = self._cloud.store.access_revision
        if revision != self._revision or (self._next is not None and self._cloud.clock.now() >= self._next):
            self._read()
            self._revision = revision

    def _read(self) -> None:
        store, now = self._cloud.store, self._cloud.clock.now()
        custom = [roles.from_body(body) for body in store.beneath("/subscriptions", DEFINITIONS)]
        self._roles = {**roles.built_in(), **{role.name: role for role in custom}}
        begins = {key: datetime.fromisoformat(body["from"]) for key, body in store.records("role-begins")}
        # The throw-away principal is what the person is who has made the subscription: its owner.
        owner = Grant(f"/subscriptions/{SUBSCRIPTION}".lower(), self._roles[OWNER])
        self._grants, waiting = {PRINCIPAL_ID.lower(): [owner]}, []
        for body in store.beneath("/subscriptions", ASSIGNMENTS):
            properties = body["properties"]
            role = self._roles.get(properties["roleDefinitionId"].rpartition("/")[2].lower())
            begin = begins.get(body["id"].lower())
            if begin is not None and begin > now:
                waiting.append(begin)
            elif role is not None:
                scope = properties["scope"].lower().rstrip("/")
                grant = Grant(scope, role, properties.get("condition") or "", begin)
                self._grants.setdefault(properties["principalId"].lower(), []).append(grant)
        for kind, granted in _AUTOMATIC.items():
            for body in store.beneath("/subscriptions", kind):
                principal = (body.get("identity") or {}).get("principalId", "").lower()
                for role_name, scope in granted(store, body) if principal else ():
                    grant = Grant(scope.lower(), self._roles[role_name])
                    self._grants.setdefault(principal, []).append(grant)
        self._next = min(waiting, default=None)
        self._answers = {}

    def begin_later(self, assignment_id: str) -> None:
        """A new assignment takes effect after the delay, as it takes Azure minutes to spread one."""
        key = assignment_id.lower()
        if self.delay:
            begins = self._cloud.clock.now() + timedelta(seconds=self.delay)
            self._cloud.store.put_record("role-begins", key, {"from": begins.isoformat()})
        else:
            self._cloud.store.delete_record("role-begins", key)


def _of_workspace(store: Store, body: Body) -> Iterator[tuple[str, str]]:
    properties = body["properties"]
    yield AI_ADMINISTRATOR, body["id"].partition("/providers/")[0]
    yield BLOB_CONTRIBUTOR, properties["storageAccount"]
    yield FILE_CONTRIBUTOR, properties["storageAccount"]
    yield VAULT_ADMINISTRATOR, properties["keyVault"]


def _of_endpoint(store: Store, body: Body) -> Iterator[tuple[str, str]]:
    workspace_id = body["id"].partition("/onlineEndpoints/")[0]
    workspace = (store.get(workspace_id) or {}).get("properties") or {}
    yield METRICS_WRITER, workspace_id
    if workspace.get("storageAccount"):
        yield BLOB_READER, workspace["storageAccount"]
    if workspace.get("containerRegistry"):
        yield IMAGE_PULL, workspace["containerRegistry"]


# What Azure assigns to a system-assigned identity by itself; here it counts, and is not listed.
_AUTOMATIC: Mapping[str, Callable[[Store, Body], Iterator[tuple[str, str]]]] = {
    "microsoft.machinelearningservices/workspaces": _of_workspace,
    "onlineendpoints": _of_endpoint,
}


def permissions_of(cloud: Cloud) -> Permissions:
    return cloud.part(Permissions, lambda: Permissions(cloud))


def denied(claims: Mapping[str, Any], need: Need) -> ArmError:
    """Azure's refusal, in its words."""
    return ArmError(
        403,
        "AuthorizationFailed",
        f"The client '{claims.get('appid', claims['oid'])}' with object id '{claims['oid']}' does not have "
        f"authorization to perform action '{need.action}' over scope '{need.scope}' or the scope is invalid. "
        "If access was recently granted, please refresh your credentials.",
    )
