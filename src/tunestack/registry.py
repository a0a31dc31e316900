"""What the registry knows of a run's base model and pipeline component, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tunestack import cli
from tunestack.connect import Connection
from tunestack.errors import UsageError
from tunestack.recipes.parameters import Input
from tunestack.registry_id import BaseModelId, HubId, RegistryId


@dataclass(frozen=True)
class RegistryModel:
    """A model of a registry: its exact id, and its tags as text."""

    id: RegistryId
    tags: Mapping[str, Any]


@dataclass(frozen=True)
class BaseModel:
    """A base model: its exact id, and its tags as text; a model of the hub has none."""

    id: BaseModelId
    tags: Mapping[str, Any]


@dataclass(frozen=True)
class Component:
    """A pipeline component: its exact id, its inputs, and the SDK's object to call."""

    id: RegistryId
    inputs: Mapping[str, Input]
    load: Any


def base_model(connection: Connection, wanted: BaseModelId) -> BaseModel:
    """The model, its label resolved; whether it may still be started from is for preflight to say."""
    if isinstance(wanted, HubId):
        return BaseModel(wanted, {})
    found = registry_model(connection, wanted)
    return BaseModel(found.id, found.tags)


def registry_model(connection: Connection, wanted: RegistryId) -> RegistryModel:
    """A registry's model, its label resolved."""
    found = _get(connection.registry(wanted.registry).models, wanted, "base model")
    return RegistryModel(replace(wanted, version=str(found.version), is_label=False), found.tags or {})


def component(connection: Connection, wanted: RegistryId) -> Component:
    """The pipeline component with its inputs, its label resolved."""
    found = _get(connection.registry(wanted.registry).components, wanted, "component")
    exact = replace(wanted, version=str(found.version), is_label=False)
    return Component(exact, {name: _input(raw) for name, raw in found.inputs.items()}, found)


def _get(assets: Any, wanted: RegistryId, what: str) -> Any:
    from azure.ai.ml.exceptions import ValidationException
    from azure.core.exceptions import ResourceNotFoundError

    version = {"label": wanted.version} if wanted.is_label else {"version": wanted.version}
    try:
        found = assets.get(wanted.name, **version)
    except (ResourceNotFoundError, ValidationException) as error:
        kind = "model" if wanted.kind == "models" else "component"
        raise UsageError(
            f"{what} '{wanted}' does not exist",
            fix=f"See what there is with: az ml {kind} list --registry-name {wanted.registry} --name {wanted.name}",
        ) from error
    if wanted.is_label:
        cli.note(f"{what} '{wanted.name}': label '{wanted.version}' is version {found.version}")
    return found


def _input(raw: Any) -> Input:
    enum = raw.enum if isinstance(raw.enum, list) else []
    return Input(str(raw.type), tuple(str(item) for item in enum), _number(raw.min), _number(raw.max))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
