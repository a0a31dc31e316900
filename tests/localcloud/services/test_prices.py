"""Retail prices: no login, the documented filter, and every page of a long list once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from localcloud.server import Options
from localcloud.services.prices import PAGE
from tests.conftest import HANG_SECONDS, RunningCloud, serve

URL = "https://prices.azure.com/api/retail/prices"
PREVIEW = "2023-01-01-preview"
A100 = "serviceName eq 'Virtual Machines' and armSkuName eq 'Standard_NC24ads_A100_v4' and armRegionName eq 'eastus'"


@pytest.fixture(scope="module")
def _cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    with serve(Options(Path(tmp_path_factory.mktemp("state")), engine=False, tracking=False)) as found:
        yield found


@pytest.fixture
def ask(_cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in _cloud.environment.items():
        monkeypatch.setenv(name, value)

    def get(wanted: str = "", version: str = PREVIEW, **more: str) -> dict[str, Any]:
        answer = requests.get(URL, params={"api-version": version, "$filter": wanted, **more}, timeout=HANG_SECONDS)
        return {**answer.json(), "status": answer.status_code}

    return get


def test_a_size_has_the_rows_that_a_careless_client_takes_for_its_price(ask) -> None:
    found = ask(A100)
    assert found["Count"] == len(found["Items"]) == 7
    kinds = {(row["skuName"], row["type"], "Windows" in row["productName"]) for row in found["Items"]}
    assert ("NC24ads A100 v4 Spot", "Consumption", False) in kinds
    assert ("NC24ads A100 v4 Low Priority", "Consumption", False) in kinds
    assert ("NC24ads A100 v4", "Consumption", True) in kinds
    assert ("NC24ads A100 v4", "Reservation", False) in kinds
    wanted = f"{A100} and priceType eq 'Consumption' and meterName eq 'NC24ads A100 v4'"
    (row,) = [row for row in ask(wanted, meterRegion="'primary'")["Items"] if "Windows" not in row["productName"]]
    assert (row["retailPrice"], row["unitOfMeasure"], row["currencyCode"]) == (3.673, "1 Hour", "USD")
    assert {plan["term"] for plan in row["savingsPlan"]} == {"1 Year", "3 Years"}


def test_values_are_compared_with_regard_to_case_from_the_preview_version_on(ask) -> None:
    lower = A100.replace("Virtual Machines", "virtual machines")
    assert ask(lower)["Items"] == []
    assert ask(lower, version="2021-10-01")["Count"] == 7
    assert "savingsPlan" not in ask(A100, version="2021-10-01")["Items"][0]


def test_and_binds_closer_than_or_and_brackets_closer_than_both(ask) -> None:
    def tiers(wanted: str) -> list[str]:
        return sorted({row["meterName"] for row in ask(wanted)["Items"]})

    registry = "serviceName eq 'Container Registry' and armRegionName eq 'eastus'"
    either = "skuName eq 'Basic' or skuName eq 'Premium'"
    assert tiers(f"{registry} and ({either})") == ["Basic Registry Unit", "Premium Registry Unit"]
    assert "Basic Deployment" not in tiers(f"{registry} and {either}")
    assert len(tiers(f"skuName eq 'Basic' or {registry}")) > 3
    assert tiers(f"{registry} and contains(meterName, 'Registry Unit')") == [
        *("Basic Registry Unit", "Premium Registry Unit", "Standard Registry Unit")
    ]


def test_prices_differ_by_region_and_some_are_global(ask) -> None:
    size = "armSkuName eq 'Standard_D4ds_v5' and skuName eq 'D4ds v5' and priceType eq 'Consumption'"
    found = {row["armRegionName"]: row["retailPrice"] for row in ask(size, meterRegion="primary")["Items"]}
    assert found["westeurope"] > found["eastus"]
    (endpoint,) = ask("meterName eq 'Standard Private Endpoint'")["Items"]
    assert (endpoint["armRegionName"], endpoint["retailPrice"]) == ("Global", 0.01)


def test_every_row_of_a_long_list_comes_once_over_all_pages(ask) -> None:
    seen: list[tuple[Any, ...]] = []
    url: str | None = f"{URL}?$filter=serviceName eq 'Virtual Machines'"
    pages = 0
    while url:
        body = requests.get(url, timeout=HANG_SECONDS).json()
        keys = ("meterId", "type", "productName", "isPrimaryMeterRegion", "armSkuName", "armRegionName")
        seen += [tuple(row[key] for key in keys) for row in body["Items"]]
        url, pages = body["NextPageLink"], pages + 1
        assert body["Count"] <= PAGE
        assert not url or url.startswith("https://prices.azure.com:443/api/retail/prices?")
    assert pages > 2
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    "wanted",
    [
        "serviceName",
        "serviceName eq Virtual",
        "serviceName ne 'x'",
        "colour eq 'red'",
        "serviceName eq 'x' and",
        "(serviceName eq 'x'",
        "serviceName eq 'x' serviceName eq 'y'",
        "serviceName eq 'x",
    ],
)
def test_a_filter_that_is_none_is_refused_and_never_taken_for_everything(ask, wanted) -> None:
    found = ask(wanted)
    assert found["status"] == 400
    assert found["Error"]["Code"] == "BadRequest"


def test_unknown_parameters_and_currencies_are_refused(ask) -> None:
    assert ask(A100, colour="red")["status"] == 400
    assert ask(A100, **{"$skip": "many"})["status"] == 400
    assert ask(A100, version="1999-01-01")["status"] == 400
    assert ask(A100, currencyCode="'EUR'")["status"] == 501
