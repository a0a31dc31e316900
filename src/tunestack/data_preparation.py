"""Prepares a data folder: written beside and moved into place, so that nobody sees half of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

import orjson

from tunestack import data_folder, rows
from tunestack.data_folder import FILES, MANIFEST, SPLITS, DataFolder
from tunestack.errors import UsageError
from tunestack.rows import MINIMUM_TRAIN_ROWS, Row
from tunestack.sources import Source


def write(
    folder: Path, source: Source, percent: float, found: Mapping[str, Iterable[Row]], validation_percent: float = 10
) -> tuple[DataFolder, bool]:
    """Write the splits; returns what was written and whether the folder changed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    parts: dict[str, list[Row]] = {"train": [], "validation": []}
    for item in chain(found["train_sft"]):
        held_out = rows.bucket(rows.question_key(item)[16:]) < validation_percent
        parts["validation" if held_out else "train"].append(item)
    splits: dict[str, Iterable[Row]] = {**parts, "test": found["test_sft"], "sample": found["test_gen"]}
    try:
        counts, sums = {}, {}
        for split in SPLITS:
            counts[split], sums[split] = _write_split(data_folder.file(fresh, split), splits[split])
        if counts["train"] < MINIMUM_TRAIN_ROWS or not counts["validation"]:
            raise UsageError(
                f"'{source}' gives {counts['train']} rows to train on and {counts['validation']} for validation at "
                f"{percent:g} %; at least {MINIMUM_TRAIN_ROWS} and 1 are needed",
                fix="Raise the percentage, or use more data",
            )
        made = DataFolder(
            source.name, str(source), percent, data_folder.hash_over(sums), sums["test"], counts, sums, {}, {}
        )
        (fresh / MANIFEST).write_bytes(orjson.dumps(made.manifest, option=orjson.OPT_INDENT_2) + b"\n")
        return made, _move(fresh, folder, made)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _write_split(file: Path, found: Iterable[Row]) -> tuple[int, str]:
    digest, count = hashlib.sha256(), 0
    with file.open("wb") as lines:
        for item in found:
            line = rows.dumps(item)
            digest.update(line)
            lines.write(line)
            count += 1
    return count, digest.hexdigest()


def _move(fresh: Path, folder: Path, made: DataFolder) -> bool:
    """Put the new folder in the old one's place; False where the old one is the same."""
    if not folder.exists():
        fresh.chmod(0o755)
        os.rename(fresh, folder)
        return True
    same = data_folder.manifest(folder) == made and not list(data_folder.flaws(folder))
    if same and data_folder.sums_of(folder) == made.sha256:
        return False
    if not folder.is_dir() or {entry.name for entry in folder.iterdir()} - FILES - {"sample_score.json"}:
        raise UsageError(f"'{folder}' exists and is not a folder of prepared data", fix="Name another with --output")
    for file in sorted(fresh.iterdir(), key=lambda entry: entry.name == MANIFEST):  # data.json last: it vouches
        os.replace(file, folder / file.name)
    return True
