"""The two compute clusters of a workspace, which hold no machine and cost nothing while no job runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import machinelearningservices

from infra import naming
from infra.access import Grant, Identity, IdentityArgs, Role
from infra.settings import Settings
from infra.workspace import Workspace

CPU, GPU = "cpu-cluster", "gpu-cluster"
# A change of these goes out as an update that the service accepts and ignores, so it must be another cluster.
FIXED = [f"properties.properties.{name}" for name in ("vmSize", "vmPriority", "subnet")]


@dataclass(frozen=True)
class ClustersArgs:
    """What the clusters need.

    Required: `stack`, `subscription`, `settings`, `tags`, and the `workspace` that they belong to.
    """

    stack: str
    subscription: str
    settings: Settings
    tags: Mapping[str, str]
    workspace: Workspace


class Clusters(pulumi.ComponentResource):
    """A CPU cluster and a GPU cluster that scale to zero, both under one identity that reads and writes the
    workspace's blobs and pulls its images.

    There is no way to keep machines warm, no user account and no SSH on the nodes. Quota is not asked for: where it
    lacks, the cluster is made all the same and its jobs wait.
    """

    def __init__(self, name: str, args: ClustersArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("tunestack:infra:Clusters", name, None, opts)
        self._args = args
        self._identity = Identity(
            naming.name(naming.IDENTITY, args.stack, "clusters"),
            IdentityArgs(
                subscription=args.subscription,
                group=args.workspace.group,
                location=args.settings.location,
                tags=args.tags,
                grants=[
                    Grant(Role.BLOB_CONTRIBUTOR, "storage", args.workspace.storage.id),
                    Grant(Role.IMAGE_PULL, "registry", args.workspace.registry.id),
                ],
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        settings = args.settings
        self.cpu = self._cluster(CPU, settings.cpu_size, settings.cpu_nodes, "Dedicated").name
        self.gpu = self._cluster(GPU, settings.gpu_size, settings.gpu_nodes, settings.gpu_priority).name
        self.register_outputs({"cpu": self.cpu, "gpu": self.gpu})

    def _cluster(self, name: str, size: str, most_nodes: int, priority: str) -> machinelearningservices.Compute:
        return machinelearningservices.Compute(
            name,
            compute_name=name,
            resource_group_name=self._args.workspace.group,
            workspace_name=self._args.workspace.name,
            location=self._args.settings.location,
            identity=machinelearningservices.ManagedServiceIdentityArgs(
                type=machinelearningservices.ManagedServiceIdentityType.USER_ASSIGNED,
                user_assigned_identities=[self._identity.id],
            ),
            properties=machinelearningservices.AmlComputeArgs(
                compute_type="AmlCompute",
                disable_local_auth=True,
                properties=machinelearningservices.AmlComputePropertiesArgs(
                    vm_size=size,
                    vm_priority=priority,
                    remote_login_port_public_access=machinelearningservices.RemoteLoginPortPublicAccess.DISABLED,
                    scale_settings=machinelearningservices.ScaleSettingsArgs(
                        min_node_count=0,
                        max_node_count=most_nodes,
                        node_idle_time_before_scale_down=f"PT{self._args.settings.idle_minutes * 60}S",
                    ),
                ),
            ),
            tags=self._args.tags,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=self._identity.ready,
                replace_on_changes=FIXED,
                # The name stays, so the old one must go first.
                delete_before_replace=True,
            ),
        )
