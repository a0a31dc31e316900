"""Tables on stderr, for people; rich is imported when one is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

# Signs that a terminal obeys, as pictures of themselves.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421, 0x9B: 0x241B}


def visible(text: str) -> str:
    """The text, as long as it was, with nothing in it that changes the terminal: rows and logs are others' words."""
    return text.translate(_PICTURES)


def show(title: str, columns: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """A table with a title; nothing at all where there is no line."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    found = [[Text("" if cell is None else visible(str(cell))) for cell in line] for line in lines]
    if not found:
        return
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in found:
        table.add_row(*line)
    terminal = sys.stderr.isatty()
    Console(file=sys.stderr, width=None if terminal else 120).print(table)
