"""Lineage as tags: what a job, a model and a deployment say of where they come from, within Azure's limits."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from tunestack.cli import note

MOST_TAGS, LONGEST_KEY, LONGEST_VALUE = 50, 100, 1000
LONGEST_DEPLOYMENT_VALUE = 256
LONGEST_DESCRIPTION = 5000
_CUT = " …"

GATE, WHY, WHO = "gate", "forced_why", "forced_by"
FORCED = "forced"
EVIDENCE, UNSIGNED = "evidence", "unsigned"
UNSIGNED_WHY, UNSIGNED_BY = "unsigned_why", "unsigned_by"
OF_A_MODEL = (
    *("base_model", "job", "recipe", "data", "data_hash", "test_hash", "commit", "steps", "attempt", "stack"),
    *("gain", "labels", "files_sha256", GATE, WHY, WHO, EVIDENCE, UNSIGNED_WHY, UNSIGNED_BY),
)


def fit(tags: Mapping[str, str], what: str, longest: int = LONGEST_VALUE) -> dict[str, str]:
    """The tags as Azure takes them, in their order; what had to be cut or left out is said on stderr."""
    fitting = {name: value for name, value in tags.items() if value and len(name) <= LONGEST_KEY}
    kept = dict(list(fitting.items())[:MOST_TAGS])
    left = [name for name, value in tags.items() if value and name not in kept]
    if left:
        limit = f"{MOST_TAGS} tags with names of {LONGEST_KEY} characters"
        note(f"warning: {what} takes {limit}; left out: {', '.join(left)}")
    for name, value in kept.items():
        if len(value) > longest:
            kept[name] = cut(value, longest)
            note(f"warning: tag '{name}' of {what} is cut to {longest} of its {len(value)} characters")
    return kept


def cut(text: str, longest: int) -> str:
    """The beginning of a text, with a sign that there was more."""
    return text if len(text) <= longest else text[: longest - len(_CUT)].rstrip() + _CUT


def of_a_model(tags: Mapping[str, object]) -> dict[str, str]:
    """The tags of a model that its deployment takes on, as long as Resource Manager takes them."""
    found = {name: str(tags[name]) for name in OF_A_MODEL if tags.get(name)}
    return {name: cut(value, LONGEST_DEPLOYMENT_VALUE) for name, value in found.items()}


def again(tags: Mapping[str, str]) -> str:
    """What a deployment's command needs beside model and slot to be accepted once more; empty for most."""
    if tags.get(EVIDENCE) != UNSIGNED:
        return ""
    return f" --unsigned --why {shlex.quote(tags.get(UNSIGNED_WHY) or 'TEXT')}"
