"""MLflow behind the workspace's tracking address, through the unmodified mlflow and azureml-mlflow clients."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from localcloud.runner.runs import runs_of
from localcloud.tracking import tracking_of
from tests.conftest import HANG_SECONDS
from tests.localcloud.runner.conftest import ENVIRONMENT, WORKSPACE, Jobs, Maker, runs

TRAIN = """
import mlflow, pathlib
mlflow.log_metric("loss", 2.5, step=1)
mlflow.log_metric("loss", 1.5, step=2)
mlflow.log_param("rank", 16)
mlflow.log_text("hello", "notes/hello.txt")
mlflow.log_metrics({"late": 1.0}, synchronous=False)
from azure.identity import DefaultAzureCredential
print("token of", len(DefaultAzureCredential().get_token("https://management.azure.com/.default").token))
"""


def test_jobs_and_clients_are_recorded_in_one_mlflow_server(
    tracked_jobs: Jobs, command_job: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that logs, a client that reads, and a client's own run: one test, since the start takes seconds."""
    import mlflow

    # set_tracking_uri and set_experiment hold for the process: put back what was there, for the tests that follow
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)
    monkeypatch.setattr("mlflow.tracking.fluent._active_experiment_id", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    jobs = tracked_jobs
    job = command_job("python train.py", code=jobs.code(train=TRAIN), inputs={"rate": 0.5}, experiment_name="exp-a")
    done = jobs.run(job)
    assert done.status == "Completed", jobs.log(done.name)

    mlflow.set_tracking_uri(jobs.client.workspaces.get("ws-test").mlflow_tracking_uri)
    run = mlflow.get_run(done.name)
    assert run.info.run_id == done.name
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"loss": 1.5, "late": 1.0}
    assert "token of" in jobs.log(done.name)
    assert run.data.params == {"rate": "0.5", "rank": "16"}
    assert run.data.tags["mlflow.rootRunId"] == done.name
    assert mlflow.get_experiment(run.info.experiment_id).name == "exp-a"
    assert [point.value for point in mlflow.MlflowClient().get_metric_history(done.name, "loss")] == [2.5, 1.5]
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/notes/hello.txt") == "hello"
    found = mlflow.search_runs(
        experiment_names=["exp-a"], filter_string=f"tags.mlflow.rootRunId='{done.name}'", output_format="list"
    )
    assert [each.info.run_id for each in found] == [done.name]

    mlflow.set_experiment("exp-b")
    with mlflow.start_run() as mine:
        mlflow.log_metric("score", 3.0)
        mlflow.log_text("mine", "mine.txt")
    assert mlflow.get_run(mine.info.run_id).data.metrics == {"score": 3.0}
    assert [each.path for each in mlflow.MlflowClient().list_artifacts(mine.info.run_id)] == ["mine.txt"]

    check_a_steps_parameters_and_metrics(jobs)

    page = tracking_of(jobs.cloud.cloud).page
    assert jobs.client.jobs.get(done.name).studio_url.startswith(f"{page}/#/experiments/{run.info.experiment_id}/runs/")


TUNE = """
from localcloud.components.chat_completion.metrics import Metrics
Metrics.from_environment().log({"loss": 0.5}, 3)
"""


def check_a_steps_parameters_and_metrics(jobs: Jobs) -> None:
    """A step's inputs are its run's parameters; what the published fine-tune logs is on the pipeline's run as well."""
    import mlflow
    from azure.ai.ml import Input, command, dsl

    step = command(
        command="python tune.py; echo ${{inputs.rate}}",
        code=jobs.code(tune=TUNE),
        environment=ENVIRONMENT,
        inputs={"rate": Input(type="number"), "seed": Input(type="integer", default=42)},
    ).component

    @dsl.pipeline(default_compute="cpu-cluster")
    def whole(rate=0.25):
        tune = step(rate=rate)  # noqa: F841 the variable's name becomes the node's

    done = jobs.run(whole())
    (child,) = jobs.client.jobs.list(parent_job_name=done.name)
    of_step, of_whole = mlflow.get_run(child.name), mlflow.get_run(done.name)
    assert of_step.data.params == {"rate": "0.25", "seed": "42"}
    assert of_whole.data.params == {"rate": "0.25"}
    assert of_step.data.metrics == of_whole.data.metrics == {"loss": 0.5}
    assert of_step.data.tags["mlflow.parentRunId"] == done.name


def test_a_step_leaves_properties_on_its_run_and_on_the_pipelines(jobs: Jobs, command_job: Maker) -> None:
    from azure.ai.ml import dsl

    said = {"run": {"showMetricsAtRoot": "true"}, "root": {"PipelineType": "Finetune", "tokens": 12}}
    step = command_job(f"echo '{json.dumps(said)}' > $LOCALCLOUD_PROPERTIES").component
    broken = command_job("echo nonsense > $LOCALCLOUD_PROPERTIES").component

    @dsl.pipeline(default_compute="cpu-cluster")
    def whole():
        step()
        broken()

    done = jobs.run(whole())
    assert done.status == "Completed"
    found = {run.node: run for run in runs_of(jobs.cloud.cloud).family(WORKSPACE, done.name)}
    root = found.pop(None)
    assert {name: root.properties[name] for name in said["root"]} == {"PipelineType": "Finetune", "tokens": "12"}
    assert [run.properties for run in found.values() if run.properties] == [{"showMetricsAtRoot": "true"}]
    assert jobs.client.jobs.get(done.name).properties["PipelineType"] == "Finetune"


def test_without_mlflow_a_job_runs_and_the_tracking_address_says_so(jobs: Jobs, command_job: Maker) -> None:
    assert jobs.run(command_job("echo fine")).status == "Completed"
    running = jobs.cloud.running
    path = f"/mlflow/v2.0{WORKSPACE}/api/2.0/mlflow/runs/get?run_id=x"
    with pytest.raises(Exception, match="switched off"):
        running.call("GET", "eastus.api.azureml.ms", path, None, running.token())


PARENT = """
import asyncio, socket, sys
from pathlib import Path
from localcloud.cloud import Addresses, Cloud
from localcloud.store import Store
from localcloud.tracking import tracking_of

async def main():
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    addresses = Addresses(mlflow=bound.getsockname()[1])
    tracking = tracking_of(Cloud(Store(), Path(sys.argv[1]), addresses=addresses, mlflow_socket=bound))
    await tracking.start()
    print(tracking.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_the_mlflow_server_ends_with_a_killed_local_cloud(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    with contextlib.suppress(psutil.NoSuchProcess):
        child.wait(HANG_SECONDS)
    assert not runs(child.pid)
