"""A data set on the hub as splits: which files are of which split, and only those of their bytes that are needed.

Parquet is read by row groups, from the data set itself or from the hub's own conversion of it; other files come whole.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tunestack import arrow_rows, data_file, hub
from tunestack.chunks import Chunk
from tunestack.data_file import DataFile
from tunestack.errors import CloudError, UsageError
from tunestack.formats import Format
from tunestack.hub import Repository
from tunestack.local_data import FileSplit, named_splits
from tunestack.ranged_file import PIECE, RangedFile
from tunestack.sampling import Part, first

# Row groups fetched ahead of the one that is read; they wait on disk, not in memory.
_AHEAD = 4
# As the hub lays out its conversions: default/train/0000.parquet; partial-train where it stopped at 5 GB.
_CONVERSION = re.compile(r"([^/]+)/([^/]+)/\d{4,}\.parquet")
_MAIN = (None, "main")
Named = Mapping[str, Sequence[str]]


@dataclass
class HubData:
    """The splits of a data set at one commit, `source` as it is recorded, and how to end."""

    source: str
    splits: Mapping[str, HubSplit | HubFiles]
    notes: Sequence[str]
    folder: PartialFolder

    def close(self, is_done: bool) -> None:
        """Close what is open; what was fetched is deleted when all is done, else kept for the next run."""
        for split in self.splits.values():
            split.close()
        self.folder.close(is_done)


def open_data(name: str, revision: str | None, subset: str | None, found: Format) -> HubData:
    """Find the data set and the files of each split; no row is read yet."""
    repository = hub.repository(name, revision)
    named, notes = _named(repository, subset), []
    if not _is_parquet(named):
        made = hub.converted(name) if revision in _MAIN else None
        parts = _of_conversion(made, subset) if made else {}
        if made and parts and not any(split.startswith("partial-") for split in parts):
            notes.append(f"data set '{name}' is read from the hub's own conversion to Parquet, at {made.commit[:12]}")
            repository, named = made, parts
        else:
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
    return HubData(f"hub:{name}@{repository.commit}", splits, notes, folder)


class PartialFolder:
    """Where ranges wait for the end of a run, or for the run that goes on with them; one run at a time has it."""

    def __init__(self, name: str, commit: str) -> None:
        root = Path(os.environ.get("TUNESTACK_CACHE") or _user_cache() / "tunestack") / "downloads"
        self.path = root / f"{name.replace('/', '--')}@{commit}"
        self._lock: IO[str] | None = None

    @cached_property
    def opened(self) -> Path:
        import fcntl

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "lock").open("w")
        except OSError as error:
            raise CloudError(
                f"'{self.path}' cannot be made: {error.strerror}", fix="Set TUNESTACK_CACHE to a folder elsewhere"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another run reads the same commit: this one keeps to itself
            lock.close()
            self.path = Path(tempfile.mkdtemp(prefix=f"{self.path.name}.", dir=self.path.parent))
            return self.path
        self._lock = lock
        return self.path

    def close(self, is_done: bool) -> None:
        """Let go of the folder, and delete it where all is done or where no other run would find it."""
        is_own = self._lock is None
        if (is_done or is_own) and "opened" in self.__dict__:
            shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None


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
        return sum(file.fetched for file in self._ranged.values())

    @property
    def size(self) -> int:
        return sum(self.repository.files[file] for file in self.files)

    def sizes(self) -> Sequence[int]:
        return [rows for _, _, rows in self._groups]

    def count(self) -> int:
        return sum(self.sizes())

    def chunks(self, parts: Sequence[Part] | None) -> Iterator[Chunk]:
        wanted = parts if parts is not None else [Part(at, rows) for at, rows in enumerate(self.sizes())]
        columns = self._columns
        with ThreadPoolExecutor(_AHEAD, "fetch") as pool:
            coming: list[Future[None]] = []
            try:
                for at, part in enumerate(wanted):
                    for ahead in wanted[len(coming) : at + _AHEAD]:
                        coming.append(pool.submit(self._fetch, ahead, columns))
                    coming[at].result()
                    file, group, _ = self._groups[part.group]
                    where = f"hub:{self.repository.name} {file} row"
                    rows = arrow_rows.of_parquet(self._opened[file], where, columns, [group], part.rows)
                    yield from first(rows, part.rows)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        for file in self._ranged.values():
            file.close()

    def _fetch(self, part: Part, columns: Sequence[str]) -> None:
        file, group, _ = self._groups[part.group]
        found = self._opened[file].metadata.row_group(group)
        self._ranged[file].need(arrow_rows.ranges(found, columns, part.rows))

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
        return FileSplit(self.name, [self._fetched(file) for file in self.files], self.format)

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


def _named(repository: Repository, subset: str | None) -> Named:
    """Files by split: as the card's `configs` say, else as a conversion is laid out, else by their names."""
    files = [file for file in repository.files if data_file.kind(file)[0] and not file.startswith(".")]
    configs = [item for item in repository.card.get("configs") or [] if isinstance(item, dict)]
    configs = [item for item in configs if item.get("data_files")]
    if configs and any(file for item in configs for file in _matching(item["data_files"], item, files)):
        config = _config(repository.name, configs, subset)
        return {
            split: found
            for split, patterns in _patterns(config["data_files"]).items()
            if (found := _globbed(patterns, config, files))
        }
    if files and all(_CONVERSION.fullmatch(file) for file in files):
        return _of_conversion(repository, subset)
    if subset is not None:
        inside = [file for file in files if subset in PurePosixPath(file).parts[:-1]]
        if not inside:
            folders = sorted({part for file in files for part in PurePosixPath(file).parts[:-1]})
            raise hub.unknown("subset", subset, repository.name, folders)
        files = inside
    named = named_splits(PurePosixPath(file) for file in files if not file.endswith("dataset_infos.json"))
    return {split: [str(file) for file in found] for split, found in named.items()}


