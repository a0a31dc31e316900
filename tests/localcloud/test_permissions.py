"""What roles allow: the wildcards of actions, scopes from above, conditions, delays, and each role by its table."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from localcloud import needs, roles
from localcloud.client import CallFailed
from localcloud.cloud import PRINCIPAL_ID, SUBSCRIPTION, Cloud
from localcloud.conditions import Condition, NotUnderstood
from localcloud.operations import ManualClock
from localcloud.permissions import ASSIGNMENTS, OWNER, permissions_of
from localcloud.principals import ThrowAway, client_id
from localcloud.server import Options
from localcloud.services.entra import issue_token
from localcloud.store import Store
from tests.conftest import RunningCloud, serve

ML = "Microsoft.MachineLearningServices"
BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
SUB = f"/subscriptions/{SUBSCRIPTION}"
GROUP = f"{SUB}/resourceGroups/rg"
WORKSPACE = f"{GROUP}/providers/{ML}/workspaces/ws"
VERSION = "?api-version=2024-03-01"
BY_NAME = {role.role_name: role for role in roles.built_in().values()}
BOB = ThrowAway("bob")

# role: what it allows, what it does not; a data action is marked with `data:`.
TABLE = {
    "Owner": (
        [f"{ML}/workspaces/jobs/write", "Microsoft.Authorization/roleAssignments/write", "A/b/c/action"],
        [f"data:{BLOBS}/read"],
    ),
    "Contributor": (
        [f"{ML}/workspaces/write", "Microsoft.Authorization/roleAssignments/read"],
        ["Microsoft.Authorization/roleAssignments/write", "Microsoft.Authorization/locks/delete", f"data:{BLOBS}/read"],
    ),
    "Reader": ([f"{ML}/workspaces/read", "A/read"], [f"{ML}/workspaces/write", f"{ML}/workspaces/listKeys/action"]),
    "User Access Administrator": (["Microsoft.Authorization/roleAssignments/write", "A/read"], ["A/write"]),
    "Role Based Access Control Administrator": (
        ["Microsoft.Authorization/roleAssignments/delete", "A/b/read"],
        ["Microsoft.Authorization/policyAssignments/write", "A/b/write"],
    ),
    "Azure AI Administrator": (
        [
            f"{ML}/workspaces/computes/write",
            "Microsoft.KeyVault/vaults/delete",
            "Microsoft.Insights/metricAlerts/write",
        ],
        ["Microsoft.Authorization/roleAssignments/write", f"{ML}/registries/write", f"data:{BLOBS}/read"],
    ),
    "AzureML Data Scientist": (
        [
            *(f"{ML}/workspaces/{each}" for each in ("read", "jobs/write", "computes/read", "onlineEndpoints/write")),
            *(f"{ML}/workspaces/onlineEndpoints/{each}/action" for each in ("score", "listKeys")),
        ],
        [
            *(f"{ML}/workspaces/{each}" for each in ("write", "delete", "computes/write", "computes/delete")),
            *(f"{ML}/workspaces/listKeys/action", f"{ML}/registries/read", "Microsoft.Insights/metrics/read"),
        ],
    ),
    "AzureML Compute Operator": (
        [f"{ML}/workspaces/computes/write", f"{ML}/workspaces/computes/start/action"],
        [f"{ML}/workspaces/jobs/write"],
    ),
    "AzureML Registry User": (
        [f"{ML}/registries/read", f"{ML}/registries/assets/write"],
        [f"{ML}/registries/write", f"{ML}/registries/delete"],
    ),
    "AzureML Metrics Writer (preview)": ([f"{ML}/workspaces/metrics/resource/write"], [f"{ML}/workspaces/read"]),
    "Azure AI Enterprise Network Connection Approver": (
        ["Microsoft.Storage/storageAccounts/privateEndpointConnectionsApproval/action"],
        ["Microsoft.Storage/storageAccounts/write"],
    ),
    "Storage Account Contributor": (
        ["Microsoft.Storage/storageAccounts/listKeys/action"],
        [f"data:{BLOBS}/read", "Microsoft.KeyVault/vaults/read"],
    ),
    "Storage Blob Data Owner": ([f"data:{BLOBS}/manageOwnership/action"], ["Microsoft.Storage/storageAccounts/read"]),
    "Storage Blob Data Contributor": (
        [
            f"data:{BLOBS}/write",
            f"data:{BLOBS}/delete",
            "Microsoft.Storage/storageAccounts/blobServices/containers/write",
        ],
        [f"data:{BLOBS}/manageOwnership/action", "Microsoft.Storage/storageAccounts/listKeys/action"],
    ),
    "Storage Blob Data Reader": ([f"data:{BLOBS}/read"], [f"data:{BLOBS}/write", f"data:{BLOBS}/delete"]),
    "Storage File Data Privileged Contributor": (
        ["data:Microsoft.Storage/storageAccounts/fileServices/fileshares/files/write"],
        [f"data:{BLOBS}/read"],
    ),
    "Key Vault Administrator": (
        ["data:Microsoft.KeyVault/vaults/secrets/getSecret/action", "Microsoft.KeyVault/vaults/read"],
        ["Microsoft.KeyVault/vaults/write"],
    ),
    "Key Vault Secrets Officer": (
        ["data:Microsoft.KeyVault/vaults/secrets/setSecret/action"],
        ["data:Microsoft.KeyVault/vaults/keys/read"],
    ),
    "Key Vault Crypto User": (
        ["data:Microsoft.KeyVault/vaults/keys/decrypt/action"],
        ["data:Microsoft.KeyVault/vaults/keys/delete", "Microsoft.KeyVault/vaults/read"],
    ),
    "Key Vault Crypto Officer": (
        ["data:Microsoft.KeyVault/vaults/keys/create/action"],
        ["data:Microsoft.KeyVault/vaults/secrets/getSecret/action"],
    ),
    "AcrPull": (
        ["Microsoft.ContainerRegistry/registries/pull/read"],
        ["Microsoft.ContainerRegistry/registries/push/write"],
    ),
    "AcrPush": (
        ["Microsoft.ContainerRegistry/registries/push/write", "Microsoft.ContainerRegistry/registries/pull/read"],
        ["Microsoft.ContainerRegistry/registries/write"],
    ),
    "Managed Identity Operator": (
        ["Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"],
        ["Microsoft.ManagedIdentity/userAssignedIdentities/write"],
    ),
    "Managed Identity Contributor": (
        ["Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials/write"],
        ["Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"],
    ),
    "Monitoring Reader": (["Microsoft.Insights/metrics/read"], ["Microsoft.Insights/metricAlerts/write"]),
    "Monitoring Contributor": (["Microsoft.Insights/metricAlerts/write"], [f"{ML}/workspaces/write"]),
    "Monitoring Metrics Publisher": (
        ["data:Microsoft.Insights/Metrics/Write"],
        ["Microsoft.Insights/metricAlerts/write"],
    ),
    "Cost Management Reader": (["Microsoft.Consumption/budgets/read"], ["Microsoft.Consumption/budgets/write"]),
    "Cost Management Contributor": (["Microsoft.Consumption/budgets/write"], [f"{ML}/workspaces/read"]),
}


def test_every_role_of_the_catalog_is_in_the_table() -> None:
    assert set(TABLE) == set(BY_NAME)


@pytest.mark.parametrize("name", TABLE)
def test_a_role_allows_what_its_definition_says_and_nothing_else(name: str) -> None:
    allowed, refused = TABLE[name]
    for each in [*allowed, *refused]:
        action = each.removeprefix("data:")
        assert BY_NAME[name].allows(action, data=action != each) == (each in allowed), each


@pytest.mark.parametrize(
    ("pattern", "action", "matches"),
    [
        ("*", "A/b/c/read", True),
        ("*/read", "A/b/read", True),
        ("A/*/read", "A/read", True),
        ("A/*/read", "A/b/c/read", True),
        ("A/*/read", "Ab/read", False),
        ("a/B/*", "A/b/write", True),
        ("A/b/*", "A/bc/write", False),
        ("A/b/read", "A/b/read/more", False),
        ("A.b/read", "Axb/read", False),
    ],
)
def test_wildcards(pattern: str, action: str, matches: bool) -> None:
    assert roles.matches(action, [pattern]) is matches


@pytest.mark.parametrize(
    ("method", "path", "action", "scope"),
    [
        ("GET", SUB, "Microsoft.Resources/subscriptions/read", SUB),
        ("PUT", GROUP, "Microsoft.Resources/subscriptions/resourceGroups/write", GROUP),
        ("GET", f"{SUB}/resourcegroups", "Microsoft.Resources/subscriptions/resourceGroups/read", SUB),
        ("POST", f"{SUB}/providers/{ML}/register", f"{ML}/register/action", SUB),
        ("PUT", f"{WORKSPACE}/jobs/j", f"{ML}/workspaces/jobs/write", f"{WORKSPACE}/jobs/j"),
        ("GET", f"{WORKSPACE}/jobs", f"{ML}/workspaces/jobs/read", WORKSPACE),
        ("POST", f"{WORKSPACE}/jobs/j/cancel", f"{ML}/workspaces/jobs/cancel/action", f"{WORKSPACE}/jobs/j"),
        ("DELETE", f"{GROUP}/providers/{ML}/registries/r/models/m", f"{ML}/registries/assets/delete", ""),
        (
            "PUT",
            f"{WORKSPACE}/providers/{ASSIGNMENTS}/g",
            f"{ASSIGNMENTS}/write",
            f"{WORKSPACE}/providers/{ASSIGNMENTS}/g",
        ),
        ("GET", f"{WORKSPACE}/providers/Microsoft.Insights/metrics", "Microsoft.Insights/metrics/read", WORKSPACE),
    ],
)
def test_a_call_to_resource_manager_needs_the_action_of_its_type(
    method: str, path: str, action: str, scope: str
) -> None:
    need = needs.of_arm(method, path)
    assert need
    assert need.action == action
    assert not scope or need.scope == scope


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("PATCH", f"/history/v1.0{WORKSPACE}/runs/r", "experiments/runs/write"),
        ("POST", f"/history/v1.0{WORKSPACE}/rundata", "experiments/runs/read"),
        ("POST", f"/mlflow/v1.0{WORKSPACE}/api/2.0/mlflow/runs/search", "experiments/runs/read"),
        ("POST", f"/mlflow/v1.0{WORKSPACE}/api/2.0/mlflow/runs/log-batch", "experiments/runs/write"),
        ("POST", f"/mlflow/v1.0{WORKSPACE}/api/2.0/mlflow/registered-models/create", "models/write"),
        ("POST", f"/data/v1.0{WORKSPACE}/dataversion/batchGetResolvedUris", "data/versions/read"),
    ],
)
def test_a_call_to_the_data_plane_needs_an_action_of_the_workspace(method: str, path: str, action: str) -> None:
    need = needs.of_data_plane(method, path)
    assert need == needs.Need(f"{ML}/workspaces/{action}", WORKSPACE)


# -- conditions ------------------------------------------------------------------------------------------------

ONLY = (
    "((!(ActionMatches{'Microsoft.Authorization/roleAssignments/write'})) OR "
    "(@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {aa, bb})) AND "
    "((!(ActionMatches{'Microsoft.Authorization/roleAssignments/delete'})) OR "
    "(@Resource[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {aa}))"
)


@pytest.mark.parametrize(
    ("verb", "role", "holds"),
    [("write", "AA", True), ("write", "cc", False), ("delete", "bb", False), ("read", "", True)],
)
def test_a_condition_holds_for_the_roles_that_it_names(verb: str, role: str, holds: bool) -> None:
    assert Condition(ONLY).holds(f"{ASSIGNMENTS}/{verb}", {"RoleDefinitionId": role}) is holds


@pytest.mark.parametrize(
    "text", ["@Subject[x] Y {z}", "(ActionMatches{'a'}", "@Request[a:b] Unheard {c}", "AND", "", "!"]
)
def test_a_condition_that_is_not_understood_is_refused_and_never_ignored(text: str) -> None:
    with pytest.raises(NotUnderstood):
        Condition(text)


# -- in the cloud ----------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cloud(tmp_path: Path, clock: ManualClock) -> Iterator[RunningCloud]:
    with serve(Options(tmp_path / "state", engine=False, tracking=False), clock) as found:
        for name in ("rg", "other"):
            found.arm("PUT", f"{SUB}/resourceGroups/{name}{VERSION}", {"location": "eastus"})
        yield found


def as_bob(cloud: RunningCloud, method: str, path: str, body: Any = None) -> Any:
    token = issue_token(cloud.cloud, "https://management.azure.com", oid=BOB.object_id, appid=client_id(BOB.name))
    return cloud.running.call(method, "management.azure.com", path + ("" if "?" in path else VERSION), body, token)


def role(name: str) -> str:
    return BY_NAME[name].name


def test_without_a_role_the_refusal_is_azures(cloud: RunningCloud) -> None:
    with pytest.raises(CallFailed) as refused:
        as_bob(cloud, "GET", GROUP)
    assert str(refused.value) == (
        f"(AuthorizationFailed) The client '{client_id('bob')}' with object id '{BOB.object_id}' does not have "
        "authorization to perform action 'Microsoft.Resources/subscriptions/resourceGroups/read' over scope "
        f"'{GROUP}' or the scope is invalid. If access was recently granted, please refresh your credentials."
    )


def test_a_role_counts_at_its_scope_and_below_and_nowhere_else(cloud: RunningCloud) -> None:
    made = cloud.grant(role("Reader"), GROUP, BOB.object_id)
    assert as_bob(cloud, "GET", GROUP)["name"] == "rg"
    assert as_bob(cloud, "GET", f"{GROUP}/resources")["value"] == []
    with pytest.raises(CallFailed, match="AuthorizationFailed"):
        as_bob(cloud, "GET", f"{SUB}/resourceGroups/other")
    with pytest.raises(CallFailed, match="AuthorizationFailed"):
        as_bob(cloud, "PUT", GROUP, {"location": "eastus"})
    cloud.revoke(made)
    with pytest.raises(CallFailed, match="AuthorizationFailed"):
        as_bob(cloud, "GET", GROUP)


def test_a_list_shows_what_the_caller_may_read(cloud: RunningCloud) -> None:
    with pytest.raises(CallFailed, match="AuthorizationFailed"):
        as_bob(cloud, "GET", f"{SUB}/resourceGroups")
    cloud.grant(role("Reader"), GROUP, BOB.object_id)
    assert [one["name"] for one in as_bob(cloud, "GET", f"{SUB}/resourceGroups")["value"]] == ["rg"]


def test_a_caller_may_ask_what_it_may_do_at_a_scope_roles_from_above_included(cloud: RunningCloud) -> None:
    path = f"{GROUP}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"
    with pytest.raises(CallFailed, match=r"Microsoft\.Authorization/permissions/read"):
        as_bob(cloud, "GET", path)
    cloud.grant(BY_NAME["Reader"].name, SUB, BOB.object_id)
    cloud.grant(BY_NAME["Storage Blob Data Contributor"].name, f"{SUB}/resourceGroups/other", BOB.object_id)
    assert [one["actions"] for one in as_bob(cloud, "GET", path)["value"]] == [["*/read"]]
    here = as_bob(cloud, "GET", path.replace("/rg/", "/other/"))["value"]
    assert any(f"{BLOBS}/write" in one["dataActions"] for one in here)


def test_roles_go_with_what_they_are_on(cloud: RunningCloud) -> None:
    cloud.grant(role("Reader"), GROUP, BOB.object_id)
    cloud.arm("DELETE", GROUP + VERSION)
    cloud.arm("PUT", GROUP + VERSION, {"location": "eastus"})
    with pytest.raises(CallFailed, match="AuthorizationFailed"):
        as_bob(cloud, "GET", GROUP)


def test_an_identity_in_a_body_needs_a_right_of_its_own(cloud: RunningCloud) -> None:
    identity = f"{SUB}/resourceGroups/other/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mine"
    cloud.arm("PUT", identity + VERSION, {"location": "eastus"})
    cloud.grant(role("Contributor"), GROUP, BOB.object_id)
    body = {
        "location": "eastus",
        "kind": "StorageV2",
        "sku": {"name": "Standard_LRS"},
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {identity: {}}},
    }
    account = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/acct"
    with pytest.raises(CallFailed, match=r"LinkedAuthorizationFailed.*userAssignedIdentities/assign/action.*/mine'"):
        as_bob(cloud, "PUT", account, body)
    cloud.grant(role("Managed Identity Operator"), identity, BOB.object_id)
    assert as_bob(cloud, "PUT", account, body)["name"] == "acct"


def assign(cloud: RunningCloud, definition: str, principal: str = PRINCIPAL_ID) -> str:
    """Bob makes an assignment in the group; its id."""
    path = f"{GROUP}/providers/{ASSIGNMENTS}/{uuid.uuid4()}"
    properties = {"roleDefinitionId": f"/x/{definition}", "principalId": principal, "principalType": "ServicePrincipal"}
    as_bob(cloud, "PUT", path, {"properties": properties})
    return path


def test_a_contributor_hands_out_no_roles(cloud: RunningCloud) -> None:
    cloud.grant(role("Contributor"), GROUP, BOB.object_id)
    with pytest.raises(CallFailed, match="roleAssignments/write"):
        assign(cloud, role("Reader"))


def test_an_administrator_of_roles_hands_out_those_that_the_condition_names(cloud: RunningCloud) -> None:
    path = f"{GROUP}/providers/{ASSIGNMENTS}/{uuid.uuid4()}"
    properties = {
        "roleDefinitionId": f"/x/{role('Role Based Access Control Administrator')}",
        "principalId": BOB.object_id,
        "principalType": "ServicePrincipal",
        "condition": ONLY.replace("aa", role("Reader")).replace("bb", role("AcrPull")),
        "conditionVersion": "2.0",
    }
    cloud.arm("PUT", path + VERSION, {"properties": properties})
    made = assign(cloud, role("Reader"))
    kept = assign(cloud, role("AcrPull"))
    with pytest.raises(CallFailed, match="roleAssignments/write"):
        assign(cloud, OWNER)
    as_bob(cloud, "DELETE", made)
    with pytest.raises(CallFailed, match="roleAssignments/delete"):
        as_bob(cloud, "DELETE", kept)
    with pytest.raises(CallFailed, match="InvalidCondition"):
        cloud.arm("PUT", path + VERSION, {"properties": {**properties, "condition": "@Subject[a] b {c}"}})


def test_a_custom_role_is_what_its_definition_says(cloud: RunningCloud) -> None:
    name = str(uuid.uuid4())
    path = f"{SUB}/providers/Microsoft.Authorization/roleDefinitions/{name}"
    permissions = [{"actions": ["Microsoft.Resources/*/read"], "notActions": ["*/resourceGroups/read"]}]
    body = {"roleName": "Mine", "permissions": permissions, "assignableScopes": [SUB]}
    cloud.arm("PUT", path + VERSION, {"properties": body})
    cloud.grant(name, SUB, BOB.object_id)
    assert as_bob(cloud, "GET", SUB)["state"] == "Enabled"
    with pytest.raises(CallFailed, match="AuthorizationFailed"):
        as_bob(cloud, "GET", GROUP)
    listed = cloud.arm(
        "GET", f"{SUB}/providers/Microsoft.Authorization/roleDefinitions{VERSION}&$filter=roleName%20eq%20'Mine'"
    )
    assert [one["name"] for one in listed["value"]] == [name]
    with pytest.raises(CallFailed, match="RoleDefinitionHasAssignments"):
        cloud.arm("DELETE", path + VERSION)


def test_a_new_role_counts_after_the_delay_and_not_before(cloud: RunningCloud, clock: ManualClock) -> None:
    cloud.running.call("PUT", "127.0.0.1", "/localcloud/role-delay", {"seconds": 300}, cloud.running.secret)
    cloud.grant(role("Reader"), GROUP, BOB.object_id)
    for passed in (0, 299):
        cloud.call(clock.advance(passed))
        with pytest.raises(CallFailed, match="If access was recently granted"):
            as_bob(cloud, "GET", GROUP)
    cloud.call(clock.advance(1))
    assert as_bob(cloud, "GET", GROUP)["name"] == "rg"


def test_the_delay_can_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOCALCLOUD_ROLE_DELAY", "60")
    cloud = Cloud(Store(), tmp_path, clock=ManualClock())
    assert permissions_of(cloud).delay == timedelta(minutes=1).total_seconds()


def test_an_answer_that_is_remembered_costs_microseconds(cloud: RunningCloud) -> None:
    import timeit

    permissions = permissions_of(cloud.cloud)
    scopes = [f"{WORKSPACE}/jobs/{number}" for number in range(100)]
    for number in range(50):
        cloud.grant(role("Reader"), GROUP, str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))))

    def ask() -> None:
        for scope in scopes:
            permissions.allowed(PRINCIPAL_ID, f"{ML}/workspaces/jobs/read", scope)

    assert min(timeit.repeat(ask, number=10, repeat=5)) / 1000 < 50e-6
