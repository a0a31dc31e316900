"""A set of 128-bit digests in 16 bytes each: what the duplicate check remembers of millions of rows.

Digests are numpy arrays of shape (n, 2), uint64, high half first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Digests = NDArray[numpy.uint64]
    Mask = NDArray[numpy.bool_]

_SHELVES = 256
# Digests that wait before they are sorted in, so that a shelf is rewritten once for many.
_WAITING = 1 << 14


def of_bytes(digests: list[bytes]) -> Digests:
    """Digests of 16 bytes each as an array."""
    import numpy

    return numpy.frombuffer(b"".join(digests), dtype=">u8").astype(numpy.uint64).reshape(-1, 2)


class DigestSet:
    """Sorted shelves by the digests' first byte; adding copies one shelf at a time, never the whole."""

    def __init__(self) -> None:
        import numpy

        self._empty = numpy.empty((0, 2), numpy.uint64)
        self._shelves = [self._empty] * _SHELVES
        self._waiting = self._empty

    def __len__(self) -> int:
        return sum(map(len, self._shelves)) + len(self._waiting)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes: 16 per digest."""
        return sum(shelf.nbytes for shelf in self._shelves) + self._waiting.nbytes

    def contains(self, digests: Digests) -> Mask:
        """Which of the digests are in the set."""
        import numpy

        found = _within(self._waiting, digests)
        if len(self) > len(self._waiting):
            shelves = (digests[:, 0] >> numpy.uint64(56)).astype(numpy.intp)
            order = numpy.argsort(shelves, kind="stable")
            ends = numpy.searchsorted(shelves[order], numpy.arange(_SHELVES + 1))
            for number in numpy.unique(shelves):
                picked = order[ends[number] : ends[number + 1]]
                found[picked] |= _within(self._shelves[number], digests[picked])
        return found

    def add(self, digests: Digests) -> Mask:
        """Add them; says which were new: neither in the set nor earlier among those given."""
        import numpy

        fresh = ~self.contains(digests)
        _, first = numpy.unique(digests, axis=0, return_index=True)
        once = numpy.zeros(len(digests), bool)
        once[first] = True
        fresh &= once
        self._waiting = _sorted(numpy.concatenate([self._waiting, digests[fresh]]))
        if len(self._waiting) >= _WAITING:
            self._put_away()
        return fresh

    def _put_away(self) -> None:
        import numpy

        shelves = (self._waiting[:, 0] >> numpy.uint64(56)).astype(numpy.intp)
        ends = numpy.searchsorted(shelves, numpy.arange(_SHELVES + 1))
        for number in numpy.unique(shelves):
            added = self._waiting[ends[number] : ends[number + 1]]
            self._shelves[number] = _sorted(numpy.concatenate([self._shelves[number], added]))
        self._waiting = self._empty


def _sorted(digests: Digests) -> Digests:
    import numpy

    ordered: Digests = digests[numpy.lexsort((digests[:, 1], digests[:, 0]))]
    return ordered


def _within(shelf: Digests, digests: Digests) -> Mask:
    """Which digests stand in a sorted array. Two that share their high half are looked at one by one."""
    import numpy

    found: Mask = numpy.zeros(len(digests), bool)
    if not len(shelf):
        return found
    left = numpy.searchsorted(shelf[:, 0], digests[:, 0], side="left")
    right = numpy.searchsorted(shelf[:, 0], digests[:, 0], side="right")
    one = right - left == 1
    found[one] = shelf[left[one], 1] == digests[one, 1]
    for index in numpy.flatnonzero(right - left > 1):
        found[index] = digests[index, 1] in shelf[left[index] : right[index], 1]
    return found
