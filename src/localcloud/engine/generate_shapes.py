"""Reads the property shapes of the table's types off the pinned `pulumi_azure_native` and writes `shapes.json`.

Run it after a new version of that package is pinned: `python -m localcloud.engine.generate_shapes`.
A shape is `null` (a plain value), `{"of": {member: shape}, "required": [member]}` (an object),
`{"list": shape}` or `{"map": shape}`.
"""

from __future__ import annotations

import collections.abc
import enum
import importlib
import inspect
import json
import types
import typing
from typing import Any

from localcloud.engine.shapes import PATH
from localcloud.engine.table import TABLE

Shape = dict[str, Any] | None
# Network types hold each other whole, in circles: from this depth on a member may be anything.
DEEPEST = {"network": 2}


def main() -> None:
    PATH.write_text(render(), encoding="utf-8")


def render() -> str:
    """The text of `shapes.json` for the installed `pulumi_azure_native`."""
    lines = [f"{json.dumps(token)}: {json.dumps(resource_shapes(token), sort_keys=True)}" for token in sorted(TABLE)]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def resource_shapes(token: str) -> dict[str, Shape]:
    """The input and the output shape of one resource type, e.g. `azure-native:storage:BlobContainer`."""
    from pulumi import _types

    _, module_name, name = token.split(":")
    module = importlib.import_module(f"pulumi_azure_native.{module_name}")
    resource = getattr(module, name)
    arguments = getattr(inspect.getmodule(resource), f"{name}InitArgs", None) or getattr(
        inspect.getmodule(resource), f"{name}Args"
    )
    depth = DEEPEST.get(module_name, 100)
    outputs = {
        key: _shape(kind, depth, outputs=True) for key, kind in _types.resource_types(resource).items() if key != "id"
    }
    return {"inputs": _input_object(arguments, depth), "outputs": {"of": outputs}}


def _input_object(arguments: type, depth: int) -> Shape:
    from pulumi import _types

    names = _types.input_type_py_to_pulumi_names(arguments)
    required = [
        names[name]
        for name, parameter in inspect.signature(arguments.__init__).parameters.items()  # type: ignore[misc]
        if name in names and parameter.default is inspect.Parameter.empty
    ]
    members = {key: _shape(kind, depth) for key, kind in _types.input_type_types(arguments).items()}
    return {"of": members, "required": sorted(required)} if required else {"of": members}


def _shape(kind: Any, depth: int, *, outputs: bool = False) -> Shape:
    from pulumi import Output, _types

    if depth == 0:
        return None
    if isinstance(kind, typing.ForwardRef):
        raise TypeError(f"unresolved type {kind}")
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        members = [
            _shape(one, depth, outputs=outputs)
            for one in arguments
            if one is not type(None)
            and typing.get_origin(one) not in (Output, collections.abc.Awaitable)
            and one is not Output
        ]
        return _merge([member for member in members if member is not None])
    if origin in (collections.abc.Sequence, list):
        return {"list": _shape(arguments[0], depth, outputs=outputs)}
    if origin in (collections.abc.Mapping, dict):
        return {"map": _shape(arguments[1], depth, outputs=outputs)}
    if isinstance(kind, type) and not issubclass(kind, enum.Enum):
        if _types.is_input_type(kind):
            return _input_object(kind, depth - 1)
        if _types.is_output_type(kind):
            declared = _types.output_type_types(kind).items()
            return {"of": {key: _shape(one, depth - 1, outputs=True) for key, one in declared}}
    return None


def _merge(shapes: list[dict[str, Any]]) -> Shape:
    """One shape that admits what any of a union's members admits; required is what all of them require."""
    if not shapes:
        return None
    if not all("of" in shape for shape in shapes):
        return shapes[0]
    members: dict[str, Shape] = {}
    for shape in shapes:
        for key, member in shape["of"].items():
            known = [one for one in (members.get(key), member) if one is not None]
            members[key] = _merge(known)
    required = set.intersection(*(set(shape.get("required", [])) for shape in shapes))
    return {"of": members, "required": sorted(required)} if required else {"of": members}


if __name__ == "__main__":
    main()
