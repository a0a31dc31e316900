"""Reading rows out of files: JSON lines, JSON, CSV and Parquet; every complaint names file and line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from tunestack.errors import UsageError
from tunestack.rows import Row, row

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")


def read(file: Path) -> Iterator[Row]:
    """The rows of one file, by its suffix. An empty file is an error."""
    if not file.is_file():
        raise UsageError(f"data file '{file}' does not exist")
    if file.suffix not in SUFFIXES:
        raise UsageError(f"data file '{file}' has an unknown suffix", fix=f"Known are {', '.join(SUFFIXES)}")
    if file.stat().st_size == 0:
        raise UsageError(f"data file '{file}' is empty")
    count = 0
    for place, raw in _raw(file):
        count += 1
        yield row(raw, f"'{file}' {place}")
    if not count:
        raise UsageError(f"data file '{file}' has no rows")


def _raw(file: Path) -> Iterator[tuple[str, Any]]:
    if file.suffix == ".parquet":
        return _parquet(file)
    if file.suffix == ".csv":
        return _csv(file)
    return _json_lines(file) if file.suffix == ".jsonl" else _json(file)


def _json_lines(file: Path) -> Iterator[tuple[str, Any]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                yield f"line {number}", orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise UsageError(f"'{file}' line {number} is not JSON: {error}") from error


def _json(file: Path) -> Iterator[tuple[str, Any]]:
    try:
        content = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError:
        yield from _json_lines(file)  # many data sets call their JSON lines .json
        return
    items = content if isinstance(content, list) else [content]
    yield from ((f"item {number}", item) for number, item in enumerate(items, 1))


def _csv(file: Path) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(2**31 - 1)
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            yield from ((f"row {number}", item) for number, item in enumerate(csv.DictReader(lines), 1))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"'{file}' is not CSV: {error}") from error


def _parquet(file: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        batches = parquet.ParquetFile(file).iter_batches(batch_size=1000)
        number = 0
        for batch in batches:
            for item in batch.to_pylist():
                number += 1
                yield f"row {number}", item
    except pyarrow.ArrowException as error:
        raise UsageError(f"'{file}' is not Parquet: {error}") from error
