"""Clusters, sizes and quota."""

from __future__ import annotations

from typing import Any

import pytest
from azure.ai.ml.entities import AmlCompute
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from localcloud.arm import ArmError
from localcloud.client import CallFailed
from localcloud.operations import Pace
from localcloud.services.ml.computes import Computes
from localcloud.services.ml.sizes import Sizes
from tests.localcloud.services.conftest import LOCATION, VERSION, WORKSPACE, Account


def _make(ml: Any, **changes: Any) -> Any:
    wanted = {"name": "cluster", "size": "Standard_DS3_v2", "min_instances": 0, "max_instances": 2, **changes}
    return ml.compute.begin_create_or_update(AmlCompute(**wanted)).result()


def _put(account: Account, inner: dict[str, Any], name: str = "cluster") -> Any:
    body = {"location": "eastus", "properties": {"computeType": "AmlCompute", "properties": inner}}
    return account.cloud.arm("PUT", f"{WORKSPACE}/computes/{name}{VERSION}", body)


def test_a_cluster_that_may_scale_to_zero_has_no_nodes(ml: Any, account: Account) -> None:
    made = _make(ml)
    assert (made.provisioning_state, made.size, made.max_instances) == ("Succeeded", "Standard_DS3_v2", 2)
    inner = account.cloud.arm("GET", f"{WORKSPACE}/computes/cluster{VERSION}")["properties"]["properties"]
    assert (inner["currentNodeCount"], inner["allocationState"]) == (0, "Steady")
    assert [item.name for item in ml.compute.list()] == ["cluster"]


def test_busy_nodes_show_and_stay_within_the_limits(ml: Any, account: Account) -> None:
    made = _make(ml)
    cloud = account.cloud.cloud
    cloud.part(Computes, lambda: Computes(cloud)).set_nodes(made.id, 5)
    inner = account.cloud.arm("GET", f"{WORKSPACE}/computes/cluster{VERSION}")["properties"]["properties"]
    assert inner["nodeStateCounts"]["runningNodeCount"] == inner["currentNodeCount"] == 2
    used = {usage.name["value"]: usage.currentValue for usage in ml.compute.list_usage()}
    assert used["Standard DSv2 Family Cluster Dedicated vCPUs"] == 8
    assert used["Total Cluster Dedicated Regional vCPUs"] == 8


def test_a_cluster_is_scaled_and_deleted(ml: Any) -> None:
    made = _make(ml)
    made.max_instances = 3
    assert ml.compute.begin_update(made).result().max_instances == 3
    ml.compute.begin_delete("cluster").wait()
    with pytest.raises(ResourceNotFoundError):
        ml.compute.get("cluster")


def test_another_size_or_priority_is_taken_and_ignored(ml: Any) -> None:
    _make(ml)
    again = _make(ml, size="Standard_DS4_v2", tier="low_priority", max_instances=4)
    assert (again.size, again.tier, again.max_instances) == ("Standard_DS3_v2", "dedicated", 4)


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ({"vmSize": "Standard_X1"}, "'Standard_X1' is not offered in 'eastus'"),
        ({"vmSize": "Standard_NC6s_v3"}, "'Standard_NC6s_v3' was retired on 2025-09-30"),
        ({}, "'vmSize' is required"),
        ({"vmSize": "Standard_DS3_v2", "scaleSettings": {"minNodeCount": 3, "maxNodeCount": 2}}, "0 <= min <= max"),
        ({"vmSize": "Standard_DS3_v2", "vmPriority": "Spot"}, "'Spot' is not Dedicated or LowPriority"),
        ({"vmSize": "Standard_DS3_v2", "vmsize": "x"}, "Could not find member 'vmsize'"),
    ],
)
def test_what_cannot_be_made_is_said(inner: dict[str, Any], message: str, workspace: Any, account: Account) -> None:
    with pytest.raises(CallFailed, match=message):
        _put(account, inner)


