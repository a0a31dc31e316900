"""Microsoft.Compute's SKUs: what a region has, which of it is closed, and a cluster on a closed size is refused."""

from __future__ import annotations

import pytest

from localcloud.client import CallFailed
from tests.conftest import RunningCloud
from tests.localcloud.services.conftest import SUBSCRIPTION

PATH = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/skus?api-version=2021-07-01"
CLOSED = "Standard_NC80adis_H100_v5"


def listed(cloud: RunningCloud, region: str) -> dict[str, dict]:
    found = cloud.arm("GET", f"{PATH}&$filter=location%20eq%20'{region}'")["value"]
    return {sku["name"]: sku for sku in found}


def test_a_region_lists_its_sizes_with_what_restricts_them(local_cloud: RunningCloud) -> None:
    here, there = listed(local_cloud, "eastus"), listed(local_cloud, "swedencentral")
    assert here[CLOSED]["restrictions"] == []
    (held,) = there[CLOSED]["restrictions"]
    assert (held["type"], held["reasonCode"]) == ("Location", "NotAvailableForSubscription")
    assert held["restrictionInfo"]["locations"] == ["swedencentral"]
    assert CLOSED not in listed(local_cloud, "northeurope")


def test_another_filter_is_refused_and_not_ignored(local_cloud: RunningCloud) -> None:
    with pytest.raises(CallFailed, match="is not one that is known here"):
        local_cloud.arm("GET", f"{PATH}&$filter=name%20eq%20'x'")
