"""The dials of a stack one by one: what each may be, and a value that fits. How they hang together is in `rules`.

What a dial means, its default and what it costs stands in `Pulumi.yaml`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.regions import region

GUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
MOST_NODES = 100
# learn.microsoft.com/azure/machine-learning/how-to-manage-quotas: instances per deployment
MOST_INSTANCES = 50
REGISTRY_ID = (
    rf"/subscriptions/{GUID}/resourceGroups/[\w.()-]{{1,90}}/providers/Microsoft\.MachineLearningServices/registries/"
)
REGISTRY_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{2,32}"


@dataclass(frozen=True)
class Operator:
    """Someone who runs the scripts: a `User`, `Group` or `ServicePrincipal`, and its object id in Entra."""

    kind: str
    object_id: str


class BadItem(ValueError):
    """One item of a list that cannot be; `at` is its place, `again` that it stands there a second time."""

    def __init__(self, said: str, at: int, again: bool = False) -> None:
        super().__init__(said)
        self.at = at
        self.again = again


@dataclass(frozen=True)
class Dial:
    """What a dial may be: `read` raises ValueError with that in words; `example` is a value that fits.

    Of a list, `example` is one item.
    """

    read: Callable[[str], Any]
    example: str
    is_list: bool = False

    def command(self, key: str, error: ValueError | None = None) -> str:
        """The command that mends it. A list goes in item by item: set as a whole, it would be text to Pulumi."""
        if not self.is_list:
            return f"pulumi config set {key} {self.example}"
        at = error.at if isinstance(error, BadItem) else 0
        if isinstance(error, BadItem) and error.again:
            return f"pulumi config rm --path '{key}[{at}]'"
        # A plain name must not be one that stands before it already.
        example = f"{self.example}-{at + 1}" if at and self.example.isalpha() else self.example
        return f"pulumi config set --path '{key}[{at}]' '{example}'"


def _text(pattern: str, meant: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"it must be {meant}")
        return value

    return read


def _one_of(*known: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in known:
            raise ValueError(f"it must be one of {', '.join(known)}")
        return value

    return read


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,6}", value) or not least <= int(value) <= most:
            raise ValueError(f"it must be a whole number from {least} to {most}")
        return int(value)

    return read


def _yes_or_no(value: str) -> bool:
    return _one_of("true", "false")(value) == "true"


def _items(value: str) -> list[Any]:
    try:
        listed = json.loads(value)
    except ValueError:
        listed = None
    if not isinstance(listed, list):
        raise ValueError("it must be a list")
    seen: set[str] = set()
    for at, one in enumerate(listed):
        if str(one).lower() in seen:
            raise BadItem("it names one twice", at, again=True)
        seen.add(str(one).lower())
    return listed


def _list_of(pattern: str, meant: str, least: int = 0) -> Callable[[str], tuple[str, ...]]:
    def read(value: str) -> tuple[str, ...]:
        listed = _items(value)
        for at, one in enumerate(listed):
            if not isinstance(one, str) or not re.fullmatch(pattern, one):
                raise BadItem(f"'{one}' in it is not {meant}", at)
        if len(listed) < least:
            raise ValueError("it must name one at least")
        return tuple(listed)

    return read


def _operators(value: str) -> tuple[Operator, ...]:
    found = []
    for at, one in enumerate(_items(value)):
        matched = re.fullmatch(rf"(User|Group|ServicePrincipal):({GUID})", str(one))
        if not matched:
            raise BadItem(f"'{one}' in it is not 'User:', 'Group:' or 'ServicePrincipal:' and an object id", at)
        found.append(Operator(matched[1], matched[2].lower()))
    return tuple(found)


DIALS: Mapping[str, Dial] = {
    "location": Dial(region, "eastus"),
    "owner": Dial(_text(r"[^<>%&\\?/]{0,256}", "up to 256 characters without <>%&\\?/"), "team-chat"),
    "operators": Dial(_operators, "User:<object id>", is_list=True),
    "cpuSize": Dial(_text(r"Standard_[A-MO-Z]\w+", "a size without GPU"), "Standard_D4ds_v5"),
    "cpuNodes": Dial(_whole(1, MOST_NODES), "2"),
    "gpuSize": Dial(
        _text(r"Standard_N\w+", "a size with GPU (its name begins with Standard_N)"), "Standard_NC24ads_A100_v4"
    ),
    "gpuNodes": Dial(_whole(1, MOST_NODES), "1"),
    "gpuPriority": Dial(_one_of("Dedicated", "LowPriority"), "Dedicated"),
    "idleMinutes": Dial(_whole(1, 120), "2"),
    "endpointAuthMode": Dial(_one_of("AADToken", "AMLToken", "Key"), "AADToken"),
    "storageSku": Dial(_one_of("Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_GZRS"), "Standard_LRS"),
    "registrySku": Dial(_one_of("Basic", "Standard", "Premium"), "Basic"),
    "logDays": Dial(_whole(30, 730), "30"),
    "vaultDays": Dial(_whole(7, 90), "7"),
    "purgeProtection": Dial(_yes_or_no, "false"),
    "protect": Dial(_yes_or_no, "false"),
    "purpose": Dial(_one_of("environment", "registry"), "environment"),
    "production": Dial(_yes_or_no, "false"),
    # `tunestack-` before and eight random digits behind leave 14 of the 32 characters that Azure allows.
    "endpoints": Dial(
        _list_of(r"(?=.{1,14}\Z)[a-z](-?[a-z0-9])*", "a name of 1 to 14 lower-case letters, digits and -", least=1),
        "chat",
        is_list=True,
    ),
    "budget": Dial(_whole(1, 999_999), "200"),
    "budgetFrom": Dial(_text(r"20[0-9]{2}-(0[1-9]|1[0-2])-01", "the first day of a month"), "2026-11-01"),
    "alertEmails": Dial(
        _list_of(r"[^@\s,;]+@[^@\s,;]+\.[^@\s,;]+", "a mail address"), "team@example.com", is_list=True
    ),
    "alerts": Dial(_yes_or_no, "false"),
    "privateNetwork": Dial(_yes_or_no, "false"),
    "sensitiveData": Dial(_yes_or_no, "false"),
    "leaseCap": Dial(_text(r"[1-9][0-9]{0,3}h|never", "hours such as 24h, or never"), "24h"),
    "purgeOnTeardown": Dial(_yes_or_no, "false"),
    "sharedRegistry": Dial(
        _text(rf"|{REGISTRY_NAME}|{REGISTRY_ID}{REGISTRY_NAME}", "a registry's name or resource id, or empty"),
        "tunestack-shared",
    ),
    "maxInstances": Dial(_whole(1, MOST_INSTANCES), "1"),
    "gpuQuota": Dial(_whole(0, 100_000), "0"),
    "exemptGroups": Dial(
        _list_of(r"[\w.()-]{1,89}[\w()-]", "a resource group's name"), "rg-tunestack-dev", is_list=True
    ),
}


def stand_in(key: str) -> Any:
    """A value that fits, so that the rules between dials can be asked although this one is not known."""
    dial = DIALS[key]
    if not dial.is_list:
        return dial.read(dial.example)
    return () if key == "operators" else dial.read(json.dumps([dial.example]))
