"""What becomes of a workspace over time: soft delete and recovery, what creation fixed, its managed network."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.client import CallFailed
from tests.localcloud.services.conftest import STORAGE, VAULT, VERSION, WORKSPACE, Account, make_workspace, place

RULES = f"{WORKSPACE}/outboundRules"
ISOLATED = {"isolationMode": "AllowOnlyApprovedOutbound"}
FQDN = {"type": "FQDN", "destination": "pypi.org"}
CLUSTER = {
    "location": "eastus",
    "properties": {
        "computeType": "AmlCompute",
        "properties": {"vmSize": "Standard_DS3_v2", "scaleSettings": {"minNodeCount": 0, "maxNodeCount": 1}},
    },
}


def network(account: Account) -> dict[str, Any]:
    found: dict[str, Any] = account.cloud.arm("GET", WORKSPACE + VERSION)["properties"]["managedNetwork"]
    return found


def put_rule(account: Account, name: str, rule: dict[str, Any]) -> Any:
    return account.cloud.arm("PUT", f"{RULES}/{name}{VERSION}", {"properties": rule})


# -- soft delete -----------------------------------------------------------------------------------------------


def test_a_recovered_workspace_is_the_same_one_with_its_data_and_without_its_clusters(
    workspace: dict[str, Any], account: Account
) -> None:
    account.cloud.arm("PUT", f"{WORKSPACE}/computes/cpu-cluster{VERSION}", CLUSTER)
    account.cloud.arm("DELETE", WORKSPACE + VERSION)
    again = make_workspace(account.cloud, allowRecoverSoftDeletedWorkspace="True")
    assert again["properties"]["workspaceId"] == workspace["properties"]["workspaceId"]
    assert again["identity"]["principalId"] == workspace["identity"]["principalId"]
    assert account.cloud.arm("GET", f"{WORKSPACE}/datastores/workspaceblobstore{VERSION}")["name"]
    assert account.cloud.arm("GET", f"{WORKSPACE}/computes{VERSION}")["value"] == []


def test_a_workspace_without_its_storage_is_read_and_deleted_and_not_recovered(
    workspace: dict[str, Any], account: Account
) -> None:
    account.cloud.cloud.store.delete(STORAGE)
    assert account.cloud.arm("GET", WORKSPACE + VERSION)["name"] == "ws"
    with pytest.raises(CallFailed, match=r"storage account '.*/acct' is gone"):
        account.cloud.arm("POST", f"{WORKSPACE}/listKeys{VERSION}")
    with pytest.raises(CallFailed, match=r"'storageAccount' names '.*/acct', which does not exist"):
        make_workspace(account.cloud, description="changed")
    account.cloud.arm("DELETE", WORKSPACE + VERSION)
    place(account.cloud, STORAGE)
    account.cloud.cloud.store.delete(VAULT)
    with pytest.raises(CallFailed, match=r"'keyVault' names '.*/kv', which does not exist"):
        make_workspace(account.cloud, allowRecoverSoftDeletedWorkspace="True")


# -- what creation fixed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"hbiWorkspace": True}),
        ({"hbiWorkspace": True}, {"hbiWorkspace": False}),
        ({}, {"enableDataIsolation": True}),
        ({}, {"encryption": {"status": "Enabled", "keyVaultProperties": {}}}),
    ],
)
def test_what_only_creation_can_set_is_not_changed(
    first: dict[str, Any], second: dict[str, Any], account: Account
) -> None:
    place(account.cloud, VAULT, {"softDeleteRetentionInDays": 7})
    made = make_workspace(account.cloud, **first)
    with pytest.raises(CallFailed, match=f"'{next(iter(second))}' of a workspace cannot be changed after creation"):
        make_workspace(account.cloud, **second)
    # Left out, it stays what it was.
    again = make_workspace(account.cloud)
    assert again["properties"]["hbiWorkspace"] == made["properties"]["hbiWorkspace"] == first.get("hbiWorkspace", False)


def test_a_workspace_in_no_region_is_refused(account: Account) -> None:
    place(account.cloud, VAULT)
    body = {"location": "mars", "properties": {"storageAccount": STORAGE, "keyVault": VAULT}}
    with pytest.raises(CallFailed, match=r"LocationNotAvailableForResourceType.*'mars'.*eastus"):
        account.cloud.arm("PUT", WORKSPACE + VERSION, body)


# -- the managed network ---------------------------------------------------------------------------------------


def test_an_isolated_network_has_the_services_own_rules_and_grows_ones_own(
    workspace: dict[str, Any], account: Account
) -> None:
    make_workspace(account.cloud, managedNetwork=ISOLATED)
    assert {rule["category"] for rule in network(account)["outboundRules"].values()} == {"Required"}
    made = put_rule(account, "pypi", FQDN)
    assert made["properties"] == {**FQDN, "category": "UserDefined", "status": "Inactive"}
    assert "pypi" in network(account)["outboundRules"]
    listed = account.cloud.arm("GET", RULES + VERSION)["value"]
    assert len(listed) == 4
    account.cloud.arm("DELETE", f"{RULES}/pypi{VERSION}")
    with pytest.raises(CallFailed, match="ResourceNotFound"):
        account.cloud.arm("GET", f"{RULES}/pypi{VERSION}")


def test_a_put_of_the_workspace_leaves_rules_that_it_does_not_name(workspace: Any, account: Account) -> None:
    make_workspace(account.cloud, managedNetwork=ISOLATED)
    put_rule(account, "pypi", FQDN)
    make_workspace(account.cloud, managedNetwork=ISOLATED, description="changed")
    assert "pypi" in network(account)["outboundRules"]


def test_the_services_own_rules_are_not_ones_own(workspace: Any, account: Account) -> None:
    make_workspace(account.cloud, managedNetwork=ISOLATED)
    name = next(iter(network(account)["outboundRules"]))
    with pytest.raises(CallFailed, match="cannot be deleted"):
        account.cloud.arm("DELETE", f"{RULES}/{name}{VERSION}")
    with pytest.raises(CallFailed, match="cannot be changed"):
        put_rule(account, name, FQDN)


@pytest.mark.parametrize("how", ["asked", "first-compute", "at-creation"])
def test_the_network_becomes_active(how: str, workspace: Any, account: Account) -> None:
    make_workspace(account.cloud, managedNetwork=ISOLATED, provisionNetworkNow=how == "at-creation")
    if how != "at-creation":
        assert network(account)["status"]["status"] == "Inactive"
    if how == "asked":
        done = account.cloud.arm("POST", f"{WORKSPACE}/provisionManagedNetwork{VERSION}", {"includeSpark": False})
        assert done == {"status": "Active", "sparkReady": False}
    if how == "first-compute":
        account.cloud.arm("PUT", f"{WORKSPACE}/computes/cpu-cluster{VERSION}", CLUSTER)
    assert network(account)["status"]["status"] == "Active"


@pytest.mark.parametrize(
    ("mode", "rule", "expected"),
    [
        ("Disabled", FQDN, "needs a managed network"),
        ("AllowInternetOutbound", FQDN, "needs the isolationMode AllowOnlyApprovedOutbound"),
        ("AllowOnlyApprovedOutbound", {**FQDN, "destination": "https://pypi.org/x"}, "is no name of a host"),
        ("AllowOnlyApprovedOutbound", {"type": "Wormhole"}, "'Wormhole' of the outbound rule 'r' is not FQDN"),
        (
            "AllowInternetOutbound",
            {"type": "PrivateEndpoint", "destination": {"serviceResourceId": STORAGE, "subresourceTarget": "vault"}},
            "'vault' of the outbound rule 'r' is not one of blob",
        ),
        (
            "AllowInternetOutbound",
            {"type": "PrivateEndpoint", "destination": {"serviceResourceId": STORAGE + "9"}},
            "acct9' of the outbound rule 'r' does not exist",
        ),
        ("AllowOnlyApprovedOutbound", {"type": "ServiceTag", "destination": {"serviceTag": "x"}}, "lacks protocol"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(
    mode: str, rule: dict[str, Any], expected: str, workspace: Any, account: Account
) -> None:
    make_workspace(account.cloud, managedNetwork={"isolationMode": mode})
    with pytest.raises(CallFailed, match=expected):
        put_rule(account, "r", rule)


def test_the_sdk_reads_the_rules(ml: Any, account: Account) -> None:
    make_workspace(account.cloud, managedNetwork=ISOLATED)
    put_rule(account, "pypi", FQDN)
    assert "pypi" in [rule.name for rule in ml.workspace_outbound_rules.list("ws")]
    assert ml.workspace_outbound_rules.get("ws", "pypi").destination == "pypi.org"
    assert ml.workspaces.begin_provision_network(workspace_name="ws").result().status == "Active"
