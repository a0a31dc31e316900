"""The security properties hold line by line on the plan of prod, and on dev but for what its stack file excuses."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.infra.conftest import ROOT, Program, Run, stack_file
from tests.infra.properties import ANY, PROPERTIES, Property

_plans: dict[str, Program] = {}


@pytest.fixture
def plan(run: Run) -> Any:
    def of(stack: str) -> Program:
        if stack not in _plans:
            _plans[stack] = run(stack_file(stack), stack=stack)
        return _plans[stack]

    return of


def values(program: Program, wanted: Property) -> list[Any]:
    """The property's value at each resource that it is about."""
    found = []
    for resource in program.of(wanted.token):
        if wanted.name and not re.match(re.escape(wanted.name) + r"(-dev|-prod)?\Z", resource.name):
            continue
        value: Any = resource.inputs
        for step in wanted.path.split("."):
            if isinstance(value, list):
                value = value[int(step)]
            else:
                value = value.get(step) if isinstance(value, dict) else None
        found.append(ANY if wanted.prod == ANY and value else value)
    return found


@pytest.mark.parametrize("wanted", PROPERTIES, ids=lambda one: f"{one.token}-{one.path}")
def test_prod_has_it(plan: Any, wanted: Property) -> None:
    found = values(plan("prod"), wanted)
    assert found
    assert all(value == wanted.prod for value in found), found


@pytest.mark.parametrize("wanted", PROPERTIES, ids=lambda one: f"{one.token}-{one.path}")
def test_dev_has_it_or_its_stack_file_says_why_not(plan: Any, wanted: Property) -> None:
    found = values(plan("dev"), wanted)
    assert all(value == wanted.dev for value in found), found
    if wanted.dev is not None:
        assert found
    if wanted.dev == wanted.prod:
        assert wanted.excuse == ""
        return
    comments = " ".join(
        line.lstrip("#- ") for line in (ROOT / "Pulumi.dev.yaml").read_text().splitlines() if line.startswith("#")
    )
    assert wanted.excuse
    assert wanted.excuse in comments


@pytest.mark.parametrize("wanted", PROPERTIES, ids=lambda one: f"{one.token}-{one.path}")
def test_one_line_sets_it(wanted: Property) -> None:
    assert re.fullmatch(r"infra/\w+\.py:\d+", wanted.place)


def test_no_property_is_listed_twice() -> None:
    listed = [(one.token, one.path, one.name) for one in PROPERTIES]
    assert len(set(listed)) == len(listed)
