"""Rows of CSV and TSV files: the first line names the columns, a quoted value may hold line ends."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tunestack.errors import UsageError
from tunestack.sources.batches import Bad
from tunestack.sources.chunks import BYTES, ROWS, Chunk
from tunestack.sources.data_file import LONGEST, DataFile

if TYPE_CHECKING:
    import _csv


def records(file: DataFile) -> Iterator[Chunk]:
    """Rows as objects of text; one with more or fewer values than there are columns is a bad row.

    A row's number is that of the line where it ends.
    """
    where, reader = f"{file.shown} line", _reader(file)
    try:
        names = next(reader, [])
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise UsageError(f"{file.shown} line 1 names the column '{repeated[0]}' twice")
        numbers: list[int] = []
        found: list[dict[str, str]] = []
        bad: list[Bad] = []
        size = 0
        for values in reader:
            if not values:
                continue
            size += sum(map(len, values))
            if len(values) == len(names):
                numbers.append(reader.line_num)
                found.append(dict(zip(names, values, strict=True)))
            else:
                reason = f"has more or fewer values than columns: {len(values)} for {len(names)}"
                bad.append(Bad(f"{where} {reader.line_num}", reason, values))
            if len(numbers) + len(bad) == ROWS or size > BYTES:
                yield Chunk(where, numbers, found, None, bad)
                numbers, found, bad, size = [], [], [], 0
    except csv.Error as error:
        raise _fault(file, reader.line_num, error) from error
    if numbers or bad:
        yield Chunk(where, numbers, found, None, bad)


def columns(file: DataFile) -> list[str]:
    """The names in the first line."""
    before = file.read
    try:
        return next(_reader(file), [])
    except csv.Error as error:
        raise _fault(file, 1, error) from error
    finally:
        file.read = before  # counted when its rows are read


def _reader(file: DataFile) -> _csv.Reader:
    csv.field_size_limit(LONGEST)
    return csv.reader(_lines(file), delimiter="\t" if file.form == "tsv" else ",", strict=True)


def _fault(file: DataFile, line: int, error: csv.Error) -> UsageError:
    if "new-line character" in str(error):
        return UsageError(
            f"{file.shown} line {line} holds a carriage return outside quotes",
            fix="If lines end as on old Macs, convert them with: tr '\\r' '\\n'",
        )
    return UsageError(f"{file.shown} line {line} is not {file.form.upper()}: {error}")


def _lines(file: DataFile) -> Iterator[str]:
    for block in file.blocks():
        yield from (line + "\n" for line in file.text(block).removesuffix("\n").split("\n"))
