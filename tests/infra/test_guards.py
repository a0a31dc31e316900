"""What only creation can set stays as it was made: each such property, in every direction. The engine's part is in
`test_stacks_twice`."""

from __future__ import annotations

from typing import Any

import pytest

from infra.guards import objections

NETWORK = "managedNetwork.isolationMode"


def nested(path: str, value: Any) -> dict[str, Any]:
    for step in reversed(path.split(".")):
        value = {step: value}
    return dict(value)


@pytest.mark.parametrize(
    ("kind", "path", "before", "after"),
    [
        ("storage", "encryption.requireInfrastructureEncryption", None, True),
        ("storage", "encryption.requireInfrastructureEncryption", True, None),
        ("storage", "publicNetworkAccess", "Disabled", None),
        ("vault", "properties.enablePurgeProtection", True, None),
        ("vault", "properties.softDeleteRetentionInDays", 7.0, 90.0),
        ("vault", "properties.publicNetworkAccess", "Disabled", "Enabled"),
        ("workspace", "hbiWorkspace", None, True),
        ("workspace", "hbiWorkspace", True, False),
        ("workspace", "enableDataIsolation", False, True),
        ("workspace", "storageAccount", "/subscriptions/s/a", "/subscriptions/s/b"),
        ("workspace", "storageAccount", "/subscriptions/s/a", None),
        ("workspace", "keyVault", "/subscriptions/s/a", "/subscriptions/s/b"),
        ("workspace", NETWORK, "AllowOnlyApprovedOutbound", "AllowInternetOutbound"),
        ("workspace", NETWORK, "AllowOnlyApprovedOutbound", None),
        ("workspace", NETWORK, "AllowInternetOutbound", "Disabled"),
        ("workspace", "identity.type", "UserAssigned", "SystemAssigned"),
        ("workspace", "identity.type", "SystemAssigned,UserAssigned", "SystemAssigned"),
    ],
)
def test_a_change_of_what_creation_fixed_is_refused_with_the_way_out(
    kind: str, path: str, before: Any, after: Any
) -> None:
    (said,) = objections(kind, nested(path, before), nested(path, after))
    assert f"'{path}' would change" in said
    assert "pulumi config set" in said or "another stack" in said


@pytest.mark.parametrize(
    ("kind", "path", "before", "after"),
    [
        ("storage", "encryption.requireInfrastructureEncryption", None, False),
        ("storage", "publicNetworkAccess", None, "Disabled"),
        ("vault", "properties.enablePurgeProtection", None, True),
        ("vault", "properties.softDeleteRetentionInDays", None, 90.0),
        ("workspace", "hbiWorkspace", False, None),
        ("workspace", "storageAccount", "/subscriptions/s/resourceGroups/A", "/subscriptions/s/resourcegroups/a"),
        ("workspace", NETWORK, None, "AllowOnlyApprovedOutbound"),
        ("workspace", NETWORK, "Disabled", "AllowInternetOutbound"),
        ("workspace", NETWORK, "AllowInternetOutbound", "AllowOnlyApprovedOutbound"),
        ("workspace", "identity.type", "UserAssigned", "UserAssigned"),
    ],
)
def test_what_azure_takes_is_let_through(kind: str, path: str, before: Any, after: Any) -> None:
    assert objections(kind, nested(path, before), nested(path, after)) == []


def test_the_way_out_names_the_value_that_was_there() -> None:
    (said,) = objections("vault", {"properties": {"softDeleteRetentionInDays": 7.0}}, {"properties": {}})
    assert "from '7' to '90'" in said
    assert "pulumi config set vaultDays 7" in said


def test_all_objections_are_told_together() -> None:
    assert len(objections("workspace", {"hbiWorkspace": True, "keyVault": "a"}, {"keyVault": "b"})) == 2
