"""The private network of a stack: how clients reach the workspace, and what its machines may reach.

Inbound is a virtual network of ours with private endpoints; outbound is the workspace's managed network, whose rules
stand here, each with the document that asks for it. What Azure ML needs to run it adds by itself
(how-to-managed-network, "List of required rules").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import machinelearningservices, network, privatedns

from infra import naming
from infra.place import Place
from infra.workspace import Workspace

ADDRESSES = "10.20.0.0/24"
FOR_ENDPOINTS = "10.20.0.0/26"
# Names of the zones: learn.microsoft.com/azure/private-link/private-endpoint-dns
ZONES = {
    "workspace": ("privatelink.api.azureml.ms", "privatelink.notebooks.azure.net"),
    "blob": ("privatelink.blob.core.windows.net",),
    "file": ("privatelink.file.core.windows.net",),
    "vault": ("privatelink.vaultcore.azure.net",),
    "registry": ("privatelink.azurecr.io",),
}
# What a private endpoint connects to, by Azure's name for the part of the resource.
PARTS = {"workspace": "amlworkspace", "blob": "blob", "file": "file", "vault": "vault", "registry": "registry"}

DOCUMENTS = "learn.microsoft.com/azure/machine-learning"
PACKAGES = f"{DOCUMENTS}/how-to-managed-network, Scenario: Access public machine learning packages"
REGISTRIES = f"{DOCUMENTS}/how-to-registry-network-isolation, Outbound network configuration to access any registry"
SHARED = f"{DOCUMENTS}/how-to-managed-network, Private endpoints: Azure Machine Learning registries"


@dataclass(frozen=True)
class Name:
    """A host that machines may reach on 80 and 443, by name. The first such rule starts the billed firewall."""

    name: str
    host: str
    asked_for_by: str


@dataclass(frozen=True)
class Tag:
    """A service of Azure that machines may reach on 443; `{region}` stands for the stack's."""

    name: str
    tag: str
    asked_for_by: str


# Environments are built from these indexes, and the conda one answers before any package is asked for.
NAMES = (
    Name("pypi", "pypi.org", PACKAGES),
    Name("pypi-files", "*.pythonhosted.org", PACKAGES),
    Name("conda", "*.anaconda.com", PACKAGES),
    Name("conda-packages", "*.anaconda.org", PACKAGES),
)
# Base models and components come from the registry `azureml`, whose blobs and images lie with these services.
TAGS = (
    Tag("registry-blobs", "Storage.{region}", REGISTRIES),
    Tag("registry-images", "AzureContainerRegistry.{region}", REGISTRIES),
)


@dataclass(frozen=True)
class NetworkArgs:
    """What a private network needs."""

    place: Place
    """Required. The stack; its dial `sharedRegistry` adds a way to that registry where it is a resource id."""
    workspace: Workspace
    """Required. What is reached through the network, and whose managed network gets the rules."""


