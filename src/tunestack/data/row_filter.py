"""Which split a row goes to, or why to none: it stands twice, or its question stands in the test split too.

Remembers 16 bytes per row for duplicates, and 16 per test row for its question; the rows themselves pass through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from tunestack.data import rows
from tunestack.data.digest_set import SIZE, DigestSet
from tunestack.sources.batches import POOL, Role

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

DUPLICATE = "stands twice"
IN_TEST = "question stands in test"
# Found by comparing rows: dropped and counted, but no fault of a row and not held against the source.
COMPARED = (DUPLICATE, IN_TEST)
# Upper ends of each split's share of a pool, in percent of the hash range.
_POOLED = {"train": 80.0, "test": 90.0, "sample": 100.0}


@dataclass(frozen=True)
class Decision:
    """For each row its split, and why it is left out (None: it is not); `questions` are digests."""

    splits: list[str]
    reasons: list[str | None]
    questions: list[bytes]


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

    @property
    def test_questions(self) -> int:
        """Questions of the test split that differ."""
        return len(self._tested)

    def decide(self, role: Role, asked: Sequence[str], conversations: Sequence[memoryview]) -> Decision:
        """Rows of a role, given as their first questions and as their conversations (`row_lines.Lines`)."""
        questions = [rows.question_digest(text)[:SIZE] for text in asked]
        fresh = self._conversations.setdefault(role, DigestSet()).add(
            [sha256(conversation).digest()[:SIZE] for conversation in conversations]
        )
        reasons: list[str | None] = [None if is_fresh else DUPLICATE for is_fresh in fresh]
        if role in ("train", "sample"):
            for index, is_tested in enumerate(self._tested.contains(questions)):
                if is_tested:
                    reasons[index] = reasons[index] or IN_TEST
        return Decision(self._splits(role, questions), reasons, questions)

    def remember(self, decided: Decision, tested: Sequence[int]) -> None:
        """Rows of a decision, by index, that went to the test split."""
        self._tested.add([decided.questions[index] for index in tested])

    def _splits(self, role: Role, questions: Sequence[bytes]) -> list[str]:
        """Of a pool by one half of the question's hash; validation out of train by the other."""
        import numpy

        if role not in (POOL, "train") or not questions:
            return [str(role)] * len(questions)
        halves = numpy.frombuffer(b"".join(questions), ">u8").astype(numpy.uint64).reshape(-1, 2)
        held_out = (_percent(halves[:, 1]) < self.validation_percent).tolist()
        pools = numpy.searchsorted(list(_POOLED.values()), _percent(halves[:, 0]), side="right").tolist()
        names = list(_POOLED)
        return [
            ("validation" if is_held else "train") if role != POOL or names[pool] == "train" else names[pool]
            for pool, is_held in zip(pools, held_out, strict=True)
        ]


def _percent(halves: NDArray[numpy.uint64]) -> NDArray[numpy.float64]:
    """Where hashes, given by 8 of their bytes each, fall between 0 and 100: the same on every machine."""
    import numpy

    share: NDArray[numpy.float64] = (halves >> numpy.uint64(12)).astype(numpy.float64) / 2.0**52 * 100
    return share
