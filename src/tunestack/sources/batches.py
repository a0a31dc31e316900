"""What reading hands to checking and writing: batches of rows in one schema, with the place that each row came from.

Sources make these (`sources.open`); rows are checked, dropped and written elsewhere. Nothing here opens a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from types import TracebackType

    import pyarrow

Role = Literal["train", "test", "sample", "all"]
# What a source that has no splits for train and test offers: one pool, which is cut by the hash of the question.
POOL: Role = "all"


@cache
def schema() -> pyarrow.Schema:
    """`prompt` and `prompt_id` as text, `messages` as a list of `content` and `role`; nothing in it is null."""
    import pyarrow

    message = pyarrow.struct([("content", pyarrow.string()), ("role", pyarrow.string())])
    return pyarrow.schema(
        [("prompt", pyarrow.string()), ("prompt_id", pyarrow.string()), ("messages", pyarrow.list_(message))]
    )


@dataclass(frozen=True)
class Bad:
    """A row of the source that gives no row of ours: its place, why, and what stood there (JSON values or text)."""

    place: str
    reason: str
    raw: Any


@dataclass(frozen=True)
class Batch:
    """Rows of one file or split, in its order: `table` follows `schema()`, `numbers` is each row's number there.

    `bad` rows are not in `table`. A batch may have no good row, or no bad one, never neither.
    """

    table: pyarrow.RecordBatch
    where: str  # as in `'train.jsonl' line` or `hub:OWNER/NAME train row`; a number makes it a place
    numbers: Sequence[int]  # from 1, one per row of `table`
    bad: Sequence[Bad] = field(default_factory=tuple)

    @property
    def rows(self) -> int:
        """Rows of the source that this batch answers for, good and bad."""
        return int(self.table.num_rows) + len(self.bad)

    def place(self, index: int) -> str:
        """Where the row at an index of `table` stood: `'train.jsonl' line 7`."""
        return f"{self.where} {self.numbers[index]}"


class SourceTables(Protocol):
    """An opened source. A context manager: left without an error, what was kept for resuming is deleted."""

    source: str  # what was read, pinned: `hub:OWNER/NAME@COMMIT`, `package:NAME@VERSION`, or a path
    name: str  # the data set's name, as the registered model's name ends: `ultrachat-200k`
    roles: Sequence[Role]  # some of train, test, sample; or `all` alone

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the reader, such as that everything is read; grows while reading."""
        ...

    @property
    def rows_expected(self) -> Mapping[Role, int | None]:
        """Rows of the source that each role will answer for, bad ones included; None where nobody knows."""
        ...

    @property
    def bytes_read(self) -> int:
        """Bytes taken from the network or from files so far."""
        ...

    def batches(self, role: Role) -> Iterator[Batch]:
        """The rows of one role in the order of the source; the same ones in the same order every time."""
        ...

    def __enter__(self) -> SourceTables: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
