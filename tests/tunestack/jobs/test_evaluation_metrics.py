"""Figures of an evaluation: taken in their form only, and a verdict only with the figures that carry it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.scripts.fine_tunes import FineTune
from tunestack.errors import UsageError
from tunestack.jobs import evaluation_metrics

PASSED = FineTune().metrics
NO = replace(FineTune(), gain=(0.05, -0.01, 0.1)).metrics


def read(**changes: object):
    return evaluation_metrics.parse(json.dumps({**PASSED, **changes}).encode(), "'m'", "j")


def test_figures_that_carry_their_verdict_are_taken() -> None:
    assert evaluation_metrics.parse(json.dumps(PASSED).encode(), "'m'", "j") == PASSED
    assert evaluation_metrics.parse(json.dumps(NO).encode(), "'m'", "j") == NO
    assert read(reasons=["The gain is at least 0.1 nats."])["verdict"] == "passed"
    assert read(gain={**PASSED["gain"], "clusters": PASSED["gate"]["min_clusters"]})["verdict"] == "passed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 2}, "has schema 2, and this program knows 1"),
        ({"schema": None}, "has schema None"),
        ({"verdict": "fine"}, "has the verdict 'fine'"),
        ({"gain": {**PASSED["gain"], "lower": 0.02}}, "says 'passed' with a gain of at least 0.02, not above min_gain"),
        ({"regression": {"upper": 0.05}}, "with a regression of up to 0.05, over the limit"),
        ({"gain": {}}, "says 'passed' and lacks the figures for it: 'lower'"),
        ({"gain": {"lower": None}}, "says 'passed' and lacks the figures for it"),
        ({"regression": None}, "lacks the figures for it: 'upper'"),
        ({"gain": {**PASSED["gain"], "clusters": 99}}, "says 'passed' on 99 clusters, fewer than min_clusters"),
        ({"gate": {}}, "lacks the figures for it: 'min_gain'"),
    ],
)
def test_a_pass_without_the_figures_for_it_is_refused(changes, said) -> None:
    with pytest.raises(UsageError, match=said):
        read(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"test": [1]}, "a 'test' that is no object"),
        ({"gain": [1]}, "a 'gain' that is no object"),
        ({"models": "base"}, "a 'models' that is no object"),
        ({"models": {"base": 3}}, "figures of the model 'base' that are no object"),
        ({"reasons": "because"}, "'reasons' that are no list of sentences"),
        ({"labels": [1]}, "'labels' that are no list of sentences"),
        ({"gain": {**PASSED["gain"], "lower": "0.1"}}, "a 'gain.lower' that is no number"),
        ({"gain": {**PASSED["gain"], "clusters": True}}, "a 'gain.clusters' that is no number"),
        ({"gate": {**PASSED["gate"], "min_gain": {}}}, "a 'gate.min_gain' that is no number"),
    ],
)
@pytest.mark.parametrize("verdict", ["passed", "inconclusive"])
def test_figures_of_another_form_are_refused_whatever_the_verdict(changes, said, verdict) -> None:
    with pytest.raises(UsageError, match=said):
        read(verdict=verdict, **changes)


@pytest.mark.parametrize("figure", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_carries_nothing(figure: str) -> None:
    content = json.dumps(PASSED).replace('"lower": 0.1', f'"lower": {figure}')
    with pytest.raises(UsageError, match="no number"):
        evaluation_metrics.parse(content.encode(), "'m'", "j")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b'"passed"', b"[" * 100_000], ids=lambda content: content[:9].hex()
)
def test_what_is_no_object_is_refused(content) -> None:
    with pytest.raises(UsageError, match="'m' is not"):
        evaluation_metrics.parse(content, "'m'", "j")


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        evaluation_metrics.parse(b'{"schema": 3, "verdict": "yes"}', "'m'", "j")
    assert len(caught.value.problems) == 2
