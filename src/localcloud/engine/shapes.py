"""The property shapes of the provider's resource types, as `generate_shapes` read them off the pinned SDK.

A shape is None (a plain value), `{"of": {member: shape}, "required": [member]}` (an object),
`{"list": shape}` or `{"map": shape}`. The pinned package itself is not imported here: it takes seconds.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("shapes.json")

Shape = Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Shapes:
    """The inputs and outputs of one resource type, both objects."""

    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


@functools.cache
def shapes_of(token: str) -> Shapes:
    found = _load()[token]
    return Shapes(inputs=found["inputs"], outputs=found["outputs"])


@functools.cache
def _load() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return loaded


def members(shape: Shape) -> Mapping[str, Shape]:
    """The members of an object's shape; none for anything else."""
    found: Mapping[str, Shape] = (shape or {}).get("of", {})
    return found


def missing(value: Mapping[str, Any], shape: Shape, path: str = "") -> list[str]:
    """Paths of required members that `value` lacks, e.g. `properties.authMode`."""
    found = [path + name for name in (shape or {}).get("required", ()) if value.get(name) is None]
    for name, member in members(shape).items():
        for step, item, inner in _objects(value.get(name), member, name):
            found += missing(item, inner, f"{path}{step}.")
    return found


def unexpected(value: Mapping[str, Any], shape: Shape, path: str = "") -> list[tuple[str, list[str]]]:
    """Members of `value` that its shape does not have: (path, the names it does have)."""
    known = members(shape)
    found = [(path + name, sorted(known)) for name in value if name not in known and not name.startswith("__")]
    for name, member in known.items():
        for step, item, inner in _objects(value.get(name), member, name):
            found += unexpected(item, inner, f"{path}{step}.")
    return found


def _objects(value: Any, shape: Shape, path: str) -> list[tuple[str, Mapping[str, Any], Shape]]:
    """Every object with a known shape directly inside `value`, through lists and maps."""
    if shape is None:
        return []
    if "of" in shape and isinstance(value, Mapping):
        return [(path, value, shape)]
    if "list" in shape and isinstance(value, list):
        return [found for at, item in enumerate(value) for found in _objects(item, shape["list"], f"{path}[{at}]")]
    if "map" in shape and isinstance(value, Mapping):
        return [found for key, item in value.items() for found in _objects(item, shape["map"], f"{path}.{key}")]
    return []
