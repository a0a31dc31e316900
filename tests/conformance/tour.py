"""What the SDK is made to ask: everything once in a workspace that is ours, and reading alone in any workspace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from azure.ai.ml import Input, MLClient, Output, command, dsl
from azure.ai.ml.entities import (
    AmlCompute,
    CodeConfiguration,
    CommandComponent,
    Data,
    Environment,
    FqdnDestination,
    IsolationMode,
    ManagedNetwork,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
    OnlineRequestSettings,
    ProbeSettings,
    Registry,
    RegistryRegionDetails,
    SystemCreatedAcrAccount,
    SystemCreatedStorageAccount,
)
from azure.ai.ml.exceptions import JobException
from azure.core.exceptions import AzureError

CLUSTER, ENDPOINT, REGISTRY = "conformance-cpu", "conformance", "conformance"
SCORE = "def init(): pass\ndef run(raw): return 1\n"


def _govern(client: MLClient) -> None:
    """An isolated network with a rule of ours, a registry, and a model shared into it."""
    workspace = client.workspaces.get(client.workspace_name)
    workspace.managed_network = ManagedNetwork(isolation_mode=IsolationMode.ALLOW_ONLY_APPROVED_OUTBOUND)
    client.workspaces.begin_update(workspace).result()
    rule = FqdnDestination(name="pypi", destination="pypi.org")
    client.workspace_outbound_rules.begin_create(client.workspace_name, rule).result()
    list(client.workspace_outbound_rules.list(client.workspace_name))
    images = [SystemCreatedAcrAccount(acr_account_sku="Premium")]
    storage = SystemCreatedStorageAccount(storage_account_hns=False, storage_account_type="Standard_LRS")
    region = RegistryRegionDetails(location="eastus", acr_config=images, storage_config=storage)
    made = Registry(name=REGISTRY, location="eastus", replication_locations=[region])
    client.registries.begin_create(made).result()
    list(client.registries.list())
    client.registries.get(REGISTRY)
    client.models.share("model", "1", share_with_name="model", share_with_version="1", registry_name=REGISTRY)


def furnish(client: MLClient, folder: Path) -> list[str]:
    """One of each kind, made through the SDK; the names of the jobs, which run when this returns."""
    for name, text in {"code/score.py": SCORE, "model/weights": "1", "rows.jsonl": "{}\n"}.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    cluster = AmlCompute(name=CLUSTER, size="Standard_DS3_v2", min_instances=0, max_instances=2)
    client.compute.begin_create_or_update(cluster).result()
    rows = client.data.create_or_update(Data(name="rows", path=str(folder / "rows.jsonl"), type="uri_file"))
    conda = {"name": "c", "dependencies": ["python=3.11"]}
    environment = client.environments.create_or_update(
        Environment(name="env", version="1", image="ubuntu", conda_file=conda, tags={"a": "b"})
    )
    client.models.create_or_update(Model(name="model", version="1", path=str(folder / "model"), type="custom_model"))
    client.models.archive("model")
    _govern(client)
    client.models.restore("model")
    step = client.components.create_or_update(
        CommandComponent(
            name="step",
            version="1",
            command="cat ${{inputs.rows}} > ${{outputs.out}}/rows",
            environment=environment,
            code=str(folder / "code"),
            inputs={"rows": Input(type="uri_file"), "rate": Input(type="number", default=0.5)},
            outputs={"out": Output(type="uri_folder")},
        )
    )

    @dsl.pipeline(name="two-steps", default_compute=CLUSTER)
    def pipeline(rows):  # type: ignore[no-untyped-def]
        first = step(rows=rows, rate=0.1)
        return {"out": first.outputs.out}

    single = command(
        command="echo hello > ${{outputs.out}}/text",
        environment=environment,
        compute=CLUSTER,
        code=str(folder / "code"),
        outputs={"out": Output(type="uri_folder")},
    )
    failing = command(command="exit 3", environment=environment, compute=CLUSTER)
    whole = pipeline(Input(type="uri_file", path=rows.path))
    names = [client.jobs.create_or_update(job).name for job in (single, failing, whole)]
    client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=ENDPOINT, auth_mode="key")).result()
    client.online_deployments.begin_create_or_update(
        ManagedOnlineDeployment(
            name="blue",
            endpoint_name=ENDPOINT,
            model="azureml:model:1",
            environment=environment,
            code_configuration=CodeConfiguration(code=str(folder / "code"), scoring_script="score.py"),
            instance_type="Standard_DS3_v2",
            instance_count=1,
            environment_variables={"A": "b"},
            request_settings=OnlineRequestSettings(max_concurrent_requests_per_instance=4, request_timeout_ms=90000),
            liveness_probe=ProbeSettings(initial_delay=600),
        )
    ).result()
    endpoint = client.online_endpoints.get(ENDPOINT)
    endpoint.traffic = {"blue": 100}
    client.online_endpoints.begin_create_or_update(endpoint).result()
    with_token = ManagedOnlineEndpoint(name=f"{ENDPOINT}-token", auth_mode="aml_token")
    client.online_endpoints.begin_create_or_update(with_token).result()
    return names


def fetch(client: MLClient, folder: Path) -> None:
    """Reads what is secret, or large on a real cloud."""
    client.workspaces.get_keys(client.workspace_name)
    for endpoint in client.online_endpoints.list():
        client.online_endpoints.get_keys(endpoint.name)
    for job in client.jobs.list():
        client.jobs.download(job.name, download_path=folder / job.name, all=True)


def read(client: MLClient, registry: MLClient) -> None:
    """Reads what is there, three of each kind, and what is not; creates, changes and costs nothing."""

    def some(items: Iterable[Any]) -> list[Any]:
        return list(islice(items, 3))

    client.workspaces.get(client.workspace_name)
    some(client.workspaces.list())
    some(client.compute.list_sizes())
    some(client.compute.list_usage())
    for found in some(client.compute.list()):
        client.compute.get(found.name)
    client.datastores.get_default()
    for found in some(client.datastores.list()):
        client.datastores.get(found.name)
    for assets in (client.data, client.environments, client.components, client.models):
        for container in some(assets.list()):
            for found in some(assets.list(container.name)):
                assets.get(container.name, version=found.version)
            assets.get(container.name, label="latest")
    for job in some(job for job in client.jobs.list() if job.type in ("command", "pipeline")):
        for child in some(client.jobs.list(parent_job_name=job.name)):
            client.jobs.get(child.name)
        client.jobs.get(job.name)
    for job in [job for job in client.jobs.list(max_results=1) if job.status in ("Completed", "Failed")]:
        with contextlib.suppress(JobException):
            client.jobs.stream(job.name)
    for endpoint in some(client.online_endpoints.list()):
        client.online_endpoints.get(endpoint.name)
        for found in some(client.online_deployments.list(endpoint.name)):
            client.online_deployments.get(found.name, endpoint.name)
            client.online_deployments.get_logs(found.name, endpoint.name, lines=5)
    for assets, name in (
        (registry.models, "Phi-4"),
        (registry.components, "chat_completion_pipeline"),
        (registry.environments, "acft-hf-nlp-gpu"),
    ):
        some(assets.list())
        assets.get(name, label="latest")
        for found in some(assets.list(name)):
            assets.get(name, version=found.version)
    for absent in (client.workspaces, client.compute, client.datastores, client.jobs, client.online_endpoints):
        with contextlib.suppress(AzureError):
            absent.get("not-there")
