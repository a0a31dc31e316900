"""What differs between the old and the new inputs of a resource, in Pulumi's paths, and what forces a replacement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from localcloud.engine.naming import CREATE_BEFORE_DELETE, normal_region
from localcloud.engine.table import ResourceType
from localcloud.engine.translation import STRING_SETS
from localcloud.engine.values import holds_unknown, plain

IGNORED = frozenset({CREATE_BEFORE_DELETE, "azureApiVersion"})
PLAIN_KEY = re.compile(r"^[A-Za-z_$][\w$]*$")

Kind = Literal["add", "delete", "update"]


@dataclass(frozen=True, slots=True)
class Change:
    """One changed member: its path as Pulumi writes it, e.g. `properties.traffic.blue` or `tags["a.b"]`."""

    path: str
    kind: Kind
    replaces: bool


def changes(kind: ResourceType, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The changed members from old inputs to new ones, in the order of their names."""
    before = {name: plain(value) for name, value in old.items() if name not in IGNORED}
    after = {name: plain(value) for name, value in new.items() if name not in IGNORED}
    found: list[Change] = []
    for name in sorted({*before, *after}):
        forces = name in kind.parameters or name in kind.replaces
        found += _compare(before.get(name), after.get(name), _step("", name), name, forces)
    return found


def _compare(old: Any, new: Any, path: str, plain_path: str, forces: bool) -> list[Change]:
    if _same(old, new, plain_path):
        return []
    if old is None:
        return [Change(path, "add", forces)]
    if new is None:
        return [Change(path, "delete", forces)]
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [
            change
            for name in sorted({*old, *new})
            for change in _compare(old.get(name), new.get(name), _step(path, name), f"{plain_path}.{name}", forces)
        ]
    if isinstance(old, list) and isinstance(new, list) and plain_path not in STRING_SETS:
        return [
            change
            for at in range(max(len(old), len(new)))
            for change in _compare(
                old[at] if at < len(old) else None,
                new[at] if at < len(new) else None,
                f"{path}[{at}]",
                plain_path,
                forces,
            )
        ]
    return [Change(path, "update", forces)]


def _same(old: Any, new: Any, path: str) -> bool:
    if holds_unknown(new) and not isinstance(new, Mapping | list):
        return False
    if path == "location" and isinstance(old, str) and isinstance(new, str):
        return normal_region(old) == normal_region(new)
    if path in STRING_SETS and isinstance(old, list) and isinstance(new, list) and not holds_unknown(new):
        return sorted(map(str, old)) == sorted(map(str, new))
    return bool(old == new)


def _step(path: str, name: str) -> str:
    if not PLAIN_KEY.match(name):
        escaped = name.replace("\\", "\\\\").replace('"', '\\"')
        return f'{path}["{escaped}"]'
    return f"{path}.{name}" if path else name
