"""The drawing: one workspace with two clusters, one endpoint and the rights between them, and the stack's outputs."""

from __future__ import annotations

from dataclasses import fields

import pulumi
from pulumi_azure_native import authorization

from infra import naming
from infra.access import Operators, OperatorsArgs
from infra.clusters import Clusters, ClustersArgs
from infra.endpoint import Endpoint, EndpointArgs
from infra.settings import Settings, require_own_subscription
from infra.workspace import Workspace, WorkspaceArgs
from tunestack.outputs import StackOutputs

stack = pulumi.get_stack()
settings = Settings.read(pulumi.runtime.get_config_env())
client = authorization.get_client_config()
require_own_subscription(stack, client.subscription_id)
tags = naming.tags(stack, settings.owner)

workspace = Workspace("workspace", WorkspaceArgs(stack, client.subscription_id, client.tenant_id, settings, tags))
clusters = Clusters("clusters", ClustersArgs(stack, client.subscription_id, settings, tags, workspace))
endpoint = Endpoint("endpoint", EndpointArgs(stack, client.subscription_id, settings, tags, workspace))
Operators("operators", OperatorsArgs(client.subscription_id, workspace.id, workspace.storage.id, settings.operators))

outputs: dict[str, pulumi.Input[str]] = {
    "stack": stack,
    "subscription_id": client.subscription_id,
    "resource_group": workspace.group,
    "location": settings.location,
    "workspace_name": workspace.name,
    "cpu_cluster": clusters.cpu,
    "gpu_cluster": clusters.gpu,
    "endpoint_name": endpoint.name,
    "lease_cap": settings.lease_cap,
    "monthly_budget": str(settings.budget),
    "shared_registry": settings.shared_registry.rpartition("/")[2],
    "purge_on_teardown": str(settings.purge_on_teardown).lower(),
    "production": str(settings.production).lower(),
}
for field in fields(StackOutputs):
    pulumi.export(field.name, outputs[field.name])
