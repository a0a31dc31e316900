"""Private endpoints: a resource's address inside a subnet, and the DNS zones that its names are written to.

No network is built: an endpoint is approved at once, its target shows the connection, its addresses are the next free
ones of the subnet. Who stands inside a network is said by the caller, see `network_access`.
"""

from __future__ import annotations

import ipaddress

from starlette.routing import Route

from localcloud.arm import ArmError, type_of
from localcloud.cloud import Cloud
from localcloud.services.networks import ENDPOINTS, users
from localcloud.services.tracked import GROUP, TrackedResources, TrackedType
from localcloud.store import Body

ZONE_GROUPS = f"{ENDPOINTS}/privateDnsZoneGroups"
# Sub-resources per target type; source: the private-endpoint DNS page of Azure's networking documentation.
GROUP_IDS = {
    "microsoft.storage/storageaccounts": ("blob", "file", "queue", "table", "dfs", "web"),
    "microsoft.keyvault/vaults": ("vault",),
    "microsoft.containerregistry/registries": ("registry",),
    "microsoft.machinelearningservices/workspaces": ("amlworkspace",),
    "microsoft.machinelearningservices/registries": ("amlregistry",),
}
_CONNECTIONS = ("privateLinkServiceConnections", "manualPrivateLinkServiceConnections")


def routes(cloud: Cloud) -> list[Route]:
    return [*TrackedResources(cloud, _ENDPOINT).routes(), *TrackedResources(cloud, _ZONE_GROUP).routes()]


# -- model: endpoints ------------------------------------------------------------------------------------------


def _connections(endpoint: Body) -> list[Body]:
    sent = endpoint.get("properties") or {}
    return [one for kind in _CONNECTIONS for one in sent.get(kind) or []]


