"""What the local cloud answers after public documents only, asked of Azure itself. Each test settles one simulation."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.azure.conftest import LOCATION, SUBSCRIPTION, Azure, Stand

BLOB_CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"
KEYS_POLICY = "/providers/Microsoft.Authorization/policyDefinitions/8c6a50c6-9ffd-4ae7-986f-5fa6111f9a54"
# A role may take 15 minutes to an hour to spread, a policy about half an hour.
LONGEST = 60 * 60


def until(done: Any) -> float:
    """Seconds until `done` is true; the test fails after an hour."""
    begun = time.monotonic()
    while not done():
        assert time.monotonic() - begun < LONGEST, "it has not happened after an hour"
        time.sleep(10)
    return time.monotonic() - begun


# -- roles -----------------------------------------------------------------------------------------------------


def test_an_owner_without_a_data_role_is_denied_until_the_role_has_spread(stand: Stand, azure: Azure) -> None:
    denied = azure.blobs(stand.account)
    assert denied.status == 403
    assert "AuthorizationPermissionMismatch" in denied.text
    role = f"{stand.subscription}/providers/Microsoft.Authorization/roleDefinitions/{BLOB_CONTRIBUTOR}"
    made = azure.arm(
        "PUT",
        f"{stand.storage}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}",
        "2022-04-01",
        {"properties": {**azure.caller(), "roleDefinitionId": role}},
    )
    assert made.status < 300, made.text
    took = until(lambda: azure.blobs(stand.account).status == 200)
    print(f"the role took {took:.0f} s to spread")


def test_an_owner_is_told_what_it_may_do(stand: Stand, azure: Azure) -> None:
    """What preflight asks, of groups, inherited and custom roles alike."""
    found = azure.arm("GET", f"{stand.workspace}/providers/Microsoft.Authorization/permissions", "2022-04-01")
    assert found.status == 200, found.text
    assert any("*" in one["actions"] for one in found.body["value"]), found.text
    assert all({"actions", "notActions"} <= set(one) for one in found.body["value"])


# -- the life of a workspace -----------------------------------------------------------------------------------


def test_what_creation_fixed_is_not_changed(stand: Stand) -> None:
    for properties in ({"hbiWorkspace": True}, {"enableDataIsolation": True}):
        answer = stand.put_workspace(**properties)
        assert answer.status == 400, f"Azure took {properties}: {answer.text}"


def test_a_managed_network_goes_one_way(stand: Stand) -> None:
    assert stand.put_workspace(managedNetwork={"isolationMode": "AllowInternetOutbound"}).status < 300
    back = stand.put_workspace(managedNetwork={"isolationMode": "Disabled"})
    assert back.status == 400, back.text


def test_another_size_of_a_cluster_is_taken_and_ignored(stand: Stand, azure: Azure) -> None:
    cluster = f"{stand.workspace}/computes/size-test"

    def put(size: str) -> Any:
        inner = {"vmSize": size, "scaleSettings": {"minNodeCount": 0, "maxNodeCount": 1}}
        body = {"location": LOCATION, "properties": {"computeType": "AmlCompute", "properties": inner}}
        return azure.arm("PUT", cluster, "2024-10-01", body)

    assert put("Standard_DS2_v2").status < 300
    assert put("Standard_DS3_v2").status < 300
    inner = azure.arm("GET", cluster, "2024-10-01").body["properties"]["properties"]
    assert inner["vmSize"].lower() == "standard_ds2_v2"


def test_a_cluster_beyond_the_quota_is_refused(stand: Stand, azure: Azure) -> None:
    inner = {"vmSize": "Standard_DS3_v2", "scaleSettings": {"minNodeCount": 0, "maxNodeCount": 30000}}
    body = {"location": LOCATION, "properties": {"computeType": "AmlCompute", "properties": inner}}
    answer = azure.arm("PUT", f"{stand.workspace}/computes/quota-test", "2024-10-01", body)
    assert answer.status >= 400
    assert "quota" in answer.text.lower()


def test_a_soft_deleted_workspace(stand: Stand, azure: Azure) -> None:
    """Its name is blocked until a purge by the same DELETE; a PUT can bring it back."""
    before = azure.arm("GET", stand.workspace, "2024-10-01").body["properties"]["workspaceId"]
    azure.arm("DELETE", stand.workspace, "2024-10-01")
    blocked = stand.put_workspace()
    assert (blocked.status, "Soft-deleted workspace exists" in blocked.text) == (400, True), blocked.text
    wish = stand.workspace_body(allowRecoverSoftDeletedWorkspace="True")
    assert azure.arm("PUT", stand.workspace, "2022-05-01", wish).status < 300
    assert azure.arm("GET", stand.workspace, "2024-10-01").body["properties"]["workspaceId"] == before
    azure.arm("DELETE", stand.workspace, "2024-10-01")
    purged = azure.arm("DELETE", f"{stand.workspace}?forceToPurge=true", "2024-10-01")
    assert purged.status < 300, purged.text
    again = stand.put_workspace()
    assert again.status < 300, again.text


def test_a_shared_model_is_a_copy(stand: Stand, azure: Azure, tmp_path: Path) -> None:
    """It takes tags and description along, and stays when the workspace's model is gone."""
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Model

    registry = f"{stand.group}/providers/Microsoft.MachineLearningServices/registries/shared-{stand.suffix}"
    images = {"systemCreatedAcrAccount": {"acrAccountSku": "Premium"}}
    storage = {"systemCreatedStorageAccount": {"storageAccountType": "Standard_LRS", "storageAccountHnsEnabled": False}}
    region = {"location": LOCATION, "acrDetails": [images], "storageAccountDetails": [storage]}
    body = {"location": LOCATION, "identity": {"type": "SystemAssigned"}, "properties": {"regionDetails": [region]}}
    assert azure.arm("PUT", registry, "2024-10-01", body).status < 300
    names = stand.workspace.split("/")
    ml = MLClient(azure.credential, SUBSCRIPTION, names[4], names[-1])
    (tmp_path / "weights").write_text("1234")
    made = Model(name="small", version="1", path=str(tmp_path / "weights"), tags={"job": "j"}, description="d")
    ml.models.create_or_update(made)
    ml.models.share(
        "small", "1", share_with_name="small", share_with_version="1", registry_name=registry.rpartition("/")[2]
    )
    azure.arm("DELETE", f"{stand.workspace}/models/small/versions/1", "2024-10-01")
    there = MLClient(azure.credential, registry_name=registry.rpartition("/")[2])
    copy = there.models.get("small", version="1")
    there.models.download("small", "1", download_path=str(tmp_path / "got"))
    assert [found.read_text() for found in (tmp_path / "got").rglob("weights") if found.is_file()] == ["1234"]
    assert (copy.tags, copy.description) == ({"job": "j"}, "d")


