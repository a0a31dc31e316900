"""Prices of today from the retail price API, against the local cloud's; else the dated table, and it says so."""

from __future__ import annotations

import socket

import pytest

from tests.conftest import RunningCloud
from tunestack.cost.prices import SOURCE, PriceBook

A100 = "Standard_NC24ads_A100_v4"


def test_of_all_rows_of_a_size_the_plain_linux_one_is_taken(local_cloud: RunningCloud) -> None:
    found = PriceBook("eastus", live=True)
    plain, low = found.size("standard_nc24ads_a100_v4"), found.size(A100, low_priority=True)
    assert plain is not None
    assert low is not None
    assert (plain.dollars, plain.per, plain.source) == (3.673, "hour", SOURCE)
    assert low.dollars == pytest.approx(3.673 * 0.2)
    assert found.notes == []


def test_a_price_is_the_regions_own(local_cloud: RunningCloud) -> None:
    there = PriceBook("westeurope", live=True).size(A100)
    assert there is not None
    assert there.dollars > 3.673


def test_meters_come_by_region_globally_and_past_their_free_tier(local_cloud: RunningCloud) -> None:
    found = PriceBook("swedencentral", live=True)
    assert found.meter("registry_premium").per == "day"
    assert found.meter("private_endpoint").dollars == 0.01
    assert found.meter("logs_ingestion").dollars > 0
    assert found.notes == []


def test_every_meter_of_the_table_is_in_the_api(local_cloud: RunningCloud) -> None:
    from tunestack import azure_facts

    found = PriceBook("eastus", live=True)
    sources = {name: found.meter(name).source for name in azure_facts.facts()["meters"]}
    assert {name for name, source in sources.items() if source != SOURCE} == set()


def test_a_region_or_size_without_a_price_falls_back_to_the_table_and_says_so(local_cloud: RunningCloud) -> None:
    found = PriceBook("moonbase1", live=True)
    priced = found.size(A100)
    assert priced is not None
    assert "table" in priced.source
    assert f"no one price for size '{A100}' in 'moonbase1': its East US price" in found.notes[0]
    assert found.size("Standard_Unheard_of") is None
    assert "and none in the dated table" in found.notes[1]


def test_an_api_that_does_not_answer_is_asked_once_and_the_table_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{taken.getsockname()[1]}")
        found = PriceBook("westeurope", live=True)
        assert found.size(A100) is not None
        assert found.meter("alert").dollars > 0
    (note,) = found.notes
    assert "2026-11-21 (the retail price API cannot be reached)" in note
    assert "they are East US prices, and 'westeurope' differs" in note


def test_offline_asks_nobody_and_says_so() -> None:
    found = PriceBook("eastus", live=False)
    assert found.size(A100) is not None
    assert found.notes == ["prices are those of azure_facts.yml of 2026-11-21 (offline)"]
