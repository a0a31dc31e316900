"""Names and tags of a stack's resources, within Azure's limits.

These are the logical names: the provider adds eight random digits to each, so that what Azure keeps after a delete
(a workspace and a key vault hold their name for days) never blocks the next `up`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PROJECT = "tunestack"
RANDOM_DIGITS = 8


@dataclass(frozen=True)
class Kind:
    """How a resource type is named: its abbreviation (Azure's own list), the longest name, and what joins the words."""

    abbreviation: str
    longest: int
    joint: str = "-"


# Limits: learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
RESOURCE_GROUP = Kind("rg", 90)
LOG_ANALYTICS = Kind("log", 63)
APPLICATION_INSIGHTS = Kind("appi", 255)
STORAGE_ACCOUNT = Kind("st", 24, joint="")
KEY_VAULT = Kind("kv", 24)
CONTAINER_REGISTRY = Kind("cr", 50, joint="")
WORKSPACE = Kind("mlw", 33)
IDENTITY = Kind("id", 128)
VIRTUAL_NETWORK = Kind("vnet", 64)
PRIVATE_ENDPOINT = Kind("pep", 64)
ACTION_GROUP = Kind("ag", 260)
ALERT = Kind("alert", 260)
BUDGET = Kind("budget", 63)
ML_REGISTRY = Kind("mlr", 33)
# No abbreviation: the name is the first label of the address that callers see.
ENDPOINT = Kind("", 32)


def name(kind: Kind, stack: str, *parts: str) -> str:
    """The logical name of a stack's resource: lower case, letters, digits and single joints, a letter first.

    Cut at the end where it is too long to take the random digits. `parts` tell several of one kind apart; they stand
    before the stack, which may be cut.
    """
    words = [kind.abbreviation, PROJECT, *parts, *re.findall(r"[a-z0-9]+", stack.lower())]
    whole = kind.joint.join(word for word in words if word)
    return whole[: kind.longest - RANDOM_DIGITS].rstrip("-")


def tags(stack: str, owner: str) -> dict[str, str]:
    """The tags that every resource carries; an empty owner gives none."""
    always = {"project": PROJECT, "stack": stack, "managed-by": "pulumi"}
    return always | ({"owner": owner} if owner else {})
