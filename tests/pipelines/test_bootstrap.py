"""Bounds that hold: against simulated models whose true gain is known, with the clusters and tails that losses have."""

from __future__ import annotations

import math

import numpy as np
import pytest
from evaluation import bootstrap
from evaluation.bootstrap import CONFIDENCE, by_cluster, drawn_at, interval

TOKENS = 40.0
KINDS = ("normal", "heavy", "skewed", "rare", "uneven")


def _tails(chance: np.random.Generator, count: int, kind: str) -> np.ndarray:
    """Differences per token with mean zero: what a worthless model gains over its base, by conversation."""
    if kind == "normal":
        return chance.normal(0, 1, count)
    if kind == "heavy":
        return chance.standard_t(3, count)
    if kind == "skewed":
        return -(chance.lognormal(0, 0.6, count) - math.exp(0.18))
    if kind == "uneven":
        return 1 - chance.gamma(1, 1, count)
    rare = chance.random(count) < 0.1  # one conversation in ten is much worse, the others are a little better
    return np.where(rare, -0.9, 0.1) + chance.normal(0, 0.3, count)


def _false_passes(kind: str, clusters: int, models: int, resamples: int, seed: int, *, by_rows: bool = False) -> int:
    """How many worthless models pass a gate that asks for any gain at all; `by_rows` draws rows, wrongly."""
    chance = np.random.default_rng(seed)
    passed = 0
    for model in range(models):
        # Most conversations have few variants; among the uneven ones a few have thirty, and half of all tokens.
        rows = np.minimum(chance.zipf(2.2, clusters), 30) if kind == "uneven" else chance.geometric(0.6, clusters)
        place = np.repeat(np.arange(clusters), rows)
        tokens = np.ceil(TOKENS * chance.lognormal(0, 0.8, clusters))[place]
        differences = 0.1 * tokens * _tails(chance, clusters, kind)[place]
        names = np.arange(len(place)) if by_rows else place
        found = interval(differences, tokens, names.astype(str), seed=model, resamples=resamples)
        assert found.lower is not None
        passed += found.lower > 0
    return passed


def _nominal(models: int) -> float:
    """The most passes that 5 % allow, with three of its standard errors for the luck of the simulation."""
    share = 1 - CONFIDENCE
    return models * share + 3 * math.sqrt(models * share * (1 - share))


@pytest.mark.parametrize("kind", KINDS)
def test_at_a_hundred_clusters_a_worthless_model_passes_no_more_often_than_promised(kind: str) -> None:
    models = 150
    assert _false_passes(kind, 100, models, 400, seed=11) <= _nominal(models)


def test_drawing_rows_would_pass_more_than_promised() -> None:
    """The simulation can fail: this is what the clusters are for."""
    assert _false_passes("normal", 100, 150, 400, seed=11, by_rows=True) > _nominal(150)


