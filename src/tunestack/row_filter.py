"""Which split a row goes to, or why to none: it stands twice, or its question stands in the test split too.

Remembers 16 bytes per row for duplicates, and 16 per test row for its question; the rows themselves pass through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tunestack import digest_set, row_lines, rows
from tunestack.batches import POOL, Role
from tunestack.digest_set import DigestSet

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

DUPLICATE = "stands twice"
IN_TEST = "question stands in test"
# Found by comparing rows: dropped and counted, but no fault of a row and not held against the source.
COMPARED = (DUPLICATE, IN_TEST)
# Upper ends of each split's share of a pool, in percent of the hash range.
_POOLED = {"train": 80.0, "test": 90.0, "sample": 100.0}


@dataclass
class RowFilter:
    """Decides rows in the order in which they come; the test split has to come before the others."""

    validation_percent: float
    _conversations: dict[Role, DigestSet] = field(default_factory=dict)
    _tested: DigestSet = field(default_factory=DigestSet)

    @property
    def nbytes(self) -> int:
        """Memory that grows with the rows, in bytes."""
        return self._tested.nbytes + sum(found.nbytes for found in self._conversations.values())

    def decide(self, role: Role, found: Sequence[Any], lines: Sequence[bytes]) -> tuple[list[str], list[str | None]]:
        """For each row, given as an object and as its line: the split, and why it is left out (None: it is not)."""
        import numpy

        if not found:
            return [], []
        texts = [rows.first_question(row["messages"]) for row in found]
        questions = numpy.frombuffer(b"".join(map(rows.question_digest, texts)), ">u8").astype(numpy.uint64)
        questions = questions.reshape(-1, 4)[:, :2]
        digests = digest_set.of_bytes([sha256(row_lines.conversation(line)).digest()[:16] for line in lines])
        fresh = self._conversations.setdefault(role, DigestSet()).add(digests)
        shares, held_out = _percent(questions[:, 0]), _percent(questions[:, 1]) < self.validation_percent
        reasons: list[str | None] = [None if is_fresh else DUPLICATE for is_fresh in fresh.tolist()]
        if role == "test":
            self._tested.add(questions)
        elif role != POOL:
            for index in numpy.flatnonzero(self._tested.contains(questions)).tolist():
                reasons[index] = reasons[index] or IN_TEST
        splits = [_pooled(share) for share in shares.tolist()] if role == POOL else [str(role)] * len(found)
        return [
            "validation" if split == "train" and held else split
            for split, held in zip(splits, held_out.tolist(), strict=True)
        ], reasons


def _percent(halves: NDArray[numpy.uint64]) -> NDArray[numpy.float64]:
    """`rows.bucket` of hashes, given by 8 of their bytes each: the same on every machine."""
    import numpy

    share: NDArray[numpy.float64] = (halves >> numpy.uint64(12)).astype(numpy.float64) / 2.0**52 * 100
    return share


def _pooled(share: float) -> str:
    return next(split for split, end in _POOLED.items() if share < end)
