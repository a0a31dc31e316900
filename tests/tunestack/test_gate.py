"""The gate's word as it is read: a verdict is believed only with the figures that carry it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.scripts.fine_tunes import FineTune
from tests.tunestack.stored import MemoryFolder
from tunestack import gate
from tunestack.errors import GateSaidNo, UsageError
from tunestack.gate import Verdict

PASSED = FineTune().metrics
NO = replace(FineTune(), gain=(0.05, -0.01, 0.1)).metrics


def verdict(metrics, *reasons: str) -> Verdict:
    return Verdict(metrics["verdict"] == "passed", reasons, ("demonstration",), metrics, "e", "j", MemoryFolder({}))


def read(**changes: object):
    return gate.parse(json.dumps({**PASSED, **changes}).encode(), "'m'")


def test_figures_that_carry_their_verdict_are_taken() -> None:
    assert gate.parse(json.dumps(PASSED).encode(), "'m'") == PASSED
    assert gate.parse(json.dumps(NO).encode(), "'m'") == NO
    assert read(reasons=["The gain is at least 0.1 nats."])["verdict"] == "passed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 2}, "has schema 2, and this program knows 1"),
        ({"schema": None}, "has schema None"),
        ({"verdict": "fine"}, "has the verdict 'fine'"),
        ({"gain": {"lower": 0.02}}, "says 'passed' with a gain of at least 0.02, below min_gain"),
        ({"regression": {"upper": 0.05}}, "with a regression of up to 0.05, over the limit"),
        ({"gain": {}}, "says 'passed' and lacks the figures for it: 'lower'"),
        ({"gain": {"lower": None}}, "says 'passed' and lacks the figures for it"),
        ({"regression": None}, "lacks the figures for it: 'upper'"),
        ({"gate": {}}, "lacks the figures for it: 'min_gain'"),
    ],
)
def test_a_pass_without_the_figures_for_it_is_refused(changes, said) -> None:
    with pytest.raises(UsageError, match=said):
        read(**changes)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'"passed"'])
def test_what_is_no_object_is_refused(content) -> None:
    with pytest.raises(UsageError, match="'m' is not"):
        gate.parse(content, "'m'")


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        gate.parse(b'{"schema": 3, "verdict": "yes"}', "'m'")
    assert len(caught.value.problems) == 2


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
