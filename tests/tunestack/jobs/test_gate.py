"""The gate's word as it is told: yes, or no with its reasons."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.scripts.fine_tunes import FineTune
from tests.tunestack.stored import MemoryFolder
from tunestack.errors import GateSaidNo
from tunestack.jobs import gate
from tunestack.jobs.gate import Verdict, weaker

PASSED = FineTune().metrics
NO = replace(FineTune(), gain=(0.05, -0.01, 0.1)).metrics


def verdict(metrics, *reasons: str) -> Verdict:
    return Verdict(metrics["verdict"] == "passed", reasons, ("demonstration",), metrics, "e", "j", MemoryFolder({}))


def test_inconclusive_is_a_no_with_reason_label_and_the_job_still_shown() -> None:
    with pytest.raises(GateSaidNo, match="the gate says inconclusive") as caught:
        verdict(NO, "The gain is too uncertain.").require(shown="j")
    assert "(demonstration)" in str(caught.value)
    assert "The gain is too uncertain" in str(caught.value)
    assert (caught.value.code, caught.value.shown) == (5, "j")
    verdict(PASSED).require()


def test_the_gain_is_shown_with_its_interval_and_unknown_is_unknown() -> None:
    assert verdict(PASSED).gain == "+0.2000 [+0.1000, +0.3000] nats per token, 120 clusters"
    assert verdict({**NO, "gain": {"estimate": 0.1, "lower": None, "upper": None}}).gain == "unknown"


def test_a_later_gate_that_asks_for_less_or_draws_anew_is_labelled_and_one_that_asks_for_more_is_not() -> None:
    asked = {"min_gain": "0.05", "max_regression": "0.05", "min_clusters": "100", "seed": "42"}
    inputs = {name: {"value": value, "job_input_type": "literal"} for name, value in asked.items()}
    body = {"properties": {"jobs": {"evaluate": {"inputs": inputs}}}}

    def labels(**used: Any) -> list[str]:
        return weaker(body, body, {**PASSED, "gate": {"seed": 42, **used}})

    said = "not the gate that the job was submitted with: "
    assert labels(min_gain=0.02) == [said + "min_gain 0.02 in place of 0.05"]
    assert labels(max_regression=0.1, seed=7) == [said + "max_regression 0.1 in place of 0.05, seed 7 in place of 42"]
    assert labels(min_gain=0.1, max_regression=0.01, min_clusters=200) == []
    assert weaker({"properties": {}}, {"properties": {}}, PASSED) == []


@pytest.mark.parametrize(("before", "after"), [({}, {"questions": "a"}), ({"questions": "a"}, {})])
def test_a_later_gate_with_another_regression_set_is_labelled(before: dict[str, str], after: dict[str, str]) -> None:
    body, source = ({"properties": {"tags": tags}} for tags in (before, after))
    assert weaker(body, source, PASSED) == ["not the gate that the job was submitted with: another regression set"]
    assert weaker(source, source, PASSED) == []


def test_archiving_a_later_evaluation_does_not_bring_the_verdict_before_it_back() -> None:
    def evaluation(name: str, created: str) -> dict[str, Any]:
        tags = {gate.EVALUATES: "j", "test_hash": "a"}
        times = {"createdAt": created}
        return {"name": name, "systemData": times, "properties": {"status": "Completed", "tags": tags}}

    old, archived = evaluation("j-1", "2026-11-20T00:00:00Z"), evaluation("j-2", "2026-11-21T00:00:00Z")

    def pages(*_: str, listViewType: str = "ActiveOnly", **__: str) -> list[dict[str, Any]]:
        return [old, archived] if listViewType == "All" else [old]

    connection: Any = SimpleNamespace(workspace=SimpleNamespace(path="/w"), arm=SimpleNamespace(pages=pages))
    assert gate.later(connection, "j", {"test_hash": "a"}) == archived
