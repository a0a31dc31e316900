"""Splits of a source and the roles that they play: train, test and sample, or one pool where there are none.

A `Split` is what a hub data set, a folder and a package have in common; `Tables` samples and maps its rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from tunestack.errors import UsageError, did_you_mean
from tunestack.sources import chunks, sampling
from tunestack.sources.batches import POOL, Batch, Role
from tunestack.sources.chunks import Chunk
from tunestack.sources.formats import Format

if TYPE_CHECKING:
    from tunestack.recipes.recipe import Data

_LOOKED_AT = 20
# Rows of which none can be read before a file is taken for one of another format, and names that a sentence lists.
_NONE_OF, _NAMED = 10, 12
SOME: tuple[Role, ...] = ("train", "test", "sample")


class Split(Protocol):
    """Rows under one name, in one order."""

    name: str

    @property
    def read(self) -> int:
        """Bytes taken so far."""
        ...

    @property
    def size(self) -> int:
        """Bytes of its files."""
        ...

    def sizes(self) -> Sequence[int] | None:
        """Rows in each row group; None where there are no row groups."""
        ...

    def count(self) -> int:
        """Rows; where there are no row groups it may have to read everything to know."""
        ...

    def chunks(self, parts: Sequence[sampling.Part] | None) -> Iterator[Chunk]:
        """All rows, or the first ones of some row groups."""
        ...


class Tables:
    """An opened source, as `batches.SourceTables` says."""

    def __init__(
        self,
        data: Data,
        source: str,
        name: str,
        found: Mapping[str, Split],
        notes: Sequence[str] = (),
        close: Callable[[bool], None] = lambda is_done: None,
        licence: str | None = None,
    ) -> None:
        self.source, self.name, self.licence = source, name, licence
        self.notes: list[str] = list(notes)
        self._data, self._close = data, close
        self._format = Format.of(data.format, data.columns)
        self._played = _played(data, source, found, self.notes)
        self.roles: Sequence[Role] = tuple(self._played)
        self._splits = [split for played in self._played.values() for split in played]
        self.bytes_total = sum(split.size for split in self._splits)  # looks at each file that will be read
        whole = [split.name for split in self._splits if data.sampling == "row_groups" and split.sizes() is None]
        if whole:
            raise UsageError(
                f"sampling 'row_groups' needs Parquet; split '{whole[0]}' of {source} has no row groups",
                fix="Use sampling: head or rows",
            )
        if data.sampling == "rows" and data.percent < 100:
            self.notes.append(f"sampling 'rows' reads all of {source} to choose {data.percent:g} % of its rows")

    @property
    def rows_expected(self) -> Mapping[Role, int | None]:
        return self._expected

    @cached_property
    def _expected(self) -> dict[Role, int | None]:
        expected: dict[Role, int | None] = {}
        for role, played in self._played.items():
            if self._data.percent < 100 or all(split.sizes() is not None for split in played):
                expected[role] = sampling.share(sum(map(self._count, played)), self._data.percent)
            else:
                expected[role] = None
        return expected

    @property
    def bytes_read(self) -> int:
        return sum(split.read for split in self._splits)

    def batches(self, role: Role) -> Iterator[Batch]:
        before = 0
        for split in self._played[role]:
            seen: set[str] = set()
            begin, before = before, before + (self._count(split) if self._data.percent < 100 else 0)
            for chunk in self._chosen(split, begin):
                if not chunk.rows:
                    continue
                if not seen:
                    self._note_unread(split, chunk)
                batch = chunks.batch(chunk, self._format)
                if batch.where not in seen and not batch.table.num_rows and batch.rows >= _NONE_OF:
                    first = batch.bad[0]
                    raise UsageError(
                        f"{first.place} {first.reason}",
                        fix=f"None of its first {batch.rows} rows can be read as '{self._format.name}'. "
                        "See data.format and data.columns of the recipe",
                    )
                seen.add(batch.where)
                yield batch

    def __enter__(self) -> Tables:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(kind is None)

    def _note_unread(self, split: Split, chunk: Chunk) -> None:
        """Say what of the first rows' turns is left out: a row without it may mean something else."""
        rows = chunk.table.slice(0, _LOOKED_AT).to_pylist() if chunk.table is not None else chunk.values[:_LOOKED_AT]
        keys = sorted({key for row in rows for key in self._format.unread(row)})
        note = f"turns of split '{split.name}' also hold {', '.join(keys)}, which is not read"
        if keys and note not in self.notes:
            self.notes.append(note)

    def _chosen(self, split: Split, begin: int) -> Iterator[Chunk]:
        """The rows to take of a split, which has so many rows of its pool before it."""
        data, sizes = self._data, split.sizes()
        if data.percent == 100:
            return split.chunks(None)
        total = self._count(split)
        # By the share of the pool: of many small files, rounding each would take far more.
        rows = sampling.share(begin + total, data.percent) - sampling.share(begin, data.percent)
        seed = f"{data.seed} {split.name}"
        if data.sampling == "rows":
            return sampling.single(split.chunks(None), total, rows, seed)
        if sizes is None:
            return sampling.first(split.chunks(None), rows)
        parts = sampling.head(sizes, rows) if data.sampling == "head" else sampling.seeded_groups(sizes, rows, seed)
        return split.chunks(parts)

    def _count(self, split: Split) -> int:
        if split.name not in self._counts:
            sizes = split.sizes()
            self._counts[split.name] = split.count() if sizes is None else sum(sizes)
        return self._counts[split.name]

    @cached_property
    def _counts(self) -> dict[str, int]:
        return {}


def _played(data: Data, source: str, found: Mapping[str, Split], notes: list[str]) -> Mapping[Role, Sequence[Split]]:
    """Which splits play which role: as the recipe says, else by their names, else all together as one pool."""
    if not found:
        raise UsageError(f"'{source}' has no data")
    named = data.splits
    if named is not None:
        roles: dict[Role, str] = {"train": named.train, "test": named.test}
        if named.sample is not None:
            roles["sample"] = named.sample
        problems = [
            f"data.splits.{role}: '{source}' has no split '{split}'{_known(split, found)}"
            for role, split in roles.items()
            if split not in found
        ]
        if problems:
            raise UsageError(*problems, fix=f"Its splits are {_listed(found)}")
        return {role: [found[split]] for role, split in roles.items()}
    ours: dict[Role, Sequence[Split]]
    if "train" in found and "test" in found:
        ours = {role: [found[role]] for role in SOME if role in found}
        left = [split for split in found if split not in SOME]
        if left:
            notes.append(f"'{source}' has also {_listed(left)}, which no role was given to and which are not read")
        return ours
    words = {role: [split for split in found if role in re.split(r"[^a-z]+", split.lower())] for role in SOME}
    if all(len(words[role]) == 1 for role in ("train", "test")) and words["train"] != words["test"]:
        # my_data_train.jsonl and my_data_test.jsonl
        ours = {role: [found[split] for split in words[role]] for role in SOME if len(words[role]) == 1}
        notes.append(", ".join(f"split '{split}' is taken for {role}" for role in ours for split in words[role]))
        return ours
    if len(found) > 1:
        notes.append(
            f"'{source}' has no splits named train and test: {_listed(found)} are read as one and cut by the hash of "
            "each row's question; data.splits names others"
        )
    return {POOL: list(found.values())}


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    return ", ".join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")


def _known(split: str, found: Mapping[str, Split]) -> str:
    said = did_you_mean(split, found)
    return said if said.startswith("; did") else ""
