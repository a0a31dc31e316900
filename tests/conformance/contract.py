"""Holds a JSON answer against one of the models that Microsoft generates from the public REST contract.

The SDK itself reads answers leniently; here every member that the contract does not have, every required one
that is absent, every wrong type and every unknown enum value is told with its path.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import Enum
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

PLAIN: dict[Any, type | tuple[type, ...]] = {str: str, bool: bool, int: int, float: (int, float)}
DURATION = re.compile(r"-?P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?")


def deviations(model: type[Any], document: Any, at: str = "") -> Iterator[str]:
    """What a document has or lacks against a generated model, one line each, with the member's path."""
    if not isinstance(document, dict):
        yield f"{at or '.'}: an object is wanted, not {document!r}"
        return
    model, unknown = _subclass(model, document)
    if unknown:
        yield f"{at}.{unknown}: unknown value {document.get(unknown)!r}"
    fields, hints = _fields(model), _hints(model)
    for name in document.keys() - {field._rest_name for field in fields.values()}:
        yield f"{at}.{name}: not in the contract ({model.__name__})"
    for attribute, field in fields.items():
        name, hint = field._rest_name, hints[attribute]
        value, answered = document.get(name), not field._visibility or "read" in field._visibility
        if value is None:
            if answered and type(None) not in get_args(hint):
                yield f"{at}.{name}: required ({model.__name__}) and absent"
        elif not answered:
            yield f"{at}.{name}: may be sent but is never answered ({model.__name__})"
        else:
            yield from _mismatches(hint, value, f"{at}.{name}")


def absent(document: Any, path: str, at: str = "") -> Iterator[str]:
    """Where a member is absent or null; `*` stands for every member that an object has, if it is there."""
    first, _, rest = path.partition(".")
    if first == "*":
        found = [(f"{at}.{name}", item) for name, item in document.items()]
    else:
        value = document.get(first) if isinstance(document, dict) else None
        found = [(f"{at}.{first}", value)]
    for where, value in found:
        if value is None and rest.startswith("*"):
            continue
        if value is None:
            yield f"{where}: the client breaks without it"
        elif rest:
            yield from absent(value, rest, where)


def _subclass(model: type[Any], document: dict[str, Any]) -> tuple[type[Any], str | None]:
    """The subclass that the discriminators name, and the discriminator whose value nobody knows."""
    seen: list[str] = []
    while "__mapping__" in vars(model):
        model()  # a generated model knows the names of its members from its first object on
        discriminator = model._get_discriminator(seen)
        if discriminator is None:
            break
        name = discriminator._rest_name
        seen.append(name)
        if document.get(name) not in model.__mapping__:
            return model, name
        model = model.__mapping__[document[name]]
    return model, None


def _fields(model: type[Any]) -> dict[str, Any]:
    model()
    found: dict[str, Any] = model._attr_to_rest_field
    return found


def _hints(model: type[Any]) -> dict[str, Any]:
    package = sys.modules[model.__module__.rpartition(".")[0]]
    return get_type_hints(model, {**vars(sys.modules[model.__module__]), "_models": package})


def _mismatches(hint: Any, value: Any, at: str) -> Iterator[str]:
    origin, inside = get_origin(hint), get_args(hint)
    if hint is Any:
        return
    if origin in (Union, UnionType):
        kinds = [kind for kind in inside if kind is not type(None)]
        enums = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum)]
        # An extensible enum is typed "str or the enum": the enum says which values are known.
        yield from _mismatches(enums[0] if enums else kinds[0], value, at)
    elif origin is Literal:
        if value not in inside:
            yield f"{at}: {value!r} is not {inside[0].value!r}"
    elif origin in (list, dict):
        if not isinstance(value, origin):
            yield f"{at}: a {origin.__name__} is wanted, not {value!r}"
            return
        for name, item in value.items() if origin is dict else enumerate(value):
            yield from _mismatches(inside[-1], item, f"{at}.{name}")
    elif hasattr(hint, "_is_model"):
        yield from deviations(hint, value, at)
    elif issubclass(hint, Enum):
        if value not in [item.value for item in hint]:
            yield f"{at}: {value!r} is no known {hint.__name__}"
    elif issubclass(hint, datetime):
        try:
            datetime.fromisoformat(value)
        except (TypeError, ValueError):
            yield f"{at}: {value!r} is no time in ISO 8601"
    elif issubclass(hint, timedelta):
        if not isinstance(value, str) or not DURATION.fullmatch(value):
            yield f"{at}: {value!r} is no duration in ISO 8601"
    elif not isinstance(value, PLAIN[hint]) or (isinstance(value, bool) and hint is not bool):
        yield f"{at}: {hint.__name__} is wanted, not {value!r}"
