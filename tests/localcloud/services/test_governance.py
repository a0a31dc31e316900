"""Locks and policies: what they refuse, whom they leave alone, and the words in which they say so."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.client import CallFailed
from localcloud.cloud import SUBSCRIPTION
from tests.conftest import RunningCloud
from tests.localcloud.services.conftest import GROUP, STORAGE, WORKSPACE, Account, place

HERE = f"/subscriptions/{SUBSCRIPTION}"
ACCOUNT: dict[str, Any] = {"location": "eastus", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
BUILT_IN = "/providers/Microsoft.Authorization/policyDefinitions"
KEYS, LOCATIONS = "8c6a50c6-9ffd-4ae7-986f-5fa6111f9a54", "e56962a6-4747-49cd-b67b-bf8b01975c4c"
OWN_REGISTRY, APPROVED = "19539b54-c61e-4196-9a38-67598701be90", "12e5dd16-d201-47ff-849b-8454061c293d"


def put(cloud: RunningCloud, path: str, body: Any) -> Any:
    return cloud.arm("PUT", f"{path}?api-version=2024-01-01", body)


def delete(cloud: RunningCloud, path: str) -> Any:
    return cloud.arm("DELETE", f"{path}?api-version=2024-01-01")


def lock(cloud: RunningCloud, scope: str, level: str) -> str:
    wanted = f"{scope}/providers/Microsoft.Authorization/locks/keep"
    put(cloud, wanted, {"properties": {"level": level}})
    return wanted


def assign(cloud: RunningCloud, scope: str, definition: str, **properties: Any) -> str:
    wanted = f"{scope}/providers/Microsoft.Authorization/policyAssignments/rule"
    put(cloud, wanted, {"properties": {"policyDefinitionId": f"{BUILT_IN}/{definition}", **properties}})
    return wanted


@pytest.fixture
def cloud(local_cloud: RunningCloud) -> RunningCloud:
    put(local_cloud, GROUP, {"location": "eastus"})
    return local_cloud


@pytest.mark.parametrize("scope", [HERE, GROUP, STORAGE])
def test_a_delete_lock_over_a_resource_stops_its_delete_and_not_its_change(scope: str, cloud: RunningCloud) -> None:
    put(cloud, STORAGE.replace("acct", "acct1"), ACCOUNT)
    place(cloud, STORAGE)
    held = lock(cloud, scope, "CanNotDelete")
    with pytest.raises(CallFailed, match=rf"ScopeLocked.*{STORAGE}' cannot perform delete.*locked: '{scope}'"):
        delete(cloud, STORAGE)
    delete(cloud, held)
    delete(cloud, STORAGE)


def test_a_lock_inside_a_group_keeps_the_group(cloud: RunningCloud) -> None:
    place(cloud, STORAGE)
    held = lock(cloud, STORAGE, "CanNotDelete")
    with pytest.raises(CallFailed, match=f"ScopeLocked.*{GROUP}' cannot perform delete.*locked: '{STORAGE}'"):
        delete(cloud, GROUP)
    assert cloud.arm("GET", f"{STORAGE}?api-version=2024-01-01")["name"] == "acct"
    delete(cloud, held)
    delete(cloud, GROUP)


def test_a_read_only_lock_refuses_writes_and_actions_and_lets_read(cloud: RunningCloud) -> None:
    put(cloud, STORAGE.replace("acct", "acct1"), ACCOUNT)
    lock(cloud, GROUP, "ReadOnly")
    path = STORAGE.replace("acct", "acct1")
    with pytest.raises(CallFailed, match=r"ScopeLocked.*cannot perform write"):
        put(cloud, path, {**ACCOUNT, "tags": {"a": "b"}})
    with pytest.raises(CallFailed, match=r"ScopeLocked.*cannot perform write"):
        cloud.arm("POST", f"{path}/listKeys?api-version=2024-01-01")
    assert cloud.arm("GET", f"{path}?api-version=2024-01-01")["name"] == "acct1"


def test_a_lock_beside_a_resource_is_no_concern_of_it(cloud: RunningCloud) -> None:
    place(cloud, STORAGE)
    place(cloud, STORAGE + "2")
    lock(cloud, STORAGE, "CanNotDelete")
    delete(cloud, STORAGE + "2")


@pytest.mark.parametrize("level", ["Locked", "NotSpecified"])
def test_an_unknown_level_is_named(level: str, cloud: RunningCloud) -> None:
    with pytest.raises(CallFailed, match=f"InvalidLockLevel.*'{level}'"):
        lock(cloud, GROUP, level)


# -- policies --------------------------------------------------------------------------------------------------


def test_a_policy_that_denies_shared_keys_stops_the_account_and_names_itself(cloud: RunningCloud) -> None:
    rule = assign(cloud, HERE, KEYS, displayName="No keys", parameters={"effect": {"value": "Deny"}})
    wanted = STORAGE.replace("acct", "acct1")
    with pytest.raises(CallFailed, match=rf"RequestDisallowedByPolicy.*'acct1'.*\"name\":\"No keys\",\"id\":\"{rule}"):
        put(cloud, wanted, ACCOUNT)
    assert cloud.cloud.store.get(wanted) is None
    put(cloud, wanted, {**ACCOUNT, "properties": {"allowSharedKeyAccess": False}})
    with pytest.raises(CallFailed, match="RequestDisallowedByPolicy"):
        cloud.arm("PATCH", f"{wanted}?api-version=2024-01-01", {"properties": {"allowSharedKeyAccess": True}})
    cloud.arm("PATCH", f"{wanted}?api-version=2024-01-01", {"tags": {"a": "b"}})


@pytest.mark.parametrize(
    "leave",
    [
        {"parameters": {"effect": {"value": "Audit"}}},
        {"parameters": {}},
        {"parameters": {"effect": {"value": "Deny"}}, "enforcementMode": "DoNotEnforce"},
        {"parameters": {"effect": {"value": "Deny"}}, "notScopes": [GROUP]},
    ],
    ids=["audit", "default", "not-enforced", "excluded"],
)
def test_a_policy_that_does_not_deny_stops_nothing(leave: dict[str, Any], cloud: RunningCloud) -> None:
    assign(cloud, HERE, KEYS, **leave)
    put(cloud, STORAGE.replace("acct", "acct1"), ACCOUNT)


def test_a_policy_of_another_group_stops_nothing(cloud: RunningCloud) -> None:
    other = GROUP.replace("/rg", "/rg2")
    put(cloud, other, {"location": "eastus"})
    assign(cloud, other, KEYS, parameters={"effect": {"value": "Deny"}})
    put(cloud, STORAGE.replace("acct", "acct1"), ACCOUNT)


def test_regions_that_are_not_allowed_are_refused(cloud: RunningCloud) -> None:
    assign(cloud, HERE, LOCATIONS, parameters={"listOfAllowedLocations": {"value": ["westeurope", "North Europe"]}})
    with pytest.raises(CallFailed, match=r"RequestDisallowedByPolicy.*Allowed locations"):
        put(cloud, STORAGE.replace("acct", "acct1"), ACCOUNT)
    put(cloud, STORAGE.replace("acct", "acct1"), {**ACCOUNT, "location": "northeurope"})


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"policyDefinitionId": f"{BUILT_IN}/none"}, "PolicyDefinitionNotFound.*none"),
        ({"policyDefinitionId": f"{BUILT_IN}/{LOCATIONS}"}, "MissingPolicyParameter.*'listOfAllowedLocations'"),
        (
            {"policyDefinitionId": f"{BUILT_IN}/{KEYS}", "parameters": {"colour": {"value": 1}}},
            "UndefinedPolicyParameter.*'colour'",
        ),
        (
            {"policyDefinitionId": f"{BUILT_IN}/{KEYS}", "parameters": {"effect": {"value": "Explode"}}},
            "PolicyParameterValueNotAllowed.*'Explode'.*'Audit, Deny, Disabled'",
        ),
        ({"policyDefinitionId": f"{BUILT_IN}/{OWN_REGISTRY}"}, "MissingPolicyParameter.*'effect'"),
    ],
)
def test_an_assignment_that_azure_would_not_take_is_refused(
    properties: dict[str, Any], expected: str, cloud: RunningCloud
) -> None:
    with pytest.raises(CallFailed, match=expected):
        put(cloud, f"{HERE}/providers/Microsoft.Authorization/policyAssignments/rule", {"properties": properties})


DEPLOYMENT = f"{WORKSPACE}/onlineEndpoints/chat/deployments/blue"
SHARED, FOREIGN = "azureml://registries/shared/models/m/versions/1", "azureml://registries/azureml/models/m/versions/1"


@pytest.mark.parametrize(
    ("definition", "parameters"),
    [
        (OWN_REGISTRY, {"effect": {"value": "Deny"}, "allowedRegistryName": {"value": "shared"}}),
        (APPROVED, {"effect": {"value": "Deny"}, "allowedAssetIds": {"value": ["azureml://registries/shared/"]}}),
    ],
)
def test_models_of_the_approved_registry_alone_are_deployed(
    definition: str, parameters: dict[str, Any], workspace: Any, account: Account
) -> None:
    """A workspace's own model passes: both definitions look at registry models only."""
    assign(account.cloud, GROUP, definition, displayName="Approved models", parameters=parameters)
    place(account.cloud, f"{WORKSPACE}/onlineEndpoints/chat", {"provisioningState": "Succeeded"})
    body = {"location": "eastus", "properties": {"endpointComputeType": "Managed", "instanceType": "Standard_DS3_v2"}}
    for model, allowed in ((FOREIGN, False), (SHARED, True), (f"{WORKSPACE}/models/m/versions/1", True)):
        body["properties"]["model"] = model  # type: ignore[index]
        with pytest.raises(CallFailed) as refused:
            put(account.cloud, DEPLOYMENT, body)
        assert ("RequestDisallowedByPolicy" in str(refused.value)) is not allowed, model
        assert allowed or "Approved models" in str(refused.value)


def test_the_definitions_are_told(cloud: RunningCloud) -> None:
    listed = cloud.arm("GET", f"{BUILT_IN}?api-version=2024-01-01")["value"]
    assert {KEYS, LOCATIONS, OWN_REGISTRY, APPROVED} <= {found["name"] for found in listed}
    found = cloud.arm("GET", f"{BUILT_IN}/{KEYS}?api-version=2024-01-01")
    assert found["properties"]["policyType"] == "BuiltIn"