@pytest.mark.long
@pytest.mark.parametrize("clusters", [100, 400])
@pytest.mark.parametrize("kind", KINDS)
def test_the_rate_of_false_passes_is_at_most_nominal(kind: str, clusters: int) -> None:
    models = 2000
    passed = _false_passes(kind, clusters, models, 1000, seed=clusters)
    share = passed / models
    error = math.sqrt(share * (1 - share) / models)
    print(f"{kind}, {clusters} clusters: {100 * share:.1f} % pass, plus or minus {100 * error:.1f}")
    assert share <= 1 - CONFIDENCE + 2 * error


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_without_the_correction_for_few_clusters_more_would_pass(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    models = 2000
    monkeypatch.setattr(bootstrap, "_SHORTFALL", 0.0)
    plain = _false_passes(kind, 100, models, 1000, seed=100)
    print(f"{kind}, 100 clusters: {100 * plain / models:.1f} % pass at the plain quantile")
    assert plain > models * (1 - CONFIDENCE)


def test_a_true_gain_is_seen() -> None:
    """A gate that never passes anything would hold its promise too."""
    chance = np.random.default_rng(3)
    passed = 0
    for model in range(40):
        tokens = np.ceil(TOKENS * chance.lognormal(0, 0.8, 200))
        differences = tokens * (0.06 + 0.1 * _tails(chance, 200, "heavy"))
        lower = interval(differences, tokens, [str(each) for each in range(200)], seed=model, resamples=400).lower
        passed += lower is not None and lower > 0.02
    assert passed >= 24


def _some(count: int = 40) -> tuple[list[float], list[int], list[str]]:
    """Skewed differences, tokens and names of clusters of one row each, in the order of the names."""
    chance = np.random.default_rng(2)
    tokens = chance.integers(5, 90, count)
    return (tokens * chance.gamma(0.5, 0.2, count)).tolist(), tokens.tolist(), [f"c{each:03}" for each in range(count)]


@pytest.mark.parametrize("cells", [10**6, 40 * 7, 1])
def test_the_bounds_are_those_of_the_studentised_bootstrap_resample_by_resample(
    monkeypatch: pytest.MonkeyPatch, cells: int
) -> None:
    """Written out with plain sums; whether the resamples are drawn at once or in parts changes nothing."""

    def ratio_and_error(rows: list[int]) -> tuple[float, float]:
        total = sum(tokens[row] for row in rows)
        ratio = sum(differences[row] for row in rows) / total
        left = sum((differences[row] - ratio * tokens[row]) ** 2 for row in rows)
        return ratio, math.sqrt(len(rows) / (len(rows) - 1) * left) / total

    differences, tokens, names = _some()
    estimate, error = ratio_and_error(list(range(40)))
    drawn = np.random.default_rng(9).integers(0, 40, (199, 40)).tolist()
    studentised = sorted((ratio - estimate) / own for ratio, own in map(ratio_and_error, drawn))
    effective = sum(tokens) ** 2 / sum(each**2 for each in tokens)
    rank = math.ceil(200 * (1 - 0.1 * effective / (effective + 130)))
    monkeypatch.setattr(bootstrap, "_CELLS_AT_ONCE", cells)
    found = interval(differences, tokens, names, seed=9, resamples=199, confidence=0.9)
    assert (found.estimate, found.effective) == (pytest.approx(estimate), pytest.approx(effective))
    assert found.lower == pytest.approx(estimate - error * studentised[rank - 1])
    assert found.upper == pytest.approx(estimate - error * studentised[199 - rank])


def test_a_loss_is_bounded_as_a_gain_is_from_the_other_side() -> None:
    differences, tokens, names = _some()
    gain = interval(differences, tokens, names, seed=1, resamples=500)
    loss = interval([-each for each in differences], tokens, names, seed=1, resamples=500)
    assert gain.lower is not None
    assert gain.upper is not None
    assert (loss.lower, loss.upper) == (pytest.approx(-gain.upper), pytest.approx(-gain.lower))


def test_rows_of_one_cluster_count_as_one_observation() -> None:
    """Ten copies of each row are no more evidence: drawing rows would make the interval three times narrower."""
    chance = np.random.default_rng(0)
    differences, tokens = chance.normal(1, 5, 60), np.full(60, 20)
    names = [str(each) for each in range(60)]
    once = interval(differences, tokens, names, seed=1)
    copied = interval(np.tile(differences, 10), np.tile(tokens, 10), names * 10, seed=1)
    assert copied.clusters == once.clusters == 60
    assert copied.lower == pytest.approx(once.lower)
    as_if_independent = interval(
        np.tile(differences, 10), np.tile(tokens, 10), [str(each) for each in range(600)], seed=1
    )
    assert once.lower is not None
    assert as_if_independent.lower is not None
    assert as_if_independent.estimate - as_if_independent.lower < (once.estimate - once.lower) / 2


def test_the_estimate_is_a_ratio_of_sums_and_no_mean_of_ratios() -> None:
    found = interval([10.0, 0.0, 1.0], [10, 90, 100], ["a", "b", "c"], seed=0, resamples=100)
    assert found.estimate == pytest.approx(11 / 200)


def test_the_same_seed_gives_the_same_bounds_and_order_does_not_matter() -> None:
    chance = np.random.default_rng(5)
    differences, tokens = chance.normal(0, 1, 50), chance.integers(1, 90, 50)
    names = [f"c{each % 20}" for each in range(50)]
    one = interval(differences, tokens, names, seed=7, resamples=500)
    order = chance.permutation(50)
    again = interval(differences[order], tokens[order], [names[each] for each in order], seed=7, resamples=500)
    assert again.lower == pytest.approx(one.lower)
    assert interval(differences, tokens, names, seed=8, resamples=500).lower != one.lower


def test_one_cluster_or_two_have_no_bounds_and_equal_models_have_none_apart() -> None:
    single = interval([1.0, 2.0], [3, 4], ["a", "a"], seed=0)
    assert (single.lower, single.upper, single.clusters) == (None, None, 1)
    two = interval([1.0, 2.0], [3, 4], ["a", "b"], seed=0)  # most resamples hold one of them alone, and no error
    assert (two.lower, two.upper, two.clusters) == (None, None, 2)
    same = interval([0.0] * 30, [5] * 30, [str(each) for each in range(30)], seed=0)
    assert (same.estimate, same.lower, same.upper) == (0, 0, 0)


def test_clusters_are_summed() -> None:
    sums, sizes = by_cluster([1.0, 2.0, 4.0], [1, 2, 3], ["b", "a", "b"])
    assert sums.tolist() == [2.0, 5.0]
    assert sizes.tolist() == [2.0, 4.0]


def test_few_clusters_are_held_to_more_and_many_to_no_more_than_promised() -> None:
    levels = [drawn_at(CONFIDENCE, clusters) for clusters in (30, 100, 400, 2000, 100_000)]
    assert levels == sorted(levels, reverse=True)
    assert levels[1] == pytest.approx(0.978, abs=0.0005)
    assert levels[-1] == pytest.approx(CONFIDENCE, abs=0.0002)


def test_a_few_long_clusters_count_as_the_few_that_they_are() -> None:
    names = [str(each) for each in range(100)]
    even = interval([1.0] * 99 + [2.0], [10] * 100, names, seed=0, resamples=100)
    uneven = interval([1.0] * 99 + [200.0], [10] * 99 + [10_000], names, seed=0, resamples=100)
    assert (even.clusters, even.effective) == (100, pytest.approx(100))
    assert (uneven.clusters, uneven.effective) == (100, pytest.approx(1.2, abs=0.05))
