"""Conditions of role assignments, in the part of Azure's language that constrains which roles may be handed out.

`ActionMatches{'…'}`, and comparisons of `@Request[…]` or `@Resource[…]` with a list of GUIDs or texts, joined by `AND`,
`OR`, `!` and brackets. Anything else is refused when the assignment is made, so that no condition is ever ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from localcloud import roles

_TOKEN = re.compile(
    r"\s*(?:(?P<sign>[()!])|(?P<word>AND|OR|&&|\|\|)(?![A-Za-z])|ActionMatches\s*\{\s*'(?P<action>[^']*)'\s*\}"
    r"|@(?P<source>Request|Resource)\[(?P<attribute>[^\]]+)\]\s*(?P<operator>[A-Za-z:]+)\s*\{(?P<values>[^}]*)\})",
    re.IGNORECASE,
)
# Whether the comparison is negated, by operator.
_OPERATORS = {
    "forAnyOfAnyValues:GuidEquals": False,
    "forAnyOfAnyValues:StringEqualsIgnoreCase": False,
    "forAnyOfAnyValues:StringEquals": False,
    "GuidEquals": False,
    "StringEqualsIgnoreCase": False,
    "StringEquals": False,
    "forAnyOfAllValues:GuidNotEquals": True,
    "GuidNotEquals": True,
}
_KNOWN = {name.lower(): negated for name, negated in _OPERATORS.items()}


class NotUnderstood(Exception):
    """The condition says something that is not known here; the text names it."""


class Condition:
    """One condition, parsed."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._tree = self._either()
        if self._at != len(self._tokens):
            raise NotUnderstood(f"The condition goes on after its end: '{text}'.")

    def holds(self, action: str, attributes: Mapping[str, str]) -> bool:
        """Whether the assignment counts for an action; `attributes` are those of the assignment that is asked for."""
        return _holds(self._tree, action, {name.lower(): value.lower() for name, value in attributes.items()})

    def _either(self) -> Any:
        found = [self._both()]
        while self._word("OR", "||"):
            found.append(self._both())
        return ("or", found)

    def _both(self) -> Any:
        found = [self._one()]
        while self._word("AND", "&&"):
            found.append(self._one())
        return ("and", found)

    def _one(self) -> Any:
        if self._at >= len(self._tokens):
            raise NotUnderstood("The condition ends in the middle.")
        token = self._tokens[self._at]
        self._at += 1
        if token == "!":
            return ("not", self._one())
        if token == "(":
            inside = self._either()
            if self._at >= len(self._tokens) or self._tokens[self._at] != ")":
                raise NotUnderstood("A bracket of the condition is not closed.")
            self._at += 1
            return inside
        if isinstance(token, str):
            raise NotUnderstood(f"The condition has '{token}' where a comparison should be.")
        return token

    def _word(self, *words: str) -> bool:
        if self._at < len(self._tokens) and str(self._tokens[self._at]).upper() in words:
            self._at += 1
            return True
        return False


def _tokens(text: str) -> list[Any]:
    found: list[Any] = []
    at, text = 0, text.strip()
    while at < len(text):
        token = _TOKEN.match(text, at)
        if not token:
            raise NotUnderstood(f"The local cloud does not know '{text[at : at + 40].strip()}' in a condition.")
        at = token.end()
        if token["action"] is not None:
            found.append(("action", token["action"]))
        elif token["source"]:
            if token["operator"].lower() not in _KNOWN:
                raise NotUnderstood(f"The local cloud does not know the operator '{token['operator']}' of a condition.")
            attribute = token["attribute"].rpartition(":")[2].lower()
            values = {each.strip(" '\"\n").lower() for each in token["values"].split(",")}
            found.append(("compare", attribute, _KNOWN[token["operator"].lower()], values))
        else:
            found.append(token["sign"] or token["word"])
    return found


def _holds(tree: Any, action: str, attributes: Mapping[str, str]) -> bool:
    kind = tree[0]
    if kind == "or":
        return any(_holds(each, action, attributes) for each in tree[1])
    if kind == "and":
        return all(_holds(each, action, attributes) for each in tree[1])
    if kind == "not":
        return not _holds(tree[1], action, attributes)
    if kind == "action":
        return roles.matches(action, [tree[1]])
    _, attribute, negated, values = tree
    return bool((attributes.get(attribute, "") in values) != negated)
