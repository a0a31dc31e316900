"""A set of 128-bit digests in 16 bytes each: what the duplicate check remembers of millions of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Halves = NDArray[numpy.uint64]
    Mask = NDArray[numpy.bool_]

SIZE = 16
# Digests lie on shelves by their first bits, each sorted by its first half. Adding copies one shelf, never the whole.
_SHELVES, _SHIFT = 16, 60
# Digests that wait in a set of Python's, a few MB at most, so that shelves are rewritten once for many.
_WAITING = 1 << 15


class DigestSet:
    """Digests are 16 bytes each."""

    def __init__(self) -> None:
        import numpy

        empty = numpy.empty(0, numpy.uint64)
        self._shelves: list[tuple[Halves, Halves]] = [(empty, empty)] * _SHELVES
        self._waiting: set[bytes] = set()

    def __len__(self) -> int:
        return self._shelved + len(self._waiting)

    @property
    def nbytes(self) -> int:
        """Memory that grows with the digests: 16 bytes for each that waits no more."""
        return SIZE * self._shelved

    def contains(self, digests: Sequence[bytes]) -> list[bool]:
        """Which of the digests are in the set."""
        waiting = self._waiting
        if not self._shelved:
            return [digest in waiting for digest in digests]
        found = self._on_shelves(*_halves(digests)).tolist()
        return [is_found or digest in waiting for is_found, digest in zip(found, digests, strict=True)]

    def add(self, digests: Sequence[bytes]) -> list[bool]:
        """Add them; says which were new: neither in the set nor earlier among those given."""
        fresh = []
        for is_known, digest in zip(self.contains(digests), digests, strict=True):
            is_fresh = not is_known and digest not in self._waiting
            if is_fresh:
                self._waiting.add(digest)
            fresh.append(is_fresh)
        if len(self._waiting) >= _WAITING:
            self._put_away()
        return fresh

    @property
    def _shelved(self) -> int:
        return sum(len(firsts) for firsts, _ in self._shelves)

    def _on_shelves(self, firsts: Halves, seconds: Halves) -> Mask:
        import numpy

        found = numpy.zeros(len(firsts), bool)
        shelves = firsts >> numpy.uint64(_SHIFT)
        for number in numpy.unique(shelves).tolist():
            chosen = numpy.flatnonzero(shelves == number)
            found[chosen] = _within(self._shelves[number], firsts[chosen], seconds[chosen])
        return found

    def _put_away(self) -> None:
        import numpy

        firsts, seconds = _halves(list(self._waiting))
        order = numpy.argsort(firsts)
        firsts, seconds = firsts[order], seconds[order]
        shelves = firsts >> numpy.uint64(_SHIFT)
        for number in numpy.unique(shelves).tolist():
            chosen = shelves == number
            shelf = self._shelves[number]
            places = numpy.searchsorted(shelf[0], firsts[chosen])
            self._shelves[number] = (
                numpy.insert(shelf[0], places, firsts[chosen]),
                numpy.insert(shelf[1], places, seconds[chosen]),
            )
        self._waiting = set()


def _halves(digests: Sequence[bytes]) -> tuple[Halves, Halves]:
    import numpy

    both = numpy.frombuffer(b"".join(digests), dtype=">u8").astype(numpy.uint64).reshape(-1, 2)
    return both[:, 0].copy(), both[:, 1].copy()


def _within(shelf: tuple[Halves, Halves], firsts: Halves, seconds: Halves) -> Mask:
    """Which digests stand on a shelf. Where several on it share a first half they are looked at one by one."""
    import numpy

    ours, our_seconds = shelf
    found: Mask = numpy.zeros(len(firsts), bool)
    if not len(ours):
        return found
    left = numpy.searchsorted(ours, firsts, side="left")
    there = left < len(ours)
    there[there] = ours[left[there]] == firsts[there]
    for index in numpy.flatnonzero(there).tolist():
        at = int(left[index])
        while at < len(ours) and ours[at] == firsts[index] and not found[index]:
            found[index] = our_seconds[at] == seconds[index]
            at += 1
    return found
