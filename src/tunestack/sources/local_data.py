"""Local data: one file, or a folder of files whose names say which split they belong to, or what `datasets` saved."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

from tunestack.errors import UsageError
from tunestack.sources import arrow_rows, data_file, row_files
from tunestack.sources.chunks import Chunk
from tunestack.sources.data_file import DataFile
from tunestack.sources.formats import Format
from tunestack.sources.sampling import Part, first

# Numbers of shards at the end of a name: train-00000-of-00003, train-00000-of-00003-3d4cd8309148a71f, part-0001.
_SHARD = re.compile(r"[-_.]?(part[-_.])?\d{4,}([-_.]of[-_.]\d{4,})?([-_.][0-9a-f]{16})?$")
# What our own folders of prepared data and `datasets` hold beside rows.
_NOT_ROWS = {"data.json", "card.json", "rejected.jsonl", "sample_score.json", "package.json"}
_NOT_ROWS |= {"dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json"}


@dataclass
class FileSplit:
    """Rows of some files, one file after the other."""

    name: str
    paths: Sequence[Path]
    format: Format

    @cached_property
    def files(self) -> Sequence[DataFile]:
        """The files, each looked at first: that of a split that nobody reads may be anything."""
        return [DataFile.of(path) for path in self.paths]

    @property
    def read(self) -> int:
        return sum(file.read for file in self.files)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def sizes(self) -> Sequence[int] | None:
        return None if self._groups is None else [rows for _, _, rows in self._groups]

    def count(self) -> int:
        before = [file.read for file in self.files]
        rows = sum(row_files.count(file) for file in self.files)
        for file, read in zip(self.files, before, strict=True):
            file.read = read  # counted once, when its rows are read
        return rows

    def chunks(self, parts: Sequence[Part] | None) -> Iterator[Chunk]:
        if parts is None or self._groups is None:
            for file in self.files:
                yield from row_files.chunks_of(file, self.format)
            return
        for part in parts:
            file, group, _ = self._groups[part.group]
            yield from first(row_files.chunks_of(file, self.format, [group]), part.rows)

    @cached_property
    def _groups(self) -> list[tuple[DataFile, int, int]] | None:
        """File, row group in it and rows in that, where all files are Parquet."""
        if any(file.form != "parquet" for file in self.files):
            return None
        return [(file, group, rows) for file in self.files for group, rows in enumerate(arrow_rows.group_sizes(file))]


def splits(path: Path, found: Format) -> Mapping[str, FileSplit]:
    """The splits of a file or folder, in the order of their names."""
    if not path.exists():
        raise UsageError(f"data source '{path}' does not exist", fix="Write hub:OWNER/NAME for a data set on the hub")
    if path.is_file():
        return {path.stem: FileSplit(path.name, [path], found)}
    if not path.is_dir():
        raise UsageError(f"data source '{path}' is neither a file nor a folder", fix="Write its rows to a file first")
    named = named_splits(file.relative_to(path) for file in _files(path))
    if not named:
        forms = ", ".join(f".{form}" for form in data_file.FORMS)
        raise UsageError(f"folder '{path}' holds no data file", fix=f"Known are {forms}, also compressed")
    return {
        name: FileSplit(name, [path / file for file in files], found)
        for name, files in named.items()
        # Our own folders of data may have no question to ask an endpoint with.
        if name != "sample" or any((path / file).stat().st_size for file in files)
    }


def named_splits(files: Iterable[PurePath]) -> dict[str, list[PurePath]]:
    """Files by split, in the order of their names: that of the file without shard numbers, else that of its folder."""
    named: dict[str, list[PurePath]] = {}
    for file in sorted(files, key=str):
        named.setdefault(split_of(file), []).append(file)
    return dict(sorted(named.items()))


def split_of(file: PurePath) -> str:
    """The split that a file's place names: train, of `data/train-00000-of-00003.parquet` and `train/0000.parquet`."""
    stem = file.name.split(".", 1)[0]
    name = _SHARD.sub("", stem)
    if name in ("", "data", "part") and file.parent.name:
        return file.parent.name
    return name or stem


def _files(folder: Path) -> list[Path]:
    return [
        file
        for file in folder.rglob("*")
        if file.is_file()
        and data_file.kind(file)[0]
        and file.name not in _NOT_ROWS
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]
