"""Virtual networks, their subnets and network security groups, as ARM knows them: no packet goes through one.

A network's `properties.subnets` and the subnets below it are the same; either way of writing shows in the other.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from starlette.routing import Route

from localcloud.arm import ArmError, envelope
from localcloud.cloud import Cloud
from localcloud.services.tracked import GROUP, TrackedResources, TrackedType
from localcloud.store import Body

NETWORKS = "Microsoft.Network/virtualNetworks"
SUBNETS = f"{NETWORKS}/subnets"
ENDPOINTS = "Microsoft.Network/privateEndpoints"
SECURITY_GROUPS = "Microsoft.Network/networkSecurityGroups"


def routes(cloud: Cloud) -> list[Route]:
    return [
        *TrackedResources(cloud, _NETWORK).routes(),
        *TrackedResources(cloud, _SUBNET).routes(),
        *TrackedResources(cloud, _SECURITY_GROUP).routes(),
    ]


# -- model: networks -------------------------------------------------------------------------------------------


def _prefixes(texts: list[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            raise ArmError(
                400, "InvalidCIDRNotation", f"The address prefix '{text}' is not in CIDR notation."
            ) from None
    return found


def _spaces(network: Body) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    prefixes = ((network.get("properties") or {}).get("addressSpace") or {}).get("addressPrefixes") or []
    return _prefixes(prefixes)


def _check_network(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    if not _spaces(body):
        raise ArmError(
            400, "InvalidRequestFormat", "A virtual network needs 'properties.addressSpace.addressPrefixes'."
        )
    sent = (body.get("properties") or {}).get("subnets")
    if sent is None:
        # Azure takes a PUT without the member as one without any.
        sent = []
    names = {str(subnet.get("name")).lower() for subnet in sent}
    for subnet in cloud.store.children(wanted, "subnets"):
        if subnet["name"].lower() not in names:
            _refuse_in_use(cloud, subnet)
    for subnet in sent:
        _check_subnet_in(
            cloud, body, f"{wanted}/subnets/{subnet.get('name')}", subnet, [one for one in sent if one is not subnet]
        )


def _keep_subnets(cloud: Cloud, network: Body) -> None:
    """Make the subnets below the network those that its body names."""
    named = {subnet["name"].lower(): subnet for subnet in network["properties"].get("subnets") or []}
    for subnet in cloud.store.children(network["id"], "subnets"):
        if subnet["name"].lower() not in named:
            cloud.store.delete(subnet["id"])
    for subnet in named.values():
        wanted = f"{network['id']}/subnets/{subnet['name']}"
        properties = (subnet.get("properties") or {}) | _subnet_shape(cloud, wanted, subnet, None)
        cloud.store.put(wanted, envelope(wanted, {"properties": properties}, None, cloud.clock.now()))
    show_subnets(cloud, network["id"])


def show_subnets(cloud: Cloud, network_id: str) -> None:
    """Write the subnets into the body of their network, as Azure answers it."""
    network = cloud.store.get(network_id)
    if network:
        network["properties"]["subnets"] = [
            {name: subnet[name] for name in ("id", "name", "type", "properties")}
            for subnet in cloud.store.children(network["id"], "subnets")
        ]
        cloud.store.put(network["id"], network)


def _network_unused(cloud: Cloud, found: Body) -> None:
    for subnet in cloud.store.children(found["id"], "subnets"):
        _refuse_in_use(cloud, subnet)


_NETWORK = TrackedType(
    NETWORKS,
    r"[a-zA-Z0-9][\w.-]{0,62}[a-zA-Z0-9_]",
    top=("extendedLocation",),
    required=("properties.addressSpace",),
    members=(
        *("addressSpace", "bgpCommunities", "ddosProtectionPlan", "dhcpOptions", "enableDdosProtection"),
        *("enableVmProtection", "encryption", "flowTimeoutInMinutes", "ipAllocations", "privateEndpointVNetPolicies"),
        *("subnets", "virtualNetworkPeerings"),
    ),
    read_only=("provisioningState", "resourceGuid", "flowLogs"),
    check=_check_network,
    shape=lambda cloud, wanted, body, old: {"provisioningState": "Succeeded"},
    on_put=_keep_subnets,
    may_delete=_network_unused,
)

# -- model: subnets --------------------------------------------------------------------------------------------


def users(cloud: Cloud, subnet_id: str) -> Iterator[str]:
    """Ids of what stands in a subnet: private endpoints."""
    for found in cloud.store.beneath("/subscriptions", ENDPOINTS):
        if str((found["properties"].get("subnet") or {}).get("id")).lower() == subnet_id.lower():
            yield found["id"]


def _refuse_in_use(cloud: Cloud, subnet: Body) -> None:
    used = next(users(cloud, subnet["id"]), None)
    if used:
        raise ArmError(
            400,
            "InUseSubnetCannotBeDeleted",
            f"Subnet {subnet['name']} is in use by {used} and cannot be deleted. In order to delete the subnet, "
            "delete all the resources within the subnet. See aka.ms/deletesubnet.",
        )


def _check_subnet(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    network_id = wanted.rpartition("/subnets/")[0]
    network = cloud.store.get(network_id) or {}
    others = [one for one in cloud.store.children(network_id, "subnets") if one["id"].lower() != wanted.lower()]
    _check_subnet_in(cloud, network, wanted, body, others)


def _ranges(subnet: Body) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    properties = subnet.get("properties") or {}
    return _prefixes(properties.get("addressPrefixes") or [properties.get("addressPrefix") or ""])


def _check_subnet_in(cloud: Cloud, network: Body, wanted: str, subnet: Body, others: list[Body]) -> None:
    name, network_name = wanted.rpartition("/")[2], wanted.rpartition("/subnets/")[0].rpartition("/")[2]
    spaces = _spaces(network)
    for own in _ranges(subnet):
        if not any(own.version == space.version and own.subnet_of(space) for space in spaces):  # type: ignore[arg-type]
            raise ArmError(
                400,
                "NetcfgInvalidSubnet",
                f"Subnet '{name}' is not valid because its IP address range is outside the IP address range of "
                f"virtual network '{network_name}'.",
            )
        for other in others:
            if any(own.version == theirs.version and own.overlaps(theirs) for theirs in _ranges(other)):
                raise ArmError(
                    400,
                    "NetcfgSubnetRangesOverlap",
                    f"Subnet '{name}' is not valid because its IP address range overlaps with that of an existing "
                    f"subnet in virtual network '{network_name}'.",
                )
    group = ((subnet.get("properties") or {}).get("networkSecurityGroup") or {}).get("id")
    if group and cloud.store.get(group) is None:
        raise ArmError(
            400, "InvalidResourceReference", f"Resource {group} referenced by resource {wanted} was not found."
        )


def _subnet_shape(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> Body:
    sent = body.get("properties") or {}
    return {
        "delegations": sent.get("delegations") or [],
        "privateEndpointNetworkPolicies": sent.get("privateEndpointNetworkPolicies") or "Disabled",
        "privateLinkServiceNetworkPolicies": sent.get("privateLinkServiceNetworkPolicies") or "Enabled",
        "provisioningState": "Succeeded",
    }


_SUBNET = TrackedType(
    SUBNETS,
    r"[a-zA-Z0-9]([\w.-]{0,78}[a-zA-Z0-9_])?",
    under=f"{GROUP}/providers/{NETWORKS}/{{network}}",
    home="none",
    members=(
        *("addressPrefix", "addressPrefixes", "applicationGatewayIPConfigurations", "defaultOutboundAccess"),
        *("delegations", "ipAllocations", "ipamPoolPrefixAllocations", "natGateway", "networkSecurityGroup"),
        *("privateEndpointNetworkPolicies", "privateLinkServiceNetworkPolicies", "routeTable"),
        *("serviceEndpointPolicies", "serviceEndpoints", "sharingScope"),
    ),
    read_only=(
        *("provisioningState", "purpose", "privateEndpoints", "ipConfigurations", "ipConfigurationProfiles"),
        *("resourceNavigationLinks", "serviceAssociationLinks"),
    ),
    check=_check_subnet,
    shape=_subnet_shape,
    on_put=lambda cloud, found: show_subnets(cloud, found["id"].rpartition("/subnets/")[0]),
    may_delete=_refuse_in_use,
    after_delete=lambda cloud, found: show_subnets(cloud, found["id"].rpartition("/subnets/")[0]),
)

# -- model: security groups ------------------------------------------------------------------------------------


def _check_security_group(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    taken: dict[tuple[str, int], str] = {}
    for rule in (body.get("properties") or {}).get("securityRules") or []:
        name, told = rule.get("name"), rule.get("properties") or {}
        priority, direction = told.get("priority"), str(told.get("direction"))
        if not isinstance(priority, int) or not 100 <= priority <= 4096:
            raise ArmError(
                400,
                "SecurityRuleInvalidPriority",
                f"Security rule {name} has invalid Priority. Value provided: {priority} Allowed range 100-4096.",
            )
        if (direction, priority) in taken:
            raise ArmError(
                400,
                "SecurityRuleConflict",
                f"Security rule {name} conflicts with rule {taken[direction, priority]}. Rules cannot have the same "
                "Priority and Direction.",
            )
        taken[direction, priority] = str(name)


def _rules(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> Body:
    sent = (body.get("properties") or {}).get("securityRules") or []
    shown = [
        {**rule, "id": f"{wanted}/securityRules/{rule.get('name')}", "type": f"{SECURITY_GROUPS}/securityRules"}
        for rule in sent
    ]
    return {"securityRules": shown, "provisioningState": "Succeeded"}


def _group_unused(cloud: Cloud, found: Body) -> None:
    for network in cloud.store.beneath("/subscriptions", NETWORKS):
        for subnet in cloud.store.children(network["id"], "subnets"):
            group = (subnet["properties"].get("networkSecurityGroup") or {}).get("id")
            if str(group).lower() == found["id"].lower():
                raise ArmError(
                    400,
                    "InUseNetworkSecurityGroupCannotBeDeleted",
                    f"Network security group {found['id']} cannot be deleted because it is in use by the following "
                    f"resources: {subnet['id']}.",
                )


_SECURITY_GROUP = TrackedType(
    SECURITY_GROUPS,
    r"[a-zA-Z0-9]([\w.-]{0,78}[a-zA-Z0-9_])?",
    members=("flushConnection", "securityRules"),
    read_only=(
        *("defaultSecurityRules", "flowLogs", "networkInterfaces", "provisioningState", "resourceGuid", "subnets"),
    ),
    check=_check_security_group,
    shape=_rules,
    may_delete=_group_unused,
)
