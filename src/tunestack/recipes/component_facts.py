"""The inputs of the registry's pipeline component from a dated table, for where no registry can be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from tunestack.recipes.parameters import Input
from tunestack.registry_id import RegistryId


@dataclass(frozen=True)
class Schema:
    """A component's inputs, what each is where nobody gives it, those that do nothing, and who says so."""

    inputs: dict[str, Input]
    defaults: dict[str, str]
    no_effect: frozenset[str]
    source: str


@cache
def _facts() -> dict[str, Any]:
    text = files("tunestack.recipes").joinpath("component_facts.yml").read_text()
    found: dict[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return found


def schema(component: RegistryId) -> Schema | None:
    """The table's schema; None for a component or a version that it does not have."""
    found = _facts()["components"].get(component.name)
    if found is None or component.is_label or str(found["version"]) != component.version:
        return None
    return _schema(found["inputs"], frozenset(found["no_effect"]), f"component_facts.yml of {_facts()['as_of']}")


def of_specification(specification: Mapping[str, Any], component: RegistryId, source: str) -> Schema:
    """The schema that a registry answers with. It does not say which inputs do nothing: the table does."""
    known = _facts()["components"].get(component.name) or {}
    return _schema(specification.get("inputs") or {}, frozenset(known.get("no_effect") or ()), source)


def _schema(inputs: Mapping[str, Any], no_effect: frozenset[str], source: str) -> Schema:
    read = {
        name: Input(
            str(one.get("type")),
            tuple(str(value) for value in one.get("enum") or ()),
            _number(one.get("min")),
            _number(one.get("max")),
        )
        for name, one in inputs.items()
    }
    defaults = {name: str(one["default"]) for name, one in inputs.items() if one.get("default") is not None}
    return Schema(read, defaults, no_effect, source)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
