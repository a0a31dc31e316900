"""Autoscale of a deployment: one setting of Azure Monitor, written after the deployment and deleted before it.

The deployment's tag `autoscale` says that there is one: who may not read Azure Monitor can deploy without it all the
same. Form: learn.microsoft.com/azure/machine-learning/how-to-autoscale-endpoints.
"""

from __future__ import annotations

from typing import Any

from tunestack import cli
from tunestack.connect import Connection
from tunestack.deployments.deployment_settings import Autoscale
from tunestack.deployments.endpoint import Deployment
from tunestack.errors import CloudError, UsageError

VERSION = "2022-10-01"
TAG = "autoscale"
COOLDOWN = "PT5M"


def require_room(scale: Autoscale | None, count: int, most: str) -> None:
    """More machines than the stack's quota was counted for are refused; `most` is empty where there is no stack."""
    wanted = scale.max if scale else count
    if most and wanted > int(most):
        what = f"autoscale's max is {wanted}" if scale else f"instance_count is {wanted}"
        raise UsageError(
            f"{what}, and the stack's maxInstances is {most}",
            fix=f"Change pipelines/serve, or: pulumi config set maxInstances {wanted} && pulumi up",
        )


def tag(scale: Autoscale | None) -> dict[str, str]:
    return {TAG: f"{scale.min} to {scale.max}"} if scale else {}


def write(connection: Connection, slot: str, scale: Autoscale) -> None:
    """Make or change the setting of a deployment that is there."""
    place = connection.workspace
    target = f"{place.path}/onlineEndpoints/{connection.endpoint}/deployments/{slot}"
    body = {
        "location": connection.body["location"],
        "tags": {"project": "tunestack", "stack": place.stack, "managed-by": "scripts"},
        "properties": {
            "enabled": True,
            "name": _name(connection, slot),
            "targetResourceUri": target,
            "profiles": [_profile(scale, target)],
        },
    }
    put(connection, slot, body)
    cli.note(f"autoscale: '{slot}' has {scale.min} to {scale.max} machines, by {scale.metric}")


def put(connection: Connection, slot: str, body: dict[str, Any]) -> None:
    """Write a whole setting; where the caller may not, the sentence says which role it is."""
    try:
        connection.arm.put(_path(connection, slot), VERSION, body)
    except CloudError as error:
        if error.status != 403:
            raise
        raise CloudError(
            *error.problems,
            fix="Autoscale is written by 'Monitoring Contributor' on the resource group; the deployment is there "
            "without it, and the same command writes it",
            status=403,
        ) from error


def find(connection: Connection, found: Deployment) -> dict[str, Any] | None:
    """The setting of a deployment that says it has one."""
    return connection.arm.find(_path(connection, found.name), VERSION) if TAG in found.tags else None


def delete(connection: Connection, found: Deployment) -> None:
    """Take the setting of a deployment away, where it says that it has one: Azure leaves it behind."""
    if TAG in found.tags:
        connection.arm.delete(_path(connection, found.name), VERSION)


def _path(connection: Connection, slot: str) -> str:
    place = connection.workspace
    group = f"/subscriptions/{place.subscription_id}/resourceGroups/{place.resource_group}"
    return f"{group}/providers/Microsoft.Insights/autoscaleSettings/{_name(connection, slot)}"


def _name(connection: Connection, slot: str) -> str:
    return f"{connection.endpoint}-{slot}"


def _profile(scale: Autoscale, target: str) -> dict[str, Any]:
    return {
        "name": "by load",
        "capacity": {"minimum": str(scale.min), "maximum": str(scale.max), "default": str(scale.min)},
        "rules": [
            _rule(scale, target, "GreaterThan", scale.out_above, "Increase"),
            _rule(scale, target, "LessThan", scale.in_below, "Decrease"),
        ],
    }


def _rule(scale: Autoscale, target: str, operator: str, threshold: float, direction: str) -> dict[str, Any]:
    return {
        "metricTrigger": {
            "metricName": scale.metric,
            "metricResourceUri": target,
            "timeGrain": "PT1M",
            "timeWindow": f"PT{scale.minutes}M",
            "statistic": "Average",
            "timeAggregation": "Average",
            "operator": operator,
            "threshold": threshold,
        },
        "scaleAction": {"direction": direction, "type": "ChangeCount", "value": "1", "cooldown": COOLDOWN},
    }
