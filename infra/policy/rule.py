"""What a rule is: a plain function from a resource, or from all of them, to the problems found; no engine in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.policy.sources import Source


class Unknown:
    """The value of a property that a preview cannot know yet. No rule complains of it: `up` sees the value."""

    def __repr__(self) -> str:
        return "unknown until up"


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Resource:
    """A resource as the engine is about to make it.

    `type` is Pulumi's token without the package, such as `storage:StorageAccount`; `properties` are its inputs in
    Azure's camelCase, or in a stack rule its outputs; `uses` names, by property, the URNs that a value comes from.
    """

    type: str
    name: str
    properties: Mapping[str, Any]
    urn: str = ""
    protect: bool = False
    uses: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def get(self, path: str) -> Any:
        """The value at a dotted path: None where it is not set, UNKNOWN where that is not known yet."""
        value: Any = self.properties
        for part in path.split("."):
            if isinstance(value, Unknown):
                return UNKNOWN
            if not isinstance(value, Mapping):
                return None
            value = value.get(part)
        return value

    def comes_from(self, path: str, other: Resource) -> bool:
        """Whether a top-level property is, or may be, made from another resource of the stack."""
        if other.urn and other.urn in self.uses.get(path, ()):
            return True
        value, id = self.get(path), other.get("id")
        return isinstance(value, str) and isinstance(id, str) and value.casefold().startswith(id.casefold())


@dataclass(frozen=True)
class Rule:
    """One thing that is asked of every resource of some types, or of the stack as a whole (`StackRule`).

    Required: `name` (how the engine shows it), `asks` (a sentence), `fix` (what to set), `sources`, `types`, `check`.
    Optional: `sets`, the file and the words of it where infra does what is asked; `options`, by name with default,
    handed to `check` and changed by `--policy-pack-config`.
    """

    name: str
    asks: str
    fix: str
    sources: tuple[Source, ...]
    types: tuple[str, ...]
    check: Callable[..., Iterable[str]]
    sets: tuple[str, str] = ("", "")
    options: Mapping[str, Any] = field(default_factory=dict)

    def problems(self, resource: Resource, **options: Any) -> list[str]:
        if resource.type not in self.types:
            return []
        return list(self.check(resource, **{**self.options, **options}))


@dataclass(frozen=True)
class StackRule:
    """As `Rule`; `check` sees all resources, and yields each problem with the resource that has it, or None."""

    name: str
    asks: str
    fix: str
    sources: tuple[Source, ...]
    types: tuple[str, ...]
    check: Callable[..., Iterable[tuple[str, Resource | None]]]
    sets: tuple[str, str] = ("", "")
    options: Mapping[str, Any] = field(default_factory=dict)

    def problems(self, stack: Sequence[Resource], **options: Any) -> list[tuple[str, Resource | None]]:
        return list(self.check(stack, **{**self.options, **options}))


AnyRule = Rule | StackRule


def of(stack: Iterable[Resource], *types: str) -> list[Resource]:
    """The resources of these types."""
    return [resource for resource in stack if resource.type in types]


def elements(value: Any) -> Sequence[Any]:
    """A list's elements; none of anything else, which may be a value that is not known yet."""
    return value if isinstance(value, list | tuple) else ()


def members(value: Any) -> Mapping[str, Any]:
    """An object's members; none of anything else."""
    return value if isinstance(value, Mapping) else {}


def must_be(path: str, *allowed: Any, otherwise: str = "") -> Callable[[Resource], Iterator[str]]:
    """A check that a property has one of these values; `otherwise` says what Azure takes when it is not set."""

    def check(resource: Resource) -> Iterator[str]:
        value = resource.get(path)
        if value is UNKNOWN or any(_same(value, one) for one in allowed):
            return
        wanted = " or ".join(_shown(one) for one in allowed)
        if value is None:
            taken = f", and Azure takes that as {otherwise}" if otherwise else ""
            yield f"'{_inner(path)}' is not set{taken}; it must be {wanted}"
        else:
            yield f"'{_inner(path)}' is {_shown(value)}; it must be {wanted}"

    return check


def must_not_be(path: str, *refused: Any) -> Callable[[Resource], Iterator[str]]:
    """A check that a property, where it is set, has none of these values."""

    def check(resource: Resource) -> Iterator[str]:
        value = resource.get(path)
        if any(_same(value, one) for one in refused):
            yield f"'{_inner(path)}' is {_shown(value)}"

    return check


def must_be_set(path: str) -> Callable[[Resource], Iterator[str]]:
    """A check that a property is there and not empty."""

    def check(resource: Resource) -> Iterator[str]:
        value = resource.get(path)
        if value is None or value == "":
            yield f"'{_inner(path)}' is not set"

    return check


def both(*checks: Callable[[Resource], Iterator[str]]) -> Callable[[Resource], Iterator[str]]:
    """All problems of several checks."""

    def check(resource: Resource) -> Iterator[str]:
        for one in checks:
            yield from one(resource)

    return check


def where(path: str, value: Any, then: Callable[[Resource], Iterator[str]]) -> Callable[[Resource], Iterator[str]]:
    """A check that is made only of resources whose property has this value."""

    def check(resource: Resource) -> Iterator[str]:
        if _same(resource.get(path), value):
            yield from then(resource)

    return check


def _same(value: Any, other: Any) -> bool:
    """Azure compares the names of its settings without regard to case."""
    if isinstance(value, str) and isinstance(other, str):
        return value.casefold() == other.casefold()
    return type(value) is type(other) and bool(value == other)


def _inner(path: str) -> str:
    """The path without the envelopes that Azure wraps around it."""
    return path.rpartition("properties.")[2]


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"'{value}'"
