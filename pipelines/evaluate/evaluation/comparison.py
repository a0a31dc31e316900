"""Two models on the same rows: what each row's answers cost the one more than the other.

Two models with the same tokens are compared token by token. With other tokenizers or contexts the text is still the
same: whole answers are compared then, per token of the reference, and rows that either saw only in part are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.bootstrap import Interval, interval
from evaluation.measuring import Sheet


@dataclass(frozen=True)
class Comparison:
    """Differences in nats by row, with the tokens and the cluster of each row."""

    lines: tuple[int, ...]
    differences: tuple[float, ...]
    tokens: tuple[int, ...]
    clusters: tuple[str, ...]
    same_tokens: bool

    @property
    def is_finite(self) -> bool:
        return all(math.isfinite(difference) for difference in self.differences)

    def interval(self, seed: int) -> Interval:
        """Bounds of the difference per token; all unknown where a model gave no finite loss or no row is left."""
        if not self.lines or not self.is_finite:
            return Interval(math.nan, None, None, len(set(self.clusters)))
        return interval(self.differences, self.tokens, self.clusters, seed=seed)


def compare(reference: Sheet, other: Sheet, clusters: Mapping[int, str]) -> Comparison:
    """What a row costs `reference` more than `other`; positive where `other` is better."""
    both = sorted(set(reference.encoded) & set(other.encoded))
    if not _have_same_tokens(reference, other, both):
        both = [line for line in both if not (reference.encoded[line].cut or other.encoded[line].cut)]
    return Comparison(
        tuple(both),
        tuple(reference.losses[line] - other.losses[line] for line in both),
        tuple(len(reference.encoded[line].answers) for line in both),
        tuple(clusters[line] for line in both),
        _have_same_tokens(reference, other, both),
    )


def _have_same_tokens(one: Sheet, other: Sheet, lines: Sequence[int]) -> bool:
    return all(one.encoded[line].same_tokens(other.encoded[line]) for line in lines)
