"""Rows for tests of data: made in memory, and offered as a source in the batches that real sources give."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow

from tunestack.recipes.recipe import Data
from tunestack.sources.batches import Bad, Batch, Role, schema


def row(*texts: str, roles: Sequence[str] = ("user", "assistant"), prompt: str = "") -> dict[str, Any]:
    """A row of alternating turns; `roles` are repeated."""
    messages = [{"content": text, "role": roles[index % len(roles)]} for index, text in enumerate(texts)]
    return {"prompt": prompt or (texts[0] if texts else ""), "prompt_id": "0" * 64, "messages": messages}


def rows(count: int, name: str = "question", size: int = 0) -> list[dict[str, Any]]:
    """Rows with different questions."""
    return [row(f"{name} {number}", f"answer {number}{' word' * size}") for number in range(count)]


def table(found: Sequence[Mapping[str, Any]]) -> pyarrow.RecordBatch:
    return pyarrow.RecordBatch.from_pylist([dict(item) for item in found], schema=schema())


@dataclass
class Made:
    """A source of rows in memory, by role, in batches of ten."""

    found: Mapping[Role, Sequence[Mapping[str, Any]]]
    bad: Sequence[Bad] = ()
    source: str = "made"
    name: str = "made"
    notes: Sequence[str] = ()
    bytes_read: int = 0
    breaks_after: int | None = None
    _given: int = field(default=0)

    @property
    def roles(self) -> Sequence[Role]:
        return tuple(self.found)

    @property
    def rows_expected(self) -> Mapping[Role, int | None]:
        return {role: len(found) for role, found in self.found.items()}

    def batches(self, role: Role) -> Iterator[Batch]:
        found = self.found[role]
        for start in range(0, len(found), 10):
            part = found[start : start + 10]
            self._given += len(part)
            if self.breaks_after is not None and self._given > self.breaks_after:
                raise OSError(5, "Input/output error")
            numbers = range(start + 1, start + len(part) + 1)
            yield Batch(table(part), f"made {role} row", numbers, self.bad if not start and role != "test" else ())

    def __enter__(self) -> Made:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def data(**changes: Any) -> Data:
    return Data.model_validate({"source": "made", "percent": 100, **changes})


def three(train: int = 60, test: int = 20, sample: int = 5) -> Made:
    """A source with all three roles and different questions in each."""
    return Made({"train": rows(train), "test": rows(test, "test"), "sample": rows(sample, "sample")})


def read(folder: Path, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]
