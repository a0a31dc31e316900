"""What an input may be: a literal text, an asset, or the output of a step that has not run yet; and the check of it.

The client checks names only (chat-completion-pipeline 4.2), so type, enum, minimum and requiredness are checked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ASSET_TYPES = (
    "uri_file",
    "uri_folder",
    "mltable",
    "mlflow_model",
    "custom_model",
    "triton_model",
    "safe_tensors_model",
)
LITERAL_TYPES = ("string", "integer", "number", "boolean")


@dataclass(frozen=True)
class Literal:
    """A value as text, the way it travels."""

    text: str


@dataclass(frozen=True)
class Asset:
    """A file, folder or model by its address; `uri` is None while the step that makes it has not started."""

    type: str
    uri: str | None = None
    mode: str | None = None


Value = Literal | Asset


@dataclass(frozen=True)
class InputSpec:
    """What a component says about one input; `minimum` and `maximum` are for numbers."""

    type: str
    optional: bool = False
    default: str | None = None
    enum: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True)
class OutputSpec:
    """What a component says about one output, or where a job wants it."""

    type: str = "uri_folder"
    mode: str | None = None
    uri: str | None = None


def text_of(value: Any) -> str:
    """A YAML scalar as the text in which Azure carries it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def input_spec(body: Mapping[str, Any]) -> InputSpec:
    """From the `inputs.<name>` of a component's spec, where every value may be text."""

    def number(name: str) -> float | None:
        return float(body[name]) if body.get(name) not in (None, "") else None

    default = body.get("default")
    return InputSpec(
        type=str(body.get("type", "string")),
        optional=text_of(body.get("optional", False)).lower() == "true",
        default=None if default is None else text_of(default),
        enum=tuple(text_of(each) for each in body.get("enum") or ()),
        minimum=number("min"),
        maximum=number("max"),
    )


def check_values(
    where: str, specs: Mapping[str, InputSpec], given: Mapping[str, Value]
) -> tuple[dict[str, Value], list[str]]:
    """The values with defaults filled in, and everything that is wrong with them.

    `where` opens each message, e.g. `Node 'train'`.
    """
    problems = []
    for name in given:
        if name not in specs:
            known = ", ".join(sorted(specs)) or "none"
            problems.append(f"{where} has no input '{name}'. Its inputs: {known}.")
    values: dict[str, Value] = {}
    for name, spec in specs.items():
        value = given.get(name)
        if value is None and spec.default is not None:
            value = Literal(spec.default)
        if value is None:
            if not spec.optional:
                problems.append(f"{where}: the required input '{name}' ({spec.type}) has no value.")
            continue
        problem = _problem(spec, value)
        if problem:
            problems.append(f"{where}: input '{name}' {problem}")
        values[name] = value
    return values, problems


def _problem(spec: InputSpec, value: Value) -> str | None:
    if isinstance(value, Asset):
        if spec.type in LITERAL_TYPES:
            return f"must be a {spec.type}, but was given an asset of type '{value.type}'."
        return None
    if spec.type in ASSET_TYPES:
        return f"must be an asset of type '{spec.type}', but was given the literal '{value.text}'."
    if spec.type == "boolean" and value.text.lower() not in ("true", "false"):
        return f"has the value '{value.text}', which is not a boolean; use 'true' or 'false'."
    if spec.enum and value.text not in spec.enum:
        return f"has the value '{value.text}', which is not one of: {', '.join(spec.enum)}."
    if spec.type not in ("integer", "number"):
        return None
    try:
        number = float(int(value.text)) if spec.type == "integer" else float(value.text)
    except ValueError:
        return f"has the value '{value.text}', which is not {'an integer' if spec.type == 'integer' else 'a number'}."
    if spec.minimum is not None and number < spec.minimum:
        return f"has the value '{value.text}', which is below the minimum {spec.minimum:g}."
    if spec.maximum is not None and number > spec.maximum:
        return f"has the value '{value.text}', which is above the maximum {spec.maximum:g}."
    return None
