"""Rows as JSON lines, the same bytes for the same row.

polars writes a whole Arrow batch in Rust, without a Python object for any row: less than half the processor time of
orjson over Python objects, and the same bytes (a test holds the two against each other).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow

_MESSAGES = b',"messages":['
# The C library of Linux gives memory back with every batch that is freed, and takes it anew for the next one, page by
# page, which costs as much as making the lines. Freeing one large block raises the size from which on it does so to
# twice the block's (mallopt(3), M_TRIM_THRESHOLD, dynamic); 32 MB is the largest that counts.
_BLOCK = 31 * 2**20


@dataclass(frozen=True)
class Lines:
    """Rows as lines with their ends, in order; `conversations` are the parts from the messages on.

    All are views of one buffer, which lives as long as any of them.
    """

    whole: list[memoryview]
    conversations: list[memoryview]


def of_table(table: pyarrow.RecordBatch) -> Lines:
    """The rows of a batch in the schema of `batches`."""
    import polars

    _keep_memory()
    buffer = BytesIO()
    if table.num_rows:
        polars.DataFrame(table).write_ndjson(buffer)
    text = buffer.getvalue()
    view, begin, found = memoryview(text), 0, Lines([], [])
    # Inside a text line ends and quotation marks are escaped, so that the first place is the right one.
    while (end := text.find(b"\n", begin)) >= 0:
        found.whole.append(view[begin : end + 1])
        found.conversations.append(view[text.index(_MESSAGES, begin) : end])
        begin = end + 1
    return found


@cache
def _keep_memory() -> None:
    bytearray(_BLOCK)
