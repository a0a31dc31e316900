"""What steps have cost: running time at the price of their clusters, times the machines of the step that trains."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tunestack.cost import prices
from tunestack.jobs import run_cost
from tunestack.jobs.run_cost import Cost, Costs, running_seconds
from tunestack.jobs.run_history import Run
from tunestack.jobs.training_progress import Dials

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = START + timedelta(hours=1)
SIZES = {"gpu": "Standard_NC24ads_A100_v4", "odd": "Standard_Nothing_v9"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(run_cost, "PriceBook", lambda region, live: prices.PriceBook(region, live=False))
    return []


@pytest.fixture
def costs(asked: list[str]) -> Costs:
    def find(path: str, version: str) -> Any:
        name = path.rpartition("/")[2]
        asked.append(name)
        return {"properties": {"properties": {"vmSize": SIZES[name]}}} if name in SIZES else None

    arm = SimpleNamespace(asking_once=lambda: SimpleNamespace(find=find))
    place = SimpleNamespace(path="/w")
    return Costs(SimpleNamespace(connection=SimpleNamespace(arm=arm, workspace=place, body={"location": "eastus"})))  # type: ignore[arg-type]


def step(name: str, target: str, ended: datetime | None = HOUR) -> Run:
    return Run(name, name, "Completed" if ended else "Running", START, ended, target=target)


def test_only_the_step_that_trains_runs_on_several_machines(costs: Costs) -> None:
    hourly = costs.hourly("gpu")
    assert hourly
    found = costs.of([step("preprocess", "gpu"), step("chat_completion_finetune", "gpu")], Dials(nodes=4), HOUR)
    assert found == Cost(pytest.approx(5 * hourly), ())  # type: ignore[arg-type]


def test_a_cluster_is_asked_for_once_and_one_without_a_price_is_named_once(costs: Costs, asked: list[str]) -> None:
    steps = [step("a", "gpu"), step("b", "gpu"), step("c", "odd"), step("d", "gone"), step("e", "odd"), step("f", "")]
    found = costs.of(steps, Dials(), HOUR)
    assert found.unknown == ("odd", "gone", "serverless")
    assert sorted(asked) == ["gone", "gpu", "odd"], "serverless compute has no cluster to ask for"
    assert str(found).endswith("(without 'odd, gone, serverless', whose price is not known)")


def test_a_step_that_runs_has_cost_until_now_and_one_that_has_not_started_nothing(costs: Costs) -> None:
    half = START + timedelta(minutes=30)
    assert running_seconds(step("a", "gpu", ended=None), half) == 1800
    waiting = Run("a", "a", "Queued", target="gpu")
    assert running_seconds(waiting, half) == 0
    assert costs.of([waiting], Dials(), half) == Cost()
    assert str(Cost()) == "less than 0.01 $ so far"
    assert str(Cost(0, ("serverless",))).startswith("cost not known")
