"""Where rows come from: a data set on the Hugging Face hub, a local file or folder, or a package of conversations.

`open` gives the rows of each role in batches; what is checked, dropped and written is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tunestack import corpus, data_file, row_files, rows
from tunestack.errors import CloudError, TunestackError, UsageError
from tunestack.rows import Row

if TYPE_CHECKING:
    from tunestack.recipe import Data
    from tunestack.splits import Tables

SPLITS = ("train_sft", "test_sft", "train_gen", "test_gen")
# Upper ends of each split's share of a pool, in percent of the hash range: 80, 10, 5, 5.
_SHARES = {"train_sft": 80.0, "test_sft": 90.0, "train_gen": 95.0, "test_gen": 100.0}
_CORPUS = "chatterbot-corpus"


@dataclass(frozen=True)
class Source:
    """`hub:OWNER/NAME`, `package:NAME` or a path; `version` pins what was read, where that is known."""

    kind: str
    place: str
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> Source:
        kind, colon, place = text.partition(":")
        if not colon or kind not in ("hub", "package"):
            return cls("path", text)
        name, at, version = place.partition("@")
        if not name or (at and not version):
            raise UsageError(f"data source '{text}' is not of the form {kind}:NAME or {kind}:NAME@REVISION")
        if kind == "hub":
            return cls(kind, name, version)
        if name != corpus.PACKAGE:
            raise UsageError(f"data source '{text}' is an unknown package", fix=f"Known is package:{corpus.PACKAGE}")
        installed = corpus.version()
        if version not in ("", installed):
            raise UsageError(f"data source '{text}' is not installed", fix=f"Installed is {name} {installed}")
        return cls(kind, name, installed)

    @property
    def name(self) -> str:
        """The data set's name, as the registered model's name ends: `ultrachat-200k`."""
        last = Path(self.place).name if self.kind == "path" else self.place.rsplit("/", 1)[-1]
        if self.kind == "path" and data_file.kind(last)[0]:
            last = last.split(".", 1)[0]
        return re.sub(r"[^A-Za-z0-9]+", "-", last).strip("-").lower() or "data"

    def __str__(self) -> str:
        text = self.place if self.kind == "path" else f"{self.kind}:{self.place}"
        return f"{text}@{self.version}" if self.version else text


def open(data: Data) -> Tables:
    """The source of a recipe's `data`, its files found and checked; rows are read by `Tables.batches`."""
    from tunestack import hub_data, local_data
    from tunestack.formats import Format
    from tunestack.splits import Tables

    source, found = Source.parse(data.source), Format.of(data.format, data.columns)
    if source.kind == "package":
        split = corpus.Corpus()
        return Tables(data, str(source), source.name, {split.name: split})
    if source.kind == "hub":
        there = hub_data.open_data(source.place, source.version or None, data.subset, found)
        return Tables(data, there.source, source.name, there.splits, there.notes, there.folder.close)
    return Tables(data, str(source), source.name, local_data.splits(Path(source.place), found))


def splits(source: Source, percent: float) -> Mapping[str, Iterable[Row]]:
    """The four splits of a source, the first `percent` of each."""
    if source.kind == "hub":
        return _hub(source.place, percent)
    if source.kind == "package":
        return _pooled(_corpus(), percent)
    return _local(Path(source.place), percent)


def share(total: int, percent: float) -> int:
    """How many rows N % are: rounded as `datasets` rounds `split[0%:N%]`, and never none of some."""
    return max(int(total * percent / 100 + 0.5), 1) if total else 0


def _local(path: Path, percent: float) -> Mapping[str, Iterable[Row]]:
    if not path.exists():
        raise UsageError(f"data source '{path}' does not exist", fix="Write hub:OWNER/NAME for a data set on the hub")
    if path.is_file():
        return _pooled(row_files.read(path), percent)
    files = sorted(file for file in path.iterdir() if file.suffix in row_files.SUFFIXES and file.name != "data.json")
    if not files:
        raise UsageError(f"folder '{path}' holds no data file", fix=f"Known are {', '.join(row_files.SUFFIXES)}")
    named = {split: [file for file in files if file.stem.startswith(split)] for split in SPLITS}
    if not any(named.values()):
        return _pooled(chain.from_iterable(row_files.read(file) for file in files), percent)
    missing = ", ".join(split for split in SPLITS if not named[split])
    if missing:
        raise UsageError(f"folder '{path}' has no file for {missing}", fix="Name files as the four splits, or none")
    return {split: _first(list(_of(named[split])), percent) for split in SPLITS}


