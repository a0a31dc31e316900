"""What was asked of `prepare_data`: a recipe's data, or a source and a percentage, and where it goes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunestack import settings_file
from tunestack.cli import note
from tunestack.data.data_folder import DataFolder
from tunestack.errors import UsageError
from tunestack.recipes import recipe, recipe_settings
from tunestack.sources import sources

if TYPE_CHECKING:
    from tunestack.data.chat_tokenizer import ChatTokenizer
    from tunestack.recipes.recipe import Data, Recipe


@dataclass(frozen=True)
class Request:
    """`found` is the recipe, where there is one; `output` and `named` are what the flags say, if anything."""

    data: Data
    found: Recipe | None
    output: Path | None
    named: str | None

    @cached_property
    def source(self) -> sources.Source:
        return sources.Source.parse(self.data.source)

    @property
    def folder(self) -> Path:
        return self.output or Path("build/data") / f"{self.source.name}-{self.data.percent:g}"

    @property
    def settings(self) -> dict[str, Any]:
        return self.data.model_dump(mode="json", exclude={"source"})

    def tokenizer(self) -> ChatTokenizer | None:
        """The base model's tokenizer; None, and said so, where it cannot be had."""
        from tunestack.data import tokenizer_source

        return tokenizer_source.find(self.found, self.named)

    def prepare(self, tokenizer: ChatTokenizer | None) -> tuple[DataFolder, bool]:
        """Read, check and write; a progress bar shows on a terminal. What the source has to say is said after it."""
        from tunestack.data.data_preparation import Preparation
        from tunestack.data.token_counts import TokenCounts

        with sources.open(self.data) as tables:
            expected = list(tables.rows_expected.values())
            total = sum(rows or 0 for rows in expected) if all(rows is not None for rows in expected) else None
            with _bar(total) as step:
                counts = TokenCounts(tokenizer, self.data.max_tokens)
                made = Preparation(self.data, counts, step).write(tables, self.folder)
            for said in tables.notes:
                note(said)
        return made


def of(options: argparse.Namespace) -> Request:
    """The request behind the flags of `prepare_data`."""
    given = {key: value for key in ("source", "percent") if (value := getattr(options, key)) is not None}
    if options.recipe:
        found = recipe.read(options.recipe, options.set)
        return Request(found.data.model_copy(update=given), found, options.output, options.tokenizer)
    if set(given) != {"source", "percent"}:
        raise UsageError("no data is named", fix="Give --recipe, or --source and --percent")
    content, _, problems = recipe_settings.applied({"data": given}, options.set)
    problems += [f"--set: without --recipe there is no '{key}'" for key in content if key != "data"]
    if problems:
        raise UsageError(*problems)
    data = settings_file.validated(recipe.Data, content["data"], "--set data")
    return Request(data, None, options.output, options.tokenizer)


@contextmanager
def _bar(total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar in rows on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("rows", total=total)
        yield lambda rows: progress.advance(task, rows)
