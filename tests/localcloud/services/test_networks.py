"""Networks, private endpoints and DNS zones: what refers to what, what is in use, what the targets show."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.client import CallFailed
from tests.conftest import RunningCloud
from tests.localcloud.services.conftest import GROUP, STORAGE, VAULT, Account, make_workspace, place

PROVIDER = f"{GROUP}/providers/Microsoft.Network"
VNET, PE = f"{PROVIDER}/virtualNetworks/vnet", f"{PROVIDER}/privateEndpoints/pe"
SUBNET = f"{VNET}/subnets/endpoints"
ZONE = f"{PROVIDER}/privateDnsZones/privatelink.blob.core.windows.net"
NSG = f"{PROVIDER}/networkSecurityGroups/nsg"
IMAGES = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/images1"


def put(cloud: RunningCloud, path: str, body: Any) -> Any:
    return cloud.arm("PUT", f"{path}?api-version=2024-05-01", body)


def get(cloud: RunningCloud, path: str) -> Any:
    return cloud.arm("GET", f"{path}?api-version=2024-05-01")


def delete(cloud: RunningCloud, path: str) -> Any:
    return cloud.arm("DELETE", f"{path}?api-version=2024-05-01")


def network(*subnets: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}}
    if subnets:
        properties["subnets"] = list(subnets)
    return {"location": "eastus", "properties": properties}


def subnet(prefix: str, **properties: Any) -> dict[str, Any]:
    return {"properties": {"addressPrefix": prefix, **properties}}


def endpoint(target: str, group: str, subnet_id: str = SUBNET) -> dict[str, Any]:
    connection = {"name": "c", "properties": {"privateLinkServiceId": target, "groupIds": [group]}}
    return {
        "location": "eastus",
        "properties": {"subnet": {"id": subnet_id}, "privateLinkServiceConnections": [connection]},
    }


@pytest.fixture
def cloud(account: Account) -> RunningCloud:
    put(account.cloud, VNET, network())
    put(account.cloud, SUBNET, subnet("10.0.1.0/24"))
    return account.cloud


def test_subnets_of_their_own_show_in_the_network_and_the_other_way_round(cloud: RunningCloud) -> None:
    assert [one["name"] for one in get(cloud, VNET)["properties"]["subnets"]] == ["endpoints"]
    put(cloud, VNET, network({"name": "endpoints", **subnet("10.0.1.0/24")}, {"name": "more", **subnet("10.0.2.0/24")}))
    assert get(cloud, f"{VNET}/subnets/more")["properties"]["addressPrefix"] == "10.0.2.0/24"
    delete(cloud, f"{VNET}/subnets/more")
    assert [one["name"] for one in get(cloud, VNET)["properties"]["subnets"]] == ["endpoints"]


def test_a_put_of_a_network_without_its_subnets_takes_them_away(cloud: RunningCloud) -> None:
    put(cloud, VNET, network())
    with pytest.raises(CallFailed, match="ResourceNotFound"):
        get(cloud, SUBNET)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("10.1.0.0/24", r"NetcfgInvalidSubnet.*'more'.*virtual network 'vnet'"),
        ("10.0.1.128/25", r"NetcfgSubnetRangesOverlap.*'more'"),
        ("10.0.1.1/24", r"InvalidCIDRNotation.*'10.0.1.1/24'"),
        ("fd00::/64", "NetcfgInvalidSubnet"),
    ],
)
def test_a_range_that_does_not_fit_is_refused(prefix: str, expected: str, cloud: RunningCloud) -> None:
    with pytest.raises(CallFailed, match=expected):
        put(cloud, f"{VNET}/subnets/more", subnet(prefix))


def test_what_is_in_use_stays(cloud: RunningCloud) -> None:
    put(cloud, PE, endpoint(STORAGE, "blob"))
    for path in (SUBNET, VNET):
        with pytest.raises(CallFailed, match=f"InUseSubnetCannotBeDeleted.*{PE}"):
            delete(cloud, path)
    with pytest.raises(CallFailed, match="InUseSubnetCannotBeDeleted"):
        put(cloud, VNET, network())
    delete(cloud, PE)
    delete(cloud, VNET)


def test_a_private_endpoint_shows_at_its_target_until_it_goes(cloud: RunningCloud) -> None:
    put(cloud, STORAGE + "2", {"location": "eastus", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}})
    made = put(cloud, PE, endpoint(STORAGE + "2", "blob"))
    assert made["properties"]["customDnsConfigs"] == [
        {"fqdn": "acct2.blob.core.windows.net", "ipAddresses": ["10.0.1.4"]}
    ]
    (shown,) = get(cloud, STORAGE + "2")["properties"]["privateEndpointConnections"]
    assert shown["properties"]["privateEndpoint"]["id"] == PE
    assert shown["properties"]["privateLinkServiceConnectionState"]["status"] == "Approved"
    # A later PUT of the target does not forget it.
    put(cloud, STORAGE + "2", {"location": "eastus", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "tags": {}})
    assert get(cloud, STORAGE + "2")["properties"]["privateEndpointConnections"] == [shown]
    delete(cloud, PE)
    assert get(cloud, STORAGE + "2")["properties"]["privateEndpointConnections"] == []


def test_a_workspace_shows_its_private_endpoint_and_keeps_it(account: Account, cloud: RunningCloud) -> None:
    place(cloud, VAULT, {"softDeleteRetentionInDays": 7})
    workspace = make_workspace(cloud)
    made = put(cloud, PE, endpoint(workspace["id"], "amlworkspace"))
    (name,) = [one["fqdn"] for one in made["properties"]["customDnsConfigs"]]
    assert name == f"{workspace['properties']['workspaceId']}.workspace.eastus.api.azureml.ms"
    again = make_workspace(cloud, description="changed")
    assert len(again["properties"]["privateEndpointConnections"]) == 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (endpoint(STORAGE, "blob", SUBNET + "2"), r"InvalidResourceReference.*subnets/endpoints2"),
        (endpoint(STORAGE + "9", "blob"), r"InvalidResourceReference.*acct9"),
        (endpoint(STORAGE, "vault"), r"InvalidPrivateLinkServiceGroupId.*'vault' is not one of blob, file"),
        (endpoint(VNET, "blob"), r"NotImplemented.*virtualNetworks"),
        ({"location": "eastus", "properties": {"subnet": {"id": SUBNET}}}, "connects to nothing"),
    ],
)
def test_an_endpoint_that_leads_nowhere_is_refused(body: Any, expected: str, cloud: RunningCloud) -> None:
    with pytest.raises(CallFailed, match=expected):
        put(cloud, PE, body)


def test_a_container_registry_needs_premium_for_what_is_private(cloud: RunningCloud) -> None:
    body: dict[str, Any] = {"location": "eastus", "sku": {"name": "Basic"}}
    put(cloud, IMAGES, body)
    with pytest.raises(CallFailed, match=r"FeatureNotSupportedForRegistrySku.*'images1' has Basic"):
        put(cloud, PE, endpoint(IMAGES, "registry"))
    closed = {"publicNetworkAccess": "Disabled", "policies": {"exportPolicy": {"status": "disabled"}}}
    with pytest.raises(CallFailed, match="only Premium has: publicNetworkAccess Disabled, exportPolicy disabled"):
        put(cloud, IMAGES, {**body, "properties": closed})
    premium = {**body, "sku": {"name": "Premium"}}
    put(cloud, IMAGES, {**premium, "properties": closed})
    put(cloud, PE, endpoint(IMAGES, "registry"))
    with pytest.raises(CallFailed, match="InvalidExportPolicy"):
        put(cloud, IMAGES, {**premium, "properties": {**closed, "publicNetworkAccess": "Enabled"}})


def test_a_zone_with_links_stays_and_a_network_is_linked_once(cloud: RunningCloud) -> None:
    put(cloud, ZONE, {"location": "global"})
    link = {"location": "global", "properties": {"virtualNetwork": {"id": VNET}}}
    put(cloud, f"{ZONE}/virtualNetworkLinks/one", link)
    with pytest.raises(CallFailed, match=r"Conflict.*linked by 'one'"):
        put(cloud, f"{ZONE}/virtualNetworkLinks/two", link)
    with pytest.raises(CallFailed, match=r"CannotDeleteResource.*virtualNetworkLinks/one"):
        delete(cloud, ZONE)
    delete(cloud, f"{ZONE}/virtualNetworkLinks/one")
    delete(cloud, ZONE)


def test_a_zone_is_nowhere_but_in_global(cloud: RunningCloud) -> None:
    with pytest.raises(CallFailed, match=r"LocationNotAvailableForResourceType.*'eastus'.*'global'"):
        put(cloud, ZONE, {"location": "eastus"})
    with pytest.raises(CallFailed, match=r"virtual network '.*/vnet9' of the link was not found"):
        put(cloud, ZONE, {"location": "global"})
        link = {"location": "global", "properties": {"virtualNetwork": {"id": VNET + "9"}}}
        put(cloud, f"{ZONE}/virtualNetworkLinks/one", link)


def test_a_zone_group_names_zones_that_exist(cloud: RunningCloud) -> None:
    put(cloud, PE, endpoint(STORAGE, "blob"))
    config = {"name": "blob", "properties": {"privateDnsZoneId": ZONE}}
    with pytest.raises(CallFailed, match=r"InvalidResourceReference.*privatelink.blob"):
        put(cloud, f"{PE}/privateDnsZoneGroups/default", {"properties": {"privateDnsZoneConfigs": [config]}})
    put(cloud, ZONE, {"location": "global"})
    made = put(cloud, f"{PE}/privateDnsZoneGroups/default", {"properties": {"privateDnsZoneConfigs": [config]}})
    assert made["type"] == "Microsoft.Network/privateEndpoints/privateDnsZoneGroups"


def test_rules_of_a_security_group_do_not_share_a_priority(cloud: RunningCloud) -> None:
    def rule(name: str, priority: int) -> dict[str, Any]:
        return {"name": name, "properties": {"priority": priority, "direction": "Inbound", "access": "Deny"}}

    with pytest.raises(CallFailed, match=r"SecurityRuleConflict.*b conflicts with rule a"):
        put(cloud, NSG, {"location": "eastus", "properties": {"securityRules": [rule("a", 100), rule("b", 100)]}})
    with pytest.raises(CallFailed, match=r"SecurityRuleInvalidPriority.*99 Allowed range 100-4096"):
        put(cloud, NSG, {"location": "eastus", "properties": {"securityRules": [rule("a", 99)]}})
    put(cloud, NSG, {"location": "eastus", "properties": {"securityRules": [rule("a", 100)]}})
    put(cloud, SUBNET, subnet("10.0.1.0/24", networkSecurityGroup={"id": NSG}))
    with pytest.raises(CallFailed, match=f"InUseNetworkSecurityGroupCannotBeDeleted.*{SUBNET}"):
        delete(cloud, NSG)
