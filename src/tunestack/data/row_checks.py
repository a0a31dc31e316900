"""What is wrong with the conversation in a row, found for whole Arrow batches at once; the first reason counts.

Rows that stand twice or in two splits are found by `row_filter`, which sees all rows; rows too long by `token_counts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunestack.data import leaks

if TYPE_CHECKING:
    import numpy
    import pyarrow
    from numpy.typing import NDArray

SYSTEM, USER, ASSISTANT = range(3)
ROLES = ("system", "user", "assistant")
NO_MESSAGES = "no messages"
UNKNOWN_ROLE = "unknown role"
SYSTEM_LATER = "system message not first"
EMPTY = "empty content"
NOT_USER_FIRST = "first turn is not the user's"
NO_ALTERNATION = "roles do not alternate"
NO_ANSWER = "no assistant turn"
NOT_ANSWERED = "last turn is not the assistant's"
NO_QUESTION = "no user turn"
# In the order in which they are looked for. Splits that are trained on or scored need an answer at the end; questions
# that are only asked (`sample`) do not.
ALWAYS = (NO_MESSAGES, UNKNOWN_ROLE, SYSTEM_LATER, EMPTY)
ANSWERED = (NO_ANSWER, NOT_USER_FIRST, NO_ALTERNATION, NOT_ANSWERED)
ASKED = (NO_QUESTION, NOT_USER_FIRST, NO_ALTERNATION)


@dataclass(frozen=True)
class Checked:
    """What a batch holds, by row: `reasons` (None: nothing wrong), first questions, turns, bytes of text, leaks."""

    reasons: list[str | None]
    questions: list[str]
    turns: list[int]
    sizes: list[int]
    leaks: dict[int, list[str]]


def check(table: pyarrow.RecordBatch, *, answered: bool = True) -> Checked:
    """Look at a batch in the schema of `batches`; `answered` is False for questions that are only asked.

    It holds the interpreter's lock for little of its time: batches can be checked beside each other in threads.
    """
    import numpy
    from pyarrow import compute

    messages = table.column("messages")
    flat = messages.flatten()
    contents = flat.field("content")
    offsets = messages.offsets.to_numpy()
    turns = _Turns((offsets - offsets[0]).astype(numpy.int64), _codes(flat.field("role")))
    blank = compute.or_(compute.equal(compute.binary_length(contents), 0), compute.utf8_is_space(contents))
    wrong = {
        NO_MESSAGES: turns.lengths == 0,
        UNKNOWN_ROLE: turns.any(turns.codes < 0),
        SYSTEM_LATER: turns.any((turns.codes == SYSTEM) & (turns.places > 0)),
        EMPTY: turns.any(blank.to_numpy(zero_copy_only=False)),
        NO_QUESTION: ~turns.any(turns.codes == USER),
        NO_ANSWER: ~turns.any(turns.codes == ASSISTANT),
        NOT_USER_FIRST: turns.any((turns.spoken == 0) & (turns.codes == ASSISTANT)),
        NO_ALTERNATION: turns.any((turns.codes != SYSTEM) & (turns.codes != USER + turns.spoken % 2)),
        NOT_ANSWERED: turns.last != ASSISTANT,
    }
    reasons: list[str | None] = [None] * table.num_rows
    for reason in reversed([*ALWAYS, *(ANSWERED if answered else ASKED)]):
        for row in numpy.flatnonzero(wrong[reason]).tolist():
            reasons[row] = reason
    sizes = turns.sum(compute.binary_length(contents).to_numpy(zero_copy_only=False).astype(numpy.int64))
    return Checked(reasons, turns.questions(contents), turns.lengths.tolist(), sizes.tolist(), _leaks(contents, turns))


class _Turns:
    """The messages of all rows, flat: `codes` are roles, `places` are positions in the row, `spoken` without system."""

    def __init__(self, offsets: NDArray[numpy.int64], codes: NDArray[numpy.int64]) -> None:
        import numpy

        self.offsets, self.codes = offsets, codes
        self.lengths = numpy.diff(offsets)
        self.rows = numpy.repeat(numpy.arange(len(self.lengths)), self.lengths)
        self.places = numpy.arange(len(codes)) - offsets[:-1][self.rows]
        begins_with_system = self._at(offsets[:-1]) == SYSTEM
        self.spoken = self.places - begins_with_system[self.rows]
        self.last = self._at(offsets[1:] - 1)

    def sum(self, values: NDArray[Any]) -> NDArray[numpy.int64]:
        """Values of messages, added up by row."""
        import numpy

        total = numpy.concatenate([[0], numpy.cumsum(values, dtype=numpy.int64)])
        summed: NDArray[numpy.int64] = total[self.offsets[1:]] - total[self.offsets[:-1]]
        return summed

    def any(self, flags: NDArray[numpy.bool_]) -> NDArray[numpy.bool_]:
        """Rows in which a message has the flag."""
        return self.sum(flags) > 0

    def questions(self, contents: pyarrow.Array) -> list[str]:
        """The first user turn of each row; empty where there is none."""
        import numpy

        asked = numpy.flatnonzero(self.codes == USER)
        rows, first = numpy.unique(self.rows[asked], return_index=True)
        found = [""] * len(self.lengths)
        for row, text in zip(rows.tolist(), contents.take(asked[first]).to_pylist(), strict=True):
            found[row] = text
        return found

    def _at(self, indexes: NDArray[numpy.int64]) -> NDArray[numpy.int64]:
        """Roles at an index of each row; -1 for rows without messages."""
        import numpy

        if not len(self.codes):
            return numpy.full(len(self.lengths), -1)
        return numpy.where(self.lengths > 0, self.codes[numpy.minimum(indexes, len(self.codes) - 1)], -1)


def _codes(roles: pyarrow.Array) -> NDArray[numpy.int64]:
    """Roles as indexes of `ROLES`, -1 for any other."""
    import numpy

    found = roles.dictionary_encode()
    known = [ROLES.index(role) if role in ROLES else -1 for role in found.dictionary.to_pylist()]
    codes: NDArray[numpy.int64] = numpy.array(known or [-1])[found.indices.to_numpy()]
    return codes


def _leaks(contents: pyarrow.Array, turns: _Turns) -> dict[int, list[str]]:
    """Kinds of leak by row, each once."""
    found: dict[int, set[str]] = {}
    for index in leaks.suspected(contents).tolist():
        kinds = leaks.kinds(contents[index].as_py())
        if kinds:
            found.setdefault(int(turns.rows[index]), set()).update(kinds)
    return {row: sorted(kinds) for row, kinds in found.items()}
