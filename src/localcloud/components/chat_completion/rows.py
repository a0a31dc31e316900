"""Reads conversations from the files that the pipeline takes: jsonl, json, csv, tsv, parquet, or an MLTable folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from localcloud.components.chat_completion.program import UserError

Row = dict[str, Any]
_HINT = "Check that the file is complete and that its extension says what it holds."


def load_rows(path: Path) -> list[Row]:
    """All rows of a data file or an MLTable folder; UserError names file, place and reason."""
    if path.is_dir():
        return _read_mltable(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"The file '{path.name}' has the extension '{path.suffix}'; one of {', '.join(_READERS)} is needed."
        )
    return _read(path, reader)


def check_columns(rows: list[Row], path: Path) -> None:
    """UserError unless the data has the one column that is needed."""
    columns = list(rows[0]) if rows else []
    if rows and "messages" not in columns:
        raise UserError(f"'{path.name}' has the columns {columns}; the column 'messages' is expected.")


def _read(path: Path, reader: Callable[[Path], list[Row]]) -> list[Row]:
    try:
        return reader(path)
    except UserError:
        raise
    except (OSError, ValueError, csv.Error) as error:  # pyarrow's errors are ValueErrors
        raise UserError(f"Error while loading '{path.name}': {error}. {_HINT}") from None


def _jsonl(path: Path) -> list[Row]:
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                rows.append(_parsed(line, path, number))
    return rows


def _parsed(line: str, path: Path, number: int) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"Error while loading '{path.name}': line {number} is not JSON ({error}). {_HINT}") from None
    if not isinstance(row, dict):
        raise UserError(f"Error while loading '{path.name}': line {number} is not a JSON object. {_HINT}")
    return row


def _json(path: Path) -> list[Row]:
    text = path.read_text(encoding="utf-8")
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return _jsonl(path)  # the published loader takes JSON lines under .json as well
    rows = found if isinstance(found, list) else [found]
    if not all(isinstance(row, dict) for row in rows):
        raise UserError(f"Error while loading '{path.name}': it must be a list of objects. {_HINT}")
    return rows


def _separated(separator: str) -> Callable[[Path], list[Row]]:
    def read(path: Path) -> list[Row]:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, delimiter=separator))

    return read


def _parquet(path: Path) -> list[Row]:
    import pyarrow.parquet

    rows: list[Row] = pyarrow.parquet.read_table(path).to_pylist()
    return rows


_READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".parquet": _parquet,
}
_TRANSFORMATIONS = {"read_json_lines": _jsonl, "read_parquet": _parquet}


def _read_mltable(folder: Path) -> list[Row]:
    """The files that an MLTable names by `file` or `pattern`, with the one transformation that reads them."""
    description = folder / "MLTable"
    if not description.is_file():
        raise UserError(f"The folder '{folder.name}' holds no 'MLTable' file.")
    try:
        table = yaml.safe_load(description.read_text()) or {}
    except yaml.YAMLError as error:
        raise UserError(f"Error while loading 'MLTable' of '{folder.name}': {error}. {_HINT}") from None
    try:
        read, files = _transformation(table), _mltable_files(folder, table)
    except (AttributeError, TypeError, StopIteration):
        raise UserError(
            f"Error while loading 'MLTable' of '{folder.name}': it has not the form of one. {_HINT}"
        ) from None
    rows: list[Row] = []
    for path in files:
        rows += _read(path, read)
    return rows


def _transformation(table: Row) -> Callable[[Path], list[Row]]:
    for step in table.get("transformations") or []:
        name = step if isinstance(step, str) else next(iter(step))
        if name == "read_delimited":
            return _separated((step[name] or {}).get("delimiter", ",") if isinstance(step, dict) else ",")
        if name in _TRANSFORMATIONS:
            return _TRANSFORMATIONS[name]
    raise UserError("The 'MLTable' has no transformation read_json_lines, read_parquet or read_delimited.")


def _mltable_files(folder: Path, table: Row) -> list[Path]:
    found: list[Path] = []
    for entry in table.get("paths") or []:
        named = entry.get("file") or entry.get("pattern") or ""
        if "://" in named or Path(named).is_absolute():
            raise UserError(f"The 'MLTable' names '{named}'; here its paths must lie inside its own folder.")
        found += sorted(folder.glob(named.removeprefix("./")))
    if not found:
        raise UserError(f"The 'MLTable' of '{folder.name}' names no file that exists.")
    return found
