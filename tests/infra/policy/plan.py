"""The plan of the real program under mocks, as the pack sees it."""

from __future__ import annotations

from infra.policy.pack import PACKAGE, RULES
from infra.policy.rule import Resource, StackRule
from tests.infra.conftest import Program


def resources(program: Program) -> list[Resource]:
    """What the program registered, without components."""
    return [
        Resource(
            made.token.removeprefix(PACKAGE),
            made.name,
            made.inputs,
            f"{made.token}::{made.name}",
            made.request.protect,
            {path: [_end(urn) for urn in used.urns] for path, used in made.request.propertyDependencies.items()},
        )
        for made in program.resources
        if made.token.startswith(PACKAGE)
    ]


def _end(urn: str) -> str:
    """Type and name: what stands before differs between the mocks' run and this one, and tells nothing apart."""
    *_, types, name = urn.split("::")
    return f"{types.rpartition('$')[2]}::{name}"


def violations(program: Program) -> dict[str, list[str]]:
    """What the pack has to say: by rule, each problem with the resource that has it."""
    plan = resources(program)
    found: dict[str, list[str]] = {}
    for rule in RULES:
        if isinstance(rule, StackRule):
            told = [(resource.name if resource else "the stack", problem) for problem, resource in rule.problems(plan)]
        else:
            told = [(resource.name, problem) for resource in plan for problem in rule.problems(resource)]
        if told:
            found[rule.name] = [f"{name}: {problem}" for name, problem in told]
    return found
