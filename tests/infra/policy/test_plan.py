"""The plans of the committed stacks against the pack: production has no violation, dev only those that it excuses."""

from __future__ import annotations

import re

import pytest

from infra.policy.pack import RULES
from tests.infra.conftest import ROOT, Run, stack_file
from tests.infra.policy.compliant import named
from tests.infra.policy.plan import resources, violations

DIAL = re.compile(r"pulumi config set (?:--path ')?(\w+)")


@pytest.mark.parametrize("stack", ["prod", "shared"])
def test_the_plan_of_production_has_no_violation(run: Run, stack: str) -> None:
    assert violations(run(stack_file(stack), stack=stack)) == {}


def test_dev_violates_only_what_its_stack_file_excuses(run: Run) -> None:
    """A comment of `Pulumi.dev.yaml` names the dial that is off on purpose, and the rule's fix is that dial."""
    comments = " ".join(re.findall(r"^#(.*)$", (ROOT / "Pulumi.dev.yaml").read_text(), re.MULTILINE))
    excused = set(re.findall(r"\w+", comments))
    found = violations(run(stack_file("dev"), stack="dev"))
    assert found
    for name, problems in found.items():
        dials = DIAL.findall(named(name).fix)
        assert dials, f"'{name}' has no dial that could be off on purpose: {problems}"
        assert set(dials) <= excused, f"Pulumi.dev.yaml does not excuse {dials}: {problems}"


def test_every_dial_that_a_fix_names_exists() -> None:
    declared = set(stack_file("dev"))
    for rule in RULES:
        for dial in DIAL.findall(rule.fix):
            assert f"tunestack:{dial}" in declared, rule.name


def test_every_rule_but_the_excepted_meets_a_resource_of_the_two_plans(run: Run) -> None:
    """A rule for a type that no stack makes would check nothing."""
    plans = [run(stack_file(stack), stack=stack) for stack in ("prod", "shared")]
    made = {resource.type for program in plans for resource in resources(program)}
    idle = {rule.name for rule in RULES if made.isdisjoint(rule.types)}
    assert idle <= {"role-definition-no-wildcard"}
