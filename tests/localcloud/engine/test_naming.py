"""Automatic names, and what is refused before Azure is asked."""

from __future__ import annotations

import re
import uuid

import pytest

from localcloud.engine.naming import Named, Problem, Proposal, automatic_name, problems
from localcloud.engine.shapes import shapes_of
from localcloud.engine.table import look_up
from localcloud.engine.values import UNKNOWN

GROUP = look_up("azure-native:resources:ResourceGroup")
DEPLOYMENT = look_up("azure-native:machinelearningservices:OnlineDeployment")
ASSIGNMENT = look_up("azure-native:authorization:RoleAssignment")


def test_a_resource_of_its_own_gets_a_random_suffix_and_a_child_its_logical_name() -> None:
    made = automatic_name(GROUP, "group", b"seed", None)
    assert isinstance(made, Named)
    assert re.fullmatch(r"group[0-9a-f]{8}", made.name)
    assert made.is_random
    assert automatic_name(DEPLOYMENT, "blue", b"seed", None) == Named("blue", is_random=False)


def test_one_seed_makes_one_name_and_no_seed_makes_another_each_time() -> None:
    assert automatic_name(GROUP, "g", b"seed", None) == automatic_name(GROUP, "g", b"seed", None)
    assert automatic_name(GROUP, "g", b"", None) != automatic_name(GROUP, "g", b"", None)


def test_a_role_assignment_is_named_by_a_uuid_whatever_is_proposed() -> None:
    made = automatic_name(ASSIGNMENT, "role", b"seed", Proposal("proposed", "propose"))
    assert isinstance(made, Named)
    assert uuid.UUID(made.name).version == 4


@pytest.mark.parametrize("mode", ["propose", "enforce"])
def test_the_stack_s_autonaming_is_honoured(mode: str) -> None:
    made = automatic_name(GROUP, "group", b"seed", Proposal("group-x", mode))  # type: ignore[arg-type]
    assert isinstance(made, Named)
    assert made.name == "group-x"


def test_disabled_autonaming_asks_for_a_name() -> None:
    made = automatic_name(GROUP, "group", b"seed", Proposal("", "disable"))
    assert isinstance(made, Problem)
    assert "set 'resourceGroupName' of 'group'" in made.reason


def test_all_problems_are_told_at_once_with_their_members() -> None:
    token = "azure-native:machinelearningservices:OnlineEndpoint"
    found = problems(
        look_up(token),
        shapes_of(token),
        {
            "resourceGroupName": UNKNOWN,
            "endpointName": "-bad-",
            "properties": {"auth_mode": "Key"},
            "nonsense": 1,
        },
    )
    assert {problem.member for problem in found} == {
        "workspaceName",
        "properties.authMode",
        "properties.auth_mode",
        "nonsense",
        "endpointName",
    }
    assert any("did you mean 'authMode'" in problem.reason for problem in found)
    assert any("'-bad-'" in problem.reason for problem in found)


def test_inside_lists_and_maps_members_are_checked_too() -> None:
    token = "azure-native:storage:StorageAccount"
    found = problems(
        look_up(token),
        shapes_of(token),
        {
            "resourceGroupName": "rg",
            "kind": "StorageV2",
            "sku": {"name": "Standard_LRS"},
            "tags": {"any key": "is fine"},
            "networkRuleSet": {"ipRules": [{"iPAddressOrRange": "1"}, {"value": "2"}]},
        },
    )
    assert {problem.member for problem in found} == {
        "networkRuleSet.ipRules[1].iPAddressOrRange",
        "networkRuleSet.ipRules[1].value",
    }
