"""Names and regions that a program leaves out, and what is wrong with the inputs that it gives.

Follows azure-native: a random suffix for what stands directly under a provider, a copy of the logical name for
children, a UUID for role assignments.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from localcloud.engine.shapes import Shapes, missing, unexpected
from localcloud.engine.table import ResourceType
from localcloud.engine.values import plain

CREATE_BEFORE_DELETE = "__createBeforeDelete"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the stack's `pulumi:autonaming` says about one resource."""

    name: str
    mode: Literal["propose", "enforce", "disable"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the inputs, at the member it is about."""

    member: str
    reason: str


@dataclass(frozen=True, slots=True)
class Named:
    """A made name, and whether a replacement may be created beside the old resource."""

    name: str
    is_random: bool


def automatic_name(kind: ResourceType, logical: str, seed: bytes, proposal: Proposal | None) -> Named | Problem:
    """The physical name of a resource whose program gives none."""
    if proposal is not None and proposal.mode == "disable":
        return Problem(
            kind.name_parameter,
            f"automatic naming is disabled by 'pulumi:autonaming': set '{kind.name_parameter}' of '{logical}'",
        )
    if proposal is not None and (proposal.mode == "enforce" or kind.autoname != "uuid"):
        return Named(proposal.name, is_random=kind.autoname == "random")
    digest = hashlib.sha256((seed or secrets.token_bytes(16)) + logical.encode()).digest()
    if kind.autoname == "uuid":
        return Named(str(uuid.UUID(bytes=digest[:16], version=4)), is_random=True)
    if kind.autoname == "copy":
        return Named(logical, is_random=False)
    return Named(logical + digest[:4].hex(), is_random=True)


def problems(kind: ResourceType, shapes: Shapes, inputs: Mapping[str, Any]) -> list[Problem]:
    """All that is wrong with the inputs and can be told without asking Azure."""
    given = plain(inputs)
    found = [Problem(path, f"missing required property '{path}'") for path in missing(given, shapes.inputs)]
    for path, known in unexpected(given, shapes.inputs):
        if path == "azureApiVersion":
            continue
        close = difflib.get_close_matches(_camel(path.rpartition(".")[2]), known, n=1)
        hint = f": did you mean '{close[0]}'?" if close else f". It has: {', '.join(known)}."
        found.append(Problem(path, f"there is no property '{path}'{hint}"))
    name = given.get(kind.name_parameter)
    if isinstance(name, str) and kind.name_pattern and not re.match(kind.name_pattern, name):
        found.append(
            Problem(
                kind.name_parameter,
                f"the name '{name}' is not one that Azure takes here: it must match {kind.name_pattern}",
            )
        )
    return found


def normal_region(region: str) -> str:
    """`East US` and `eastus` are one region."""
    return region.replace(" ", "").lower()


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
