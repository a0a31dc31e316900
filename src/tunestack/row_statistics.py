"""Rows, bytes, turns and lengths of what was kept, counted as the rows pass: memory does not grow with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import exp2, log2
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

    def add(self, size: int) -> None:
        self.steps[round(log2(max(size, 1)) * _STEPS)] += 1
        self.rows += 1
        self.total += size

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

    def add(self, split: str, size: int, turns: int) -> None:
        """Count a row of so many bytes of text in so many messages."""
        self.lengths.setdefault(split, Lengths()).add(size)
        self.turns.setdefault(split, Counter())[turns] += 1

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
