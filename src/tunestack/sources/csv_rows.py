"""Rows of CSV and TSV files: the first line names the columns, a quoted value may hold line ends."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from tunestack.errors import UsageError
from tunestack.sources.batches import Bad
from tunestack.sources.chunks import BYTES, ROWS, Chunk
from tunestack.sources.data_file import LONGEST, DataFile


def records(file: DataFile) -> Iterator[Chunk]:
    """Rows as objects of text; one with more or fewer values than there are columns is a bad row.

    A row's number is that of the line where it ends.
    """
    csv.field_size_limit(LONGEST)
    where = f"{file.shown} line"
    reader = csv.reader(_lines(file), delimiter="\t" if file.form == "tsv" else ",", strict=True)
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
                reason = f"has {len(values)} values for {len(names)} columns"
                bad.append(Bad(f"{where} {reader.line_num}", reason, values))
            if len(numbers) + len(bad) == ROWS or size > BYTES:
                yield Chunk(where, numbers, found, None, bad)
                numbers, found, bad, size = [], [], [], 0
    except csv.Error as error:
        raise UsageError(f"{file.shown} line {reader.line_num} is not {file.form.upper()}: {error}") from error
    if numbers or bad:
        yield Chunk(where, numbers, found, None, bad)


def columns(file: DataFile) -> list[str]:
    """The names in the first line."""
    reader = csv.reader(_lines(file), delimiter="\t" if file.form == "tsv" else ",", strict=True)
    try:
        return next(reader, [])
    except csv.Error as error:
        raise UsageError(f"{file.shown} line 1 is not {file.form.upper()}: {error}") from error


def _lines(file: DataFile) -> Iterator[str]:
    for block in file.blocks():
        yield from (line + "\n" for line in file.text(block).removesuffix("\n").split("\n"))