def _config(name: str, configs: Sequence[Mapping[str, Any]], subset: str | None) -> Mapping[str, Any]:
    known = {str(item.get("config_name", "default")): item for item in configs}
    if subset is not None:
        if subset not in known:
            raise hub.unknown("subset", subset, name, list(known))
        return known[subset]
    default = next((item for item in configs if item.get("default")), known.get("default"))
    if default is None and len(configs) == 1:
        default = configs[0]
    if default is None:
        raise _subset_needed(name, list(known))
    return default


def _of_conversion(repository: Repository, subset: str | None) -> Named:
    found: dict[str, dict[str, list[str]]] = {}
    for file in sorted(repository.files):
        if match := _CONVERSION.fullmatch(file):
            found.setdefault(match[1], {}).setdefault(match[2], []).append(file)
    if subset is not None and found:
        if subset not in found:
            raise hub.unknown("subset", subset, repository.name, list(found))
        return found[subset]
    if len(found) > 1 and "default" not in found:
        raise _subset_needed(repository.name, list(found))
    return found.get("default") or next(iter(found.values()), {})


def _subset_needed(name: str, known: list[str]) -> UsageError:
    return UsageError(
        f"data set '{name}' has {len(known)} subsets and none is named",
        fix=f"Set data.subset to one of {', '.join(known[:20])}{', …' if len(known) > 20 else ''}",
    )


def _patterns(data_files: Any) -> Mapping[str, Sequence[str]]:
    """The `data_files` of a card: one pattern, a list of them, or a list of split and path."""
    if isinstance(data_files, Mapping):
        return {str(split): _listed(paths) for split, paths in data_files.items()}
    listed = _listed(data_files)
    if listed and isinstance(listed[0], Mapping):
        return {str(item.get("split", "train")): _listed(item.get("path")) for item in listed}
    return {"train": listed}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _matching(data_files: Any, config: Mapping[str, Any], files: Sequence[str]) -> list[str]:
    return [file for patterns in _patterns(data_files).values() for file in _globbed(patterns, config, files)]


def _globbed(patterns: Sequence[str], config: Mapping[str, Any], files: Sequence[str]) -> list[str]:
    from fsspec.utils import glob_translate  # type: ignore[import-untyped]

    folder = str(config.get("data_dir") or "").strip("/")
    wanted = [f"{folder}/{pattern}" if folder else str(pattern) for pattern in patterns]
    shapes = [re.compile(glob_translate(pattern.removeprefix("./"))) for pattern in wanted]
    return sorted(file for file in files if any(shape.match(file) for shape in shapes))


def _is_parquet(named: Named) -> bool:
    files = [file for found in named.values() for file in found]
    return bool(files) and all(data_file.kind(file) == ("parquet", "") for file in files)


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
