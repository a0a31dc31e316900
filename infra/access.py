"""Who may do what: identities of the stack with their roles, and the roles of those who run the scripts.

Every right is a role assignment of this stack, shown in its preview and gone with it. No keys and no secrets.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import pulumi
from pulumi_azure_native import authorization, managedidentity

from infra.place import Place


class Role(StrEnum):
    """Azure's built-in roles in use, by the GUID that is the same in every tenant."""

    AI_ADMINISTRATOR = "b78c5d69-af96-48a3-bf8d-a8b4d589de94"
    DATA_SCIENTIST = "f6c7c914-8db3-469d-8ca1-694a8f32e121"
    METRICS_WRITER = "635dd51f-9968-44d3-b7fb-6d9a6bd613ae"
    BLOB_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
    BLOB_READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"
    FILE_CONTRIBUTOR = "69566ab7-960f-475b-8e7c-b3118f30c6bd"
    VAULT_ADMINISTRATOR = "00482a5a-887f-4fb3-b363-3b7fe8e74483"
    IMAGE_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
    IMAGE_PUSH = "8311e382-0749-4cb8-b61a-304f252e45ec"
    REGISTRY_USER = "1823dd4f-9b8c-4ab6-ab4e-7397a3684615"
    IDENTITY_OPERATOR = "f1a07417-d97a-45cb-824c-7a7467783830"
    MONITORING_READER = "43d0d8ad-25c7-4714-9337-8ba259a9fe05"


@dataclass(frozen=True)
class Grant:
    """A role at a scope, which is a resource's id; `where` names the scope in the assignment's logical name."""

    role: Role
    where: str
    scope: pulumi.Input[str]


def assign(
    name: str,
    grant: Grant,
    subscription: str,
    principal_id: pulumi.Input[str],
    principal_type: str,
    opts: pulumi.ResourceOptions,
) -> authorization.RoleAssignment:
    """One role assignment, whose GUID follows from scope, principal and role: the same rights, the same assignment.

    The type is always sent: without it Azure looks the principal up, and one just made is often not found yet.
    """
    guid = pulumi.Output.all(grant.scope, principal_id).apply(
        lambda found: str(uuid.uuid5(uuid.NAMESPACE_URL, f"{found[0]}|{found[1]}|{grant.role}".lower()))
    )
    return authorization.RoleAssignment(
        f"{name}-{grant.role.name.lower().replace('_', '-')}-on-{grant.where}",
        role_assignment_name=guid,
        scope=grant.scope,
        principal_id=principal_id,
        principal_type=principal_type,
        role_definition_id=f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions/{grant.role}",
        opts=opts,
    )


@dataclass(frozen=True)
class IdentityArgs:
    """What an identity needs."""

    place: Place
    """Required. The stack that it belongs to."""
    group: pulumi.Input[str]
    """Required. Name of the resource group that it lies in."""
    grants: Sequence[Grant]
    """Required. Its roles; an identity without any is of no use."""


class Identity(pulumi.ComponentResource):
    """A user-assigned identity and its role assignments.

    Chosen over a system-assigned one because its rights exist before the resource that runs as it does, and go with
    the stack. Whoever runs as it depends on `ready`. It does not make custom roles.
    """

    id: pulumi.Output[str]
    principal_id: pulumi.Output[str]

    def __init__(self, name: str, args: IdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tunestack:infra:Identity", name, None, opts)
        within = pulumi.ResourceOptions(parent=self)
        identity = managedidentity.UserAssignedIdentity(
            name,
            resource_group_name=args.group,
            location=args.place.location,
            tags=args.place.tags,
            opts=within,
        )
        self.id = identity.id
        self.principal_id = identity.principal_id
        self.ready: Sequence[pulumi.Resource] = [
            assign(name, grant, args.place.subscription, self.principal_id, "ServicePrincipal", within)
            for grant in args.grants
        ]
        self.register_outputs({"id": self.id, "principal_id": self.principal_id})


@dataclass(frozen=True)
class OperatorsArgs:
    """What the operators' rights need."""

    place: Place
    """Required. The stack, whose dial `operators` names who gets them."""
    grants: Sequence[Grant]
    """Required. The roles that each of them gets."""


class Operators(pulumi.ComponentResource):
    """The rights of those who run the scripts, people and pipelines alike, each under its own type.

    An owner of the subscription needs them too: without shared keys, data takes a data role. It gives no right to
    change clusters or to hand out roles, and knows nobody by name: only object ids.
    """

    def __init__(self, name: str, args: OperatorsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tunestack:infra:Operators", name, None, opts)
        within = pulumi.ResourceOptions(parent=self)
        for operator in args.place.settings.operators:
            for grant in args.grants:
                assign(
                    f"{name}-{operator.object_id}",
                    grant,
                    args.place.subscription,
                    operator.object_id,
                    operator.kind,
                    within,
                )
        self.register_outputs({})


def on_workspace(
    workspace_id: pulumi.Input[str], storage_id: pulumi.Input[str], identity_id: pulumi.Input[str]
) -> Sequence[Grant]:
    """What running the scripts takes: all of the workspace but its clusters, the data in blobs and file shares, the
    metrics that a canary is judged by, and the endpoints' identity: whoever writes an endpoint assigns it anew."""
    return (
        Grant(Role.DATA_SCIENTIST, "workspace", workspace_id),
        Grant(Role.BLOB_CONTRIBUTOR, "storage", storage_id),
        Grant(Role.FILE_CONTRIBUTOR, "storage", storage_id),
        Grant(Role.MONITORING_READER, "workspace", workspace_id),
        Grant(Role.IDENTITY_OPERATOR, "identity", identity_id),
    )
