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
from tunestack.recipes import recipe, recipe_rules, recipe_settings
from tunestack.sources import sources

if TYPE_CHECKING:
    from tunestack.data.chat_tokenizer import ChatTokenizer
    from tunestack.recipes.recipe import Data, Recipe
    from tunestack.sources.splits import Tables


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
        """Read, check and write; a progress bar shows on a terminal. What the source has to say is said around it."""
        from tunestack.data.data_preparation import Preparation
        from tunestack.data.token_counts import TokenCounts

        with sources.open(self.data) as tables:
            before = len(tables.notes)
            for said in tables.notes:
                note(said)
            with _bar(tables) as step:
                counts = TokenCounts(tokenizer, self.data.max_tokens)
                made = Preparation(self.data, counts, step).write(tables, self.folder)
            for said in tables.notes[before:]:
                note(said)
        return made


def of(options: argparse.Namespace) -> Request:
    """The request behind the flags of `prepare_data`."""
    flags = {key: value for key in ("source", "percent") if (value := getattr(options, key)) is not None}
    twice = [
        f"--{key} {value} and --set '{text}' are two values for one thing"
        for key, value in flags.items()
        for text in options.settings
        if text.partition("=")[0].strip() == f"data.{key}"
    ]
    if twice:
        raise UsageError(*twice)
    if options.recipe:
        found = recipe.read(options.recipe, options.settings)
        content = {**found.data.model_dump(exclude_none=True), **flags}
        return Request(_data(content, "--source and --percent"), found, options.output, options.tokenizer)
    if set(flags) != {"source", "percent"}:
        said = f"--{next(iter(flags))} alone is not enough" if flags else "no data is named"
        raise UsageError(said, fix="Give --recipe, or --source and --percent")
    content, _, problems = recipe_settings.applied({"data": flags}, options.settings)
    problems += [f"--set: without --recipe there is no '{key}'" for key in content if key != "data"]
    if problems:
        raise UsageError(*problems)
    return Request(_data(content["data"], "data"), None, options.output, options.tokenizer)


def _data(content: dict[str, Any], what: str) -> Data:
    found, problems = settings_file.checked(recipe.Data, content, what)
    problems += recipe_rules.of_data(content)
    if found is None or problems:
        raise UsageError(*problems)
    return found


@contextmanager
def _bar(tables: Tables) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, where that is a terminal: of rows, or of bytes where nobody knows how many rows come.

    The MB read grow before the first row comes too, while files are fetched whole or counted.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Megabytes(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{tables.bytes_read / 1e6:,.1f} MB")

    columns = (
        TextColumn("{task.fields[rows]:,} rows"),
        BarColumn(),
        Megabytes(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console, rows = Console(stderr=True), 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None, rows=0)
        expected = [count for count in tables.rows_expected.values() if count is not None]
        is_known = len(expected) == len(tables.roles)
        progress.update(task, total=sum(expected) if is_known else tables.bytes_total)

        def step(more: int) -> None:
            nonlocal rows
            rows += more
            progress.update(task, rows=rows, completed=rows if is_known else tables.bytes_read)

        yield step
