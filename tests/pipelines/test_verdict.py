"""The gate's word: both bounds have to hold, and a no says in words which kind of no it is."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from evaluation.bootstrap import Interval
from evaluation.verdict import Gate, Verdict, clusters_needed, judge

GATE = Gate(min_gain=0.02, max_regression=0.05)
GOOD = Interval(0.10, 0.06, 0.14, 150)
CALM = Interval(0.00, -0.02, 0.02, 120)


def _no(found: Verdict, *expected: str) -> None:
    assert found.verdict == "inconclusive"
    assert len(found.reasons) == len(expected), found.reasons
    for reason, part in zip(found.reasons, expected, strict=True):
        assert part in reason


def test_it_passes_when_both_bounds_hold() -> None:
    found = judge(GATE, GOOD, CALM)
    assert found.verdict == "passed"
    assert found.labels == []
    gain, regression = found.reasons
    assert "at least 0.06 nats per token with 95 % confidence, more than the 0.02" in gain
    assert "changed by +0.02 nats per token at most with 95 % confidence, less than the 0.05" in regression


@pytest.mark.parametrize(
    ("gain", "regression"),
    [
        (Interval(0.1, 0.02, 0.2, 150), CALM),
        (GOOD, Interval(0.0, -0.05, 0.05, 120)),
        (Interval(0.1, None, None, 150), CALM),
        (GOOD, Interval(0.0, None, None, 1)),
        (Interval(math.nan, None, None, 150), CALM),
    ],
)
def test_a_bound_on_the_line_or_unknown_is_a_no(gain: Interval, regression: Interval) -> None:
    assert judge(GATE, gain, regression).verdict == "inconclusive"


def test_as_many_clusters_as_are_asked_are_enough_and_one_less_is_a_no_and_no_demonstration() -> None:
    assert judge(GATE, replace(GOOD, clusters=100), CALM).verdict == "passed"
    found = judge(GATE, replace(GOOD, clusters=99), CALM)
    _no(found, "the test rows are 99 clusters of conversations, 100 are asked")
    assert found.labels == []
    _no(judge(GATE, Interval(0.1, None, None, 1), CALM), "are 1 cluster of", "too uncertain: estimated 0.1 nats")


def test_a_loss_that_is_no_number_says_that_the_weights_are_broken() -> None:
    broken = Interval(math.nan, None, None, 150)
    _no(judge(GATE, broken, broken), "The gain is not a number", "The regression is not a number")


def test_a_worse_model_is_called_worse() -> None:
    _no(judge(GATE, Interval(-0.1, -0.15, -0.05, 150), CALM), "clearly worse than its base")


def test_a_gain_that_is_surely_too_small_is_called_so() -> None:
    _no(judge(GATE, Interval(0.005, 0.0, 0.01, 150), CALM), "clearly too small")


def test_an_uncertain_gain_says_how_many_more_conversations_would_settle_it() -> None:
    for estimate, lower, more in ((0.05, -0.01, "450"), (0.025, -0.031, "19,000"), (0.05, 0.0195, "6")):
        found = judge(GATE, Interval(estimate, lower, 0.2, 150), CALM)
        _no(found, f"About {more} more conversations would settle it, if the estimate stays.")
    on_the_line = judge(GATE, Interval(0.1, GATE.min_gain, 0.2, 150), CALM)
    assert "About" not in on_the_line.reasons[0]


def test_an_estimate_below_what_is_asked_promises_nothing() -> None:
    for estimate in (0.01, GATE.min_gain):
        found = judge(GATE, Interval(estimate, -0.03, 0.05, 150), CALM)
        _no(found, "estimated too small")
        assert "more conversations" not in found.reasons[0]


def test_a_regression_is_told_from_a_doubt() -> None:
    _no(judge(GATE, GOOD, Interval(0.2, 0.1, 0.3, 120)), "regressed on general questions: its loss grew by at least")
    _no(judge(GATE, GOOD, Interval(0.06, 0.03, 0.09, 120)), "seems to have regressed")
    _no(judge(GATE, GOOD, Interval(0.03, 0.0, 0.06, 120)), "About 150 more questions would settle it")


def test_all_reasons_are_given_together() -> None:
    few = Interval(0.01, -0.5, 0.5, 40)
    _no(judge(GATE, few, Interval(0.2, 0.1, 0.3, 120)), "Too few conversations", "estimated too small", "regressed")


def test_less_than_a_hundred_clusters_are_a_demonstration_when_they_are_enough_at_all() -> None:
    small = Gate(0.02, 0.05, min_clusters=30)
    found = judge(small, Interval(0.10, 0.06, 0.14, 49), CALM)
    assert found.verdict == "passed"
    assert found.labels == ["demonstration: 49 clusters, at least 100 are needed to mean something"]
    assert judge(small, Interval(0.10, 0.06, 0.14, 100), CALM).labels == []


def test_attempts_are_counted_as_the_chance_that_a_worthless_model_passed() -> None:
    assert Gate(0, 1).chance_of_a_false_pass == pytest.approx(0.05)
    assert Gate(0, 1, attempt=5).chance_of_a_false_pass == pytest.approx(0.2262, abs=1e-4)
    for attempt, percent in ((2, "10 %"), (5, "23 %"), (20, "64 %")):
        (label,) = judge(Gate(0.02, 0.05, attempt=attempt), GOOD, CALM).labels
        assert label.startswith(f"attempt {attempt} on this test split")
        assert label.endswith(percent)


def test_the_number_of_clusters_follows_the_square_of_the_distance() -> None:
    found = Interval(0.05, 0.01, 0.09, 100)
    assert clusters_needed(found, found.lower, 0.03) == 400
    assert clusters_needed(found, None, 0.03) is None
    assert clusters_needed(found, found.lower, 0.05) is None
