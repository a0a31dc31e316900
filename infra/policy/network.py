"""Rules for private endpoints and their names: what is closed to the public has a private way in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from infra.policy import registry, storage, vault, workspace
from infra.policy.rule import Resource, Rule, StackRule, elements, members, of
from infra.policy.sources import Source, azure_ml, builtin

ENDPOINT = "network:PrivateEndpoint"
ZONE = "privatedns:PrivateZone"
ZONE_GROUP = "network:PrivateDnsZoneGroup"
MADE_IN = "infra/network.py"
DNS_PAGE = azure_ml("how-to-custom-dns", "use a workspace with a custom DNS server")
# What a client resolves for each kind of private endpoint.
ZONES = {
    "amlworkspace": ("privatelink.api.azureml.ms", "privatelink.notebooks.azure.net"),
    "blob": ("privatelink.blob.core.windows.net",),
    "file": ("privatelink.file.core.windows.net",),
    "vault": ("privatelink.vaultcore.azure.net",),
    "registry": ("privatelink.azurecr.io",),
}


def groups(endpoint: Resource) -> set[str]:
    """Which parts of its target a private endpoint leads to, such as `blob`."""
    connections = elements(endpoint.get("privateLinkServiceConnections"))
    return {str(group) for connection in connections for group in elements(members(connection).get("groupIds"))}


def closed(resource: Resource) -> bool:
    access = resource.get("publicNetworkAccess") or resource.get("properties.publicNetworkAccess")
    return str(access).casefold() == "disabled"


def private_way_in(type: str, *wanted: str) -> Callable[[Sequence[Resource]], Iterator[tuple[str, Resource | None]]]:
    def check(stack: Sequence[Resource]) -> Iterator[tuple[str, Resource | None]]:
        endpoints = of(stack, ENDPOINT)
        for resource in filter(closed, of(stack, type)):
            leading = [one for one in endpoints if one.comes_from("privateLinkServiceConnections", resource)]
            found = {group for endpoint in leading for group in groups(endpoint)}
            missing = [group for group in wanted if group not in found]
            if missing:
                yield f"it is closed, and no private endpoint leads to its {' and '.join(missing)}", resource

    return check


def endpoints_have_names(stack: Sequence[Resource]) -> Iterator[tuple[str, Resource | None]]:
    zones = {str(zone.get("privateZoneName") or zone.name) for zone in of(stack, ZONE)}
    named = of(stack, ZONE_GROUP)
    for endpoint in of(stack, ENDPOINT):
        if not any(endpoint.urn in group.uses.get("privateEndpointName", ()) for group in named):
            yield "no DNS zone group belongs to it, so its name leads to the public address", endpoint
        missing = [zone for group in sorted(groups(endpoint)) for zone in ZONES.get(group, ()) if zone not in zones]
        if missing:
            yield f"the stack has no private zone {' and '.join(missing)}", endpoint


def _rule(noun: str, type: str, wanted: tuple[str, ...], source: Source) -> StackRule:
    return StackRule(
        f"{noun}-private-endpoint",
        f"A closed {noun.replace('-', ' ')} has a private endpoint",
        f"a network.PrivateEndpoint with group_ids {list(wanted)}",
        (source,),
        (type,),
        private_way_in(type, *wanted),
        (MADE_IN, "PrivateEndpoint("),
    )


RULES: tuple[Rule | StackRule, ...] = (
    _rule(
        "workspace",
        workspace.WORKSPACE,
        ("amlworkspace",),
        builtin(
            "Machine Learning/Workspace_PrivateEndpoint_Audit",
            "40cec1dd-a100-4920-b15b-3024fe8901ab",
            "Azure Machine Learning workspaces should use private link",
        ),
    ),
    _rule(
        "storage",
        storage.ACCOUNT,
        ("blob", "file"),
        builtin(
            "Storage/StorageAccountPrivateEndpointEnabled_Audit",
            "6edd7eda-6dd8-40f7-810d-67160c639cd9",
            "Storage accounts should use private link",
        ),
    ),
    _rule(
        "vault",
        vault.VAULT,
        ("vault",),
        builtin(
            "Key Vault/Should_Use_PrivateEndpoint_Audit",
            "a6abeaec-4d90-4a02-805f-6b26c4d3fbe9",
            "Azure Key Vaults should use private link",
        ),
    ),
    _rule(
        "registry",
        registry.REGISTRY,
        ("registry",),
        builtin(
            "Container Registry/ACR_PrivateEndpointEnabled_Audit",
            "e8eef0a8-67cf-4eb4-9386-14b0e78733d4",
            "Container Registries should use private links",
        ),
    ),
    StackRule(
        "private-endpoint-names",
        "Each private endpoint has its names in a private DNS zone",
        "a network.PrivateDnsZoneGroup for the endpoint, with the privatedns.PrivateZone of its kind",
        (DNS_PAGE,),
        (ENDPOINT,),
        endpoints_have_names,
        (MADE_IN, "PrivateDnsZoneGroup("),
    ),
)