# -- locks, policies, refusals ---------------------------------------------------------------------------------


def test_a_lock_refuses_the_delete(stand: Stand, azure: Azure) -> None:
    lock = f"{stand.vault}/providers/Microsoft.Authorization/locks/keep"
    assert azure.arm("PUT", lock, "2020-05-01", {"properties": {"level": "CanNotDelete"}}).status < 300
    try:
        refused = azure.arm("DELETE", stand.vault, "2024-11-01")
        assert (refused.status, refused.code) == (409, "ScopeLocked"), refused.text
        assert "Please remove the lock and try again." in refused.text
    finally:
        azure.arm("DELETE", lock, "2020-05-01")


def test_a_deny_policy_refuses_the_write(stand: Stand, azure: Azure) -> None:
    rule = f"{stand.group}/providers/Microsoft.Authorization/policyAssignments/no-keys"
    body = {"properties": {"policyDefinitionId": KEYS_POLICY, "parameters": {"effect": {"value": "Deny"}}}}
    assert azure.arm("PUT", rule, "2025-01-01", body).status < 300
    with_keys = {**stand.storage_body(), "properties": {"allowSharedKeyAccess": True}}
    answers: list[Any] = []

    def denied() -> bool:
        answers.append(azure.arm("PUT", stand.storage, "2024-01-01", with_keys))
        return bool(answers[-1].status >= 400)

    until(denied)
    azure.arm("DELETE", rule, "2025-01-01")
    assert (answers[-1].status, answers[-1].code) == (403, "RequestDisallowedByPolicy"), answers[-1].text
    assert "no-keys" in answers[-1].text


