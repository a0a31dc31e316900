"""Who the workflows are: identities without a secret, each trusted for one thing that GitHub vouches for."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import pulumi
from pulumi_azure_native import authorization, managedidentity

from infra import access, naming
from infra.bootstrap.settings import Environment, Settings
from infra.bootstrap.state import OWN, State

ISSUER = "https://token.actions.githubusercontent.com"
AUDIENCE = "api://AzureADTokenExchange"
PREVIEW, ML = "preview", "ml"


class Role(StrEnum):
    """Azure's built-in roles in use, by the GUID that is the same in every tenant."""

    READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
    CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
    ROLE_ADMINISTRATOR = "f58310d9-a9f6-439a-9e8d-f62e7b41a168"
    BLOB_READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
    BLOB_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
    CRYPTO_USER = "12338af0-0e69-4776-bea7-57ae8d297424"


@dataclass(frozen=True)
class Grant:
    """A role, built-in or of our own, at a scope (an id); `where` names the scope in the assignment's logical name."""

    role: Role | authorization.RoleDefinition
    where: str
    scope: pulumi.Input[str]
    condition: str = ""

    @property
    def name(self) -> str:
        return self.role.name.lower().replace("_", "-") if isinstance(self.role, Role) else "decrypt"


@dataclass(frozen=True)
class IdentitiesArgs:
    """What the identities need.

    Required: `subscription` (GUID), `group` (name of the resource group), `settings`, `tags`, and the `state`.
    """

    subscription: str
    group: pulumi.Input[str]
    settings: Settings
    tags: Mapping[str, str]
    state: State


class Identities(pulumi.ComponentResource):
    """`preview` for pull requests, `deploy-ENVIRONMENT` for each environment, `ml` for models and drift.

    A pull request's Python runs as `preview`, which can change nothing. A deploy identity hands out only the roles
    that the stacks assign, and reads no other environment's state. `ml` reads; what it may do with models it gets as
    one of a stack's `operators`. It makes no GitHub environments: the lines that `variables` prints do.
    """

    def __init__(self, name: str, args: IdentitiesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tunestack:bootstrap:Identities", name, None, opts)
        self._args = args
        self.clients: dict[str, pulumi.Output[str]] = {}
        self.principals: dict[str, pulumi.Output[str]] = {}
        environments = args.settings.environments
        self._decrypt = self._role()
        reading = [grant for one in environments for grant in self._reading(one)]
        self._identity(PREVIEW, PREVIEW, "pull_request", reading)
        self._identity(ML, ML, f"environment:{ML}", reading)
        for one in environments:
            self._identity(one.name, f"deploy-{one.name}", f"environment:{one.name}", self._deploying(one))
        for administrator in args.settings.administrators:
            for where in (OWN, *(one.name for one in environments)):
                for grant in self._state_of(where, Role.BLOB_CONTRIBUTOR):
                    self._assign(administrator.object_id, administrator.object_id, administrator.kind, grant)
        self.register_outputs({"clients": self.clients})

    def _reading(self, one: Environment) -> Sequence[Grant]:
        """A plan needs to see what is there, to read the state, and to decrypt what is secret in it."""
        container, key = self._state_of(one.name, Role.BLOB_READER)
        return [self._subscription(Role.READER, one), container, replace(key, role=self._decrypt)]

    def _deploying(self, one: Environment) -> Sequence[Grant]:
        return [
            self._subscription(Role.CONTRIBUTOR, one),
            self._subscription(Role.ROLE_ADMINISTRATOR, one, only_roles(access.Role)),
            *self._state_of(one.name, Role.BLOB_CONTRIBUTOR),
        ]

    def _subscription(self, role: Role, one: Environment, condition: str = "") -> Grant:
        """At the subscription and not at a group: a stack makes its own resource group."""
        scope = f"/subscriptions/{one.subscription or self._args.subscription}"
        return Grant(role, f"subscription-of-{one.name}", scope, condition)

    def _state_of(self, name: str, role: Role) -> Sequence[Grant]:
        return [
            Grant(role, f"state-{name}", self._args.state.containers[name].id),
            Grant(Role.CRYPTO_USER, f"key-{name}", self._args.state.keys[name].id),
        ]

    def _role(self) -> authorization.RoleDefinition:
        """To decrypt and nothing else: the least of Azure's own roles that may changes keys and signs with them."""
        repository, scope = self._args.settings.repository, f"/subscriptions/{self._args.subscription}"
        return authorization.RoleDefinition(
            "decrypt",
            role_definition_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{scope}|{repository}|decrypt".lower())),
            role_name=f"State decrypter of {repository}",
            description="Decrypts the data keys of Pulumi's states",
            role_type="CustomRole",
            scope=scope,
            assignable_scopes=[scope],
            permissions=[authorization.PermissionArgs(data_actions=["Microsoft.KeyVault/vaults/keys/decrypt/action"])],
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _identity(self, key: str, name: str, subject: str, grants: Sequence[Grant]) -> None:
        within = pulumi.ResourceOptions(parent=self)
        identity = managedidentity.UserAssignedIdentity(
            naming.name(naming.IDENTITY, name, "github"),
            resource_group_name=self._args.group,
            location=self._args.settings.location,
            tags=self._args.tags,
            opts=within,
        )
        managedidentity.FederatedIdentityCredential(
            f"github-{name}",
            federated_identity_credential_resource_name="github",
            resource_name_=identity.name,
            resource_group_name=self._args.group,
            issuer=ISSUER,
            subject=f"repo:{self._args.settings.repository}:{subject}",
            audiences=[AUDIENCE],
            opts=within,
        )
        self.clients[key], self.principals[key] = identity.client_id, identity.principal_id
        # Two environments in one subscription are one scope, which takes a role once.
        once = {(grant.name, grant.scope if isinstance(grant.scope, str) else grant.where): grant for grant in grants}
        for grant in once.values():
            self._assign(name, identity.principal_id, "ServicePrincipal", grant)

    def _assign(self, name: str, principal: pulumi.Input[str], kind: str, grant: Grant) -> None:
        guid = pulumi.Output.all(grant.scope, principal).apply(
            lambda found: str(uuid.uuid5(uuid.NAMESPACE_URL, f"{found[0]}|{found[1]}|{grant.name}".lower()))
        )
        definition: pulumi.Input[str] = (
            f"/subscriptions/{self._args.subscription}/providers/Microsoft.Authorization/roleDefinitions/{grant.role}"
            if isinstance(grant.role, Role)
            else grant.role.id
        )
        authorization.RoleAssignment(
            f"{name}-{grant.name}-on-{grant.where}",
            role_assignment_name=guid,
            scope=grant.scope,
            principal_id=principal,
            principal_type=kind,
            role_definition_id=definition,
            condition=grant.condition or None,
            condition_version="2.0" if grant.condition else None,
            opts=pulumi.ResourceOptions(parent=self),
        )


def only_roles(roles: type[access.Role]) -> str:
    """The condition under which assignments of these roles, and no other, may be made and taken away.

    The form is that of learn.microsoft.com/azure/role-based-access-control/delegate-role-assignments-examples.
    """
    allowed = ", ".join(sorted(roles))
    parts = [
        f"(!(ActionMatches{{'Microsoft.Authorization/roleAssignments/{action}'}}) OR "
        f"@{source}[Microsoft.Authorization/roleAssignments:RoleDefinitionId] "
        f"ForAnyOfAnyValues:GuidEquals {{{allowed}}})"
        for action, source in (("write", "Request"), ("delete", "Resource"))
    ]
    return " AND ".join(parts)
