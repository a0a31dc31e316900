"""A folder of prepared data: the four splits as JSON lines and `data.json`, which says what they are.

Written beside and moved into place, so that nobody sees half of it; the same source gives the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from tunestack import row_files, rows
from tunestack.errors import UsageError
from tunestack.rows import MINIMUM_TRAIN_ROWS, Row
from tunestack.sources import SPLITS, Source

MANIFEST = "data.json"


@dataclass(frozen=True)
class DataFolder:
    """What `data.json` says: the data set's name and source, a hash over all files, and rows per split."""

    name: str
    source: str
    percent: float
    hash: str
    rows: Mapping[str, int]
    sha256: Mapping[str, str]

    @property
    def record(self) -> dict[str, Any]:
        return asdict(self)


def write(folder: Path, source: Source, percent: float, splits: Mapping[str, Iterable[Row]]) -> tuple[DataFolder, bool]:
    """Write the splits; returns what was written and whether the folder changed."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        counts, sums = {}, {}
        for split in SPLITS:
            counts[split], sums[split] = _write_split(fresh / f"{split}.jsonl", splits[split])
        if counts["train_sft"] < MINIMUM_TRAIN_ROWS:
            raise UsageError(
                f"'{source}' gives {counts['train_sft']} rows to train on at {percent:g} %; "
                f"at least {MINIMUM_TRAIN_ROWS} are needed",
                fix="Raise the percentage, or use more data",
            )
        made = DataFolder(source.name, str(source), percent, _over_all(sums), counts, sums)
        (fresh / MANIFEST).write_bytes(orjson.dumps(made.record, option=orjson.OPT_INDENT_2) + b"\n")
        return made, _move(fresh, folder, made)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def read(folder: Path) -> DataFolder:
    """The folder that was prepared, checked: every file is there, as it was written."""
    if not folder.is_dir():
        raise UsageError(f"data folder '{folder}' does not exist", fix="Make it with scripts/prepare_data.py")
    problems = [f"data file '{file}' {found}" for file, found in _flaws(folder)]
    if problems:
        raise UsageError(*problems, fix="Make the folder anew with scripts/prepare_data.py")
    found = _manifest(folder)
    sums = _sums(folder)
    if found is None or found.sha256 != sums:  # made or changed by hand: counted and hashed anew
        counts = {split: sum(1 for _ in row_files.read(folder / f"{split}.jsonl")) for split in SPLITS}
        found = DataFolder(Source("path", str(folder)).name, str(folder), 100, _over_all(sums), counts, sums)
    if found.rows["train_sft"] < MINIMUM_TRAIN_ROWS:
        raise UsageError(
            f"'{folder / 'train_sft.jsonl'}' has {found.rows['train_sft']} rows; "
            f"at least {MINIMUM_TRAIN_ROWS} are needed"
        )
    return found


def head(folder: Path, split: str = "train_sft", count: int = 5) -> list[Row]:
    with (folder / f"{split}.jsonl").open("rb") as lines:
        return [orjson.loads(line) for line, _ in zip(lines, range(count), strict=False)]


def cut(folder: Path, validation_percent: float, target: Path) -> dict[str, Path]:
    """Train, validation and test files for the pipeline; validation is cut from train by the hash of the prompt.

    A prompt always falls on the same side, whatever rows are added. All three are passed on, because the pipeline
    would otherwise take 20 % of train away by position.
    """
    paths = {name: target / f"{name}.jsonl" for name in ("train", "validation", "test")}
    counts = {"train": 0, "validation": 0}
    with paths["train"].open("wb") as train, paths["validation"].open("wb") as validation:
        for item in row_files.read(folder / "train_sft.jsonl"):
            held_out = rows.bucket(rows.question_key(item)[16:]) < validation_percent
            (validation if held_out else train).write(rows.dumps(item))
            counts["validation" if held_out else "train"] += 1
    if counts["train"] < MINIMUM_TRAIN_ROWS or not counts["validation"]:
        raise UsageError(
            f"'{folder}' leaves {counts['train']} rows to train on and {counts['validation']} for validation "
            f"at validation_percent {validation_percent:g}; at least {MINIMUM_TRAIN_ROWS} and 1 are needed",
            fix="Use more data, or change data.validation_percent in the recipe",
        )
    with paths["test"].open("wb") as test:
        test.writelines(rows.dumps(item) for item in row_files.read(folder / "test_sft.jsonl"))
    return paths


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
    if _manifest(folder) == made and not list(_flaws(folder)) and _sums(folder) == made.sha256:
        return False
    ours = {MANIFEST, "sample_score.json", *(f"{split}.jsonl" for split in SPLITS)}
    if not folder.is_dir() or {entry.name for entry in folder.iterdir()} - ours:
        raise UsageError(f"'{folder}' exists and is not a folder of prepared data", fix="Name another with --output")
    for file in sorted(fresh.iterdir(), key=lambda entry: entry.name == MANIFEST):  # data.json last: it vouches
        os.replace(file, folder / file.name)
    return True


def _flaws(folder: Path) -> Iterable[tuple[Path, str]]:
    for file in (folder / f"{split}.jsonl" for split in SPLITS):
        if not file.is_file():
            yield file, "does not exist"
        elif file.stat().st_size == 0 and file.stem in ("train_sft", "test_sft"):
            yield file, "is empty"


def _manifest(folder: Path) -> DataFolder | None:
    try:
        return DataFolder(**orjson.loads((folder / MANIFEST).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _sums(folder: Path) -> dict[str, str]:
    return {split: _sum(folder / f"{split}.jsonl") for split in SPLITS}


def _sum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _over_all(sums: Mapping[str, str]) -> str:
    return hashlib.sha256("\n".join(f"{split} {sums[split]}" for split in SPLITS).encode()).hexdigest()
