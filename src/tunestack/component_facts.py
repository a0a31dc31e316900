"""The inputs of the registry's pipeline component from a dated table, for where no registry can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from tunestack.parameters import Input
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
    text = files("tunestack").joinpath("component_facts.yml").read_text()
    found: dict[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return found


def schema(component: RegistryId) -> Schema | None:
    """The table's schema; None for a component or a version that it does not have."""
    found = _facts()["components"].get(component.name)
    if found is None or component.is_label or str(found["version"]) != component.version:
        return None
    inputs = {
        name: Input(one["type"], tuple(one.get("enum", ())), None if "min" not in one else float(one["min"]))
        for name, one in found["inputs"].items()
    }
    defaults = {name: str(one["default"]) for name, one in found["inputs"].items() if "default" in one}
    return Schema(inputs, defaults, frozenset(found["no_effect"]), f"component_facts.yml of {_facts()['as_of']}")


def no_effect(component: RegistryId) -> frozenset[str]:
    """Inputs that do nothing, whichever version: the registry's own schema does not say."""
    found = _facts()["components"].get(component.name)
    return frozenset(found["no_effect"]) if found else frozenset()