class Network(pulumi.ComponentResource):
    """A virtual network with one subnet, private endpoints and DNS zones for workspace, storage, key vault and
    container registry, and the outbound rules of the workspace's managed network.

    It makes no way into that network (VPN, Bastion, runners) and peers with none: how clients get there is the
    organisation's business. Machines of clusters and deployments are not in it, but in the managed network.
    """

    rules: Sequence[pulumi.Resource]

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tunestack:infra:Network", name, None, opts)
        self._place = args.place
        self._workspace = args.workspace
        self._within = pulumi.ResourceOptions(parent=self)
        self._network = network.VirtualNetwork(
            args.place.name(naming.VIRTUAL_NETWORK),
            resource_group_name=args.workspace.group,
            location=args.place.location,
            address_space=network.AddressSpaceArgs(address_prefixes=[ADDRESSES]),
            tags=args.place.tags,
            opts=self._within,
        )
        self._subnet = network.Subnet(
            "endpoints",
            subnet_name="endpoints",
            resource_group_name=args.workspace.group,
            virtual_network_name=self._network.name,
            address_prefix=FOR_ENDPOINTS,
            # Nothing in it has to reach out.
            default_outbound_access=False,
            opts=self._within,
        )
        self._private_endpoints()
        self.rules = self._outbound()
        self.register_outputs({"subnet": self._subnet.id})

    def _private_endpoints(self) -> None:
        workspace = self._workspace
        resources = {
            "workspace": workspace.id,
            "blob": workspace.storage.id,
            "file": workspace.storage.id,
            "vault": workspace.vault.id,
            "registry": workspace.registry.id,
        }
        for part, resource in resources.items():
            zones = [self._zone(zone) for zone in ZONES[part]]
            endpoint = network.PrivateEndpoint(
                self._place.name(naming.PRIVATE_ENDPOINT, part),
                resource_group_name=workspace.group,
                location=self._place.location,
                subnet=network.SubnetArgs(id=self._subnet.id),
                private_link_service_connections=[
                    network.PrivateLinkServiceConnectionArgs(
                        name=part, private_link_service_id=resource, group_ids=[PARTS[part]]
                    )
                ],
                tags=self._place.tags,
                opts=self._within,
            )
            network.PrivateDnsZoneGroup(
                f"names-of-{part}",
                private_dns_zone_group_name="default",
                resource_group_name=workspace.group,
                private_endpoint_name=endpoint.name,
                private_dns_zone_configs=[
                    network.PrivateDnsZoneConfigArgs(name=zone.replace(".", "-"), private_dns_zone_id=made.id)
                    for zone, made in zip(ZONES[part], zones, strict=True)
                ],
                opts=self._within,
            )

    def _zone(self, zone: str) -> privatedns.PrivateZone:
        made = privatedns.PrivateZone(
            zone,
            private_zone_name=zone,
            resource_group_name=self._workspace.group,
            location="Global",
            tags=self._place.tags,
            opts=self._within,
        )
        privatedns.VirtualNetworkLink(
            f"{zone}-link",
            virtual_network_link_name="link",
            resource_group_name=self._workspace.group,
            private_zone_name=made.name,
            location="Global",
            registration_enabled=False,
            virtual_network=privatedns.SubResourceArgs(id=self._network.id),
            tags=self._place.tags,
            opts=self._within,
        )
        return made

    def _outbound(self) -> Sequence[pulumi.Resource]:
        region = self._place.location
        made = [
            self._rule(one.name, machinelearningservices.FqdnOutboundRuleArgs(type="FQDN", destination=one.host))
            for one in NAMES
        ]
        made += [
            self._rule(
                one.name,
                machinelearningservices.ServiceTagOutboundRuleArgs(
                    type="ServiceTag",
                    destination=machinelearningservices.ServiceTagDestinationArgs(
                        service_tag=one.tag.format(region=region), protocol="TCP", port_ranges="443"
                    ),
                ),
            )
            for one in TAGS
        ]
        shared = self._place.settings.shared_registry
        if shared.startswith("/"):
            made.append(
                self._rule(
                    "shared-registry",
                    machinelearningservices.PrivateEndpointOutboundRuleArgs(
                        type="PrivateEndpoint",
                        destination=machinelearningservices.PrivateEndpointDestinationArgs(
                            service_resource_id=shared, subresource_target="amlregistry"
                        ),
                    ),
                )
            )
        return made

    def _rule(
        self,
        name: str,
        rule: machinelearningservices.FqdnOutboundRuleArgs
        | machinelearningservices.ServiceTagOutboundRuleArgs
        | machinelearningservices.PrivateEndpointOutboundRuleArgs,
    ) -> pulumi.Resource:
        return machinelearningservices.ManagedNetworkSettingsRule(
            f"outbound-{name}",
            rule_name=name,
            resource_group_name=self._workspace.group,
            workspace_name=self._workspace.name,
            properties=rule,
            # Azure fills these in, and changes the status when the first machine brings the network up.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["properties.status", "properties.category"]),
        )
