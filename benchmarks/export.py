"""Writing a data set as JSON lines: `datasets` beside this repository, bare and with every check, in one run.

The same rows for all: made from the conversations of chatterbot-corpus, shaped as those of ultrachat_200k (about 6.7 kB
in two to eight turns), about 200 MB in memory as Arrow. Each way takes its turn in every round, so that what else the
machine does falls on all of them. Run: make bench
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow

from tunestack.data import row_lines
from tunestack.data.ahead import ahead
from tunestack.data.data_preparation import Preparation
from tunestack.data.line_file import LineFile
from tunestack.data.token_counts import TokenCounts
from tunestack.recipes.recipe import Data
from tunestack.sources.batches import Batch, Role, schema
from tunestack.sources.sources import open as open_source

# Rows of a chunk of the table: as `datasets` keeps its own in memory, and as this repository's sources give them.
BATCH = 1000


def sentences() -> list[str]:
    """What both sides say in the corpus."""
    with open_source(Data(source="package:chatterbot-corpus", percent=100)) as tables:
        batches = [batch.table for batch in tables.batches("all")]
    found = [message["content"] for table in batches for row in table.to_pylist() for message in row["messages"]]
    return [text for text in found if text.strip()]


def rows(megabytes: int) -> Iterator[dict[str, Any]]:
    """Conversations in the shape of ultrachat_200k, the same ones every time."""
    known, numbers, left = sentences(), random.Random(42), megabytes * 10**6
    while left > 0:
        messages = []
        for _ in range(numbers.choice((1, 2, 3, 4))):
            for role, sizes in (("user", (60, 120, 300, 700)), ("assistant", (900, 1600, 2600, 4000))):
                messages.append({"content": _text(known, numbers, numbers.choice(sizes)), "role": role})
        left -= sum(len(message["content"]) for message in messages)
        prompt = messages[0]["content"]
        yield {"prompt": prompt, "prompt_id": hashlib.sha256(prompt.encode()).hexdigest(), "messages": messages}


def _text(known: Sequence[str], numbers: random.Random, size: int) -> str:
    parts: list[str] = []
    while size > 0:
        parts.append(numbers.choice(known) + ("\n\n" if numbers.random() < 0.15 else " "))
        size -= len(parts[-1])
    return "".join(parts).strip()


class InMemory:
    """The rows as a source, in the batches that real sources give."""

    source = name = "in-memory"
    roles: Sequence[Role] = ("all",)
    notes: Sequence[str] = ()
    bytes_read = 0

    def __init__(self, table: pyarrow.Table) -> None:
        self._table = table

    @property
    def rows_expected(self) -> Mapping[Role, int | None]:
        return {"all": self._table.num_rows}

    def batches(self, role: Role) -> Iterator[Batch]:
        at = 1
        for batch in self._table.to_batches():
            yield Batch(batch, "row", range(at, at + batch.num_rows))
            at += batch.num_rows

    def __enter__(self) -> InMemory:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def ways(table: pyarrow.Table, folder: Path) -> dict[str, Callable[[], None]]:
    import datasets

    datasets.disable_progress_bars()
    known = datasets.Dataset(table)

    def theirs() -> None:
        known.to_json(folder / "theirs.jsonl")

    def ours() -> None:
        file = LineFile(folder / "ours.jsonl", hashed=False)
        for lines in ahead(row_lines.of_table, table.to_batches()):
            file.write(lines.runs(range(len(lines))), len(lines))
        file.close()

    def checked() -> None:
        data = Data(source="in-memory", percent=100)
        Preparation(data, TokenCounts()).write(InMemory(table), folder / "checked")

    return {"datasets.Dataset.to_json": theirs, "export": ours, "export with all checks": checked}


def main() -> int:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--megabytes", type=int, default=200, help="size of the rows in memory (200)")
    flags.add_argument("--rounds", type=int, default=5, help="times that each way takes its turn (5)")
    options = flags.parse_args()
    made = list(rows(options.megabytes))
    chunks = (made[at : at + BATCH] for at in range(0, len(made), BATCH))
    table = pyarrow.Table.from_batches([pyarrow.RecordBatch.from_pylist(chunk, schema=schema()) for chunk in chunks])
    size = table.nbytes / 1e6
    print(
        f"{table.num_rows:,} rows, {size:,.0f} MB, {size / table.num_rows * 1000:.1f} kB a row; {options.rounds} rounds"
    )
    seconds: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for _ in range(options.rounds):
            for name, way in ways(table, folder).items():
                began, used = time.perf_counter(), time.process_time()
                way()
                seconds.setdefault(name, []).append(time.perf_counter() - began)
                cpu.setdefault(name, []).append(time.process_time() - used)
                for entry in folder.iterdir():
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    first = next(iter(seconds))
    print(f"{'':>26}  {'seconds: min':>12} {'median':>7} {'max':>7}  {'MB/s':>6}  {'CPU s':>6}  {'times as fast':>13}")
    for name, found in seconds.items():
        ratio = statistics.median(base / ours for base, ours in zip(seconds[first], found, strict=True))
        middle = statistics.median(found)
        print(
            f"{name:>26}  {min(found):12.2f} {middle:7.2f} {max(found):7.2f}  {size / middle:6.0f}  "
            f"{statistics.median(cpu[name]):6.2f}  {ratio:13.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
