"""The clusters that a run uses: they exist, they are well, and have the GPUs that are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunestack import azure_facts
from tunestack.connect import Connection
from tunestack.errors import NotConfigured, UsageError
from tunestack.recipes.recipe import Compute, Role

VERSION = "2023-08-01-preview"


@dataclass(frozen=True)
class Clusters:
    """Cluster name per part of the pipeline, and the GPUs of one machine of the fine-tuning one."""

    model_import: str
    preprocess: str
    finetune: str
    evaluate: str
    gpus: int


def check(connection: Connection, wanted: Compute, gpus_asked: int | None) -> Clusters:
    """The clusters of a recipe's roles. Everything wrong with them is reported together."""
    names = {"cpu": connection.workspace.cpu_cluster, "gpu": connection.workspace.gpu_cluster}
    roles = sorted({wanted.model_import, wanted.preprocess, wanted.finetune, wanted.evaluate})
    unknown = [role for role in roles if not names[role]]
    if unknown:
        raise NotConfigured(
            *(f"no cluster plays the role '{role}'" for role in unknown),
            fix=f"Name it with --{unknown[0]}-cluster, or run `pulumi up` first",
        )
    bodies = {
        role: connection.arm.find(f"{connection.workspace.path}/computes/{names[role]}", VERSION) for role in roles
    }
    problems = [problem for role in roles for problem in _state(names[role], bodies[role])]
    tuning = bodies[wanted.finetune]
    size = _size(tuning) if tuning else ""
    gpus = _gpus(connection, tuning, size) if tuning else None
    if tuning:
        problems += _fit(size, gpus, gpus_asked)
    if problems:
        raise UsageError(*problems, fix="Change the cluster in the stack's configuration, then run `pulumi up`")
    return Clusters(
        names[wanted.model_import],
        names[wanted.preprocess],
        names[wanted.finetune],
        names[wanted.evaluate],
        gpus_asked or gpus or 1,
    )


def of_role(connection: Connection, role: Role) -> str:
    """The cluster of one role, which must be there and well."""
    name = {"cpu": connection.workspace.cpu_cluster, "gpu": connection.workspace.gpu_cluster}[role]
    if not name:
        raise NotConfigured(
            f"no cluster plays the role '{role}'", fix=f"Name it with --{role}-cluster, or run `pulumi up` first"
        )
    problems = _state(name, connection.arm.find(f"{connection.workspace.path}/computes/{name}", VERSION))
    if problems:
        raise UsageError(*problems, fix="Change the cluster in the stack's configuration, then run `pulumi up`")
    return name


def _gpus(connection: Connection, body: dict[str, Any], size: str) -> int | None:
    """From the table, else from the region's list of sizes; a machine without GPU runs one process."""
    known = azure_facts.gpus(size)
    if known is not None:
        return max(known, 1)
    place = f"/subscriptions/{connection.workspace.subscription_id}/providers/Microsoft.MachineLearningServices"
    listed = connection.arm.get(f"{place}/locations/{body['location']}/vmSizes", VERSION).get("value", [])
    counts = [int(item.get("gpus") or 0) for item in listed if item["name"].lower() == size.lower()]
    return max(counts[0], 1) if counts else None


def _state(name: str, body: dict[str, Any] | None) -> list[str]:
    if body is None:
        return [f"cluster '{name}' does not exist"]
    properties = body["properties"]
    state = properties.get("provisioningState", "")
    if state in ("Succeeded", "Creating", "Updating"):
        return [] if properties.get("computeType") == "AmlCompute" else [f"compute '{name}' is not a cluster"]
    reasons = [_said(error) for error in properties.get("provisioningErrors") or []]
    return [f"cluster '{name}' is in state '{state}'" + (f": {'; '.join(reasons)}" if reasons else "")]


def _said(error: Any) -> str:
    inner = error.get("error", error) if isinstance(error, dict) else {}
    return str(inner.get("message") or error)


def _size(body: dict[str, Any]) -> str:
    return str((body["properties"].get("properties") or {}).get("vmSize", ""))


def _fit(size: str, gpus: int | None, gpus_asked: int | None) -> list[str]:
    """Whether so many processes can run on one machine; whether the size suits the model is for preflight to say."""
    if gpus is None and gpus_asked is None:
        return [f"how many GPUs size '{size}' has is not known; say number_of_gpu_to_use_finetuning in the recipe"]
    if gpus is not None and gpus_asked is not None and gpus_asked > gpus:
        return [f"parameter 'number_of_gpu_to_use_finetuning' cannot be {gpus_asked}: size '{size}' has {gpus}"]
    return []
