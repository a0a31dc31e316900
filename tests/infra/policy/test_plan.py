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


# Rules that let a property be left out would pass a plan that spells it otherwise.
OPTIONAL = (
    ("containerregistry:Registry", "adminUserEnabled"),
    ("containerregistry:Registry", "anonymousPullEnabled"),
    ("containerregistry:Registry", "networkRuleBypassOptions"),
    ("keyvault:Vault", "properties.enabledForDeployment"),
    ("keyvault:Vault", "properties.enabledForTemplateDeployment"),
    ("keyvault:Vault", "properties.enabledForDiskEncryption"),
    ("keyvault:Vault", "properties.softDeleteRetentionInDays"),
    ("machinelearningservices:Compute", "properties.properties.scaleSettings.minNodeCount"),
    ("machinelearningservices:Compute", "properties.properties.scaleSettings.nodeIdleTimeBeforeScaleDown"),
    ("machinelearningservices:Compute", "properties.properties.vmSize"),
    ("machinelearningservices:ManagedNetworkSettingsRule", "properties.destination"),
    ("machinelearningservices:ManagedNetworkSettingsRule", "properties.type"),
    ("machinelearningservices:Workspace", "v1LegacyMode"),
    ("storage:StorageAccount", "sku.name"),
)


def test_what_may_be_left_out_is_spelt_in_the_plan_as_the_rules_read_it(run: Run) -> None:
    plan = resources(run(stack_file("prod"), stack="prod"))
    for type, path in OPTIONAL:
        found = [resource for resource in plan if resource.type == type]
        assert found, type
        assert all(resource.get(path) is not None for resource in found), (type, path)


ASKED_FOR = (
    ("monitor:DiagnosticSetting", "diagnostics-exist"),
    ("monitor:MetricAlert", "endpoint-has-alerts"),
    ("consumption:Budget", "budget-exists"),
    ("network:PrivateDnsZoneGroup", "private-endpoint-names"),
    ("privatedns:PrivateZone", "private-endpoint-names"),
    ("network:PrivateEndpoint", "storage-private-endpoint"),
    ("storage:StorageAccount", "workspace-shared-data-isolated"),
)


def test_the_real_plan_without_one_kind_of_resource_violates_the_rule_that_asks_for_it(run: Run) -> None:
    program = run({**stack_file("prod"), "tunestack:sensitiveData": "false"}, stack="prod")
    everything = list(program.resources)
    before = violations(program)
    for type, rule in ASKED_FOR:
        assert rule not in before
        program.resources = [made for made in everything if made.token != f"azure-native:{type}"]
        assert rule in violations(program), type
