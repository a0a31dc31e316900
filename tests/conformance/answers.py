"""Which model of the public contract each answer is held against, and the members without which the client breaks.

The models are the generated ones inside the `azure-ai-ml` wheel. `python -m tests.conformance.answers` writes
docs/conformance.md from these tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure.ai.ml._restclient.arm_ml_service import models as arm
from azure.ai.ml._restclient.dataset_dataplane import models as data
from azure.ai.ml._restclient.registry_discovery import models as discovery
from azure.ai.ml._restclient.runhistory import models as history

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
ML = "/providers/Microsoft.MachineLearningServices"
SHORT = {
    "WS": f"/subscriptions/[^/]+/resourceGroups/[^/]+{ML}/workspaces/[^/]+",
    "REG": f"/mferp/managementfrontend/subscriptions/[^/]+/resourceGroups/[^/]+{ML}/registries/[^/]+",
    "LOC": "/subscriptions/[^/]+/providers/[^/]+/locations/[^/]+",
    "GROUP": "/subscriptions/[^/]+/resourceGroups/[^/]+",
    "*": "[^/]+",
}


@dataclass(frozen=True)
class Answer:
    """One kind of answer: its call, its model, and the members that the client needs.

    In a call `WS`, `REG`, `LOC`, `GROUP` and `*` stand for parts of a path. `model` is a text, the reason, where
    no model is at hand. A `listed` answer is a page of that model. A `local` one is asked of the local cloud
    only: the call changes, costs or reveals something. `job` tells jobs of one path apart.
    """

    kind: str
    call: str
    model: type[Any] | str
    needs: tuple[str, ...] = ()
    listed: bool = False
    local: bool = False
    job: str | None = None

    def fits(self, method: str, path: str, document: Any = None) -> bool:
        methods, _, template = self.call.partition(" ")
        pattern = re.sub(r"WS|REG|LOC|GROUP|\*", lambda found: SHORT[found[0]], template)
        if method not in methods.split("|") or not re.fullmatch(pattern, path, re.IGNORECASE):
            return False
        return document is None or not self.job or (document.get("properties") or {}).get("jobType") == self.job


def _versions(kind: str, path: str, container: type[Any], version: type[Any], *needs: str) -> Iterator[Answer]:
    yield Answer(f"{kind} containers", f"GET {path}", container, ("id", "properties"), listed=True)
    yield Answer(f"{kind} versions", f"GET {path}/*/versions", version, needs, listed=True)
    yield Answer(f"{kind} version", f"GET|PUT {path}/*/versions/*", version, needs)


ASSET, MODEL, SPEC = (
    ("id", "properties"),
    ("id", "properties.flavors", "properties.flavors.*"),
    ("id", "properties.componentSpec"),
)
DATASTORE = ("properties.datastoreType",)
JOB = (
    *("name", "properties.jobType", "properties.properties", "properties.services", "properties.services.*"),
    "properties.outputs.*.jobOutputType",
)
PIPELINE = tuple(f"properties.jobs.*.{name}" for name in ("type", "componentId", "inputs", "outputs"))
ENDPOINT = (
    *("properties.properties", "properties.scoringUri", "properties.authMode"),
    *("systemData.createdAt", "systemData.lastModifiedAt"),
)
DEPLOYMENT = ("id", "sku", "properties.endpointComputeType", "properties.scaleSettings.scaleType")
RULE, OWN_REGISTRY = ("properties.type", "properties.destination"), ("location", "properties.regionDetails")
CREDENTIAL = "blobReferenceForConsumption.credential"
HISTORY = "/history/v1.0WS"

ANSWERS = (
    Answer("workspace", "GET|PUT|PATCH WS", arm.Workspace, ("properties.mlFlowTrackingUri", "properties.discoveryUrl")),
    Answer("workspaces", f"GET (GROUP|/subscriptions/*){ML}/workspaces", arm.Workspace, ("properties",), listed=True),
    Answer("workspace's keys", "POST WS/listKeys", arm.ListWorkspaceKeysResult, local=True),
    Answer("outbound rule", "GET|PUT WS/outboundRules/*", arm.OutboundRuleBasicResource, RULE, local=True),
    Answer("outbound rules", "GET WS/outboundRules", arm.OutboundRuleBasicResource, RULE, listed=True, local=True),
    Answer("registry", f"GET|PUT GROUP{ML}/registries/*", arm.Registry, OWN_REGISTRY, local=True),
    Answer(
        "registries",
        f"GET (GROUP|/subscriptions/*){ML}/registries",
        arm.Registry,
        OWN_REGISTRY,
        listed=True,
        local=True,
    ),
    Answer("compute", "GET|PUT WS/computes/*", arm.ComputeResource, ("properties.properties",)),
    Answer("computes", "GET WS/computes", arm.ComputeResource, ("properties.properties",), listed=True),
    Answer("sizes", "GET LOC/vmSizes", arm.VirtualMachineSizeListResult, ("value",)),
    Answer("usages", "GET LOC/usages", arm.Usage, ("type", "name.value"), listed=True),
    Answer("datastore", "GET|PUT WS/datastores/*", arm.Datastore, DATASTORE),
    Answer("datastores", "GET WS/datastores", arm.Datastore, DATASTORE, listed=True),
    Answer(
        "datastore's secrets", "POST WS/datastores/*/listSecrets", arm.DatastoreSecrets, ("secretsType",), local=True
    ),
    *_versions("data", "WS/data", arm.DataContainer, arm.DataVersionBase, *ASSET),
    Answer("data container", "GET|PUT WS/data/*", arm.DataContainer, (*ASSET, "properties.nextVersion")),
    *_versions("environment", "WS/environments", arm.EnvironmentContainer, arm.EnvironmentVersion, *ASSET),
    *_versions("component", "WS/components", arm.ComponentContainer, arm.ComponentVersion, *SPEC),
    *_versions("model", "WS/models", arm.ModelContainer, arm.ModelVersion, *MODEL),
    Answer("model container", "GET|PUT WS/models/*", arm.ModelContainer, ASSET, local=True),
    Answer("code version", "GET|PUT WS/codes/*/versions/*", arm.CodeVersion, ("properties",), local=True),
    Answer("code versions", "GET WS/codes/*/versions", arm.CodeVersion, ("properties",), listed=True, local=True),
    Answer(
        "pending upload",
        "POST WS/codes/*/versions/*/startPendingUpload",
        arm.PendingUploadResponseDto,
        (f"{CREDENTIAL}.credentialType", f"{CREDENTIAL}.sasUri"),
        local=True,
    ),
    Answer("command job", "GET|PUT WS/jobs/*", arm.JobBase, JOB, job="Command"),
    Answer("pipeline job", "GET|PUT WS/jobs/*", arm.JobBase, JOB + PIPELINE, job="Pipeline"),
    Answer("jobs", "GET WS/jobs", arm.JobBase, JOB, listed=True),
    Answer("online endpoint", "GET|PUT WS/onlineEndpoints/*", arm.OnlineEndpoint, ENDPOINT),
    Answer("online endpoints", "GET WS/onlineEndpoints", arm.OnlineEndpoint, ENDPOINT, listed=True),
    Answer("endpoint's keys", "POST WS/onlineEndpoints/*/listKeys", arm.EndpointAuthKeys, ("primaryKey",), local=True),
    Answer("endpoint's token", "POST WS/onlineEndpoints/*/token", arm.EndpointAuthToken, ("accessToken",), local=True),
    Answer("deployment", "GET|PUT WS/onlineEndpoints/*/deployments/*", arm.OnlineDeployment, DEPLOYMENT),
    Answer("deployments", "GET WS/onlineEndpoints/*/deployments", arm.OnlineDeployment, DEPLOYMENT, listed=True),
    Answer("deployment's logs", "POST WS/onlineEndpoints/*/deployments/*/getLogs", arm.DeploymentLogs, ("content",)),
    *_versions("registry's model", "REG/models", arm.ModelContainer, arm.ModelVersion, *MODEL),
    *_versions("registry's component", "REG/components", arm.ComponentContainer, arm.ComponentVersion, *SPEC),
    *_versions("registry's environment", "REG/environments", arm.EnvironmentContainer, arm.EnvironmentVersion, *ASSET),
    Answer(
        "registry's discovery",
        "GET /registrymanagement/v1.0/registries/*/discovery",
        discovery.RegistryDiscoveryDto,
        ("subscriptionId", "resourceGroup", "primaryRegionResourceProviderUri"),
    ),
    Answer("run", f"GET {HISTORY}/runs/*", history.Run, ("runId", "status")),
    Answer("run's details", f"GET {HISTORY}/runs/*/details", history.RunDetails, ("status",)),
    Answer("run's children", f"GET {HISTORY}/runs/*/children", history.PaginatedRunList, ("value",)),
    Answer("run's data", f"POST {HISTORY}/rundata", history.GetRunDataResult, ("runMetadata",), local=True),
    Answer(
        "addresses of outputs",
        "POST /data/v1.0WS/dataversion/batchGetResolvedUris",
        data.BatchDataUriResponse,
        ("values", "values.*.uri"),
        local=True,
    ),
    Answer("addresses of services", "GET /discovery", "the client reads plain JSON", ("api",)),
    Answer(
        "state of an operation", "GET LOC/operationsStatus/*", "azure-core reads plain JSON", ("status",), local=True
    ),
)

# (kind, path of the member, why the answer is right all the same). Each is asserted to be so still.
STATED = (
    (
        "registry's discovery",
        ".registryFqdns",
        "The client reads it in plain JSON when it is given a workspace; the generated model is older.",
    ),
    (
        "child of a pipeline",
        ".properties",
        "`null`, though the contract wants an object: by this the client knows a child, and asks the run history.",
    ),
)

# What else the local cloud answers: (what, pattern of `METHOD host/path`, why it is held against nothing here).
NO_MODEL = "The wheel has no model of it."
NOT_ASKED = "A model is at hand, but no call of the tour asks for it."
UNCHECKED = (
    ("the cloud metadata document", r"GET management.azure.com/metadata/endpoints", NO_MODEL),
    (
        "subscriptions, providers, groups, their resources",
        r"(GET|POST) management.azure.com/subscriptions(?!.*/providers/[^{]).*",
        NO_MODEL,
    ),
    (
        "storage accounts, vaults and their keys, container registries, logs, metrics, alerts, budgets, networks, "
        "identities, role assignments, permissions, locks, policies, sizes of machines",
        r"(GET|POST) management.azure.com/.*providers/microsoft\."
        r"(storage|keyvault|containerregistry|consumption|insights|network|operationalinsights|managedidentity"
        r"|authorization|compute)/.*",
        NO_MODEL,
    ),
    ("encryption by a key", r"POST \*.vault.azure.net/keys/.*", NO_MODEL),
    ("names of principals", r"POST graph.microsoft.com/.*", NO_MODEL),
    ("provisioning of a managed network", r"POST .*/provisionManagedNetwork", NOT_ASKED),
    ("retail prices", r"GET prices.azure.com/api/retail/prices", NO_MODEL),
    ("quotas, nodes of a cluster, skus", r".*/(quotas|updateQuotas|listNodes|skus)", NOT_ASKED),
    (
        "containers of code, components, environments by name",
        r"GET .*/(codes(/{name})?|(components|environments)/{name})",
        NOT_ASKED,
    ),
    (
        "pending uploads other than code's",
        r"POST .*/(?!codes)\w+/{name}/versions/{version}/startPendingUpload",
        NOT_ASKED,
    ),
    (
        "calls without a body in their answer",
        r".*/(cancel|regenerateKeys|operationResults/{operation})",
        "Nothing to check.",
    ),
    ("codes, data and single containers of a registry", r"(GET|POST) .*/registries/{registry}/.*", NOT_ASKED),
    (
        "runs by experiment, service instances",
        r"GET .*/history/.*/(experiment(id)?s/{experiment}/runs/.*|serviceinstances/.*)",
        NOT_ASKED,
    ),
    (
        "artifacts of runs",
        r"(GET|POST) .*/runs/{run}/artifacts.*",
        "The client of MLflow asks for them, whose answers are not recorded.",
    ),
    ("MLflow", r"(GET|POST) .*/mlflow/v\d.0/.*", "Answered by MLflow's own server."),
    ("tokens", r"(GET|POST) login.microsoftonline.com/.*", NO_MODEL),
    ("file shares", r"(GET|POST) \*.file.core.windows.net/.*", "XML, read by azure-storage-file-share."),
    ("blobs", r"(GET|POST) \*.blob.core.windows.net/.*", "XML, read by azure-storage-blob."),
    ("scoring", r"(GET|POST) \*.inference.ml.azure.com/.*", "What is answered is the model's own."),
    ("the local cloud's own", r"GET 127.0.0.1/.*", "Azure has no such thing."),
)


def unlisted(operations: list[str]) -> list[str]:
    """Operations with an answer that no table has; an operation is `METHOD https://host/path/{parameter}`."""
    found = []
    for operation in operations:
        method, _, url = operation.partition(" https://")
        path = "/" + url.partition("/")[2]
        listed = any(re.fullmatch(pattern, f"{method} {url}", re.IGNORECASE) for _, pattern, _ in UNCHECKED)
        # A PUT answers what a GET does; PATCH and DELETE are left to the tests of each service.
        if method in ("GET", "POST") and not listed and not any(answer.fits(method, path) for answer in ANSWERS):
            found.append(operation)
    return found


def _table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def page() -> str:
    """docs/conformance.md"""
    checked = [answer for answer in ANSWERS if not isinstance(answer.model, str)]
    models = (
        (
            answer.kind,
            f"`{answer.call}`",
            f"page of `{answer.model.__name__}`" if answer.listed else f"`{answer.model.__name__}`",
            ", ".join(f"`{need}`" for need in answer.needs),
            "no" if answer.local else "yes",
        )
        for answer in checked
    )
    plain = (
        (answer.kind, f"{answer.model}; `{answer.needs[0]}` must be there.")
        for answer in ANSWERS
        if answer not in checked
    )
    return f"""<!-- Written by `python -m tests.conformance.answers`; do not edit. -->
