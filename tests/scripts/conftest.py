"""A stack for the scripts' tests: a local cloud with a workspace, clusters and an endpoint, one for each file.

The scripts run in this process, through their own front door, against the unmodified SDKs.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from localcloud.client import make_workspace
from localcloud.operations import Pace
from localcloud.permissions import BLOB_CONTRIBUTOR
from localcloud.runner.execution import runner_of
from localcloud.server import Options
from tests.conftest import HANG_SECONDS, RunningCloud, serve
from tunestack import cli
from tunestack.jobs.run_history import ENDED

ROOT = Path(__file__).parent.parent.parent
RECIPE = ROOT / "pipelines" / "finetune" / "smollm2-local.yml"
TAGS = {"project": "tunestack", "stack": "test"}
VERSION = "?api-version=2023-08-01-preview"


@dataclass(frozen=True)
class Ended:
    """What a script left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def handle(self) -> str:
        assert self.code == 0, self.err
        return self.out.strip()

    def failed(self, code: int) -> str:
        """The error lines of a script that ended with this code and put nothing on stdout."""
        assert (self.code, self.out) == (code, ""), self.err
        assert "Traceback" not in self.err
        return "\n".join(line for line in self.err.splitlines() if line.startswith("error: "))


Script = Callable[..., Ended]


@dataclass(frozen=True)
class Stack:
    """The cloud, the ids of what is in it, and the file of outputs."""

    cloud: RunningCloud
    workspace: str
    outputs: Path

    def change(self, tmp_path: Path, **fields: str) -> Path:
        """Outputs that differ in some fields."""
        file = tmp_path / "changed.json"
        file.write_text(json.dumps({**json.loads(self.outputs.read_text()), **fields}))
        return file

    def cluster(self, name: str, size: str) -> None:
        scale = {"minNodeCount": 0, "maxNodeCount": 1, "nodeIdleTimeBeforeScaleDown": "PT2M"}
        body = {"computeType": "AmlCompute", "properties": {"vmSize": size, "scaleSettings": scale}}
        self.put(f"computes/{name}", {"location": "eastus", "properties": body})

    def endpoint(self, name: str, mode: str = "Key") -> None:
        body = {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": {"authMode": mode}}
        self.put(f"onlineEndpoints/{name}", body)

    def put(self, path: str, body: dict[str, Any]) -> None:
        self.cloud.arm("PUT", f"{self.workspace}/{path}{VERSION}", body)


@pytest.fixture(scope="module")
def _stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    state = tmp_path_factory.mktemp("state")
    with serve(Options(state, engine=False, tracking=False, pace=Pace())) as cloud:
        place = make_workspace(cloud.running, "test", "eastus")
        group = f"/subscriptions/{place['subscription_id']}/resourceGroups/test"
        cloud.arm("PATCH", f"{group}?api-version=2021-04-01", {"tags": TAGS})
        cloud.grant(BLOB_CONTRIBUTOR, group)  # as a stack's operators have it
        outputs = state / "outputs.json"
        names = {"cpu_cluster": "cpu", "gpu_cluster": "gpu", "endpoint_name": "test-chat"}
        names |= {"lease_cap": "24h", "monthly_budget": "200", "shared_registry": ""}
        names |= {"purge_on_teardown": "false", "production": "false", "max_instances": "2"}
        outputs.write_text(json.dumps({"stack": "test", "location": "eastus", **place, **names}))
        workspace = f"{group}/providers/Microsoft.MachineLearningServices/workspaces/test"
        stack = Stack(cloud, workspace, outputs)
        stack.cluster("cpu", "Standard_DS3_v2")
        stack.cluster("gpu", "Standard_NC24ads_A100_v4")
        stack.endpoint("test-chat")
        yield stack


@pytest.fixture
def stack(_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The stack, with this process pointed at it as `localcloud run` does."""
    for name, value in _stack.cloud.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TUNESTACK_OUTPUTS", str(_stack.outputs))
    return _stack


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Script:
    """Runs a script by its name, in this process."""
    # A logger of the SDK keeps the stderr of the test that imported it first, and complains when that is closed.
    monkeypatch.setattr(logging, "raiseExceptions", False)

    def run(name: str, *arguments: object) -> Ended:
        spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        capsys.readouterr()
        code = cli.main(module.parser(), module.run, [str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return run


class Jobs:
    """Starts jobs in the stack's workspace; those that still run are cancelled at the end."""

    def __init__(self, stack: Stack) -> None:
        from azure.ai.ml import MLClient
        from azure.identity import DefaultAzureCredential

        self._stack = stack
        place = stack.workspace.split("/")
        self.client = MLClient(DefaultAzureCredential(), place[2], place[4], place[8])
        self._started: list[str] = []

    def start(self, command: str, output: str = "", tags: Mapping[str, str] | None = None) -> str:
        """Start a command; `output` names an MLflow model that it writes. The job's name."""
        from azure.ai.ml import Output
        from azure.ai.ml import command as command_job

        job = command_job(
            command=command,
            environment="azureml://registries/azureml/environments/acft-hf-nlp-gpu/versions/112",
            compute="cpu",
            outputs={output: Output(type="mlflow_model")} if output else None,
            tags=dict(tags or {}),
            name=f"job-{uuid.uuid4().hex[:8]}",
        )
        self.client.jobs.create_or_update(job)
        self._started.append(job.name)
        return str(job.name)

    def run(self, command: str, status: str, output: str = "", tags: Mapping[str, str] | None = None) -> str:
        """A job that has ended, as it should have."""
        name = self.start(command, output, tags)
        assert self.wait(name) == status
        return name

    def wait(self, name: str) -> str:
        """Wait for its end on the server's own loop, without polling; the status that it has then."""
        cloud = self._stack.cloud
        cloud.call(runner_of(cloud.cloud).wait(self._stack.workspace, name))
        status = self.client.jobs.get(name).status  # an enumeration that is a text as well
        (found,) = [state for state in ENDED if state == status]
        return found

    def until(self, true: Callable[[], bool]) -> None:
        """Look again and again until something is so."""

        async def look() -> None:
            while not true():
                await asyncio.sleep(0.02)

        self._stack.cloud.call(asyncio.wait_for(look(), HANG_SECONDS))

    def cancel(self, name: str) -> None:
        self.client.jobs.begin_cancel(name).result()
        self.wait(name)

    def close(self) -> None:
        for name in self._started:
            if self.client.jobs.get(name).status not in ENDED:
                self.cancel(name)


@pytest.fixture
def jobs(stack: Stack) -> Iterator[Jobs]:
    made = Jobs(stack)
    yield made
    made.close()