@pytest.mark.parametrize("name", ["ab", "1abc", "abc-", "a_b_c", "a" * 33])
def test_a_cluster_has_a_name_that_azure_takes(name: str, workspace: Any, account: Account) -> None:
    with pytest.raises(CallFailed, match=f"'{name}' must have 3 to 32"):
        _put(account, {"vmSize": "Standard_DS3_v2"}, name)


def test_a_cluster_beyond_the_quota_is_refused_with_the_numbers(ml: Any, account: Account) -> None:
    family = f"{LOCATION}/vmFamilies/standardDSv2Family/quotas"
    body = {"location": "eastus", "value": [{"id": family, "limit": 7, "unit": "Count"}]}
    account.cloud.arm("POST", f"{LOCATION}/updateQuotas{VERSION}", body)
    with pytest.raises(HttpResponseError, match="need 8 cores, the limit is 7") as caught:
        _make(ml)
    assert caught.value.error is not None
    assert caught.value.error.code == "ClusterCoreQuotaReached"
    limits = {usage.name["value"]: usage.limit for usage in ml.compute.list_usage()}
    assert limits["Standard DSv2 Family Cluster Dedicated vCPUs"] == 7
    assert limits["Standard DSv2 Family Cluster LowPriority vCPUs"] == -1


def test_a_cluster_that_fails_later_stays_readable_as_failed(ml: Any, account: Account) -> None:
    error = ArmError(400, "ClusterCoreQuotaReached", "no cores left")
    account.cloud.cloud.faults.arm("compute.provision", error)
    with pytest.raises(HttpResponseError, match="no cores left"):
        _make(ml)
    assert ml.compute.get("cluster").provisioning_state == "Failed"


def test_an_operation_takes_as_many_polls_as_its_pace_says(ml: Any, account: Account) -> None:
    account.cloud.cloud.operations.pace = Pace(polls=2)
    poller = ml.compute.begin_create_or_update(AmlCompute(name="cluster", size="Standard_DS3_v2"))
    url = f"{WORKSPACE}/computes/cluster{VERSION}"
    assert account.cloud.arm("GET", url)["properties"]["provisioningState"] == "Creating"
    assert poller.result().provisioning_state == "Succeeded"
    gone = ml.compute.begin_delete("cluster")
    assert account.cloud.arm("GET", url)["properties"]["provisioningState"] == "Deleting"
    gone.wait()
    assert list(ml.compute.list()) == []


def test_a_cluster_keeps_its_identity(workspace: Any, account: Account) -> None:
    body = {
        "location": "eastus",
        "identity": {"type": "SystemAssigned"},
        "properties": {"computeType": "AmlCompute", "properties": {"vmSize": "Standard_DS3_v2"}},
    }
    url = f"{WORKSPACE}/computes/cluster{VERSION}"
    first = account.cloud.arm("PUT", url, body)["identity"]["principalId"]
    assert account.cloud.arm("PUT", url, body)["identity"]["principalId"] == first


def test_sizes_come_with_what_the_public_table_says(ml: Any) -> None:
    sizes = {size.name: size for size in ml.compute.list_sizes()}
    a100 = sizes["Standard_NC24ads_A100_v4"]
    assert (a100.vCPUs, a100.gpus, a100.family) == (24, 1, "StandardNCADSA100v4Family")
    assert "Standard_NC6s_v3" not in sizes


def test_a_region_without_a_size_does_not_offer_it(account: Account) -> None:
    sizes = Sizes(account.cloud.cloud)
    assert sizes.find("East US", "standard_nc40ads_h100_v5").gpus == 1
    with pytest.raises(ArmError, match="not offered in 'japaneast'"):
        sizes.find("japaneast", "Standard_NC40ads_H100_v5")
    with pytest.raises(ArmError, match="no location 'moon'"):
        sizes.find("moon", "Standard_DS3_v2")


def test_a_deployment_takes_a_fifth_more_except_on_some_sizes(account: Account) -> None:
    sizes = Sizes(account.cloud.cloud)
    assert sizes.deployment_cores(sizes.find("eastus", "Standard_DS3_v2"), 1) == 8
    assert sizes.deployment_cores(sizes.find("eastus", "Standard_NC24ads_A100_v4"), 1) == 24
