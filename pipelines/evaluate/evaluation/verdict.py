"""The gate: passed when the gain is surely large enough and the regression surely small enough, else inconclusive.

Inconclusive is a no. Its reasons say in words whether the model is worse, or whether too little is known and how many
more conversations would settle it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from evaluation.bootstrap import CONFIDENCE, Interval

PASSED, INCONCLUSIVE = "passed", "inconclusive"
MEANINGFUL_CLUSTERS = 100


@dataclass(frozen=True)
class Gate:
    """What is asked. Gain and regression are nats per token of the answers; `attempt` counts uses of the test split."""

    min_gain: float
    max_regression: float
    min_clusters: int = MEANINGFUL_CLUSTERS
    attempt: int = 1

    @property
    def chance_of_a_false_pass(self) -> float:
        """That a model which gains exactly `min_gain`, no more, would have passed by this attempt."""
        return 1 - CONFIDENCE**self.attempt


@dataclass(frozen=True)
class Verdict:
    """`labels` are said beside the verdict, whatever it is."""

    verdict: str
    reasons: list[str]
    labels: list[str]


def judge(gate: Gate, gain: Interval, regression: Interval) -> Verdict:
    """Hold both intervals against the gate."""
    reasons = [*_about_clusters(gate, gain), *_about_gain(gate, gain), *_about_regression(gate, regression)]
    if reasons:
        return Verdict(INCONCLUSIVE, reasons, labels(gate, gain))
    passed = [
        f"The gain is at least {_nats(gain.lower)} with 95 % confidence, more than the {_nats(gate.min_gain)} asked.",
        f"The loss on general questions changed by {regression.upper:+.4g} nats per token at most with 95 % "
        f"confidence, less than the {_nats(gate.max_regression)} allowed.",
    ]
    return Verdict(PASSED, passed, labels(gate, gain))


def labels(gate: Gate, gain: Interval) -> list[str]:
    found = []
    if gate.min_clusters < MEANINGFUL_CLUSTERS and gain.clusters < MEANINGFUL_CLUSTERS:
        found.append(
            f"demonstration: {gain.clusters} clusters, at least {MEANINGFUL_CLUSTERS} are needed to mean something"
        )
    if gate.attempt > 1:
        found.append(
            f"attempt {gate.attempt} on this test split: a worthless model would have passed by now with "
            f"{100 * gate.chance_of_a_false_pass:.0f} %"
        )
    return found


def clusters_needed(interval: Interval, bound: float | None, threshold: float) -> int | None:
    """How many clusters would bring the bound to the threshold, if estimate and spread stay: None when none would.

    The distance of a bound from its estimate shrinks with the root of the number of clusters.
    """
    room = abs(interval.estimate - threshold)
    if bound is None or room == 0:
        return None
    return math.ceil(interval.clusters * ((interval.estimate - bound) / room) ** 2)


def _about_clusters(gate: Gate, gain: Interval) -> list[str]:
    if gain.clusters >= gate.min_clusters:
        return []
    return [
        f"Too few conversations: the test rows are {gain.clusters} {'cluster' if gain.clusters == 1 else 'clusters'} "
        f"of conversations, {gate.min_clusters} are asked. Use more test data."
    ]


def _about_gain(gate: Gate, gain: Interval) -> list[str]:
    if gain.lower is not None and gain.lower > gate.min_gain:
        return []
    if not math.isfinite(gain.estimate):
        return ["The gain is not a number: a model gives no finite loss, its weights are broken."]
    asked = f"{_nats(gate.min_gain)} are asked"
    if gain.upper is not None and gain.upper < 0:
        return [f"The tuned model is clearly worse than its base: the gain is at most {_nats(gain.upper)}; {asked}."]
    if gain.upper is not None and gain.upper < gate.min_gain:
        return [f"The gain is clearly too small: at most {_nats(gain.upper)} with 95 % confidence; {asked}."]
    if gain.lower is None:
        return [f"The gain is too uncertain: estimated {_nats(gain.estimate)}, and nothing is certain; {asked}."]
    if gain.estimate <= gate.min_gain:
        return [
            f"The gain is estimated too small: {_nats(gain.estimate)}, certainly above {_nats(gain.lower)}; {asked}."
        ]
    return [
        f"The gain is too uncertain: estimated {_nats(gain.estimate)}, certainly above {_nats(gain.lower)} only; "
        f"{asked}." + _more(gain, gain.lower, gate.min_gain, "conversations")
    ]


def _about_regression(gate: Gate, found: Interval) -> list[str]:
    if found.upper is not None and found.upper < gate.max_regression:
        return []
    if not math.isfinite(found.estimate):
        return ["The regression is not a number: a model gives no finite loss, its weights are broken."]
    allowed = f"{_nats(gate.max_regression)} are allowed"
    if found.lower is not None and found.lower > gate.max_regression:
        return [
            f"The model regressed on general questions: its loss grew by at least {_nats(found.lower)} with 95 % "
            f"confidence; {allowed}."
        ]
    estimated = f"the loss on general questions changed by {found.estimate:+.4g}"
    if found.estimate >= gate.max_regression:
        return [f"The model seems to have regressed: {estimated} nats per token; {allowed}."]
    bound = "by an unknown number" if found.upper is None else f"by {found.upper:+.4g} nats per token"
    return [
        f"The regression is too uncertain: {estimated}, {bound} at most; {allowed}."
        + _more(found, found.upper, gate.max_regression, "questions")
    ]


def _more(interval: Interval, bound: float | None, threshold: float, what: str) -> str:
    needed = clusters_needed(interval, bound, threshold)
    if needed is None or needed <= interval.clusters:
        return ""
    return f" About {_rounded(needed - interval.clusters)} more {what} would settle it, if the estimate stays."


def _rounded(count: int) -> str:
    """Two digits: more would claim to know it."""
    digits = max(0, len(str(count)) - 2)
    return f"{math.ceil(count / 10**digits) * 10**digits:,}"


def _nats(value: float | None) -> str:
    return "an unknown number" if value is None else f"{value:.4g} nats per token"
