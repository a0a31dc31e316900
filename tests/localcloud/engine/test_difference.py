"""What counts as a change, how it is named, and what forces a replacement."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.engine.difference import changes
from localcloud.engine.table import look_up
from localcloud.engine.values import UNKNOWN, Secret

WORKSPACE = look_up("azure-native:machinelearningservices:Workspace")
STORAGE = look_up("azure-native:storage:StorageAccount")
ASSIGNMENT = look_up("azure-native:authorization:RoleAssignment")


def found(kind: Any, old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, bool]]:
    return [(change.path, change.kind, change.replaces) for change in changes(kind, old, new)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"location": "East US"}, {"location": "eastus"}),
        ({"tags": {"a": "1"}}, {"tags": {"a": "1"}, "__createBeforeDelete": True}),
        ({"azureApiVersion": "2024-10-01"}, {"azureApiVersion": "2025-12-01"}),
        ({"description": Secret("x")}, {"description": "x"}),
        (
            {"identity": {"userAssignedIdentities": ["/b", "/a"]}},
            {"identity": {"userAssignedIdentities": ["/a", "/b"]}},
        ),
    ],
)
def test_what_azure_takes_as_the_same_is_no_change(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert found(WORKSPACE, old, new) == []


def test_a_change_is_named_by_its_path() -> None:
    old = {"tags": {"a.b": "1", "gone": "x"}, "identity": {"userAssignedIdentities": ["/a"]}}
    new = {"tags": {"a.b": "2"}, "identity": {"userAssignedIdentities": ["/b"]}, "description": UNKNOWN}
    assert found(WORKSPACE, old, new) == [
        ("description", "add", False),
        ("identity.userAssignedIdentities", "update", False),
        ('tags["a.b"]', "update", False),
        ("tags.gone", "delete", False),
    ]


def test_items_of_a_list_are_compared_one_by_one() -> None:
    old = {"networkRuleSet": {"ipRules": [{"iPAddressOrRange": "1"}, {"iPAddressOrRange": "2"}]}}
    new = {"networkRuleSet": {"ipRules": [{"iPAddressOrRange": "9"}]}}
    assert found(STORAGE, old, new) == [
        ("networkRuleSet.ipRules[0].iPAddressOrRange", "update", False),
        ("networkRuleSet.ipRules[1]", "delete", False),
    ]


@pytest.mark.parametrize(
    ("kind", "name", "old", "new"),
    [
        (WORKSPACE, "workspaceName", "a", "b"),
        (WORKSPACE, "resourceGroupName", "a", UNKNOWN),
        (WORKSPACE, "location", "eastus", "westus"),
        (STORAGE, "isHnsEnabled", False, True),
        (ASSIGNMENT, "principalId", "a", UNKNOWN),
        (ASSIGNMENT, "scope", "/a", "/b"),
    ],
)
def test_what_cannot_be_changed_in_place_forces_a_replacement(kind: Any, name: str, old: Any, new: Any) -> None:
    assert found(kind, {name: old}, {name: new}) == [(name, "update", True)]
