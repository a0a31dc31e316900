"""Every dial is checked, all problems are told at once, and what is declared is what is read."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from infra.dials import DIALS, Operator
from infra.settings import Settings, SettingsError
from tests.infra.conftest import ROOT, project_defaults, stack_file

OPERATOR = "aaaaaaaa-0000-0000-0000-00000000000A"


def refused(**changed: str) -> str:
    with pytest.raises(SettingsError) as error:
        Settings.read({**project_defaults(), **{f"tunestack:{key}": value for key, value in changed.items()}})
    return str(error.value)


def test_pulumi_yaml_declares_exactly_the_dials_that_are_read_each_with_a_description_and_a_default() -> None:
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    assert list(declared) == list(DIALS)
    assert all(dial["description"] and "default" in dial for dial in declared.values())
    assert len(DIALS) == len(fields(Settings))


@pytest.mark.parametrize("stack", ["local", "dev", "prod"])
def test_every_committed_stack_file_can_be_read(stack: str) -> None:
    assert Settings.read(stack_file(stack)).location == "eastus"


def test_no_committed_stack_file_holds_a_secret() -> None:
    for path in ROOT.glob("Pulumi.*.yaml"):
        assert "secure:" not in path.read_text(), path


def test_types_are_those_of_the_fields() -> None:
    found = Settings.read({**project_defaults(), "tunestack:operators": json.dumps([f"User:{OPERATOR}"])})
    assert found.cpu_nodes == 2
    assert found.protect is False
    assert found.operators == (Operator("User", OPERATOR.lower()),)
    with pytest.raises(FrozenInstanceError):
        found.cpu_nodes = 3  # type: ignore[misc]


def test_all_problems_are_told_together_each_with_the_value_and_the_command() -> None:
    message = refused(cpuSize="big", gpuNodes="0", gpuNods="1", protect="maybe")
    assert "'tunestack:cpuSize' is 'big'" in message
    assert "pulumi config set cpuSize Standard_D4ds_v5" in message
    assert "pulumi config set gpuNodes 1" in message
    assert "did you mean 'gpuNodes'? pulumi config rm gpuNods" in message
    assert "'maybe'" in message


def test_a_setting_that_is_missing_is_named_with_the_command() -> None:
    with pytest.raises(SettingsError, match="pulumi config set location eastus"):
        Settings.read({})


def test_settings_of_other_namespaces_are_left_alone() -> None:
    Settings.read({**project_defaults(), "azure-native:location": "westeurope", "aws:region": "x"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("location", "East US"),
        ("cpuSize", "Standard_NC24ads_A100_v4"),
        ("gpuSize", "Standard_D4ds_v5"),
        ("gpuPriority", "Spot"),
        ("endpointAuthMode", "key"),
        ("vaultDays", "6"),
        ("logDays", "29"),
        ("idleMinutes", "2.5"),
        ("gpuNodes", "١"),
        ("operators", "somebody"),
        ("operators", '["User:me"]'),
        ("operators", f'["User:{OPERATOR}", "User:{OPERATOR}"]'),
        ("owner", "a<b"),
    ],
)
def test_a_value_that_azure_would_not_take_is_refused_by_name(key: str, value: str) -> None:
    assert f"'tunestack:{key}' is '{value}'" in refused(**{key: value})


@given(st.sampled_from(sorted(DIALS)), st.text(max_size=30) | st.sampled_from(["true", "1", "registry"]))
def test_any_text_is_read_or_refused_by_the_name_of_its_dial(key: str, value: str) -> None:
    message = ""
    try:
        Settings.read({**project_defaults(), f"tunestack:{key}": value})
    except SettingsError as error:
        message = str(error)
    # Refused by itself it is named with its value; refused by a rule, among the others that the rule is about.
    assert message == "" or f"'tunestack:{key}' is" in message or f"'{key}' is" in message


@pytest.mark.parametrize("key", DIALS)
def test_the_example_that_an_error_gives_is_one_that_is_taken(key: str) -> None:
    dial = DIALS[key]
    example = dial.example.replace("<object id>", OPERATOR)
    dial.read(json.dumps([example]) if dial.is_list else example)
