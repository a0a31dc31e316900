"""Prepares a data folder from a source: one pass in batches, checked, split, written, described, put in place whole.

What is read is `sources`' business, and what becomes of a row `row_pass`'.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from tunestack.data import atomic_folder, data_card, data_folder
from tunestack.data.data_folder import FILES, MANIFEST, REJECTED, SPLITS, DataFolder
from tunestack.data.line_file import LineFile
from tunestack.data.rejects import Rejects
from tunestack.data.row_filter import RowFilter
from tunestack.data.row_pass import RowPass, Step
from tunestack.data.rows import MINIMUM_TRAIN_ROWS
from tunestack.data.token_counts import TokenCounts
from tunestack.errors import UsageError
from tunestack.sources.batches import SourceTables

if TYPE_CHECKING:
    from tunestack.recipes.recipe import Data

_REASONS = 5  # that an error names


@dataclass
class Preparation:
    """One run over a source; `tokens` counts with the model's tokenizer or estimates."""

    data: Data
    tokens: TokenCounts
    step: Step = lambda rows: None

    def write(self, tables: SourceTables, folder: Path) -> tuple[DataFolder, bool]:
        """Write the folder; returns what was written and whether anything changed."""
        if folder.is_symlink():
            folder = folder.resolve()  # what it stands for is exchanged, not the link
        _check_place(folder, Path(self.data.source))
        kept = folder.parent / f"{folder.name}.{REJECTED}"
        with atomic_folder.fresh(folder) as fresh:
            with ExitStack() as opened:  # on a full disk closing a file fails too, and the next is closed all the same
                places = {split: data_folder.file(fresh, split) for split in SPLITS}
                files = {split: opened.enter_context(closing(LineFile(place))) for split, place in places.items()}
                rejects = opened.enter_context(closing(Rejects(fresh / REJECTED)))
                done = RowPass(RowFilter(self.data.validation_percent), self.tokens, files, rejects)
                done.run(tables, self.step)
            self._judge(tables, done, fresh, kept)
            made = self._described(tables, done, fresh)
            if _is_same(folder, made):
                return made, False
            atomic_folder.put(fresh, folder)
        kept.unlink(missing_ok=True)
        return made, True

    def _judge(self, tables: SourceTables, done: RowPass, fresh: Path, kept: Path) -> None:
        """Refuse a folder that nobody should train on; what was rejected is kept beside it then."""
        rejects, rows = done.rejects, {split: lines.rows for split, lines in done.files.items()}
        share = 100 * rejects.wrong / done.read if done.read else 0.0
        problems = []
        if share > self.data.max_rejected_percent:
            problems.append(
                f"{rejects.wrong:,} of {done.read:,} rows of '{tables.source}' are rejected, {share:.1f} %, and "
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
            more = "Use more data" if self.data.percent == 100 else "Raise the percentage, or use more data"
            raise UsageError(*problems, fix=more)
        os.replace(fresh / REJECTED, kept)
        raise UsageError(
            *problems,
            fix=f"The rows with their reasons are in '{kept}'; mend the source, or change the recipe's data",
        )

    def _described(self, tables: SourceTables, done: RowPass, fresh: Path) -> DataFolder:
        sums = {split: lines.sha256 for split, lines in done.files.items()}
        made = DataFolder(
            tables.name,
            tables.source,
            self.data.percent,
            data_folder.hash_over(sums),
            sums["test"],
            {split: lines.rows for split, lines in done.files.items()},
            sums,
            {**self.data.model_dump(mode="json"), "tokenizer": self.tokens.name},
        )
        card = data_card.make(made, tables, done)
        (fresh / data_folder.CARD).write_bytes(orjson.dumps(card, option=orjson.OPT_INDENT_2) + b"\n")
        (fresh / data_folder.CARD_PAGE).write_text(data_card.page(card), encoding="utf-8")
        (fresh / MANIFEST).write_bytes(orjson.dumps(made.manifest, option=orjson.OPT_INDENT_2) + b"\n")
        return data_folder.manifest(fresh) or made


def _check_place(folder: Path, source: Path) -> None:
    """Refuse to put rows where something else stands: what is there is gone afterwards."""
    if not folder.exists():
        return
    place = folder.resolve()
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else {folder.name}
    flaw = ""
    if names - FILES - {"sample_score.json"} or (names and MANIFEST not in names):
        flaw = "exists and is not a folder of prepared data"
    elif place == Path.cwd():
        flaw = "is the folder that this runs in"
    elif place in (source.resolve(), *source.resolve().parents):
        flaw = f"cannot be written from '{source}', which it holds"
    if flaw:
        raise UsageError(f"'{folder}' {flaw}", fix="Name another with --output")


def _is_same(folder: Path, made: DataFolder) -> bool:
    """Whether the folder holds exactly this already, its files as they were written."""
    found = data_folder.manifest(folder)
    whole = found == made and found is not None and found.card == made.card
    return whole and not list(data_folder.flaws(folder)) and data_folder.sums_of(folder) == made.sha256


def _by_reason(rejects: Rejects) -> str:
    shown, others = rejects.record[:_REASONS], rejects.record[_REASONS:]
    more = [f"{sum(found['rows'] for found in others):,} for {len(others):,} other reasons"] if others else []
    return ", ".join([*(f"{found['rows']:,} {found['reason']}" for found in shown), *more])
