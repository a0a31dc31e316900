"""A data set on the hub as splits: which files are of which split, and only those of their bytes that are needed.

Parquet is read by row groups, from the data set itself or from the hub's own conversion of it; other files come whole.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tunestack.errors import CloudError, UsageError
from tunestack.sources import arrow_rows, data_file, hub, hub_layout
from tunestack.sources.chunks import Chunk
from tunestack.sources.data_file import DataFile
from tunestack.sources.formats import Format
from tunestack.sources.hub import Repository
from tunestack.sources.local_data import FileSplit
from tunestack.sources.partial_folder import PartialFolder
from tunestack.sources.ranged_file import PIECE, RangedFile
from tunestack.sources.sampling import Part, first

# Row groups fetched ahead of the one that is read; they wait on disk, not in memory.
_AHEAD = 4
_MAIN = (None, "main")


@dataclass
class HubData:
    """The splits of a data set at one commit, `source` as it is recorded, and how to end."""

    source: str
    splits: Mapping[str, HubSplit | HubFiles]
    notes: Sequence[str]
    folder: PartialFolder
    licence: str | None = None  # as the data set's page names it, e.g. `mit`

    def close(self, is_done: bool) -> None:
        """Close what is open; what was fetched is deleted when all is done, else kept for the next run."""
        for split in self.splits.values():
            split.close()
        self.folder.close(is_done)


def open_data(name: str, revision: str | None, subset: str | None, found: Format) -> HubData:
    """Find the data set and the files of each split; no row is read yet."""
    repository = hub.repository(name, revision)
    notes: list[str] = []
    named: hub_layout.Named = {}
    unnamed: UsageError | None = None
    try:
        named = hub_layout.named(repository, subset)
    except UsageError as error:  # of a subset, which only the conversion may know
        unnamed = error
    if not _is_parquet(named):
        made = hub.converted(name) if revision in _MAIN else None
        parts = hub_layout.of_conversion(made, subset) if made else {}
        if made and parts and not any(split.startswith("partial-") for split in parts):
            notes.append(f"data set '{name}' is read from the hub's own conversion to Parquet, at {made.commit[:12]}")
            repository, named = made, parts
        elif unnamed is not None:
            raise unnamed
        elif any(named.values()):
            size = sum(repository.files[file] for files in named.values() for file in files)
            notes.append(f"data set '{name}' is no Parquet: all {size / 1e6:,.0f} MB of it are fetched")
    if not any(named.values()):
        raise UsageError(
            f"data set '{name}' holds no data file at {repository.commit[:12]}",
            fix=f"Known are .{', .'.join(data_file.FORMS)}, also compressed",
        )
    folder = PartialFolder(name, repository.commit)
    kind: Any = HubSplit if _is_parquet(named) else HubFiles
    splits = {split: kind(split, repository, list(files), found, folder) for split, files in named.items()}
    said = repository.card.get("license")
    licence = ", ".join(map(str, said)) if isinstance(said, list) else said
    return HubData(f"hub:{name}@{repository.commit}", splits, notes, folder, licence)


@dataclass
class HubSplit:
    """Rows of Parquet files on the hub, one file after the other, by row groups."""

    name: str
    repository: Repository
    files: Sequence[str]
    format: Format
    folder: PartialFolder
    _ranged: dict[str, RangedFile] = field(default_factory=dict)

    @property
    def read(self) -> int:
        return sum(file.fetched for file in list(self._ranged.values()))  # a bar looks while files are opened

    @property
    def size(self) -> int:
        return sum(self.repository.files[file] for file in self.files)

    def sizes(self) -> Sequence[int]:
        return [rows for _, _, rows in self._groups]

    def count(self) -> int:
        return sum(self.sizes())

    def chunks(self, parts: Sequence[Part] | None) -> Iterator[Chunk]:
        wanted = parts if parts is not None else [Part(at, rows) for at, rows in enumerate(self.sizes())]
        columns, stopped = self._columns, threading.Event()
        with ThreadPoolExecutor(_AHEAD, "fetch") as pool:
            coming: list[Future[None]] = []
            try:
                for at, part in enumerate(wanted):
                    for ahead in wanted[len(coming) : at + _AHEAD]:
                        coming.append(pool.submit(self._fetch, ahead, columns, stopped))
                    coming[at].result()
                    file, group, _ = self._groups[part.group]
                    where = f"hub:{self.repository.name} {file} row"
                    rows = arrow_rows.of_parquet(self._opened[file], where, columns, [group], part.rows)
                    with self._readable(file):
                        yield from first(rows, part.rows)
            finally:
                stopped.set()  # or Ctrl-C would wait for four whole row groups
                pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        for file in self._ranged.values():
            file.close()

    @contextmanager
    def _readable(self, file: str) -> Iterator[None]:
        import pyarrow

        try:
            yield
        except (pyarrow.ArrowException, OSError) as error:
            self._ranged[file].forget()
            raise CloudError(
                f"{self._shown(file)} cannot be read: {' '.join(str(error).split())[:200]}",
                fix="Run this again: the file is fetched anew",
            ) from error

    def _fetch(self, part: Part, columns: Sequence[str], stopped: threading.Event) -> None:
        file, group, _ = self._groups[part.group]
        found = self._opened[file].metadata.row_group(group)
        self._ranged[file].need(arrow_rows.ranges(found, columns, part.rows), lambda: not stopped.is_set())

    @cached_property
    def _opened(self) -> Mapping[str, Any]:
        """The files, of which the footers are fetched."""
        for file in self.files:
            self._ranged[file] = _ranged(self.repository, file, self.folder)
        with ThreadPoolExecutor(_AHEAD, "footers") as pool:
            found = pool.map(lambda file: arrow_rows.open_parquet(self._ranged[file], self._shown(file)), self.files)
            return dict(zip(self.files, found, strict=True))

    @cached_property
    def _groups(self) -> Sequence[tuple[str, int, int]]:
        """File, row group in it, and rows in that."""
        return [
            (file, group, opened.metadata.row_group(group).num_rows)
            for file, opened in self._opened.items()
            for group in range(opened.metadata.num_row_groups)
        ]

    @cached_property
    def _columns(self) -> list[str]:
        found: list[str] = []
        for file, opened in self._opened.items():
            found = self.format.needed(opened.schema_arrow.names, self._shown(file))
        return found

    def _shown(self, file: str) -> str:
        return f"data set '{self.repository.name}', file '{file}',"


@dataclass
class HubFiles:
    """Rows of files on the hub that are no Parquet: fetched whole, then read as local files are."""

    name: str
    repository: Repository
    files: Sequence[str]
    format: Format
    folder: PartialFolder
    _ranged: list[RangedFile] = field(default_factory=list)

    @property
    def read(self) -> int:
        return sum(file.fetched for file in self._ranged)

    @property
    def size(self) -> int:
        return sum(self.repository.files[file] for file in self.files)

    def sizes(self) -> Sequence[int] | None:
        return None

    def count(self) -> int:
        return self._local.count()

    def chunks(self, parts: Sequence[Part] | None) -> Iterator[Chunk]:
        return self._local.chunks(parts)

    def close(self) -> None:
        """Nothing is left open."""

    @cached_property
    def _local(self) -> FileSplit:
        split = FileSplit(self.name, [], self.format)
        split.files = [self._fetched(file) for file in self.files]
        return split

    def _fetched(self, file: str) -> DataFile:
        ranged = _ranged(self.repository, file, self.folder)
        self._ranged.append(ranged)
        with ThreadPoolExecutor(_AHEAD, "fetch") as pool:
            list(pool.map(lambda at: ranged.need([(at, at + PIECE)]), range(0, ranged.size, PIECE)))
        ranged.close()
        return DataFile.of(ranged.path, f"hub:{self.repository.name} {file}")


def _ranged(repository: Repository, file: str, folder: PartialFolder) -> RangedFile:
    def fetch(start: int, end: int) -> bytes:
        return hub.fetch(repository, file, start, end)

    return RangedFile(folder.opened / file.replace("/", "--"), repository.files[file], fetch)


def _is_parquet(named: hub_layout.Named) -> bool:
    files = [file for found in named.values() for file in found]
    return bool(files) and all(data_file.kind(file) == ("parquet", "") for file in files)
