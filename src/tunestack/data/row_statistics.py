"""Rows, bytes, turns and lengths of what was kept, counted as the rows pass: memory does not grow with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp2
from typing import Any

EXAMPLES = 3
# Lengths are counted in steps of 1/32 of an octave: one is off by at most 1.1 %.
_STEPS = 32


@dataclass
class Lengths:
    """How many rows have how many bytes of text, finely enough for quantiles; `total` is exact."""

    steps: Counter[int] = field(default_factory=Counter)
    rows: int = 0
    total: int = 0

    def add(self, sizes: Sequence[int]) -> None:
        import numpy

        self.steps.update(numpy.rint(numpy.log2(numpy.maximum(sizes, 1)) * _STEPS).astype(int).tolist())
        self.rows += len(sizes)
        self.total += sum(sizes)

    def scaled(self, factor: float) -> Counter[int]:
        """Rows by length times `factor`, in whole numbers: bytes as tokens."""
        found: Counter[int] = Counter()
        for step, rows in self.steps.items():
            found[max(round(exp2(step / _STEPS) * factor), 1)] += rows
        return found


@dataclass
class RowStatistics:
    """By split; leaks by kind with the places of the first ones."""

    lengths: dict[str, Lengths] = field(default_factory=dict)
    turns: dict[str, Counter[int]] = field(default_factory=dict)
    leaks: Counter[str] = field(default_factory=Counter)
    leak_places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, split: str, sizes: Sequence[int], turns: Sequence[int]) -> None:
        """Count rows of so many bytes of text in so many messages."""
        if sizes:
            self.lengths.setdefault(split, Lengths()).add(sizes)
            self.turns.setdefault(split, Counter()).update(turns)

    def leaked(self, kind: str, place: str) -> None:
        self.leaks[kind] += 1
        places = self.leak_places.setdefault(kind, [])
        if len(places) < EXAMPLES:
            places.append(place)

    @property
    def reported(self) -> list[dict[str, Any]]:
        """Secrets and addresses that were found and kept, the most frequent first."""
        ordered = sorted(self.leaks.items(), key=lambda pair: (-pair[1], pair[0]))
        return [{"kind": kind, "rows": rows, "places": self.leak_places[kind]} for kind, rows in ordered]
