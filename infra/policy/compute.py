"""Rules for compute clusters and compute instances of Azure ML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from infra.policy.rule import UNKNOWN, Resource, Rule, StackRule, must_be, must_be_set, of, where
from infra.policy.sources import azure_ml, builtin, landing_zone, psrule
from infra.policy.workspace import WORKSPACE

COMPUTE = "machinelearningservices:Compute"
MADE_IN = "infra/clusters.py"
SCALE = landing_zone("Deny-MachineLearning-ComputeCluster-Scale")
COST_PAGE = azure_ml("how-to-manage-optimize-cost", "manage and optimize costs")
DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")
SECONDS = (86_400, 3_600, 60, 1)


def scales_to_zero(compute: Resource) -> Iterator[str]:
    if compute.get("properties.computeType") != "AmlCompute":
        return
    least = compute.get("properties.properties.scaleSettings.minNodeCount")
    if isinstance(least, int | float) and least > 0:
        yield f"'minNodeCount' is {least:g}: so many machines are paid for while no job runs"


def idles_briefly(compute: Resource, most_seconds: float) -> Iterator[str]:
    if compute.get("properties.computeType") != "AmlCompute":
        return
    waits = compute.get("properties.properties.scaleSettings.nodeIdleTimeBeforeScaleDown")
    # Not set is Azure's own 120 seconds.
    if waits is None or waits is UNKNOWN:
        return
    found = DURATION.fullmatch(str(waits))
    if not found:
        yield f"'nodeIdleTimeBeforeScaleDown' is '{waits}', which is no ISO 8601 duration such as PT120S"
        return
    seconds = sum(int(part or 0) * size for part, size in zip(found.groups(), SECONDS, strict=True))
    if seconds > most_seconds:
        yield f"'nodeIdleTimeBeforeScaleDown' is '{waits}', longer than {most_seconds:g} seconds"


def in_a_network(stack: Sequence[Resource]) -> Iterator[tuple[str, Resource | None]]:
    workspaces = of(stack, WORKSPACE)
    managed = {
        workspace.urn or workspace.name
        for workspace in workspaces
        if str(workspace.get("managedNetwork.isolationMode") or "Disabled").casefold() != "disabled"
    }
    for compute in of(stack, COMPUTE):
        if compute.get("properties.properties.subnet.id") is not None:
            continue
        belongs = [one for one in workspaces if one.urn in compute.uses.get("workspaceName", ())] or workspaces
        if not any((one.urn or one.name) in managed for one in belongs):
            yield "it has no subnet, and its workspace has no managed network", compute


RULES: tuple[Rule | StackRule, ...] = (
    Rule(
        "compute-local-auth-disabled",
        "Computes know no local accounts",
        "disable_local_auth=True",
        (
            psrule("Azure.ML.DisableLocalAuth", "AZR-000404"),
            builtin(
                "Machine Learning/DisableLocalAuth_Audit",
                "e96a9a5f-07ca-471b-9bc5-6a0f33cbd68f",
                "Azure Machine Learning Computes should have local authentication methods disabled",
            ),
        ),
        (COMPUTE,),
        must_be("properties.disableLocalAuth", True, otherwise="false"),
        (MADE_IN, "disable_local_auth="),
    ),
    StackRule(
        "compute-in-network",
        "Computes stand in a subnet or in the managed network of their workspace",
        "a managed_network for the workspace, or a subnet for the compute; here: pulumi config set privateNetwork true",
        (
            psrule("Azure.ML.ComputeVnet", "AZR-000405"),
            builtin(
                "Machine Learning/Vnet_Audit",
                "7804b5c7-01dc-4723-969b-ae300cc07ff1",
                "Azure Machine Learning Computes should be in a virtual network",
            ),
        ),
        (COMPUTE,),
        in_a_network,
        ("infra/workspace.py", "isolation_mode="),
    ),
    Rule(
        "compute-ssh-port-closed",
        "The SSH port of cluster nodes is closed",
        "remote_login_port_public_access='Disabled'",
        (landing_zone("Deny-MachineLearning-ComputeCluster-RemoteLoginPortPublicAccess"),),
        (COMPUTE,),
        where(
            "properties.computeType",
            "AmlCompute",
            must_be("properties.properties.remoteLoginPortPublicAccess", "Disabled", otherwise="NotSpecified, open"),
        ),
        (MADE_IN, "remote_login_port_public_access="),
    ),
    Rule(
        "compute-no-public-ip",
        "Cluster nodes have no public address",
        "enable_node_public_ip=False, which needs a network; here: pulumi config set privateNetwork true",
        (azure_ml("how-to-secure-training-vnet", "secure training environments, no public IP"),),
        (COMPUTE,),
        where(
            "properties.computeType",
            "AmlCompute",
            must_be("properties.properties.enableNodePublicIp", False, otherwise="true"),
        ),
        (MADE_IN, "enable_node_public_ip="),
    ),
    Rule(
        "compute-scales-to-zero",
        "Clusters hold no machine while no job runs",
        "scale_settings with min_node_count=0",
        (SCALE, COST_PAGE),
        (COMPUTE,),
        scales_to_zero,
        (MADE_IN, "min_node_count=0"),
    ),
    Rule(
        "compute-idle-time-short",
        "Machines of a cluster wait no longer than 15 minutes for the next job",
        "node_idle_time_before_scale_down='PT120S'; here: pulumi config set idleMinutes 2",
        (SCALE, COST_PAGE),
        (COMPUTE,),
        idles_briefly,
        (MADE_IN, "node_idle_time_before_scale_down="),
        {"most_seconds": 900},
    ),
    Rule(
        "compute-user-assigned-identity",
        "A cluster runs as a user-assigned identity, whose rights are those of its jobs and no more",
        "identity of type 'UserAssigned'",
        (azure_ml("how-to-identity-based-service-authentication", "identity-based service authentication"),),
        (COMPUTE,),
        must_be("identity.type", "UserAssigned", otherwise="no identity"),
        (MADE_IN, "ManagedServiceIdentityType.USER_ASSIGNED"),
    ),
    Rule(
        "compute-instance-stops-when-idle",
        "A compute instance stops by itself when nobody uses it",
        "idle_time_before_shutdown='PT30M'",
        (psrule("Azure.ML.ComputeIdleShutdown", "AZR-000403"),),
        (COMPUTE,),
        where("properties.computeType", "ComputeInstance", must_be_set("properties.properties.idleTimeBeforeShutdown")),
    ),
)
