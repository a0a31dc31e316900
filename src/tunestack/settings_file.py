"""YAML files of settings: read strictly, and checked against a model with the nearest known key named.

A key that stands twice is refused, because YAML alone would take the last one; `1e-5` is a number, as in YAML 1.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import yaml

from tunestack.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel

if TYPE_CHECKING:
    from yaml import SafeLoader as _Loader
else:  # ten times as fast where PyYAML was built with libyaml; both are the safe loader
    _Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Model = TypeVar("Model", bound="BaseModel")


class StrictLoader(_Loader):
    """Safe YAML that names both lines of a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else str(key)
            line = key.start_mark.line + 1
            if name in lines and name != "<<":
                raise DuplicateKeyError(f"key '{name}' stands twice, in line {lines[name]} and in line {line}")
            lines[name] = line
        return super().construct_mapping(node, deep)


StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


class DuplicateKeyError(yaml.YAMLError):
    """One key with two values; which was meant is not ours to guess."""


def load(text: str) -> Any:
    """One YAML document, read strictly."""
    return yaml.load(text, StrictLoader)


def mapping(file: Path, what: str) -> dict[str, Any]:
    """A YAML file that holds one mapping."""
    try:
        content = load(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        near = did_you_mean(file.name, (other.name for other in file.parent.glob("*.yml")))
        where = "" if file.is_absolute() or near else f"Its path begins in '{Path.cwd()}', where the command runs"
        raise UsageError(f"{what} '{file}' does not exist{near}", fix=where) from error
    except DuplicateKeyError as error:
        raise UsageError(f"{what} '{file}': {error}", fix="Keep the one that is meant") from error
    except OSError as error:
        raise UsageError(f"{what} '{file}' cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(f"{what} '{file}' is not UTF-8 in line {line}", fix="Save it as UTF-8") from error
    except yaml.YAMLError as error:
        said = " ".join(str(error).split()).replace(' in "<unicode string>",', " in")
        raise UsageError(f"{what} '{file}' cannot be read: {said}") from error
    if content is None:
        raise UsageError(f"{what} '{file}' is empty")
    if not isinstance(content, dict):
        raise UsageError(f"{what} '{file}' is not a mapping of keys to values")
    return content


def validated(model: type[Model], content: Mapping[str, Any], what: str) -> Model:
    """A mapping as a checked object; unknown keys are refused with the nearest known one."""
    found, problems = checked(model, content, what)
    if found is None:
        raise UsageError(*problems)
    return found


def checked(
    model: type[Model], content: Mapping[str, Any], what: str, places: Mapping[str, str] | None = None
) -> tuple[Model | None, list[str]]:
    """The object, or None and every problem; `places` says for dotted keys that came from elsewhere, from where."""
    from pydantic import ValidationError

    try:
        return model.model_validate(content), []
    except ValidationError as error:
        return None, list(dict.fromkeys(_problem(model, found, what, places or {}) for found in error.errors()))


def _problem(model: type[BaseModel], found: Any, what: str, places: Mapping[str, str]) -> str:
    known = _along(model, found["loc"])
    place = ".".join(known)
    what = next((said for key, said in places.items() if key == place or key.startswith(f"{place}.")), what)
    if found["type"] == "extra_forbidden":
        return f"{what} has an unknown key '{place}'{did_you_mean(known[-1], _keys(model, known))}"
    if found["type"] == "missing":
        return f"{what} lacks the key '{place}'"
    said = found["msg"].removeprefix("Value error, ")
    if found["type"] in ("model_type", "dict_type"):
        said = f"it is a section, whose keys are given one by one{_such_as(model, known)}"
    return f"{what}: '{place}' cannot be {found['input']!r}: {said}" if place else f"{what}: {said}"


def _such_as(model: type[BaseModel], place: Sequence[str]) -> str:
    names = _keys(model, [*place, ""])
    return f", such as '{'.'.join(place)}.{names[0]}'" if names else ""


def _along(model: type[BaseModel], place: Sequence[int | str]) -> list[str]:
    """The keys of a place, without the names of types that pydantic adds where a value may be of several."""
    kept: list[str] = []
    within: type[BaseModel] | None = model
    for part in place:
        if within is None and kept and isinstance(part, str) and part in _TYPES:
            continue
        kept.append(str(part))
        within = _section(within, str(part)) if within else None
    return kept


_TYPES = frozenset({"str", "int", "float", "bool", "none"})


def _section(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    from pydantic import BaseModel

    field = model.model_fields.get(key)
    kind = field.annotation if field else None
    for one in get_args(kind) or (kind,):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


def _keys(model: type[BaseModel], place: Sequence[str]) -> list[str]:
    """The keys known where an unknown one was found."""
    for part in place[:-1]:
        inner = _section(model, part)
        if inner is None:
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items() if not field.exclude]
