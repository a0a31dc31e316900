"""Subjects for the tests of preflight: a plain one that passes, changed in one thing, and a cloud out of a table.

A module of tests lists its `CASES`; together they must show every check with both verdicts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tunestack.connect import Connection, Workspace
from tunestack.cost import quota, stack_plan
from tunestack.cost.prices import PriceBook
from tunestack.data.data_folder import DataFolder
from tunestack.deployments import deployment_settings
from tunestack.errors import CloudError
from tunestack.preflight.preflight_subject import Subject
from tunestack.recipes import recipe

ROOT = Path(__file__).parents[3]
TODAY = date(2026, 11, 21)
A100 = "Standard_NC24ads_A100_v4"
ML = "Microsoft.MachineLearningServices"
SUB = "/subscriptions/s"
WS = f"{SUB}/resourceGroups/g/providers/{ML}/workspaces/w"
STORAGE = f"{SUB}/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/data"
IDENTITY = f"{SUB}/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/endpoint"
REGISTRY = f"https://r.example/mferp/managementfrontend{SUB}/resourceGroups/r/providers/{ML}/registries/azureml"


@dataclass(frozen=True)
class Case:
    """One check shown once: a subject, the verdict it must get, and words that must be in the reason or the fix."""

    check: str
    verdict: str
    subject: Callable[[], Subject]
    says: str = ""


def offline(name: str = "phi-4-ultrachat", *settings: str, stack: str = "dev", **dials: Any) -> Subject:
    """A shipped recipe on a stack's dials, some of them changed, with the settings of its base model."""
    found = _recipe(name, settings).model_copy(update={"budget": 1000.0})
    served = _settings(found.model.name)
    return Subject(found, {**_dials(stack), "budget": 5000, **dials}, None, served, stack, TODAY)


@cache
def _recipe(name: str, settings: tuple[str, ...]) -> recipe.Recipe:
    return recipe.read(ROOT / "pipelines" / "finetune" / f"{name}.yml", settings)


@cache
def _dials(stack: str) -> Mapping[str, Any]:
    return stack_plan.dials(ROOT, stack)


@cache
def _settings(model: str) -> deployment_settings.Settings | None:
    own = ROOT / "pipelines" / "serve" / f"{model}.yml"
    return deployment_settings.read(own) if own.is_file() else None


def serving(subject: Subject, size: str = A100, count: int = 1) -> Subject:
    """The same on other machines to serve on."""
    assert subject.deployment
    return replace(
        subject, deployment=subject.deployment.model_copy(update={"instance_type": size, "instance_count": count})
    )


