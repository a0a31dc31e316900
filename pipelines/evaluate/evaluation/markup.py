"""HTML from text and numbers: everything that goes in is escaped, and what comes out is known to be HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

_SENTENCE = 40  # characters


class Markup(str):
    """Text that is HTML already and is put in as it is."""


def tag(name: str, *content: Any, **attributes: Any) -> Markup:
    """An element; `class_` is written `class`, other underscores become dashes, None leaves an attribute out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{join(content)}</{name}>")


def join(content: Iterable[Any]) -> Markup:
    """Pieces one after the other; nested sequences are opened, None is nothing."""
    return Markup("".join(_piece(each) for each in content))


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], numbers: int = 1) -> Markup:
    """A table that scrolls by itself where it is too wide; from column `numbers` on, cells stand to the right."""
    titles = [tag("th", each, class_="number" if place >= numbers else None) for place, each in enumerate(head)]
    lines = [
        tag("tr", [tag("td", each, class_=_kind(each, place >= numbers)) for place, each in enumerate(row)])
        for row in rows
    ]
    body = tag("table", tag("thead", tag("tr", titles)), tag("tbody", lines))
    return tag("div", body, class_="scroll", tabindex="0")


def _kind(content: Any, is_number: bool) -> str | None:
    """The class of a cell: a sentence keeps some width on a phone, where it would stand one word below the other."""
    if is_number:
        return "number"
    return "words" if not isinstance(content, Markup) and len(str(content)) > _SENTENCE else None


def facts(rows: Iterable[tuple[Any, Any]]) -> Markup:
    """Names and values, those without a value left out."""
    return tag(
        "dl", [(tag("dt", name), tag("dd", value)) for name, value in rows if value not in (None, "")], class_="facts"
    )


def number(value: float | None, digits: int = 4) -> str:
    """A figure, or what stands for an unknown one."""
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def signed(value: float | None, digits: int = 4) -> str:
    return "unknown" if value is None else f"{value:+,.{digits}f}".replace("-", "\u2212")


def _piece(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Markup):
        return value
    if isinstance(value, (list, tuple)):
        return join(value)
    return html.escape(str(value), quote=False)