def _of(files: Iterable[Path]) -> Iterator[Row]:
    return chain.from_iterable(row_files.read(file) for file in files)


def _first(found: list[Row], percent: float) -> list[Row]:
    return found[: share(len(found), percent)]


def _pooled(found: Iterable[Row], percent: float) -> Mapping[str, Iterable[Row]]:
    """Split by question, so that no question stands in two splits; in the order of the hash, which is no order."""
    pools: dict[str, list[tuple[str, Row]]] = {split: [] for split in SPLITS}
    for item in rows.without_duplicates(found):
        key = rows.question_key(item)
        pools[next(split for split in SPLITS if rows.bucket(key) < _SHARES[split])].append((key, item))
    return {
        split: _first([item for _, item in sorted(pool, key=lambda pair: pair[0])], percent)
        for split, pool in pools.items()
    }


def _corpus() -> Iterator[Row]:
    """The English conversations of the package, its files in the order of their names."""
    try:
        folder = Path(str(metadata.distribution(_CORPUS).locate_file("chatterbot_corpus/data/english")))
    except metadata.PackageNotFoundError as error:
        raise UsageError(f"package '{_CORPUS}' is not installed", fix="Install it with: make setup") from error
    for file in sorted(folder.glob("*.yml")):
        for turns in yaml.load(file.read_text(encoding="utf-8"), _yaml_loader())["conversations"]:
            found = rows.conversation(str(turn) for turn in turns)
            if found:
                yield found


def _yaml_loader() -> Any:
    """The C parser where PyYAML has it: ten times faster."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _package_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError as error:
        raise UsageError(f"package '{name}' is not installed", fix="Install it with: make setup") from error


def _hub(name: str, percent: float) -> Mapping[str, Iterable[Row]]:
    """Streamed: only the rows asked for travel, not the whole data set."""
    import datasets

    datasets.disable_progress_bars()
    try:
        builder = datasets.load_dataset_builder(name)
        known = {split: info.num_examples for split, info in (builder.info.splits or {}).items()}
        available = set(known) or set(datasets.get_dataset_split_names(name))
    except TunestackError:
        raise
    except Exception as error:  # of whatever HTTP library and format reader `datasets` uses this year
        raise _hub_error(name, error) from error
    if not set(SPLITS) <= available:
        return _pooled(_streamed(name, sorted(available), None), percent)
    if percent == 100:
        return {split: _streamed(name, [split], None) for split in SPLITS}
    if known:
        return {split: _streamed(name, [split], share(known[split], percent)) for split in SPLITS}
    # A data set that does not say how many rows it has is read whole.
    return {split: _first(list(_streamed(name, [split], None)), percent) for split in SPLITS}


def _streamed(name: str, wanted: Iterable[str], count: int | None) -> Iterator[Row]:
    import datasets

    try:
        for split in wanted:
            stream = islice(datasets.load_dataset(name, split=split, streaming=True), count)
            yield from (rows.row(raw, f"hub:{name} {split} row {number}") for number, raw in enumerate(stream, 1))
    except TunestackError:
        raise
    except Exception as error:  # of whatever HTTP library and format reader `datasets` uses this year
        raise _hub_error(name, error) from error


def _hub_error(name: str, error: Exception) -> CloudError:
    return CloudError(
        f"data set '{name}' cannot be read from the Hugging Face hub: {' '.join(str(error).split())[:200].rstrip('.')}",
        fix="Check its name and the network; a local cloud opens the hub with: "
        "localcloud run --allow huggingface.co -- COMMAND",
    )
