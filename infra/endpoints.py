"""The online endpoints: addresses that outlive every deployment behind them."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import machinelearningservices

from infra import naming
from infra.access import Grant, Identity, IdentityArgs, Role
from infra.health import state_of, watched
from infra.place import Place


@dataclass(frozen=True)
class EndpointsArgs:
    """What the endpoints need."""

    place: Place
    """Required. The stack; its dial `endpoints` names them."""
    group: pulumi.Input[str]
    """Required. Name of the resource group."""
    workspace: pulumi.Input[str]
    """Required. Name of the workspace that they belong to."""
    workspace_id: pulumi.Input[str]
    """Required. Where their machines write metrics."""
    storage_id: pulumi.Input[str]
    """Required. The storage account that models are read from."""
    registry_id: pulumi.Input[str]
    """Required. The container registry that images come from."""


class Endpoints(pulumi.ComponentResource):
    """Online endpoints without deployments, under one identity that reads the workspace's blobs and images.

    Deployments, traffic and autoscale belong to the scripts. The provider PUTs whole bodies, so `ignore_changes`
    keeps the traffic only together with `refresh: always` in `Pulumi.yaml`, which reads the live one first.
    """

    def __init__(self, name: str, args: EndpointsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        # Up to 0.1 a stack had one endpoint, in a component of its own; everything inside moves with it.
        was = pulumi.Alias(name="endpoint", type_="tunestack:infra:Endpoint")
        super().__init__(
            "tunestack:infra:Endpoints",
            name,
            None,
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(aliases=[was])),
        )
        place = args.place
        identity = Identity(
            place.name(naming.IDENTITY, "endpoint"),
            IdentityArgs(
                place=place,
                group=args.group,
                grants=[
                    Grant(Role.BLOB_READER, "storage", args.storage_id),
                    Grant(Role.IMAGE_PULL, "registry", args.registry_id),
                    Grant(Role.METRICS_WRITER, "workspace", args.workspace_id),
                ],
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        access = machinelearningservices.PublicNetworkAccessType
        self.all = {
            one: machinelearningservices.OnlineEndpoint(
                place.name(naming.ENDPOINT, one),
                resource_group_name=args.group,
                workspace_name=args.workspace,
                location=place.location,
                kind="Managed",
                identity=machinelearningservices.ManagedServiceIdentityArgs(
                    type=machinelearningservices.ManagedServiceIdentityType.USER_ASSIGNED,
                    user_assigned_identities=[identity.id],
                ),
                properties=machinelearningservices.OnlineEndpointPropertiesArgs(
                    auth_mode=place.settings.endpoint_auth_mode,
                    public_network_access=access.DISABLED if place.settings.private_network else access.ENABLED,
                ),
                tags=place.tags,
                opts=pulumi.ResourceOptions(
                    parent=self,
                    depends_on=identity.ready,
                    ignore_changes=["properties.traffic", "properties.mirrorTraffic"],
                    aliases=[pulumi.Alias(name=place.name(naming.ENDPOINT))] if one == first(place) else None,
                ),
            )
            for one in place.settings.endpoints
        }
        for made in self.all.values():
            watched(made, made.properties.apply(state_of))
        self.name = self.all[first(place)].name
        self.identity_id = identity.id
        self.register_outputs({"name": self.name})


def first(place: Place) -> str:
    """The endpoint that scripts use unless told otherwise."""
    return place.settings.endpoints[0]
