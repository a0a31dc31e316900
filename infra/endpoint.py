"""The online endpoint: an address that outlives every deployment behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import machinelearningservices

from infra import naming
from infra.access import Grant, Identity, IdentityArgs, Role
from infra.settings import Settings
from infra.workspace import Workspace


@dataclass(frozen=True)
class EndpointArgs:
    """What the endpoint needs.

    Required: `stack`, `subscription`, `settings`, `tags`, and the `workspace` that it belongs to.
    """

    stack: str
    subscription: str
    settings: Settings
    tags: Mapping[str, str]
    workspace: Workspace


class Endpoint(pulumi.ComponentResource):
    """An online endpoint without deployments, under an identity that reads the workspace's blobs and images.

    Deployments and traffic belong to the scripts. The provider PUTs whole bodies, so `ignore_changes` keeps the
    traffic only together with `refresh: always` in `Pulumi.yaml`, which reads the live one first.
    """

    def __init__(self, name: str, args: EndpointArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tunestack:infra:Endpoint", name, None, opts)
        identity = Identity(
            naming.name(naming.IDENTITY, args.stack, "endpoint"),
            IdentityArgs(
                subscription=args.subscription,
                group=args.workspace.group,
                location=args.settings.location,
                tags=args.tags,
                grants=[
                    Grant(Role.BLOB_READER, "storage", args.workspace.storage.id),
                    Grant(Role.IMAGE_PULL, "registry", args.workspace.registry.id),
                    Grant(Role.METRICS_WRITER, "workspace", args.workspace.id),
                ],
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        endpoint = machinelearningservices.OnlineEndpoint(
            naming.name(naming.ENDPOINT, args.stack),
            resource_group_name=args.workspace.group,
            workspace_name=args.workspace.name,
            location=args.settings.location,
            kind="Managed",
            identity=machinelearningservices.ManagedServiceIdentityArgs(
                type=machinelearningservices.ManagedServiceIdentityType.USER_ASSIGNED,
                user_assigned_identities=[identity.id],
            ),
            properties=machinelearningservices.OnlineEndpointPropertiesArgs(
                auth_mode=args.settings.endpoint_auth_mode,
                public_network_access=machinelearningservices.PublicNetworkAccessType.ENABLED,
            ),
            tags=args.tags,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=identity.ready,
                ignore_changes=["properties.traffic", "properties.mirrorTraffic"],
            ),
        )
        self.name = endpoint.name
        self.register_outputs({"name": self.name})
