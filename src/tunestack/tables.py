"""Tables on stderr, for people; rich is imported when one is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence


def show(title: str, columns: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """A table with a title; nothing at all where there is no line."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    found = [[Text("" if cell is None else str(cell)) for cell in line] for line in lines]
    if not found:
        return
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in found:
        table.add_row(*line)
    terminal = sys.stderr.isatty()
    Console(file=sys.stderr, width=None if terminal else 120).print(table)