def _check(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    subnet = ((body.get("properties") or {}).get("subnet") or {}).get("id")
    if not subnet or cloud.store.get(subnet) is None:
        raise ArmError(
            400, "InvalidResourceReference", f"Resource {subnet} referenced by resource {wanted} was not found."
        )
    if not _connections(body):
        raise ArmError(
            400, "InvalidRequestFormat", f"The private endpoint '{wanted.rpartition('/')[2]}' connects to nothing."
        )
    for connection in _connections(body):
        _check_connection(cloud, wanted, connection.get("properties") or {})


def _check_connection(cloud: Cloud, wanted: str, told: Body) -> None:
    target = told.get("privateLinkServiceId") or ""
    found = cloud.store.get(target)
    if found is None:
        raise ArmError(
            400, "InvalidResourceReference", f"Resource {target} referenced by resource {wanted} was not found."
        )
    known = GROUP_IDS.get(type_of(target).lower())
    if known is None:
        raise ArmError(
            501,
            "NotImplemented",
            f"The local cloud has no private endpoints for resources of type '{type_of(target)}'.",
        )
    for group in told.get("groupIds") or [""]:
        if group not in known:
            raise ArmError(
                400,
                "InvalidPrivateLinkServiceGroupId",
                f"The group id '{group}' is not one of {', '.join(known)} of {type_of(target)}.",
            )
    if type_of(target).lower() == "microsoft.containerregistry/registries" and found["sku"]["name"] != "Premium":
        raise ArmError(
            400,
            "FeatureNotSupportedForRegistrySku",
            f"Private endpoints need the SKU Premium, and the registry '{found['name']}' has {found['sku']['name']}.",
        )


def _shape(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> Body:
    sent = body.get("properties") or {}
    approved = {"status": "Approved", "description": "Auto-Approved", "actionsRequired": "None"}
    shown: Body = {"provisioningState": "Succeeded", "customDnsConfigs": [], "networkInterfaces": []}
    for kind in _CONNECTIONS:
        shown[kind] = [
            {
                "name": one.get("name"),
                "id": f"{wanted}/{kind}/{one.get('name')}",
                "properties": {
                    **(one.get("properties") or {}),
                    "privateLinkServiceConnectionState": approved,
                    "provisioningState": "Succeeded",
                },
            }
            for one in sent.get(kind) or []
        ]
    nic = sent.get("customNetworkInterfaceName") or f"{wanted.rpartition('/')[2]}.nic"
    group = wanted.rpartition(f"/providers/{ENDPOINTS}")[0]
    shown["networkInterfaces"] = [{"id": f"{group}/providers/Microsoft.Network/networkInterfaces/{nic}"}]
    kept = (old or {}).get("properties", {}).get("customDnsConfigs")
    address = kept[0]["ipAddresses"] if kept else [_free_address(cloud, sent["subnet"]["id"])]
    shown["customDnsConfigs"] = [{"fqdn": name, "ipAddresses": address} for name in _names(cloud, body)]
    return shown


def _names(cloud: Cloud, endpoint: Body) -> list[str]:
    """The names that are to lead into the subnet from now on."""
    found = []
    for connection in _connections(endpoint):
        target = cloud.store.get(connection["properties"]["privateLinkServiceId"]) or {}
        name, region = target["name"].lower(), target["location"].replace(" ", "").lower()
        suffixes = {"vault": "vault.azure.net", "registry": "azurecr.io"}
        for group in connection["properties"]["groupIds"]:
            if group == "amlworkspace":
                found.append(f"{target['properties']['workspaceId']}.workspace.{region}.api.azureml.ms")
            elif group == "amlregistry":
                found.append(f"{name}.registry.{region}.api.azureml.ms")
            else:
                found.append(f"{name}.{suffixes.get(group) or f'{group}.core.windows.net'}")
    return found


def _free_address(cloud: Cloud, subnet_id: str) -> str:
    subnet = (cloud.store.get(subnet_id) or {}).get("properties", {})
    prefix = ipaddress.ip_network(subnet.get("addressPrefix") or subnet["addressPrefixes"][0])
    # Azure keeps the first four addresses and the last one of a subnet for itself.
    taken = 4 + sum(1 for _ in users(cloud, subnet_id))
    if taken >= prefix.num_addresses - 1:
        raise ArmError(400, "SubnetIsFull", f"Subnet {subnet_id} does not have enough capacity for 1 IP address.")
    return str(prefix[taken])


def _show_on_targets(cloud: Cloud, endpoint: Body) -> None:
    for connection in _connections(endpoint):
        _change_target(cloud, endpoint, connection, there=True)


def _hide_on_targets(cloud: Cloud, endpoint: Body) -> None:
    for connection in _connections(endpoint):
        _change_target(cloud, endpoint, connection, there=False)


def _change_target(cloud: Cloud, endpoint: Body, connection: Body, *, there: bool) -> None:
    target = cloud.store.get(connection["properties"]["privateLinkServiceId"])
    if target is None:
        return
    others = [
        one
        for one in target["properties"].get("privateEndpointConnections") or []
        if one["properties"]["privateEndpoint"]["id"].lower() != endpoint["id"].lower()
    ]
    name = f"{endpoint['name']}.{connection.get('name')}"
    mine = {
        "id": f"{target['id']}/privateEndpointConnections/{name}",
        "name": name,
        "type": f"{target['type']}/privateEndpointConnections",
        "properties": {
            "privateEndpoint": {"id": endpoint["id"]},
            "groupIds": connection["properties"].get("groupIds") or [],
            "privateLinkServiceConnectionState": connection["properties"]["privateLinkServiceConnectionState"],
            "provisioningState": "Succeeded",
        },
    }
    target["properties"]["privateEndpointConnections"] = [*others, mine] if there else others
    cloud.store.put(target["id"], target)


_ENDPOINT = TrackedType(
    ENDPOINTS,
    r"[a-zA-Z0-9][\w.-]{0,62}[a-zA-Z0-9_]",
    top=("extendedLocation",),
    required=("properties.subnet",),
    members=(
        *("applicationSecurityGroups", "customDnsConfigs", "customNetworkInterfaceName", "ipConfigurations", "subnet"),
        *_CONNECTIONS,
    ),
    read_only=("networkInterfaces", "provisioningState"),
    check=_check,
    shape=_shape,
    on_put=_show_on_targets,
    on_delete=_hide_on_targets,
)

# -- model: zone groups ----------------------------------------------------------------------------------------


def _check_zone_group(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    configs = (body.get("properties") or {}).get("privateDnsZoneConfigs") or []
    if not 1 <= len(configs) <= 5:
        raise ArmError(
            400, "InvalidRequestFormat", f"A zone group has 1 to 5 'privateDnsZoneConfigs', not {len(configs)}."
        )
    for config in configs:
        zone = (config.get("properties") or {}).get("privateDnsZoneId") or ""
        if cloud.store.get(zone) is None:
            raise ArmError(
                400, "InvalidResourceReference", f"Resource {zone} referenced by resource {wanted} was not found."
            )


_ZONE_GROUP = TrackedType(
    ZONE_GROUPS,
    r"[a-zA-Z0-9][\w.-]{0,79}",
    under=f"{GROUP}/providers/{ENDPOINTS}/{{endpoint}}",
    home="none",
    members=("privateDnsZoneConfigs",),
    read_only=("provisioningState",),
    check=_check_zone_group,
    shape=lambda cloud, wanted, body, old: {"provisioningState": "Succeeded"},
)