# Conformance

The real SDK makes one of each kind in the local cloud and reads everything back. Each JSON answer that it gets is
held against the model that Microsoft generates from the public REST contract, as it lies in the `azure-ai-ml` wheel:
no member that the contract lacks, every required one, types, known values of enumerations. The members without which
the client breaks are asserted on top. Refusals are held against `ErrorResponse`.

The wheel has one set of models for all api-versions: a member newer than the version that was asked for is not noticed.

    python -m pytest tests/conformance

The same tests read, and only read, what exists in a workspace on Azure, with your own credential:

    export TUNESTACK_AZURE_SUBSCRIPTION=… TUNESTACK_AZURE_RESOURCE_GROUP=… TUNESTACK_AZURE_WORKSPACE=…
    python -m pytest tests/conformance

That has not been run yet, nor have the tests in `tests/conformance/azure`. Those settle what the local cloud answers
after public documents only: roles that are missing or still spreading, soft delete and purge, quota, locks, policies,
private networks, what creation fixes, a shared model, prices. With a subscription, an owner's login, an hour and a few
dollars:

    TUNESTACK_TEST_SUBSCRIPTION=… python -m pytest tests/conformance/azure

They make one resource group and delete it. Without that variable they are not collected. One of their files passes
on the local cloud too, as a caller from outside, and a test runs it there:

    localcloud run --network internet -- env TUNESTACK_TEST_SUBSCRIPTION=00000000-0000-0000-0000-000000000000 \\
        python -m pytest tests/conformance/azure/test_simulations.py

`WS`, `REG`, `LOC`, `GROUP` and `*` stand for parts of a path.

## Checked

{_table(("answer", "call", "model", "the client needs", "on Azure too"), models)}

## Stated deviations

{_table(("answer", "member", "why"), ((kind, f"`{at}`", why) for kind, at, why in STATED))}

## Unchecked

{_table(("what", "why"), iter([*plain, *((what, why) for what, _, why in UNCHECKED)]))}
"""


if __name__ == "__main__":
    PAGE.write_text(page())
