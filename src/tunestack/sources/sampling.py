"""Which rows N percent of a split are: its head, seeded row groups, or seeded single rows; one seed, one choice."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tunestack.sources.chunks import Chunk


@dataclass(frozen=True)
class Part:
    """The first `rows` rows of one row group."""

    group: int
    rows: int


def share(total: int, percent: float) -> int:
    """How many rows N % are: rounded as `datasets` rounds `split[0%:N%]`, and never none of some."""
    return max(int(total * percent / 100 + 0.5), 1) if total else 0


def head(sizes: Sequence[int], rows: int) -> list[Part]:
    """The row groups that hold the first rows of a split."""
    return _filled(range(len(sizes)), sizes, rows)


def seeded_groups(sizes: Sequence[int], rows: int, seed: str) -> list[Part]:
    """Row groups in a seeded order until there are enough rows, returned in the split's order; the last one is cut."""
    order = list(range(len(sizes)))
    # Shuffled by hand: what random.shuffle makes of a seed is no promise between versions of Python; random() is.
    numbers = random.Random(seed)
    for last in range(len(order) - 1, 0, -1):
        other = int(numbers.random() * (last + 1))
        order[last], order[other] = order[other], order[last]
    return sorted(_filled(order, sizes, rows), key=lambda part: part.group)


def first(found: Iterator[Chunk], rows: int) -> Iterator[Chunk]:
    """The first rows of a split."""
    left = rows
    if not rows:
        return
    for chunk in found:
        if chunk.rows > left:
            chunk = chunk.take(sorted(chunk.order()[:left]))
        left -= chunk.rows
        yield chunk
        if not left:
            return  # before the next chunk is fetched


def single(found: Iterator[Chunk], total: int, rows: int, seed: str) -> Iterator[Chunk]:
    """Exactly `rows` of `total` rows, every set of them equally likely, in the split's order.

    Selection sampling: a row is taken with the probability that the rows still wanted have among those still to come.
    """
    numbers = random.Random(seed)
    left, wanted = total, rows
    for chunk in found:
        kept = []
        for index in chunk.order():
            if numbers.random() * left < wanted:
                kept.append(index)
                wanted -= 1
            left -= 1
        if kept:
            yield chunk.take(sorted(kept))


def _filled(order: Sequence[int], sizes: Sequence[int], rows: int) -> list[Part]:
    parts, left = [], rows
    for group in order:
        if left <= 0:
            break
        if sizes[group]:
            parts.append(Part(group, min(sizes[group], left)))
            left -= parts[-1].rows
    return parts
