"""How dials hang together: each rule is broken by one stack file and mended by the command that it gives."""

from __future__ import annotations

import re
from datetime import date

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from infra.rules import cores, problems, roll_out_cores
from infra.settings import Settings, SettingsError
from tests.infra.conftest import ROOT, as_text, project_defaults, stack_file

PRODUCTION = stack_file("prod")


def settings(stack: str | None = None, **changed: str) -> Settings:
    base = stack_file(stack) if stack else dict(project_defaults())
    return Settings.read({**base, **{f"tunestack:{key}": value for key, value in changed.items()}})


def refused(stack: str | None = None, **changed: str) -> str:
    with pytest.raises(SettingsError) as error:
        settings(stack, **changed)
    return str(error.value)


BROKEN = [
    ("prod", {"alerts": "false"}),
    ("prod", {"alertEmails": "[]"}),
    ("prod", {"privateNetwork": "false"}),
    ("prod", {"purgeProtection": "false"}),
    ("prod", {"protect": "false"}),
    ("prod", {"endpointAuthMode": "Key"}),
    ("prod", {"leaseCap": "24h"}),
    ("prod", {"purgeOnTeardown": "true"}),
    ("prod", {"registrySku": "Standard"}),
    ("prod", {"location": "narnia"}),
    ("prod", {"budget": "0"}),
    ("prod", {"budgetFrom": "2026-11-15"}),
    ("prod", {"endpoints": '["chat", "a-name-that-is-too-long"]'}),
    ("prod", {"endpoints": "[]"}),
    ("prod", {"endpoints": '["chat", "chat"]'}),
    ("prod", {"alertEmails": '["nobody"]'}),
    ("prod", {"gpuSize": "Standard_NC24s_v3"}),
    ("prod", {"gpuQuota": "24", "maxInstances": "1", "gpuNodes": "1"}),
    ("dev", {"gpuQuota": "48", "gpuNodes": "3"}),
    ("dev", {"alerts": "true"}),
    ("dev", {"purgeProtection": "true"}),
    ("dev", {"privateNetwork": "true"}),
    ("dev", {"sharedRegistry": "no registry"}),
    ("dev", {"maxInstances": "51"}),
    ("shared", {"sharedRegistry": "mlr-of-another"}),
    ("shared", {"production": "true", "protect": "false"}),
]


@pytest.mark.parametrize(("stack", "changed"), BROKEN, ids=lambda one: str(one))
def test_the_command_that_the_error_gives_mends_it(stack: str, changed: dict[str, str]) -> None:
    values = {**stack_file(stack), **{f"tunestack:{key}": value for key, value in changed.items()}}
    for _ in range(3):
        try:
            Settings.read(values)
            break
        except SettingsError as error:
            lines = str(error).splitlines()[1:]
            assert lines
            for line in lines:
                assert re.search(r"pulumi config (set|rm) ", line), line
                apply(line, values)
    else:
        pytest.fail(f"still refused: {refused(stack, **changed)}")


def apply(line: str, values: dict[str, str]) -> None:
    """What the command of an error does to a stack file, as the engine was seen to do it."""
    command = line[line.rindex("pulumi config") :]
    if found := re.fullmatch(r"pulumi config set --path '(\w+)\[(\d+)\]' '?([^']+)'?", command):
        key, at, value = f"tunestack:{found[1]}", int(found[2]), found[3]
        listed = list(yaml.safe_load(values[key]))
        listed[at : at + 1] = [value]
        values[key] = as_text(listed)
    elif found := re.fullmatch(r"pulumi config rm --path '(\w+)\[(\d+)\]'", command):
        listed = list(yaml.safe_load(values[f"tunestack:{found[1]}"]))
        del listed[int(found[2])]
        values[f"tunestack:{found[1]}"] = as_text(listed)
    elif found := re.fullmatch(r"pulumi config set (\w+) (\S+)", command):
        values[f"tunestack:{found[1]}"] = found[2]
    elif found := re.fullmatch(r"pulumi config rm (\w+)", command):
        values[f"tunestack:{found[1]}"] = project_defaults()[f"tunestack:{found[1]}"]
    else:
        pytest.fail(f"not a command of pulumi: {command}")


def test_problems_of_dials_and_problems_between_them_are_told_together() -> None:
    message = refused("prod", gpuNodes="0", alerts="false", protect="false")
    assert "pulumi config set gpuNodes 1" in message
    assert "pulumi config set alerts true" in message
    assert "pulumi config set protect true" in message


def test_a_rule_is_silent_about_a_dial_that_has_no_value_yet() -> None:
    message = refused("prod", registrySku="Huge")
    assert message.count("registrySku") == 2  # in the problem and in its command


def test_an_unknown_region_is_named_with_the_nearest_one() -> None:
    assert "did you mean 'eastus'" in refused(location="East US")
    assert "did you mean 'swedencentral'" in refused(location="swedencentrl")
    assert "did you mean" not in refused(location="atlantis")


def test_a_size_is_refused_from_the_day_on_which_azure_retired_it() -> None:
    found = settings(gpuSize="Standard_NC24ads_A100_v4")
    assert problems(found, date(2030, 1, 1)) == []
    message = refused(gpuSize="Standard_NC24s_v3")
    assert "which Azure retired on 2025-09-30" in message


@pytest.mark.parametrize(
    ("size", "instances", "needed"),
    [
        # learn.microsoft.com/azure/machine-learning/how-to-manage-quotas: 20 % in reserve, but not for these families
        ("Standard_NC24ads_A100_v4", 1, 48),
        ("Standard_NC24ads_A100_v4", 5, 240),
        ("Standard_ND96asr_v4", 2, 384),
        ("Standard_NC40ads_H100_v5", 1, 80),
        ("Standard_NC4as_T4_v3", 1, 16),
        ("Standard_NC16as_T4_v3", 5, 192),
        ("Standard_NV36ads_A10_v5", 1, 144),
    ],
)
def test_a_roll_out_takes_blue_and_green_each_with_its_reserve(size: str, instances: int, needed: int) -> None:
    assert roll_out_cores(size, instances) == needed


@given(st.integers(1, 50), st.sampled_from(["Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4"]))
def test_a_roll_out_never_takes_less_than_two_deployments(instances: int, size: str) -> None:
    assert roll_out_cores(size, instances) >= 2 * instances * cores(size)


def test_a_production_stack_needs_all_of_it_at_once() -> None:
    message = refused(production="true")
    for dial in ("alerts", "privateNetwork", "purgeProtection", "protect", "alertEmails", "leaseCap"):
        assert f"'{dial}'" in message


def test_every_committed_stack_file_keeps_every_rule() -> None:
    for path in ROOT.glob("Pulumi.*.yaml"):
        Settings.read(stack_file(path.name.split(".")[1]))
