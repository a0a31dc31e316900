"""Whose a name is: `infra` calls things KIND-tunestack-STACK and the provider adds eight random digits.

Needed where there are no tags: role assignments, budgets, and what Azure keeps after a delete.
"""

from __future__ import annotations

import re

# Abbreviations that stand before the project's name; an endpoint has none.
_NAMED = re.compile(r"(?:rg|log|appi|st|kv|cr|mlw|id|vnet|pep|ag|alert|budget|mlr)?tunestack(.+)")
_SHORTEST_CUT = 3  # letters that are left of a stack's name where Azure's limit cuts it


def is_project_s(name: str) -> bool:
    return _rest(name) is not None


def is_stack_s(name: str, stack: str) -> bool:
    """Whether the stack's name ends it, or begins as what is left there after a cut."""
    said, wanted = _rest(name), _plain(stack)
    if said is None or not wanted:
        return False
    return said.endswith(wanted) or (len(said) >= _SHORTEST_CUT and wanted.startswith(said))


def _rest(name: str) -> str | None:
    """What follows the project's name, without the random digits; None where that name does not stand there."""
    found = _NAMED.fullmatch(_plain(re.sub(r"[0-9a-f]{8}$", "", name.lower())))
    return found[1] if found else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
