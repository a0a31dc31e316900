"""Prepares a data folder from a source: one pass in batches, checked, split, written, described, put in place whole.

What is read is `sources`' business and what is wrong with a row `row_checks`'; here it is decided what becomes of it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from tunestack import atomic_folder, data_card, data_folder, digest_set, row_checks, row_lines, rows
from tunestack.batches import POOL, Batch, Role, SourceTables
from tunestack.data_folder import FILES, MANIFEST, REJECTED, SPLITS, DataFolder
from tunestack.digest_set import DigestSet
from tunestack.errors import UsageError
from tunestack.rejects import Rejects
from tunestack.row_checks import Checked
from tunestack.row_filter import RowFilter
from tunestack.row_statistics import RowStatistics
from tunestack.rows import MINIMUM_TRAIN_ROWS
from tunestack.token_counts import TokenCounts

if TYPE_CHECKING:
    from tunestack.recipe import Data

# The test split is read first: what stands in it is not trained on.
_ORDER: tuple[Role, ...] = (POOL, "test", "sample", "train")
# Batches that are checked ahead, in threads, while one is written.
_AHEAD = 2
TOO_LONG = "too long"

Step = Callable[[int], None]  # is told how many rows of the source were dealt with


@dataclass
class Preparation:
    """One run over a source; `tokens` counts with the model's tokenizer or estimates."""

    data: Data
    tokens: TokenCounts
    step: Step = lambda rows: None
    read: int = 0
    statistics: RowStatistics = field(default_factory=RowStatistics)
    tested: DigestSet = field(default_factory=DigestSet)

    def write(self, tables: SourceTables, folder: Path) -> tuple[DataFolder, bool]:
        """Write the folder; returns what was written and whether anything changed."""
        _check_place(folder)
        kept = folder.parent / f"{folder.name}.{REJECTED}"
        with atomic_folder.fresh(folder) as fresh:
            with ExitStack() as opened:  # on a full disk closing a file fails too, and the next is closed all the same
                files = {
                    split: opened.enter_context(closing(_Lines(data_folder.file(fresh, split)))) for split in SPLITS
                }
                rejects = opened.enter_context(closing(Rejects(fresh / REJECTED)))
                self._pass(tables, files, rejects)
            self._judge(tables, {split: lines.rows for split, lines in files.items()}, rejects, fresh, kept)
            made = self._described(tables, files, rejects, fresh)
            if _is_same(folder, made):
                return made, False
            atomic_folder.put(fresh, folder)
        kept.unlink(missing_ok=True)
        return made, True

    def _pass(self, tables: SourceTables, files: dict[str, _Lines], rejects: Rejects) -> None:
        chosen = RowFilter(self.data.validation_percent)
        with ThreadPoolExecutor(_AHEAD) as pool:
            for role in (role for role in _ORDER if role in tables.roles):
                for batch, checked in _ahead(pool, tables.batches(role), answered=role != "sample"):
                    self._batch(role, batch, checked, chosen, files, rejects)
                    self.read += batch.rows
                    self.step(batch.rows)

    def _batch(
        self,
        role: Role,
        batch: Batch,
        checked: Checked,
        chosen: RowFilter,
        files: dict[str, _Lines],
        rejects: Rejects,
    ) -> None:
        where = "train" if role == POOL else str(role)
        for bad in batch.bad:
            rejects.add(where, bad.place, bad.reason, bad.raw)
        indexes: list[int] = []
        found: list[Any] = []
        lines: list[bytes] = []
        number = 0
        for some, their_lines in row_lines.of_table(batch.table):
            for row, line in zip(some, their_lines, strict=True):
                reason = checked.reasons[number]
                if reason is None:
                    indexes.append(number)
                    found.append(row)
                    lines.append(line)
                else:
                    rejects.add(where, batch.place(number), reason, line)
                number += 1
        splits, reasons = chosen.decide(role, found, lines)
        too_long = self.tokens.too_long(found, [reason is None for reason in reasons])
        kept: dict[str, list[bytes]] = {split: [] for split in SPLITS}
        asked: list[bytes] = []
        for at, (index, split, reason) in enumerate(zip(indexes, splits, reasons, strict=True)):
            reason = reason or (TOO_LONG if at in too_long else None)
            if reason is not None:
                rejects.add(split, batch.place(index), reason, lines[at])
                continue
            kept[split].append(lines[at])
            size, turns = int(checked.sizes[index]), int(checked.turns[index])
            self.statistics.add(split, size, turns)
            self.tokens.offer(split, lines[at], size)
            for kind in checked.leaks.get(index, ()):
                self.statistics.leaked(kind, batch.place(index))
            if split == "test":
                asked.append(rows.question_digest(rows.first_question(found[at]["messages"]))[:16])
        self.tested.add(digest_set.of_bytes(asked))
        for split, some_lines in kept.items():
            files[split].write(some_lines)

    def _judge(self, tables: SourceTables, rows: dict[str, int], rejects: Rejects, fresh: Path, kept: Path) -> None:
        """Refuse a folder that nobody should train on; what was rejected is kept beside it then."""
        share = 100 * rejects.wrong / self.read if self.read else 0.0
        problems = []
        if share > self.data.max_rejected_percent:
            problems.append(
                f"{rejects.wrong:,} of {self.read:,} rows of '{tables.source}' are rejected, {share:.1f} %, and "
                f"{self.data.max_rejected_percent:g} % are allowed: {_by_reason(rejects)}"
            )
        if rows["train"] < MINIMUM_TRAIN_ROWS or not rows["validation"] or not rows["test"]:
            problems.append(
                f"'{tables.source}' gives {rows['train']} rows to train on, {rows['validation']} for validation and "
                f"{rows['test']} for the test at {self.data.percent:g} %; at least {MINIMUM_TRAIN_ROWS}, 1 and 1 "
                "are needed"
            )
        if not problems:
            return
        if not rejects.counts:
            raise UsageError(*problems, fix="Raise the percentage, or use more data")
        os.replace(fresh / REJECTED, kept)
        raise UsageError(
            *problems,
            fix=f"The rows with their reasons are in '{kept}'; mend the source, or change the recipe's data",
        )

    def _described(self, tables: SourceTables, files: dict[str, _Lines], rejects: Rejects, fresh: Path) -> DataFolder:
        sums = {split: lines.sha256 for split, lines in files.items()}
        made = DataFolder(
            tables.name,
            tables.source,
            self.data.percent,
            data_folder.hash_over(sums),
            sums["test"],
            {split: lines.rows for split, lines in files.items()},
            sums,
            {**self.data.model_dump(mode="json"), "tokenizer": self.tokens.name},
        )
        card = data_card.make(
            made, tables, self.read, self.statistics, self.tokens, rejects, test_questions=len(self.tested)
        )
        (fresh / data_folder.CARD).write_bytes(orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
        (fresh / data_folder.CARD_PAGE).write_text(data_card.page(card), encoding="utf-8")
        (fresh / MANIFEST).write_bytes(orjson.dumps(made.manifest, option=orjson.OPT_INDENT_2) + b"\n")
        return data_folder.manifest(fresh) or made


class _Lines:
    """One split's file: its rows, and the hash of its bytes."""

    def __init__(self, file: Path) -> None:
        self.rows = 0
        self._file: IO[bytes] = file.open("wb")
        self._digest = hashlib.sha256()

    def write(self, lines: Sequence[bytes]) -> None:
        content = b"".join(lines)
        self._file.write(content)
        self._digest.update(content)
        self.rows += len(lines)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def close(self) -> None:
        self._file.close()


def _ahead(pool: ThreadPoolExecutor, batches: Iterator[Batch], *, answered: bool) -> Iterator[tuple[Batch, Checked]]:
    """Batches with what is wrong in them, in their order; some are checked while one is dealt with."""
    waiting: list[tuple[Batch, Future[Checked]]] = []
    for batch in batches:
        waiting.append((batch, pool.submit(row_checks.check, batch.table, answered=answered)))
        if len(waiting) > _AHEAD:
            first, checked = waiting.pop(0)
            yield first, checked.result()
    for batch, checked in waiting:
        yield batch, checked.result()


def _check_place(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir() or {entry.name for entry in folder.iterdir()} - FILES - {"sample_score.json"}:
        raise UsageError(f"'{folder}' exists and is not a folder of prepared data", fix="Name another with --output")


def _is_same(folder: Path, made: DataFolder) -> bool:
    """Whether the folder holds exactly this already, its files as they were written."""
    found = data_folder.manifest(folder)
    whole = found == made and found is not None and found.card == made.card
    return whole and not list(data_folder.flaws(folder)) and data_folder.sums_of(folder) == made.sha256


def _by_reason(rejects: Rejects) -> str:
    return ", ".join(f"{found['rows']:,} {found['reason']}" for found in rejects.record)
