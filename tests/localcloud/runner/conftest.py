"""A workspace with a cluster on a real local cloud, and the real SDK connected to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from localcloud.cloud import SUBSCRIPTION
from tests.conftest import HANG_SECONDS, RunningCloud

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-test"
PROVIDERS = f"{GROUP}/providers"
WORKSPACE = f"{PROVIDERS}/Microsoft.MachineLearningServices/workspaces/ws-test"
STORAGE = f"{PROVIDERS}/Microsoft.Storage/storageAccounts/sttest"
VAULT = f"{PROVIDERS}/Microsoft.KeyVault/vaults/kv-test"
ENVIRONMENT = "azureml://registries/azureml/environments/acft-hf-nlp-gpu/versions/112"


def make_workspace(cloud: RunningCloud, *, keyless: bool = False) -> None:
    """What a workspace rests on is written straight into the store; the workspace itself is asked for."""
    account = {"allowSharedKeyAccess": not keyless}
    for resource_id in (GROUP, STORAGE, VAULT):
        name = resource_id.rpartition("/")[2]
        cloud.cloud.store.put(
            resource_id, {"id": resource_id, "name": name, "location": "eastus", "properties": account}
        )
    mode = "Identity" if keyless else "AccessKey"
    body = {
        "location": "eastus",
        "properties": {"storageAccount": STORAGE, "keyVault": VAULT, "systemDatastoresAuthMode": mode},
    }
    cloud.arm("PUT", f"{WORKSPACE}?api-version=2024-10-01", body)
    make_cluster(cloud, "cpu-cluster", "Standard_DS3_v2")


def make_cluster(cloud: RunningCloud, name: str, size: str, *, low_priority: bool = False) -> None:
    inner = {
        "vmSize": size,
        "vmPriority": "LowPriority" if low_priority else "Dedicated",
        "scaleSettings": {"minNodeCount": 0, "maxNodeCount": 2, "nodeIdleTimeBeforeScaleDown": "PT2M"},
    }
    body = {"location": "eastus", "properties": {"computeType": "AmlCompute", "properties": inner}}
    cloud.arm("PUT", f"{WORKSPACE}/computes/{name}?api-version=2023-08-01-preview", body)


@dataclass
class Jobs:
    """A connected SDK client beside the cloud that it talks to."""

    cloud: RunningCloud
    client: Any
    folder: Path

    def submit(self, job: Any) -> Any:
        return self.client.jobs.create_or_update(job)

    def finish(self, name: str) -> Any:
        """Wait for the end of a job on the server's own loop, without polling."""
        from localcloud.runner.execution import runner_of

        self.cloud.call(runner_of(self.cloud.cloud).wait(WORKSPACE, name))
        return self.client.jobs.get(name)

    def run(self, job: Any) -> Any:
        return self.finish(self.submit(job).name)

    def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is so."""

        async def wait() -> None:
            while not true():
                await asyncio.sleep(0.02)

        self.cloud.call(asyncio.wait_for(wait(), HANG_SECONDS))

    def cluster_nodes(self) -> int:
        return cluster_nodes(self.cloud)

    def error(self, name: str) -> str:
        """The error of a run, as run history tells it."""
        path = f"/history/v1.0{WORKSPACE}/runs/{name}/details"
        running = self.cloud.running
        answer = running.call("GET", "eastus.api.azureml.ms", path, None, running.token())
        return answer["error"]["error"]["message"]

    def log(self, name: str) -> str:
        path = self.cloud.cloud.blobs / "sttest" / "azureml" / "ExperimentRun" / f"dcid.{name}" / "user_logs"
        return (path / "std_log.txt").read_text()

    def code(self, **files: str) -> str:
        """A folder with these files, e.g. `train='…'` for train.py."""
        folder = self.folder / "code"
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        return str(folder)


def cluster_nodes(cloud: RunningCloud) -> int:
    path = f"{WORKSPACE}/computes/cpu-cluster?api-version=2023-08-01-preview"
    return cloud.arm("GET", path)["properties"]["properties"]["currentNodeCount"]


def runs(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def connect() -> Any:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(DefaultAzureCredential(), SUBSCRIPTION, "rg-test", "ws-test")


@pytest.fixture
def fast_sdk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The client asks every second when it streams, and remembers no component of an earlier cloud."""
    from azure.ai.ml.operations._run_history_constants import RunHistoryConstants

    monkeypatch.setattr(RunHistoryConstants, "_WAIT_COMPLETION_POLLING_INTERVAL_MIN", 1)
    monkeypatch.setattr(RunHistoryConstants, "_WAIT_COMPLETION_POLLING_INTERVAL_MAX", 1)
    monkeypatch.setenv("AZURE_ML_DISABLE_ON_DISK_CACHE", "true")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def jobs(local_cloud: RunningCloud, fast_sdk: None, tmp_path: Path) -> Jobs:
    make_workspace(local_cloud)
    return Jobs(local_cloud, connect(), tmp_path)


@pytest.fixture
def tracked_jobs(tracked_cloud: RunningCloud, fast_sdk: None, tmp_path: Path) -> Jobs:
    """The same with MLflow."""
    make_workspace(tracked_cloud)
    return Jobs(tracked_cloud, connect(), tmp_path)


Maker = Callable[..., Any]


@pytest.fixture
def command_job() -> Maker:
    """A command job on the test's cluster; members are those of `azure.ai.ml.command`."""

    def make(line: str, **more: Any) -> Any:
        from azure.ai.ml import command

        return command(command=line, environment=ENVIRONMENT, **{"compute": "cpu-cluster", **more})

    return make