def _refusals(stand: Stand) -> list[tuple[str, str, Any, str]]:
    """(path, api-version, body, what the answer says) of writes that Azure is said to refuse."""
    budget = {
        "amount": 0,
        "category": "Cost",
        "timeGrain": "Monthly",
        "timePeriod": {"startDate": time.strftime("%Y-%m-01T00:00:00Z")},
    }
    far = {**stand.storage_body(), "location": "mars"}
    twice = stand.storage_body(encryption={"requireInfrastructureEncryption": True})
    return [
        (f"{stand.group}/providers/Microsoft.Consumption/budgets/zero", "2024-08-01", {"properties": budget}, ""),
        (f"{stand.group}-2", "2024-03-01", {"location": "mars"}, "LocationNotAvailableForResourceGroup"),
        (f"{stand.storage}2", "2024-01-01", far, "LocationNotAvailableForResourceType"),
        (stand.storage, "2024-01-01", twice, "AccountPropertyCannotBeUpdated"),
        (stand.vault, "2024-11-01", stand.vault_body(enablePurgeProtection=False), "enablePurgeProtection"),
        (stand.vault, "2024-11-01", stand.vault_body(softDeleteRetentionInDays=90), "softDeleteRetentionInDays"),
    ]


@pytest.mark.parametrize("which", range(6))
def test_a_write_that_is_said_to_be_refused_is(which: int, stand: Stand, azure: Azure) -> None:
    path, version, body, expected = _refusals(stand)[which]
    answer = azure.arm("PUT", path, version, body)
    assert 400 <= answer.status < 500, f"Azure took it: {answer.text}"
    assert expected in answer.text


# -- private networks ------------------------------------------------------------------------------------------


def test_what_is_private_refuses_from_outside(stand: Stand, azure: Azure) -> None:
    azure.arm("PUT", stand.storage, "2024-01-01", stand.storage_body(publicNetworkAccess="Disabled"))
    azure.arm("PUT", stand.vault, "2024-11-01", stand.vault_body(publicNetworkAccess="Disabled"))
    try:
        until(lambda: azure.blobs(stand.account).status == 403)
        assert "AuthorizationFailure" in azure.blobs(stand.account).text
        keys = f"https://kv-{stand.suffix}.vault.azure.net/keys?api-version=7.4"
        refused = azure.send("GET", keys, scope="https://vault.azure.net/.default")
        assert refused.status == 403
        assert "Public network access is disabled" in refused.text
    finally:
        azure.arm("PUT", stand.storage, "2024-01-01", stand.storage_body(publicNetworkAccess="Enabled"))
        azure.arm("PUT", stand.vault, "2024-11-01", stand.vault_body(publicNetworkAccess="Enabled"))


# -- sizes -----------------------------------------------------------------------------------------------------


def test_sizes_say_what_restricts_them(azure: Azure) -> None:
    path = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/skus?$filter=location%20eq%20'{LOCATION}'"
    found = azure.arm("GET", path, "2021-07-01")
    assert found.status == 200, found.text
    machines = [sku for sku in found.body["value"] if sku["resourceType"] == "virtualMachines"]
    assert {"Standard_DS3_v2"} <= {sku["name"] for sku in machines}
    for held in (held for sku in machines for held in sku["restrictions"]):
        assert held["type"] in ("Location", "Zone")
        assert held["reasonCode"]


# -- prices ----------------------------------------------------------------------------------------------------


def test_prices() -> None:
    """Asked without a login, filtered by size and region; the shape that `scripts/cost.py` reads."""
    import requests

    wanted = "armSkuName eq 'Standard_NC24ads_A100_v4' and armRegionName eq 'eastus' and priceType eq 'Consumption'"
    answer = requests.get(
        "https://prices.azure.com/api/retail/prices",
        params={"api-version": "2023-01-01-preview", "$filter": wanted},
        timeout=60,
    ).json()
    hourly = [
        item
        for item in answer["Items"]
        if item["unitOfMeasure"] == "1 Hour" and not {"Spot", "Low", "Windows"} & set(item["meterName"].split())
    ]
    assert {"NextPageLink", "Count", "BillingCurrency"} <= set(answer)
    assert hourly
    assert all(item["retailPrice"] > 0 for item in hourly)
