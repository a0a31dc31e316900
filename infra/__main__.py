"""The drawing: what a stack consists of, and what it puts out.

A stack for `registry` is the registry that models are promoted through; every other one is a workspace with its
clusters, endpoints, rights, network and guardrails.
"""

from __future__ import annotations

from dataclasses import fields

import pulumi
from pulumi_azure_native import authorization

from infra import naming
from infra.access import Operators, OperatorsArgs, on_workspace
from infra.place import Place
from infra.settings import Settings, require_own_subscription
from tunestack.outputs import StackOutputs


def environment(place: Place) -> dict[str, pulumi.Input[str]]:
    """A workspace and all around it; the outputs that scripts read."""
    from infra.clusters import Clusters, ClustersArgs
    from infra.endpoints import Endpoints, EndpointsArgs
    from infra.guardrails import Guardrails, GuardrailsArgs
    from infra.workspace import Workspace, WorkspaceArgs

    settings = place.settings
    workspace = Workspace("workspace", WorkspaceArgs(place))
    network = None
    if settings.private_network:
        from infra.network import Network, NetworkArgs

        network = Network("network", NetworkArgs(place, workspace))
    beside = {"group": workspace.group, "workspace": workspace.name}
    used = {"storage_id": workspace.storage.id, "registry_id": workspace.registry.id}
    clusters = Clusters("clusters", ClustersArgs(place, **beside, **used, network=network.rules if network else ()))
    endpoints = Endpoints("endpoints", EndpointsArgs(place, **beside, **used, workspace_id=workspace.id))
    Operators(
        "operators", OperatorsArgs(place, on_workspace(workspace.id, workspace.storage.id, endpoints.identity_id))
    )
    Guardrails("guardrails", GuardrailsArgs(place, workspace, endpoints.all))
    outputs: dict[str, pulumi.Input[str]] = {
        "stack": place.stack,
        "subscription_id": place.subscription,
        "resource_group": workspace.group,
        "location": place.location,
        "workspace_name": workspace.name,
        "cpu_cluster": clusters.cpu,
        "gpu_cluster": clusters.gpu,
        "endpoint_name": endpoints.name,
        "lease_cap": settings.lease_cap,
        "monthly_budget": str(settings.budget),
        "shared_registry": settings.shared_registry.rpartition("/")[2],
        "purge_on_teardown": str(settings.purge_on_teardown).lower(),
        "production": str(settings.production).lower(),
        "max_instances": str(settings.max_instances),
    }
    return {field.name: outputs[field.name] for field in fields(StackOutputs)}


def registry(place: Place) -> dict[str, pulumi.Input[str]]:
    """The registry for promotion; its outputs are none that scripts of another stack read by mistake."""
    from infra.shared import Shared, SharedArgs

    shared = Shared("shared", SharedArgs(place))
    return {"registry_name": shared.name, "registry_id": shared.id, "registry_group": shared.group}


stack = pulumi.get_stack()
settings = Settings.read(pulumi.runtime.get_config_env())
client = authorization.get_client_config()
require_own_subscription(stack, client.subscription_id)
place = Place(stack, client.subscription_id, client.tenant_id, settings, naming.tags(stack, settings.owner))
for name, value in (registry(place) if settings.purpose == "registry" else environment(place)).items():
    pulumi.export(name, value)
