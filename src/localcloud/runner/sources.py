"""Where the value of a node's input comes from: a literal, an asset, the parent's input, or another node's output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.runner.values import Asset, Literal, Value, text_of

_BINDING = re.compile(
    r"\$\{\{\s*parent\.(?:inputs\.(?P<input>\w+)|jobs\.(?P<node>\w+)\.outputs\.(?P<output>\w+)"
    r"|outputs\.(?P<parent_output>\w+))(?:\.path)?\s*\}\}"
)


@dataclass(frozen=True)
class FromParent:
    """The parent's input of this name."""

    input: str


@dataclass(frozen=True)
class FromNode:
    """An output of another node of the same graph."""

    node: str
    output: str


@dataclass(frozen=True)
class Template:
    """A text with parent inputs inside it, e.g. `${{parent.inputs.name}}-suffix`."""

    text: str


Source = Literal | Asset | FromParent | FromNode | Template


def parse_source(body: Any) -> Source | None:
    """A node's input as it travels: a scalar, or an object with a value or an address; None when absent."""
    if body is None:
        return None
    if not isinstance(body, Mapping):
        return source_of_text(text_of(body))
    kind = body.get("job_input_type") or body.get("jobInputType") or body.get("type") or "literal"
    address = body.get("uri") or body.get("path")
    if address is not None and kind != "literal":
        bound = source_of_text(str(address))
        return Asset(str(kind), str(address), body.get("mode")) if isinstance(bound, Literal) else bound
    value = body.get("value", address)
    return None if value is None else source_of_text(text_of(value))


def source_of_text(text: str) -> Source:
    """A binding `${{parent.…}}`, a text with bindings inside, or a literal."""
    found = _BINDING.fullmatch(text.strip())
    if found and found["input"]:
        return FromParent(found["input"])
    if found and found["node"]:
        return FromNode(found["node"], found["output"])
    return Template(text) if _BINDING.search(text) else Literal(text)


def resolve(source: Source | None, parent: Mapping[str, Value], made: Mapping[FromNode, Asset]) -> Value | None:
    """The value behind a source; None when the parent's input has none."""
    if isinstance(source, FromParent):
        return parent.get(source.input)
    if isinstance(source, FromNode):
        return made[source]
    if isinstance(source, Template):

        def put_in(found: re.Match[str]) -> str:
            value = parent.get(found["input"] or "")
            return value.text if isinstance(value, Literal) else ""

        return Literal(_BINDING.sub(put_in, source.text))
    return source


def parent_output(body: Any) -> str | None:
    """The parent's output that a node's output is bound to, if any."""
    text = body.get("value") or body.get("path") or body.get("uri") if isinstance(body, Mapping) else body
    found = _BINDING.fullmatch(str(text).strip()) if text else None
    return found["parent_output"] if found else None
