"""The private network: every way in is private, every way out has a name and a document that asks for it."""

from __future__ import annotations

import re

import pytest

from infra.network import NAMES, PARTS, TAGS, ZONES
from tests.infra.conftest import SUBSCRIPTION, Program, Run, stack_file

SHARED = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-shared/providers/Microsoft.MachineLearningServices/registries/mlr"
)


@pytest.fixture
def private(run: Run) -> Program:
    return run({**stack_file("prod"), "tunestack:sharedRegistry": SHARED}, stack="prod")


def test_each_resource_that_holds_something_is_reached_by_a_private_endpoint_under_its_own_name(
    private: Program,
) -> None:
    reached = {}
    for endpoint in private.of("network:PrivateEndpoint"):
        (connection,) = endpoint.inputs["privateLinkServiceConnections"]
        reached[connection["groupIds"][0]] = connection["privateLinkServiceId"]
        assert endpoint.inputs["subnet"]["id"] == private.one("network:Subnet").id
    account = private.one("storage:StorageAccount").id
    assert reached == {
        "amlworkspace": private.one("machinelearningservices:Workspace").id,
        "blob": account,
        "file": account,
        "vault": private.one("keyvault:Vault").id,
        "registry": private.one("containerregistry:Registry").id,
    }
    assert set(PARTS) == set(ZONES)


def test_every_private_endpoint_has_its_zones_and_every_zone_is_linked_to_the_network(private: Program) -> None:
    zones = {zone.inputs["privateZoneName"]: zone.id for zone in private.of("privatedns:PrivateZone")}
    assert set(zones) == {zone for listed in ZONES.values() for zone in listed}
    grouped = [
        configured["privateDnsZoneId"]
        for group in private.of("network:PrivateDnsZoneGroup")
        for configured in group.inputs["privateDnsZoneConfigs"]
    ]
    assert sorted(grouped) == sorted(zones.values())
    links = private.of("privatedns:VirtualNetworkLink")
    assert {link.inputs["privateZoneName"] for link in links} == set(zones)
    assert all(link.inputs["virtualNetwork"] == {"id": private.one("network:VirtualNetwork").id} for link in links)


def test_every_way_out_names_the_document_that_asks_for_it(private: Program) -> None:
    assert all("learn.microsoft.com/" in one.asked_for_by for one in (*NAMES, *TAGS))
    rules = {
        rule.inputs["ruleName"]: rule.inputs["properties"]
        for rule in private.of("machinelearningservices:ManagedNetworkSettingsRule")
    }
    assert set(rules) == {one.name for one in (*NAMES, *TAGS)} | {"shared-registry"}
    assert rules["pypi"] == {"type": "FQDN", "destination": "pypi.org"}
    assert rules["registry-blobs"]["destination"]["serviceTag"] == "Storage.eastus"
    assert rules["shared-registry"]["destination"] == {"serviceResourceId": SHARED, "subresourceTarget": "amlregistry"}


def test_no_way_out_is_open_to_everything(private: Program) -> None:
    for rule in private.of("machinelearningservices:ManagedNetworkSettingsRule"):
        found = rule.inputs["properties"]
        if found["type"] == "FQDN":
            # how-to-managed-network, Limitations: storage is not reached by name, but by a private endpoint
            assert re.fullmatch(r"(\*\.)?[a-z]+(\.[a-z]+)+", found["destination"])
            assert "core.windows.net" not in found["destination"]
        if found["type"] == "ServiceTag":
            assert found["destination"]["portRanges"] == "443"
            assert found["destination"]["serviceTag"].endswith(".eastus")


def test_machines_wait_for_the_rules_and_images_have_a_cluster_to_be_built_on(private: Program) -> None:
    names = {found.name: found for found in private.of("machinelearningservices:Compute")}
    assert set(names) == {"cpu-cluster", "gpu-cluster", "build-cluster"}
    rules = {rule.name for rule in private.of("machinelearningservices:ManagedNetworkSettingsRule")}
    for cluster in names.values():
        assert rules <= {urn.rpartition("::")[2] for urn in cluster.request.dependencies}
    assert private.one("machinelearningservices:Workspace").inputs["imageBuildCompute"] == "build-cluster"


def test_a_registry_known_by_name_only_gets_no_rule(run: Run) -> None:
    program = run({**stack_file("prod"), "tunestack:sharedRegistry": "mlr-shared"}, stack="prod")
    rules = program.of("machinelearningservices:ManagedNetworkSettingsRule")
    assert "shared-registry" not in {rule.inputs["ruleName"] for rule in rules}
    assert program.outputs["shared_registry"] == "mlr-shared"


def test_what_the_service_adds_to_the_network_is_left_alone(private: Program) -> None:
    workspace = private.one("machinelearningservices:Workspace")
    assert set(workspace.request.ignoreChanges) == {
        "managedNetwork.status",
        "managedNetwork.outboundRules",
        "provisionNetworkNow",
    }
    for rule in private.of("machinelearningservices:ManagedNetworkSettingsRule"):
        assert set(rule.request.ignoreChanges) == {"properties.status", "properties.category"}
