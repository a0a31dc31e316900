"""Rows as JSON lines, the same bytes for the same row.

The fastest way found: an Arrow batch becomes Python objects at once, and orjson writes each row. Joining and escaping
whole Arrow columns, without an object for any text, was measured at two to four times the processor time of this.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    import pyarrow

# Rows turned into Python objects at a time: so many conversations stay in the processor's nearest cache.
ROWS = 16
# The C library of Linux gives memory back with every few rows that are freed, and takes it anew for the next ones,
# which costs as much as making the lines. Freeing one large block raises the size from which on it does so to twice
# the block's (mallopt(3), M_TRIM_THRESHOLD, dynamic); 32 MB is the largest that counts.
_BLOCK = 31 * 2**20


def of_table(table: pyarrow.RecordBatch) -> Iterator[tuple[list[dict[str, Any]], list[bytes]]]:
    """The rows of a batch as objects and as lines, `ROWS` at a time, in order."""
    _keep_memory()
    dumps, newline = orjson.dumps, orjson.OPT_APPEND_NEWLINE
    for start in range(0, table.num_rows, ROWS):
        found = table.slice(start, ROWS).to_pylist()
        yield found, [dumps(row, option=newline) for row in found]


@cache
def _keep_memory() -> None:
    bytearray(_BLOCK)


def conversation(line: bytes) -> memoryview:
    """The part of a line from its messages on: equal for equal conversations."""
    # Inside a text the quotation marks are escaped, so that the first place is the right one.
    return memoryview(line)[line.index(b',"messages":[') :]
