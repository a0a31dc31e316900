"""Rows as their file holds them, before a format maps them: a chunk of Python values, or an Arrow batch with a mask.

Readers of files and of the hub make chunks; `batch` turns each into a `Batch` in the schema of ours.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from tunestack.sources import columns, formats
from tunestack.sources.batches import Bad, Batch
from tunestack.sources.formats import Format, Unmapped

if TYPE_CHECKING:
    import pyarrow

# A batch has at most so many rows and about so many bytes, whichever is less.
ROWS = 1000
BYTES = 8 * 2**20


@dataclass(frozen=True)
class Chunk:
    """Rows of one file in its order: `values` (one Python value per row) or `table`; `numbers` are theirs, from 1.

    `bad` are rows that could not even be parsed; they stand in neither.
    """

    where: str
    numbers: Sequence[int]
    values: Sequence[Any] = ()
    table: pyarrow.RecordBatch | None = None
    bad: Sequence[Bad] = field(default_factory=tuple)

    @property
    def rows(self) -> int:
        return len(self.numbers) + len(self.bad)

    def order(self) -> Sequence[int]:
        """Indexes, good rows counted before bad ones, in the order of the rows in the file."""
        if not self.bad:
            return range(self.rows)
        numbers = [*self.numbers, *(int(bad.place.rsplit(" ", 1)[1]) for bad in self.bad)]
        return sorted(range(self.rows), key=numbers.__getitem__)

    def take(self, kept: Sequence[int]) -> Chunk:
        """The rows at these indexes, counted over good ones first and then bad ones."""
        good = len(self.numbers)
        chosen = [index for index in kept if index < good]
        table = self.table
        if table is not None:
            table = table.take(chosen) if len(chosen) < good else table
        return Chunk(
            self.where,
            [self.numbers[index] for index in chosen],
            [self.values[index] for index in chosen] if table is None else (),
            table,
            [self.bad[index - good] for index in kept if index >= good],
        )


def batch(chunk: Chunk, found: Format) -> Batch:
    """The chunk mapped; rows that cannot be are among the bad ones, with what stood there."""
    if chunk.table is not None:
        mapped = columns.mapped(chunk.table, found)
        if mapped is not None:
            table, good = mapped
            if good is None:
                return Batch(table, chunk.where, chunk.numbers, chunk.bad)
            wrong = [index for index, ok in enumerate(good) if not ok]
            raws = chunk.table.take(wrong).to_pylist()
            reasons = [_reason(found, raw) for raw in raws]
            if all(reasons):
                bad = [
                    Bad(f"{chunk.where} {chunk.numbers[index]}", reason, _plain(raw))
                    for index, reason, raw in zip(wrong, reasons, raws, strict=True)
                ]
                numbers = [number for number, ok in zip(chunk.numbers, good, strict=True) if ok]
                return Batch(table, chunk.where, numbers, [*chunk.bad, *bad])
        return _by_row(Chunk(chunk.where, chunk.numbers, chunk.table.to_pylist(), None, chunk.bad), found)
    return _by_row(chunk, found)


def _reason(found: Format, raw: Any) -> str:
    try:
        found.from_row(raw)
    except Unmapped as error:
        return str(error)
    return ""


def _by_row(chunk: Chunk, found: Format) -> Batch:
    rows, numbers, bad = [], [], list(chunk.bad)
    for number, value in zip(chunk.numbers, chunk.values, strict=True):
        try:
            rows.append(found.from_row(value))
            numbers.append(number)
        except Unmapped as error:
            bad.append(Bad(f"{chunk.where} {number}", str(error), _plain(value)))
    try:
        return Batch(formats.table(rows), chunk.where, numbers, bad)
    except UnicodeEncodeError:  # an answer with half a character, which JSON can write and UTF-8 cannot
        whole = [index for index, row in enumerate(rows) if _is_whole(row)]
        kept = set(whole)
        bad += [
            Bad(f"{chunk.where} {numbers[index]}", formats.HALF, _plain(rows[index].messages))
            for index in range(len(rows))
            if index not in kept
        ]
        return Batch(formats.table([rows[i] for i in whole]), chunk.where, [numbers[i] for i in whole], bad)


def _plain(raw: Any) -> Any:
    """What stood there as JSON can say it; as text where it cannot, such as dates, bytes and halves of characters."""
    try:
        orjson.dumps(raw)
        return raw
    except orjson.JSONEncodeError:
        return json.dumps(raw, default=str)


def _is_whole(row: formats.Mapped) -> bool:
    try:
        for content, role in row.messages:
            content.encode()
            role.encode()
        row.prompt_id.encode()
    except UnicodeEncodeError:
        return False
    return True
