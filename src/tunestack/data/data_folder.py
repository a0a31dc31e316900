"""A folder of prepared data: four splits as JSON lines, what was rejected, the card, and `data.json` which vouches.

Read here and nowhere else; `data_preparation` writes it. The test split is read by nothing but the evaluation gate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tunestack.data.rows import MINIMUM_TRAIN_ROWS, Row
from tunestack.errors import UsageError
from tunestack.sources import row_files

SPLITS = ("train", "validation", "test", "sample")
NEEDED = ("train", "validation", "test")
MANIFEST = "data.json"
REJECTED = "rejected.jsonl"
CARD = "card.json"
CARD_PAGE = "card.md"
# The card's figures that others count with.
_FIGURES = {
    "tokens": ("masked_rows", "cut_rows", "sampled_rows", "refused_rows"),
    "lengths": ("mean", "longest"),
    "rejected": ("rows", "percent"),
}
FILES = frozenset({MANIFEST, REJECTED, CARD, CARD_PAGE, *(f"{split}.jsonl" for split in SPLITS)})


@dataclass(frozen=True)
class DataFolder:
    """What `data.json` says, and the card.

    `hash` goes over all four splits and `test_hash` over `test.jsonl` alone; `rows` and `sha256` are by split,
    `settings` is what produced the folder; `card` is `card.json`, empty where the folder was made by hand.
    """

    name: str
    source: str
    percent: float
    hash: str
    test_hash: str
    rows: Mapping[str, int]
    sha256: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def manifest(self) -> dict[str, Any]:
        """The content of `data.json`: no time and no place in it, so that the same data gives the same bytes."""
        return {key: value for key, value in asdict(self).items() if key != "card"}

    @property
    def record(self) -> dict[str, Any]:
        return asdict(self)


def file(folder: Path, split: str) -> Path:
    """Where a split stands in a data folder: `train`, `validation`, `test` or `sample`."""
    if split not in SPLITS:
        raise ValueError(f"'{split}' is no split; known are {', '.join(SPLITS)}")
    return folder / f"{split}.jsonl"


def read(folder: Path) -> DataFolder:
    """The folder that was prepared, checked: every file is there, as it was written."""
    if not folder.is_dir():
        raise UsageError(f"data folder '{folder}' does not exist", fix="Make it with scripts/prepare_data.py")
    problems = [f"data file '{place}' {found}" for place, found in flaws(folder)]
    if problems:
        raise UsageError(*problems, fix="Make the folder anew with scripts/prepare_data.py")
    found, sums = manifest(folder), sums_of(folder)
    there = (sums, hash_over(sums), sums["test"])
    if found is None or (found.sha256, found.hash, found.test_hash) != there:  # made or changed by hand
        found = _by_hand(folder, sums)
    if found.rows["train"] < MINIMUM_TRAIN_ROWS:
        raise UsageError(
            f"'{file(folder, 'train')}' has {found.rows['train']} rows; at least {MINIMUM_TRAIN_ROWS} are needed"
        )
    return found


def manifest(folder: Path) -> DataFolder | None:
    """What the folder says of itself, unchecked; None where it says nothing that can be read."""
    try:
        found = DataFolder(**orjson.loads((folder / MANIFEST).read_bytes()), card=_card(folder))
        is_whole = set(found.rows) == set(SPLITS) == set(found.sha256)
        return found if is_whole and all(type(rows) is int for rows in found.rows.values()) else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def head(folder: Path, split: str = "train", count: int = 5) -> list[Row]:
    """The first rows of a split."""
    with file(folder, split).open("rb") as lines:
        return [orjson.loads(line) for line, _ in zip(lines, range(count), strict=False)]


def flaws(folder: Path) -> Iterable[tuple[Path, str]]:
    """The files that are missing or empty, and which of both. `sample.jsonl` may be either."""
    for place in (file(folder, split) for split in NEEDED):
        if not place.is_file():
            yield place, "does not exist"
        elif place.stat().st_size == 0:
            yield place, "is empty"


def sums_of(folder: Path) -> dict[str, str]:
    """SHA-256 of each split's file; that of nothing where there is no sample."""
    return {split: _sum(file(folder, split)) for split in SPLITS}


def hash_over(sums: Mapping[str, str]) -> str:
    """One hash over all splits."""
    return hashlib.sha256("\n".join(f"{split} {sums[split]}" for split in SPLITS).encode()).hexdigest()


def _by_hand(folder: Path, sums: Mapping[str, str]) -> DataFolder:
    counts = {split: sum(1 for _ in row_files.read(file(folder, split))) for split in NEEDED}
    sample = file(folder, "sample")
    counts["sample"] = sum(1 for _ in row_files.read(sample)) if sample.is_file() and sample.stat().st_size else 0
    return DataFolder(_name(folder), str(folder), 100, hash_over(sums), sums["test"], counts, dict(sums))


def _name(folder: Path) -> str:
    """The data set's name from a path, as the registered model's name ends."""
    from tunestack.sources.sources import Source

    return Source("path", str(folder)).name


def _card(folder: Path) -> dict[str, Any]:
    try:
        found = orjson.loads((folder / CARD).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and _is_sound(found) else {}


def _is_sound(card: Mapping[str, Any]) -> bool:
    """Whether the figures that others count with are numbers: one that was changed by hand is no card."""
    parts = [(card.get(part) or {}, names) for part, names in _FIGURES.items()]
    if not all(isinstance(part, dict) for part, _ in parts):
        return False
    figures = [part.get(name) for part, names in parts for name in names] + [card.get("test_questions")]
    return all(figure is None or isinstance(figure, (int, float)) for figure in figures)


def _sum(place: Path) -> str:
    if not place.is_file():
        return hashlib.sha256(b"").hexdigest()
    with place.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
