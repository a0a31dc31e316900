"""Role definitions: Azure's built-in ones from the catalog, custom ones from the store, and what each of them allows.

Who has a role where is `permissions`' matter.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from localcloud.store import Body

PROVIDER = "Microsoft.Authorization"
LISTS = ("actions", "notActions", "dataActions", "notDataActions")
_FILE = Path(__file__).parent / "catalog" / "roles.yml"


@functools.lru_cache(maxsize=4096)
def _pattern(text: str) -> re.Pattern[str]:
    """`*` is any text with slashes in it or none at all between two slashes, in any case.

    `workspaces/*/read` takes in `workspaces/read`: else AzureML Data Scientist could not read its own workspace, and
    its `notActions` would not name `workspaces/write` and keep `computes/write` away with `computes/*/write`.
    """
    escaped = re.escape(text).replace(r"\*", ".*").replace("/.*/", "(?:/.*)?/")
    return re.compile(escaped, re.IGNORECASE)


def matches(action: str, patterns: Iterable[str]) -> bool:
    return any(_pattern(pattern).fullmatch(action) for pattern in patterns)


@dataclass(frozen=True)
class Role:
    """One definition; `name` is its GUID in lower case."""

    name: str
    role_name: str
    description: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()
    custom: bool = False

    def allows(self, action: str, *, data: bool = False) -> bool:
        """Data actions are granted by `dataActions` alone: Owner's `*` reads no blob."""
        if data:
            return matches(action, self.data_actions) and not matches(action, self.not_data_actions)
        return matches(action, self.actions) and not matches(action, self.not_actions)

    @property
    def body(self) -> Body:
        """The definition as Resource Manager answers it."""
        lists = (self.actions, self.not_actions, self.data_actions, self.not_data_actions)
        return {
            "id": f"/providers/{PROVIDER}/roleDefinitions/{self.name}",
            "name": self.name,
            "type": f"{PROVIDER}/roleDefinitions",
            "properties": {
                "roleName": self.role_name,
                "type": "BuiltInRole",
                "description": self.description,
                "assignableScopes": ["/"],
                "permissions": [{name: list(found) for name, found in zip(LISTS, lists, strict=True)}],
            },
        }


def _role(name: str, described: Mapping[str, Any], permissions: Mapping[str, Any], *, custom: bool) -> Role:
    actions, not_actions, data_actions, not_data_actions = (tuple(permissions.get(each) or ()) for each in LISTS)
    return Role(
        name.lower(),
        described["roleName"],
        described.get("description") or "",
        actions,
        not_actions,
        data_actions,
        not_data_actions,
        custom,
    )


@functools.cache
def built_in() -> Mapping[str, Role]:
    """By GUID. Dated and sourced in the file itself."""
    read = yaml.safe_load(_FILE.read_text())
    return {name.lower(): _role(name, found, found, custom=False) for name, found in read.items()}


def from_body(definition: Body) -> Role:
    """A custom role as it lies in the store; several sets of permissions become one, as nearly all roles have one."""
    properties = definition["properties"]
    merged: dict[str, list[str]] = {each: [] for each in LISTS}
    for permissions in properties.get("permissions") or ():
        for each in LISTS:
            merged[each] += permissions.get(each) or []
    return _role(definition["name"], properties, merged, custom=True)
