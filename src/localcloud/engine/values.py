"""Pulumi's property values: protobuf structs on the wire, and plain Python with `Secret` and `UNKNOWN` here.

Output values and resource references are not asked for in the handshake, so they never arrive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.struct_pb2 import ListValue, Struct, Value

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"
UNKNOWN_STRING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
# one per type of the value that is not known yet; all mean the same to a provider
UNKNOWN_STRINGS = frozenset(
    {
        UNKNOWN_STRING,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)

Values = dict[str, Any]


class Unknown:
    """A value that only the deployment will bring."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that the state must keep encrypted."""

    value: Any


class UnsupportedValueError(Exception):
    """A property value that no Azure resource takes: an asset or an archive."""


def read(struct: Struct) -> Values:
    """The members of a struct; nulls are left out, whole numbers are ints."""
    return {key: _read(value) for key, value in struct.fields.items() if value.WhichOneof("kind") != "null_value"}


def _read(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value in UNKNOWN_STRINGS else value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_read(item) for item in value.list_value.values]
    if kind == "struct_value":
        members = read(value.struct_value)
        signature = members.get(SIGNATURE)
        if signature is None:
            return members
        if signature == SECRET_SIGNATURE:
            return Secret(members.get("value"))
        raise UnsupportedValueError("assets, archives and resource references are no properties of Azure resources")
    return None


def write(values: Mapping[str, Any]) -> Struct:
    return Struct(fields={key: _write(value) for key, value in values.items()})


def _write(value: Any) -> Value:
    if value is None:
        return Value(null_value="NULL_VALUE")
    if isinstance(value, Unknown):
        return Value(string_value=UNKNOWN_STRING)
    if isinstance(value, Secret):
        return _write({SIGNATURE: SECRET_SIGNATURE, "value": value.value})
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, int | float):
        return Value(number_value=value)
    if isinstance(value, str):
        return Value(string_value=value)
    if isinstance(value, Mapping):
        return Value(struct_value=write(value))
    return Value(list_value=ListValue(values=[_write(item) for item in value]))


def plain(value: Any) -> Any:
    """The value with every secret inside it taken out of its wrapping."""
    if isinstance(value, Secret):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def holds_secret(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(holds_secret(item) for item in value.values())
    if isinstance(value, list):
        return any(holds_secret(item) for item in value)
    return isinstance(value, Secret)


def holds_unknown(value: Any) -> bool:
    if isinstance(value, Secret):
        return holds_unknown(value.value)
    if isinstance(value, Mapping):
        return any(holds_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(holds_unknown(item) for item in value)
    return isinstance(value, Unknown)


def mark_secrets(value: Any, like: Any) -> Any:
    """`value` with the same members secret as in `like`; where the two differ in form, the whole becomes secret."""
    if isinstance(value, Secret):
        return value
    if isinstance(like, Secret):
        return Secret(value)
    if isinstance(value, Mapping) and isinstance(like, Mapping):
        return {key: mark_secrets(item, like.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(like, list) and len(value) == len(like):
        return [mark_secrets(item, other) for item, other in zip(value, like, strict=True)]
    return Secret(value) if holds_secret(like) else value
