"""The compute clusters of a workspace, which hold no machine and cost nothing while no job runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import machinelearningservices

from infra import naming
from infra.access import Grant, Identity, IdentityArgs, Role
from infra.health import state_of, watched
from infra.place import Place

CPU, GPU, BUILD = "cpu-cluster", "gpu-cluster", "build-cluster"
# A change of these goes out as an update that the service accepts and ignores, so it must be another cluster. One
# that was made before its workspace had a managed network stays outside of it, hence the last.
FIXED = [f"properties.properties.{name}" for name in ("vmSize", "vmPriority", "subnet", "enableNodePublicIp")]


@dataclass(frozen=True)
class ClustersArgs:
    """What the clusters need."""

    place: Place
    """Required. The stack; its dials say which sizes, how many machines and how long they wait."""
    group: pulumi.Input[str]
    """Required. Name of the resource group."""
    workspace: pulumi.Input[str]
    """Required. Name of the workspace that they belong to."""
    storage_id: pulumi.Input[str]
    """Required. The storage account that jobs read and write."""
    registry_id: pulumi.Input[str]
    """Required. The container registry that images come from."""
    network: Sequence[pulumi.Resource] = ()
    """Conditional: with dial `privateNetwork`, the rules that must stand before the first machine."""


class Clusters(pulumi.ComponentResource):
    """A CPU cluster and a GPU cluster that scale to zero, both under one identity that reads and writes the
    workspace's blobs and pulls its images; in a private network a third one, which builds images and pushes them.

    There is no way to keep machines warm, no user account and no SSH on the nodes. Quota is not asked for: where it
    lacks, the cluster is made all the same and its jobs wait.
    """

    def __init__(self, name: str, args: ClustersArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tunestack:infra:Clusters", name, None, opts)
        self._args = args
        settings = args.place.settings
        jobs = self._identity(
            "clusters",
            Grant(Role.BLOB_CONTRIBUTOR, "storage", args.storage_id),
            Grant(Role.IMAGE_PULL, "registry", args.registry_id),
        )
        self.cpu = self._cluster(CPU, jobs, settings.cpu_size, settings.cpu_nodes, "Dedicated").name
        self.gpu = self._cluster(GPU, jobs, settings.gpu_size, settings.gpu_nodes, settings.gpu_priority).name
        if settings.private_network:
            builds = self._identity(
                "builds",
                Grant(Role.BLOB_READER, "storage", args.storage_id),
                Grant(Role.IMAGE_PUSH, "registry", args.registry_id),
            )
            self._cluster(BUILD, builds, settings.cpu_size, 1, "Dedicated")
        self.register_outputs({"cpu": self.cpu, "gpu": self.gpu})

    def _identity(self, what: str, *grants: Grant) -> Identity:
        place = self._args.place
        return Identity(
            place.name(naming.IDENTITY, what),
            IdentityArgs(place=place, group=self._args.group, grants=grants),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _cluster(
        self, name: str, identity: Identity, size: str, most_nodes: int, priority: str
    ) -> machinelearningservices.Compute:
        settings = self._args.place.settings
        made = machinelearningservices.Compute(
            name,
            compute_name=name,
            resource_group_name=self._args.group,
            workspace_name=self._args.workspace,
            location=self._args.place.location,
            identity=machinelearningservices.ManagedServiceIdentityArgs(
                type=machinelearningservices.ManagedServiceIdentityType.USER_ASSIGNED,
                user_assigned_identities=[identity.id],
            ),
            properties=machinelearningservices.AmlComputeArgs(
                compute_type="AmlCompute",
                disable_local_auth=True,
                properties=machinelearningservices.AmlComputePropertiesArgs(
                    vm_size=size,
                    vm_priority=priority,
                    # Outside of a virtual network a machine needs one to hear of its jobs.
                    enable_node_public_ip=not settings.private_network,
                    remote_login_port_public_access=machinelearningservices.RemoteLoginPortPublicAccess.DISABLED,
                    scale_settings=machinelearningservices.ScaleSettingsArgs(
                        min_node_count=0,
                        max_node_count=most_nodes,
                        node_idle_time_before_scale_down=f"PT{settings.idle_minutes * 60}S",
                    ),
                ),
            ),
            tags=self._args.place.tags,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*identity.ready, *self._args.network],
                replace_on_changes=FIXED,
                # The name stays, so the old one must go first.
                delete_before_replace=True,
            ),
        )
        return watched(made, made.properties.apply(state_of))
