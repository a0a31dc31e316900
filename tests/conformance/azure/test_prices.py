"""What the local cloud says of retail prices, held against `prices.azure.com` itself where a subscription is named.

The API wants no login; the variable says that this machine may speak to Azure. Without it the local cloud is asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from localcloud.server import Options
from tests.conftest import RunningCloud, serve
from tunestack import azure_facts
from tunestack.cost.prices import SOURCE, URL, VERSION, PriceBook

ON_AZURE = bool(os.environ.get("TUNESTACK_TEST_SUBSCRIPTION"))
A100 = "serviceName eq 'Virtual Machines' and armSkuName eq 'Standard_NC24ads_A100_v4' and armRegionName eq 'eastus'"
MEMBERS = (
    *("currencyCode", "tierMinimumUnits", "retailPrice", "unitPrice", "armRegionName", "location"),
    *("effectiveStartDate", "meterId", "meterName", "productId", "skuId", "productName", "skuName"),
    *("serviceName", "serviceId", "serviceFamily", "unitOfMeasure", "type", "isPrimaryMeterRegion", "armSkuName"),
)


@pytest.fixture(scope="module")
def _cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud | None]:
    if ON_AZURE:
        yield None
        return
    with serve(Options(tmp_path_factory.mktemp("state"), engine=False, tracking=False)) as cloud:
        yield cloud


@pytest.fixture(autouse=True)
def _reachable(_cloud: RunningCloud | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (_cloud.environment if _cloud else {}).items():
        monkeypatch.setenv(name, value)


def ask(**parameters: str) -> tuple[int, Any]:
    answer = requests.get(URL, params={"api-version": VERSION, **parameters}, timeout=60)
    return answer.status_code, answer.json()


def test_the_answer_and_its_rows_have_the_documented_members() -> None:
    status, found = ask(**{"$filter": A100})
    assert status == 200
    assert found.keys() >= {"BillingCurrency", "CustomerEntityId", "Items", "NextPageLink", "Count"}
    assert found["Count"] == len(found["Items"])
    assert all(row.keys() >= set(MEMBERS) for row in found["Items"])


def test_a_size_has_spot_and_windows_rows_beside_its_price() -> None:
    _, found = ask(**{"$filter": A100})
    assert any("Spot" in row["skuName"] for row in found["Items"])
    assert any("Windows" in row["productName"] for row in found["Items"])


def test_values_are_compared_with_regard_to_case() -> None:
    assert ask(**{"$filter": A100.replace("Virtual Machines", "virtual machines")})[1]["Items"] == []


def test_a_filter_that_is_none_is_refused() -> None:
    assert ask(**{"$filter": "colour eq 'red'"})[0] == 400


def test_a_long_answer_leads_to_its_next_page() -> None:
    _, first = ask(**{"$filter": "serviceName eq 'Virtual Machines'"})
    following = requests.get(first["NextPageLink"], timeout=60).json()
    assert following["Items"]
    assert following["Items"] != first["Items"]


@pytest.mark.parametrize("size", ["Standard_NC24ads_A100_v4", "Standard_NC40ads_H100_v5", "Standard_D4ds_v5"])
def test_the_dated_table_is_not_far_from_todays_price(size: str) -> None:
    today, dated = PriceBook("eastus", live=True).size(size), azure_facts.price_of_size(size)
    assert today is not None
    assert dated is not None
    assert today.source == SOURCE
    assert today.dollars == pytest.approx(dated.dollars, rel=0.3)


@pytest.mark.parametrize("meter", sorted(azure_facts.facts()["meters"]))
def test_every_meter_of_the_dated_table_is_found_by_its_name(meter: str) -> None:
    today, dated = PriceBook("eastus", live=True).meter(meter), azure_facts.price_of_meter(meter)
    assert (today.source, today.per) == (SOURCE, dated.per)
    assert today.dollars == pytest.approx(dated.dollars, rel=0.5)
