"""Rules for role assignments and custom roles: known roles, narrow scopes, nobody an owner."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from infra.policy.rule import UNKNOWN, Resource, Rule, StackRule, elements, members, of
from infra.policy.sources import azure_ml, learn, psrule

ASSIGNMENT = "authorization:RoleAssignment"
DEFINITION = "authorization:RoleDefinition"
IDENTITY = "managedidentity:UserAssignedIdentity"
MADE_IN = "infra/access.py"
BEST = learn("azure-docs", "role-based-access-control/best-practices", "best practices for Azure RBAC")
TEMPLATES = learn("azure-docs", "role-based-access-control/role-assignments-template", "add role assignments")
IDENTITIES = azure_ml("how-to-identity-based-service-authentication", "identity-based service authentication")
ROLES_PAGE = azure_ml("how-to-assign-roles", "manage access to a workspace")
SUBSCRIPTION = re.compile(r"(/subscriptions/[^/]+|/providers/Microsoft.Management/managementGroups/[^/]+)?/?", re.I)

# Azure's built-in roles that the documents above name for one of the identities of a stack, and the two that whoever
# shifts traffic needs: to send an endpoint back with the identity it runs as, and to read a canary's metrics.
KNOWN = {
    "b78c5d69-af96-48a3-bf8d-a8b4d589de94": "Azure AI Administrator",
    "b556d68e-0be0-4f35-a333-ad7ee1ce17ea": "Azure AI Enterprise Network Connection Approver",
    "f6c7c914-8db3-469d-8ca1-694a8f32e121": "AzureML Data Scientist",
    "e503ece1-11d0-4e8e-8e2c-7a6c3bf38815": "AzureML Compute Operator",
    "635dd51f-9968-44d3-b7fb-6d9a6bd613ae": "AzureML Metrics Writer",
    "1823dd4f-9b8c-4ab6-ab4e-7397a3684615": "AzureML Registry User",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "69566ab7-960f-475b-8e7c-b3118f30c6bd": "Storage File Data Privileged Contributor",
    "00482a5a-887f-4fb3-b363-3b7fe8e74483": "Key Vault Administrator",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
    "8311e382-0749-4cb8-b61a-304f252e45ec": "AcrPush",
    "f1a07417-d97a-45cb-824c-7a7467783830": "Managed Identity Operator",
    "43d0d8ad-25c7-4714-9337-8ba259a9fe05": "Monitoring Reader",
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": "Reader",
    "f58310d9-a9f6-439a-9e8d-f62e7b41a168": "Role Based Access Control Administrator",
}
PRIVILEGED = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": "Owner",
    "b24988ac-6180-42a0-ab88-20f7382dd24c": "Contributor",
    "f58310d9-a9f6-439a-9e8d-f62e7b41a168": "Role Based Access Control Administrator",
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": "User Access Administrator",
}
MAY_ASSIGN = ("f58310d9-a9f6-439a-9e8d-f62e7b41a168", "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9")


def role_of(assignment: Resource) -> str | None:
    """The GUID of the role; None where it is not known yet."""
    definition = assignment.get("roleDefinitionId")
    return str(definition).rpartition("/")[2].casefold() if isinstance(definition, str) else None


def roles_are_known(stack: Sequence[Resource]) -> Iterator[tuple[str, Resource | None]]:
    made = of(stack, DEFINITION)
    for assignment in of(stack, ASSIGNMENT):
        role = role_of(assignment)
        if role is None or role in KNOWN or any(assignment.comes_from("roleDefinitionId", one) for one in made):
            continue
        yield f"its role is '{PRIVILEGED.get(role, role)}', which no document asks for", assignment


def scope_is_narrow(assignment: Resource) -> Iterator[str]:
    role, scope = role_of(assignment), assignment.get("scope")
    if role in PRIVILEGED and isinstance(scope, str) and SUBSCRIPTION.fullmatch(scope):
        yield f"'{PRIVILEGED[role]}' is given for all of '{scope}'"


def assigning_is_conditional(assignment: Resource) -> Iterator[str]:
    if role_of(assignment) in MAY_ASSIGN and assignment.get("condition") in (None, ""):
        yield "it may assign every role: 'condition' is not set"


def principal_type_fits(stack: Sequence[Resource]) -> Iterator[tuple[str, Resource | None]]:
    identities = of(stack, IDENTITY)
    for assignment in of(stack, ASSIGNMENT):
        kind = assignment.get("principalType")
        ours = any(one.urn in assignment.uses.get("principalId", ()) for one in identities)
        if kind is None:
            yield "'principalType' is not set", assignment
        elif ours and kind is not UNKNOWN and kind != "ServicePrincipal":
            yield f"'principalType' is '{kind}', and its principal is a managed identity", assignment


def actions_are_named(definition: Resource) -> Iterator[str]:
    for permission in elements(definition.get("permissions")):
        for kind in ("actions", "dataActions"):
            for action in elements(members(permission).get(kind)):
                if action == "*" or str(action).endswith("/*"):
                    yield f"'{kind}' has '{action}'"


RULES: tuple[Rule | StackRule, ...] = (
    StackRule(
        "role-from-the-list",
        "Roles are those that Azure's documents name for an identity of the stack, or defined in the stack itself",
        "one of the roles in infra/policy/access.py, or a narrower custom role",
        (IDENTITIES, ROLES_PAGE),
        (ASSIGNMENT,),
        roles_are_known,
        (MADE_IN, "class Role("),
    ),
    Rule(
        "role-narrow-scope",
        "Nobody is made owner, contributor or role administrator of a whole subscription",
        "the id of a resource group or a resource as scope",
        (BEST, psrule("Azure.RBAC.LimitOwner", "AZR-000204")),
        (ASSIGNMENT,),
        scope_is_narrow,
        (MADE_IN, "scope="),
    ),
    Rule(
        "role-administrator-has-condition",
        "Who may assign roles may assign only those that a condition names",
        "condition and condition_version='2.0'",
        (BEST,),
        (ASSIGNMENT,),
        assigning_is_conditional,
        ("infra/bootstrap/identities.py", "condition=grant.condition"),
    ),
    StackRule(
        "role-principal-type",
        "A role assignment says what its principal is, so that one just made is not looked up too early",
        "principal_type='ServicePrincipal' for an identity, 'User' or 'Group' for people",
        (TEMPLATES,),
        (ASSIGNMENT,),
        principal_type_fits,
        (MADE_IN, "principal_type="),
    ),
    Rule(
        "role-definition-no-wildcard",
        "A custom role names its actions",
        "each action in full, such as …/onlineEndpoints/score/action",
        (BEST,),
        (DEFINITION,),
        actions_are_named,
        ("infra/bootstrap/identities.py", "PermissionArgs("),
    ),
)