def data(name: str = "ultrachat-200k", train: int = 9353, **more: Any) -> DataFolder:
    rows = {"train": train, "validation": train // 9, "test": 300, "sample": 20}
    return replace(DataFolder(name, "hub:HuggingFaceH4/ultrachat_200k", 5, "h", "t", rows, {}), **more)


class Answers:
    """An `Arm` that answers from a table of paths; what is not in it does not exist, an error in it is raised."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.table = dict(table)
        self.asked: list[str] = []

    def find(self, path: str, version: str = "") -> Any:
        self.asked.append(path)
        found = self.table.get(path)
        if isinstance(found, Exception):
            raise found
        return found

    def get(self, path: str, version: str = "", **query: Any) -> Any:
        found = self.find(path + (f"?{query['$filter']}" if "$filter" in query else ""))
        if found is None:
            raise CloudError(f"GET '{path}' was refused with 404: it is not there", status=404)
        return found

    def pages(self, path: str, version: str = "", **query: Any) -> Iterator[Any]:
        yield from self.get(path, version, **query)["value"]


def refused() -> CloudError:
    return CloudError("GET was refused with 403: AuthorizationFailed", fix="Get the role", status=403)


def cluster(size: str, nodes: int = 1, now: int = 0, priority: str = "Dedicated", state: str = "Succeeded") -> Any:
    scale = {"minNodeCount": 0, "maxNodeCount": nodes}
    own = {"vmSize": size, "vmPriority": priority, "scaleSettings": scale, "currentNodeCount": now}
    return {"properties": {"computeType": "AmlCompute", "provisioningState": state, "properties": own}}


def usage(family: str, used: int, limit: int) -> Any:
    """A row of usages as the REST contract's example has it."""
    kind = family if family in (quota.LOW_PRIORITY, quota.DEDICATED) else "vmFamily"
    name = f"{family.removesuffix('Family').replace('tandard', 'tandard ')} Family Cluster Dedicated vCPUs"
    shown = name if kind == "vmFamily" else "Total Cluster Regional vCPUs"
    return {"type": f"{ML}/{kind}/usages", "name": {"value": shown}, "currentValue": used, "limit": limit}


def model(archived: bool = False, **tags: Any) -> Any:
    return {"properties": {"isArchived": archived, "tags": tags}}


OFFERED = [
    {"name": A100, "family": "StandardNCADSA100v4Family", "vCPUs": 24},
    {"name": "Standard_D4ds_v5", "family": "standardDDSv5Family", "vCPUs": 4},
    {"name": "Standard_D4s_v3", "family": "standardDSv3Family", "vCPUs": 4},
]
_ALL = {"actions": ["*"], "notActions": [], "dataActions": ["*"], "notDataActions": []}
_PERMISSIONS = "providers/Microsoft.Authorization/permissions"
ENDPOINTS = f"{SUB}/resources?resourceType eq '{ML}/workspaces/onlineEndpoints'"
DEPLOYMENTS = f"{SUB}/resources?resourceType eq '{ML}/workspaces/onlineEndpoints/deployments'"
SKUS = f"{SUB}/providers/Microsoft.Compute/skus?location eq 'eastus'"
SIZES = f"{SUB}/providers/{ML}/locations/eastus/vmSizes"
USAGES = f"{SUB}/providers/{ML}/locations/eastus/usages"
SERVED = f"{WS}/onlineEndpoints/chat/deployments"
PHI_4 = f"{REGISTRY}/models/Phi-4/versions/8"
NEWEST = f"{REGISTRY}/models/Phi-4/versions?$orderBy=createdtime%20desc&$top=1"
RIGHTS = {
    "workspace": f"{WS}/{_PERMISSIONS}",
    "storage": f"{STORAGE}/{_PERMISSIONS}",
    "identity": f"{IDENTITY}/{_PERMISSIONS}",
}
COMPONENT = f"{REGISTRY}/components/chat_completion_pipeline/versions/0.0.82"


@cache
def published() -> Mapping[str, Any]:
    """The component as a registry answers with it: defaults and minima as text."""
    file = ROOT / "src" / "localcloud" / "catalog" / "components" / "chat_completion_pipeline.yaml"
    spec = yaml.load(file.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))["spec"]
    return {"properties": {"componentSpec": spec}}


CLOUD: Mapping[str, Any] = {
    WS: {
        "location": "eastus",
        "properties": {"storageAccount": STORAGE},
        "systemData": {"createdAt": "2026-01-01T00:00:00Z"},
    },
    f"{WS}/computes/cpu": cluster("Standard_D4ds_v5", 2),
    f"{WS}/computes/gpu": cluster(A100),
    SIZES: {"value": OFFERED},
    USAGES: {
        "value": [
            usage("StandardNCADSA100v4Family", 0, 48),
            usage("standardDDSv5Family", 0, 100),
            usage("standardDSv3Family", 0, 100),
            usage("lowPriorityCores", 0, 0),
        ]
    },
    SKUS: {"value": [{"name": A100, "restrictions": []}]},
    f"{WS}/onlineEndpoints/chat": {"identity": {"userAssignedIdentities": {IDENTITY: {}}}},
    SERVED: {"value": []},
    ENDPOINTS: {"value": [{"location": "eastus"}, {"location": "westus3"}]},
    DEPLOYMENTS: {"value": []},
    **{path: {"value": [_ALL]} for path in RIGHTS.values()},
    "https://eastus.api.azureml.ms/registrymanagement/v1.0/registries/azureml/discovery": {
        "primaryRegionResourceProviderUri": "https://r.example/",
        "subscriptionId": "s",
        "resourceGroup": "r",
    },
    PHI_4: model(),
    COMPONENT: published(),
}


def online(changes: Mapping[str, Any] | None = None, subject: Subject | None = None) -> Subject:
    """The same with a cloud behind it: a workspace with enough of everything, changed by path; None takes away."""
    table = {**copy.deepcopy(dict(CLOUD)), **(changes or {})}
    place = Workspace("s", "g", "w", "dev", "cpu", "gpu", "chat")
    cloud = Connection(place, arm=Answers({path: one for path, one in table.items() if one is not None}))  # type: ignore[arg-type]
    made = replace(subject or offline(), cloud=cloud)
    made.__dict__["prices"] = PriceBook("eastus", live=False)  # the one thing that is asked of somebody else
    return made
