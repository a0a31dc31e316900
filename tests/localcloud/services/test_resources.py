"""Groups, storage accounts, vaults, insights, registries, identities and roles, asked as ARM is asked."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from localcloud.client import CallFailed
from localcloud.cloud import SUBSCRIPTION, TENANT
from tests.conftest import RunningCloud

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
STORAGE = f"{GROUP}/providers/Microsoft.Storage/storageAccounts/account1"
VAULT = f"{GROUP}/providers/Microsoft.KeyVault/vaults/vault-1"
IDENTITY = f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/trainer"
ACCOUNT: dict[str, Any] = {"location": "eastus", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
VAULT_BODY: dict[str, Any] = {
    "location": "eastus",
    "properties": {"tenantId": TENANT, "sku": {"family": "A", "name": "standard"}, "softDeleteRetentionInDays": 7},
}
CONTRIBUTOR = (
    f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/"
    "b24988ac-6180-42a0-ab88-20f7382dd24c"
)


@pytest.fixture
def cloud(local_cloud: RunningCloud) -> RunningCloud:
    put(local_cloud, GROUP, {"location": "eastus", "tags": {"stack": "local"}})
    return local_cloud


def put(cloud: RunningCloud, path: str, body: Any) -> Any:
    return cloud.arm("PUT", f"{path}?api-version=2024-01-01", body)


def get(cloud: RunningCloud, path: str, query: str = "") -> Any:
    return cloud.arm("GET", f"{path}?api-version=2024-01-01{query}")


def delete(cloud: RunningCloud, path: str) -> Any:
    return cloud.arm("DELETE", f"{path}?api-version=2024-01-01")


def test_a_group_goes_with_everything_inside_and_its_vault_is_soft_deleted(cloud: RunningCloud) -> None:
    put(cloud, STORAGE, ACCOUNT)
    put(cloud, VAULT, VAULT_BODY)
    delete(cloud, GROUP)
    assert get(cloud, f"/subscriptions/{SUBSCRIPTION}/resources")["value"] == []
    deleted = get(cloud, f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault/deletedVaults")["value"]
    assert [vault["name"] for vault in deleted] == ["vault-1"]
    with pytest.raises(CallFailed, match="ResourceGroupNotFound"):
        get(cloud, GROUP)


def test_a_soft_deleted_vault_blocks_its_name_until_it_is_purged(cloud: RunningCloud) -> None:
    put(cloud, VAULT, VAULT_BODY)
    delete(cloud, VAULT)
    with pytest.raises(CallFailed, match=r"ConflictError.*deleted state"):
        put(cloud, VAULT, VAULT_BODY)
    purge = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault/locations/eastus/deletedVaults/vault-1/purge"
    cloud.arm("POST", f"{purge}?api-version=2023-07-01")
    assert put(cloud, VAULT, VAULT_BODY)["properties"]["softDeleteRetentionInDays"] == 7


def test_purge_protection_is_obeyed(cloud: RunningCloud) -> None:
    protected = {**VAULT_BODY, "properties": {**VAULT_BODY["properties"], "enablePurgeProtection": True}}
    put(cloud, VAULT, protected)
    delete(cloud, VAULT)
    purge = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault/locations/eastus/deletedVaults/vault-1/purge"
    with pytest.raises(CallFailed, match="MethodNotAllowed"):
        cloud.arm("POST", f"{purge}?api-version=2023-07-01")


def test_purge_protection_cannot_be_turned_off_nor_sent_as_false(cloud: RunningCloud) -> None:
    for value in (False, True, False):
        body = {**VAULT_BODY, "properties": {**VAULT_BODY["properties"], "enablePurgeProtection": value}}
        if value:
            put(cloud, VAULT, body)
            continue
        with pytest.raises(CallFailed, match="'enablePurgeProtection' cannot be set to false"):
            put(cloud, VAULT, body)
    assert put(cloud, VAULT, VAULT_BODY)["properties"]["enablePurgeProtection"] is True


def test_a_deleted_log_analytics_workspace_is_kept_and_comes_back_under_its_name(cloud: RunningCloud) -> None:
    logs = f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/logs-1"
    kept = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.OperationalInsights/deletedWorkspaces"
    first = put(cloud, logs, {"location": "eastus", "tags": {"stack": "local"}})
    delete(cloud, logs)
    (found,) = get(cloud, kept)["value"]
    assert (found["name"], found["tags"]) == ("logs-1", {"stack": "local"})
    again = put(cloud, logs, {"location": "eastus"})
    assert again["properties"]["customerId"] == first["properties"]["customerId"]
    assert get(cloud, kept)["value"] == []
    cloud.arm("DELETE", f"{logs}?api-version=2024-01-01&force=true")
    assert get(cloud, kept)["value"] == []


def test_keys_are_refused_where_the_account_forbids_them(cloud: RunningCloud) -> None:
    put(cloud, STORAGE, {**ACCOUNT, "properties": {"allowSharedKeyAccess": False}})
    with pytest.raises(CallFailed, match="KeyBasedAuthenticationNotPermitted"):
        cloud.arm("POST", f"{STORAGE}/listKeys?api-version=2024-01-01")
    put(cloud, STORAGE, {**ACCOUNT, "properties": {"allowSharedKeyAccess": True}})
    assert len(cloud.arm("POST", f"{STORAGE}/listKeys?api-version=2024-01-01")["keys"]) == 2


def test_account_names_are_unique_in_the_whole_cloud(cloud: RunningCloud) -> None:
    put(cloud, STORAGE, ACCOUNT)
    other = GROUP.replace("/rg", "/rg2")
    put(cloud, other, {"location": "eastus"})
    with pytest.raises(CallFailed, match="StorageAccountAlreadyTaken"):
        put(cloud, STORAGE.replace("/rg/", "/rg2/"), ACCOUNT)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (STORAGE, {**ACCOUNT, "colour": "red"}, r"Could not find member 'colour'"),
        (STORAGE, {**ACCOUNT, "properties": {"tls": "1.2"}}, r"Could not find member 'tls' on object 'properties'"),
        (STORAGE, {"location": "eastus", "kind": "StorageV2"}, r"required member 'sku' is missing"),
        (STORAGE, {name: ACCOUNT[name] for name in ("kind", "sku")}, "LocationRequired"),
        (STORAGE + "-UPPER", ACCOUNT, r"InvalidResourceName.*'account1-UPPER'"),
        (VAULT, {"location": "eastus", "properties": {"tenantId": TENANT}}, r"'properties.sku' is missing"),
        (STORAGE.replace("/rg/", "/absent/"), ACCOUNT, r"Resource group 'absent' could not be found"),
    ],
)
def test_a_body_that_azure_would_refuse_is_refused_and_leaves_nothing(
    path: str, body: Any, expected: str, cloud: RunningCloud
) -> None:
    with pytest.raises(CallFailed, match=expected):
        put(cloud, path, body)
    assert get(cloud, f"{GROUP}/resources")["value"] == []


def test_every_provider_is_registered_and_an_unknown_one_is_named(cloud: RunningCloud) -> None:
    root = f"/subscriptions/{SUBSCRIPTION}/providers"
    listed = {found["namespace"] for found in get(cloud, root)["value"]}
    assert {"Microsoft.Storage", "Microsoft.MachineLearningServices"} <= listed
    assert get(cloud, f"{root}/microsoft.storage")["registrationState"] == "Registered"
    with pytest.raises(CallFailed, match=r"InvalidResourceNamespace.*'Microsoft.Kusto'"):
        get(cloud, f"{root}/Microsoft.Kusto")


def test_an_api_version_is_required(cloud: RunningCloud) -> None:
    with pytest.raises(CallFailed, match="MissingApiVersionParameter"):
        cloud.arm("GET", GROUP)


def test_another_subscription_does_not_exist(cloud: RunningCloud) -> None:
    with pytest.raises(CallFailed, match="SubscriptionNotFound"):
        put(cloud, f"/subscriptions/{uuid.uuid4()}/resourceGroups/rg", {"location": "eastus"})


def test_resources_are_listed_by_type_and_tag_without_their_properties(cloud: RunningCloud) -> None:
    put(cloud, STORAGE, {**ACCOUNT, "tags": {"stack": "local"}})
    put(cloud, VAULT, VAULT_BODY)
    listed = get(cloud, f"{GROUP}/resources", "&$filter=tagName%20eq%20'stack'%20and%20tagValue%20eq%20'local'")
    assert [item["name"] for item in listed["value"]] == ["account1"]
    assert "properties" not in listed["value"][0]
    with pytest.raises(CallFailed, match="InvalidFilterInQueryString"):
        get(cloud, f"{GROUP}/resources", "&$filter=location%20ne%20'x'")


def test_a_role_is_assigned_once_and_to_a_principal_of_the_right_type(cloud: RunningCloud) -> None:
    principal = put(cloud, IDENTITY, {"location": "eastus"})["properties"]["principalId"]
    put(cloud, STORAGE, ACCOUNT)
    assignments = f"{STORAGE}/providers/Microsoft.Authorization/roleAssignments"
    body = {"principalId": principal, "roleDefinitionId": CONTRIBUTOR, "principalType": "ServicePrincipal"}
    first = str(uuid.uuid4())
    put(cloud, f"{assignments}/{first}", {"properties": body})
    put(cloud, f"{assignments}/{first}", {"properties": body})
    with pytest.raises(CallFailed, match=rf"RoleAssignmentExists.*{first}"):
        put(cloud, f"{assignments}/{uuid.uuid4()}", {"properties": body})
    with pytest.raises(CallFailed, match="UnmatchedPrincipalType"):
        put(cloud, f"{assignments}/{uuid.uuid4()}", {"properties": {**body, "principalType": "User"}})
    with pytest.raises(CallFailed, match="RoleDefinitionDoesNotExist"):
        unknown = CONTRIBUTOR[:-36] + str(uuid.uuid4())
        put(cloud, f"{assignments}/{uuid.uuid4()}", {"properties": {**body, "roleDefinitionId": unknown}})
    assert [found["name"] for found in get(cloud, assignments)["value"]] == [first]
    delete(cloud, STORAGE)
    assert get(cloud, f"{GROUP}/providers/Microsoft.Authorization/roleAssignments")["value"] == []


def test_an_identity_keeps_its_principal_when_it_is_put_again(cloud: RunningCloud) -> None:
    first = put(cloud, IDENTITY, {"location": "eastus"})
    again = put(cloud, IDENTITY, {"location": "eastus", "tags": {"a": "b"}})
    assert again["properties"] == first["properties"]
    credential = f"{IDENTITY}/federatedIdentityCredentials/ci"
    body = {"issuer": "https://token.example", "subject": "repo:x", "audiences": ["api://AzureADTokenExchange"]}
    assert put(cloud, credential, {"properties": body})["properties"] == body
    with pytest.raises(CallFailed, match=r"'properties.subject' is missing"):
        put(cloud, credential, {"properties": {**body, "subject": ""}})


def test_insights_need_a_log_analytics_workspace_that_exists(cloud: RunningCloud) -> None:
    component = f"{GROUP}/providers/Microsoft.Insights/components/insights"
    workspace = f"{GROUP}/providers/Microsoft.OperationalInsights/workspaces/logs-1"
    body = {
        "location": "eastus",
        "kind": "web",
        "properties": {"Application_Type": "web", "WorkspaceResourceId": workspace},
    }
    with pytest.raises(CallFailed, match="InvalidWorkspaceResourceId"):
        put(cloud, component, body)
    put(cloud, workspace, {"location": "eastus"})
    made = put(cloud, component, body)["properties"]
    assert made["ConnectionString"].startswith(f"InstrumentationKey={made['InstrumentationKey']}")


def test_a_registry_needs_a_known_sku(cloud: RunningCloud) -> None:
    registry = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/images1"
    with pytest.raises(CallFailed, match="InvalidSku"):
        put(cloud, registry, {"location": "eastus", "sku": {"name": "Huge"}})
    made = put(cloud, registry, {"location": "eastus", "sku": {"name": "Basic"}})
    assert made["properties"]["loginServer"] == "images1.azurecr.io"
    assert made["properties"]["adminUserEnabled"] is False


def test_what_only_creation_can_set_of_an_account_is_not_changed(cloud: RunningCloud) -> None:
    twice = {"properties": {"encryption": {"requireInfrastructureEncryption": True}}}
    put(cloud, STORAGE, {**ACCOUNT, **twice})
    again = put(cloud, STORAGE, {**ACCOUNT, "properties": {"encryption": {"keySource": "Microsoft.Storage"}}})
    assert again["properties"]["encryption"]["requireInfrastructureEncryption"] is True
    for properties in ({"encryption": {"requireInfrastructureEncryption": False}}, {"isHnsEnabled": True}):
        with pytest.raises(CallFailed, match="AccountPropertyCannotBeUpdated"):
            put(cloud, STORAGE, {**ACCOUNT, "properties": properties})


def test_the_days_of_a_vault_and_its_soft_delete_are_fixed(cloud: RunningCloud) -> None:
    put(cloud, VAULT, VAULT_BODY)
    for properties, expected in (
        ({"softDeleteRetentionInDays": 90}, "has been set already"),
        ({"enableSoftDelete": False}, "'enableSoftDelete' cannot be set to false"),
    ):
        with pytest.raises(CallFailed, match=expected):
            put(cloud, VAULT, {**VAULT_BODY, "properties": VAULT_BODY["properties"] | properties})


def test_a_recovered_vault_is_the_one_that_was_deleted(cloud: RunningCloud) -> None:
    put(cloud, VAULT, VAULT_BODY)
    delete(cloud, VAULT)
    wish = {**VAULT_BODY["properties"], "createMode": "recover", "softDeleteRetentionInDays": 30}
    assert put(cloud, VAULT, {**VAULT_BODY, "properties": wish})["properties"]["softDeleteRetentionInDays"] == 7
    listed = get(cloud, f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.KeyVault/deletedVaults")["value"]
    assert listed == []


@pytest.mark.parametrize(("path", "body"), [(STORAGE, ACCOUNT), (VAULT, VAULT_BODY)])
def test_a_region_that_is_not_there_is_named_with_those_that_are(path: str, body: Any, cloud: RunningCloud) -> None:
    with pytest.raises(CallFailed, match=r"LocationNotAvailableForResourceType.*'mars'.*eastus"):
        put(cloud, path, {**body, "location": "mars"})
    with pytest.raises(CallFailed, match=r"LocationNotAvailableForResourceGroup.*'mars'"):
        put(cloud, GROUP + "2", {"location": "mars"})
