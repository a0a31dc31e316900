"""How often the gate passes a model that gains no more than was asked, and one that gains twice as much.

Simulated: differences between two models by conversation, in clusters of differing sizes. The bounds are those of
pipelines/evaluate, except that all models of one size share their resamples; tests/pipelines/test_bootstrap.py holds
the step's own function against the same promise. Run: .venv/bin/python benchmarks/gate.py [--models 1000]
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "pipelines" / "evaluate"))
from evaluation.bootstrap import CONFIDENCE, drawn_at, standard_error

ASKED, SPREAD, RESAMPLES = 0.02, 0.1, 1000  # nats per token, twice; draws
SHAPES = ("equal", "geometric", "few long")
KINDS = ("normal", "Student's t, 3", "lognormal, 0.6", "lognormal, 1", "one in 10 worse", "exponential")


def sizes(chance: np.random.Generator, shape: str, clusters: int) -> np.ndarray:
    """Answer tokens of each cluster: conversations of differing length, in as many variants as the shape says."""
    if shape == "equal":
        return np.full(clusters, 40.0)
    rows = chance.geometric(0.6, clusters) if shape == "geometric" else np.minimum(chance.zipf(2.2, clusters), 30)
    return np.asarray(np.ceil(40 * chance.lognormal(0, 0.8, clusters)) * rows, dtype=float)


def tails(chance: np.random.Generator, kind: str, clusters: int) -> np.ndarray:
    """What a conversation's gain differs from the true one, with mean zero; the long tail is on the bad side."""
    if kind == "normal":
        return chance.normal(0, 1, clusters)
    if kind.startswith("Student"):
        return chance.standard_t(3, clusters)
    if kind.startswith("lognormal"):
        sigma = float(kind.rpartition(" ")[2])
        return math.exp(sigma**2 / 2) - chance.lognormal(0, sigma, clusters)
    if kind == "exponential":
        return 1 - chance.exponential(1, clusters)
    return np.where(chance.random(clusters) < 0.1, -0.9, 0.1) + chance.normal(0, 0.3, clusters)


def passed(shape: str, kind: str, counts: np.ndarray, models: int, chance: np.random.Generator) -> np.ndarray:
    """Shares: worthless models that pass with the plain quantile, with the step's, and models of twice the gain."""
    clusters = counts.shape[1]
    found = np.zeros(3)
    for _ in range(models):
        tokens = sizes(chance, shape, clusters)
        sums = SPREAD * tokens * tails(chance, kind, clusters)
        estimate = sums.sum() / tokens.sum()
        left = sums - estimate * tokens
        drawn = counts @ np.column_stack([tokens, left, left**2, left * tokens, tokens**2])
        shift = drawn[:, 1] / drawn[:, 0]
        rest = drawn[:, 2] - 2 * shift * drawn[:, 3] + shift**2 * drawn[:, 4]
        studentised = shift * drawn[:, 0] / np.sqrt(clusters / (clusters - 1) * rest)
        effective = tokens.sum() ** 2 / (tokens**2).sum()
        plain, ours = np.quantile(studentised, [CONFIDENCE, drawn_at(CONFIDENCE, effective)], method="higher")
        error = standard_error(left, tokens)
        found += (estimate > error * plain, estimate > error * ours, estimate + ASKED > error * ours)
    return found / models


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--models", type=int, default=1000, help="simulated for each line")
    flags.add_argument("--clusters", type=int, nargs="+", default=[30, 100, 500])
    options = flags.parse_args()
    print(f"{options.models:,} models a line; a share of 5 % has a standard error of "
          f"{100 * math.sqrt(0.05 * 0.95 / options.models):.1f} points; single gains spread by {SPREAD:g}, "
          f"asked is {ASKED:g} nats per token")  # fmt: skip
    print(f"{'clusters':>8}  {'sizes':10} {'tail':16} {'plain':>7} {'gate':>7} {'twice the gain':>15}")
    for clusters in options.clusters:
        chance = np.random.default_rng(clusters)
        counts = chance.multinomial(clusters, np.full(clusters, 1 / clusters), RESAMPLES).astype(float)
        for shape in SHAPES:
            for kind in KINDS:
                shares = 100 * passed(shape, kind, counts, options.models, chance)
                print(f"{clusters:8}  {shape:10} {kind:16} {shares[0]:5.1f} % {shares[1]:5.1f} % {shares[2]:13.0f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
