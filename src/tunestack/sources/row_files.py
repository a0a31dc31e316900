"""Rows out of one local file, by its form: in chunks for whoever maps them, or one by one in the schema of ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunestack.errors import UsageError
from tunestack.sources import arrow_rows, chunks, csv_rows, json_rows
from tunestack.sources.chunks import Chunk
from tunestack.sources.data_file import DataFile
from tunestack.sources.formats import Format


def read(file: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file in the `messages` format; the first one that is bad is an error, as is a file without rows."""
    found, opened, count = Format.of("messages", {}), DataFile.of(file), 0
    for chunk in chunks_of(opened, found):
        batch = chunks.batch(chunk, found)
        if batch.bad:
            raise UsageError(f"{batch.bad[0].place} {batch.bad[0].reason}")
        count += batch.rows
        yield from batch.table.to_pylist()
    if not count:
        raise UsageError(f"data file '{file}' has no rows")


def chunks_of(file: DataFile, found: Format, groups: list[int] | None = None) -> Iterator[Chunk]:
    """The rows of a file as it holds them, with the columns that the format needs; a missing column is an error."""
    if file.form == "parquet":
        return arrow_rows.parquet(file, found.needed, groups)
    if file.form == "arrow":
        return arrow_rows.arrow(file, found.needed)
    if file.form in ("csv", "tsv"):
        found.needed(csv_rows.columns(file), file.shown)
        return csv_rows.records(file)
    return json_rows.lines(file) if file.form == "jsonl" else json_rows.values(file)


def count(file: DataFile) -> int:
    """Rows of a file, bad ones included. Text has to be read for it, to its end."""
    if file.form == "parquet":
        return sum(arrow_rows.group_sizes(file))
    if file.form == "arrow":
        return arrow_rows.arrow_rows(file)
    if file.form == "jsonl":
        return sum(_lines(block.text) for block in file.blocks())
    found = csv_rows.records(file) if file.form in ("csv", "tsv") else json_rows.values(file)
    return sum(chunk.rows for chunk in found)


def _lines(text: bytes) -> int:
    """Lines that are not empty."""
    if b"\n\n" not in text and b"\n\r" not in text and b"\n " not in text and b"\n\t" not in text and text[:1] > b" ":
        return text.count(b"\n") + (not text.endswith(b"\n"))
    return sum(1 for line in text.split(b"\n") if line and not line.isspace())
