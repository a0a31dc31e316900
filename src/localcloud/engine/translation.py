"""Between Pulumi's inputs and outputs and ARM's bodies: envelope or flat, renamed members, maps for lists.

`project` reads inputs back out of outputs, which is how a refresh finds what was changed behind Pulumi's back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.engine.shapes import Shape, Shapes, members
from localcloud.engine.table import ResourceType, id_pattern
from localcloud.engine.values import UNKNOWN, Values

# Azure wants {identity id: {}}, Pulumi shows a list of ids
STRING_SETS = frozenset({"identity.userAssignedIdentities"})
# What stands beside `properties` in a resource inside another one
OUTER = frozenset({"id", "name", "type", "etag", "location", "tags", "extendedLocation"})


def resource_id(kind: ResourceType, inputs: Mapping[str, Any], subscription: str) -> str:
    """The ARM id that the inputs name."""
    path = kind.path.replace("{subscriptionId}", subscription)
    for name in kind.parameters:
        path = path.replace("{" + name + "}", str(inputs[name]).strip("/"))
    return path


def request_body(kind: ResourceType, shapes: Shapes, inputs: Mapping[str, Any]) -> Values:
    """The body of the PUT: everything but what the path, the query and the provider itself use."""
    flat = "properties" not in members(shapes.inputs)
    body: Values = {}
    properties: Values = {}
    for name in members(shapes.inputs):
        if name in kind.parameters or name in kind.query or name not in inputs:
            continue
        value = _to_wire(inputs[name], name, kind)
        target = properties if flat and name not in kind.envelope else body
        target[kind.wire.get(name, name)] = value
    # a type without settings of its own (a resource group) has an envelope and nothing inside
    if flat and (properties or set(members(shapes.inputs)) - kind.envelope - set(kind.parameters)):
        body["properties"] = properties
    return body


def query(kind: ResourceType, inputs: Mapping[str, Any]) -> dict[str, str]:
    sent = {name: inputs[name] for name in sorted(kind.query) if name in inputs}
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in sent.items()}


def outputs_of(kind: ResourceType, shapes: Shapes, response: Mapping[str, Any]) -> Values:
    """The SDK's outputs of a resource as ARM answered it."""
    known = members(shapes.outputs)
    flat = "properties" not in known
    inside = response.get("properties") or {}
    outputs: Values = {}
    for name in known:
        wire = kind.wire.get(name, name)
        source = response if wire in response else inside if flat else {}
        if source.get(wire) is not None:
            outputs[name] = _from_wire(source[wire], name, kind)
    outputs["azureApiVersion"] = kind.api_version
    return outputs


def preview(shapes: Shapes, inputs: Mapping[str, Any]) -> Values:
    """The outputs before the deployment: inputs as they are, and unknown what only Azure can tell."""
    return _preview(inputs, shapes.outputs)


def _preview(inputs: Mapping[str, Any], shape: Shape) -> Values:
    outputs: Values = {}
    for name, member in members(shape).items():
        value = inputs.get(name)
        if isinstance(value, Mapping) and members(member):
            outputs[name] = _preview(value, member)
        elif isinstance(value, list) and member is not None and "map" in member:
            outputs[name] = UNKNOWN
        else:
            outputs[name] = UNKNOWN if value is None else value
    return outputs


def project(kind: ResourceType, shapes: Shapes, outputs: Mapping[str, Any]) -> Values:
    """The part of the outputs that could have been inputs."""
    inside = outputs.get("properties") if "properties" in members(shapes.outputs) else None
    found: Values = {}
    for name, member in members(shapes.inputs).items():
        if name in kind.parameters or name in kind.query:
            continue
        if name in outputs and not (name == "name" and inside is not None):
            found[name] = _project(outputs[name], member, name)
        elif isinstance(inside, Mapping) and name in inside and "properties" not in members(shapes.inputs):
            found[name] = _project(inside[name], member, name)
    return found


def _project(value: Any, shape: Shape, path: str) -> Any:
    if path in STRING_SETS and isinstance(value, Mapping):
        return sorted(value)
    if shape is None:
        return value
    if "of" in shape and isinstance(value, Mapping):
        return {
            name: _project(value[name], member, f"{path}.{name}")
            for name, member in members(shape).items()
            if name in value
        }
    if "list" in shape and isinstance(value, list):
        return [_project(item, shape["list"], path) for item in value]
    if "map" in shape and isinstance(value, Mapping):
        return {name: _project(item, shape["map"], path) for name, item in value.items()}
    return value


def carry_over(inputs: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> Values:
    """The inputs with every difference between two projections applied to them: added, changed and removed.

    What did not move between `before` and `after` stays as it was given, even where Azure answers it
    differently: a default that Azure filled in is no change.
    """
    result = dict(inputs)
    for name in [*before, *(name for name in after if name not in before)]:
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if name not in after:
            result.pop(name, None)
        elif isinstance(old, Mapping) and isinstance(new, Mapping) and isinstance(result.get(name), Mapping):
            result[name] = carry_over(result[name], old, new)
        else:
            result[name] = new
    return result


def imported_inputs(kind: ResourceType, shapes: Shapes, resource: str, outputs: Mapping[str, Any]) -> Values:
    """The inputs of a resource that Pulumi did not make, from its id and its outputs."""
    match = id_pattern(kind.path).match(resource)
    if match is None:
        raise ValueError(f"'{resource}' is not the id of a resource at '{kind.path}'")
    found = {name: value for name, value in match.groupdict().items() if name != "subscriptionId"}
    for name in ("scope", "resourceUri"):
        if name in found:
            found[name] = f"/{found[name].strip('/')}"  # as ARM writes ids, and as a program has them
    return {**project(kind, shapes, outputs), **found}


def _to_wire(value: Any, path: str, kind: ResourceType) -> Any:
    if path in STRING_SETS and isinstance(value, list):
        return {str(item): {} for item in value}
    if isinstance(value, Mapping):
        found = {
            kind.wire.get(f"{path}.{name}", name): _to_wire(item, f"{path}.{name}", kind)
            for name, item in value.items()
        }
        if path not in kind.nested:
            return found
        inside = {name: item for name, item in found.items() if name not in OUTER}
        outside = {name: item for name, item in found.items() if name in OUTER}
        return {**outside, "properties": inside} if inside else outside
    if isinstance(value, list):
        return [_to_wire(item, path, kind) for item in value]
    return value


def _from_wire(value: Any, path: str, kind: ResourceType) -> Any:
    if isinstance(value, Mapping):
        if path in kind.nested and isinstance(value.get("properties"), Mapping):
            value = {**{name: item for name, item in value.items() if name != "properties"}, **value["properties"]}
        back = {wired: sdk for sdk, wired in kind.wire.items() if sdk.rpartition(".")[0] == path}
        names = {name: back[name].rpartition(".")[2] if name in back else name for name in value}
        return {names[name]: _from_wire(item, f"{path}.{names[name]}", kind) for name, item in value.items()}
    if isinstance(value, list):
        return [_from_wire(item, path, kind) for item in value]
    return value
