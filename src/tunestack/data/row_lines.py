"""Rows as JSON lines, the same bytes for the same row.

polars writes a whole Arrow batch in Rust, without a Python object for any row: less than half the processor time of
orjson over Python objects, and the same bytes (a test holds the two against each other).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    import pyarrow

_MESSAGES = b',"messages":['
# The C library of Linux gives memory back with every batch that is freed, and takes it anew for the next one, page by
# page, which costs as much as making the lines. Freeing one large block raises the size from which on it does so to
# twice the block's (mallopt(3), M_TRIM_THRESHOLD, dynamic); 32 MB is the largest that counts.
_BLOCK = 31 * 2**20


class Lines:
    """A batch's rows as lines with their ends, by index; what is given out are views, nothing is copied."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._texts: list[bytes] = []
        self._views: list[memoryview] = []
        self._begins: list[int] = []
        self._ends: list[int] = []
        for text in pieces:
            view, begin, find = memoryview(text), 0, text.find
            # Inside a text line ends are escaped.
            while end := find(b"\n", begin) + 1:
                self._texts.append(text)
                self._views.append(view)
                self._begins.append(begin)
                self._ends.append(end)
                begin = end

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> memoryview:
        return self._views[index][self._begins[index] : self._ends[index]]

    def conversation(self, index: int) -> memoryview:
        """A row's line from its messages on."""
        # Quotation marks are escaped inside a text, so that the first place is the right one.
        begin = self._texts[index].index(_MESSAGES, self._begins[index])
        return self._views[index][begin : self._ends[index]]

    def runs(self, chosen: Sequence[int]) -> list[memoryview]:
        """The lines of rows, given in order; those that stand side by side are one view."""
        found: list[memoryview] = []
        first = last = -1
        for index in chosen:
            # The first line of a piece begins at 0, which is no line's end.
            if last >= 0 and index == last + 1 and self._begins[index] == self._ends[last]:
                last = index
                continue
            if last >= 0:
                found.append(self._views[first][self._begins[first] : self._ends[last]])
            first = last = index
        if last >= 0:
            found.append(self._views[first][self._begins[first] : self._ends[last]])
        return found


class _Pieces(list[bytes]):
    """What polars writes to; each of its threads hands over one piece."""

    def write(self, text: bytes) -> int:
        self.append(text)
        return len(text)


def of_table(table: pyarrow.RecordBatch) -> Lines:
    """The rows of a batch in the schema of `batches`."""
    import polars

    _keep_memory()
    pieces = _Pieces()
    if table.num_rows:
        polars.DataFrame(table).write_ndjson(cast("IO[bytes]", pieces))
    are_whole = all(piece.endswith(b"\n") for piece in pieces)
    return Lines(pieces if are_whole else [b"".join(pieces)])


@cache
def _keep_memory() -> None:
    bytearray(_BLOCK)
