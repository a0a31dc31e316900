"""The component as a job on the local cloud, through the unmodified SDK, azureml-mlflow and mlflow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localcloud.runner.locations import job_output
from tests.conftest import RunningCloud
from tests.localcloud.runner.conftest import WORKSPACE, Jobs, connect, make_workspace
from tests.pipelines.conftest import STEP


@pytest.mark.long
def test_a_pipeline_with_the_gate_leaves_verdict_files_and_a_tracked_run(
    tracked_cloud: RunningCloud,
    tmp_path: Path,
    tiny_models: dict[str, Path],
    test_file: Path,
    run_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import mlflow
    from azure.ai.ml import Input, load_component
    from azure.ai.ml.dsl import pipeline

    monkeypatch.setenv("AZURE_ML_DISABLE_ON_DISK_CACHE", "true")
    monkeypatch.chdir(tmp_path)
    make_workspace(tracked_cloud)
    jobs = Jobs(tracked_cloud, connect(), tmp_path)
    component = load_component(STEP / "component.yml")

    @pipeline(default_compute="cpu-cluster")
    def gated(test_file, tuned, base, run):
        judged = component(
            test_file=test_file,
            tuned_model=tuned,
            base_model=base,
            run_folder=run,
            min_clusters=10,
            samples=2,
            max_new_tokens=4,
            attempt=3,
        )
        return {"evaluation": judged.outputs.evaluation}

    job = gated(
        Input(type="uri_file", path=str(test_file)),
        Input(type="mlflow_model", path=str(tiny_models["tuned"])),
        Input(type="mlflow_model", path=str(tiny_models["base"])),
        Input(type="uri_folder", path=str(run_folder)),
    )
    done = jobs.run(job)
    assert done.status == "Completed", jobs.error(done.name)

    out = job_output(tracked_cloud.cloud, WORKSPACE, done.name, "evaluation")
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["gate"]["attempt"] == 3
    assert metrics["test"]["rows"] == 12
    monkeypatch.setattr("mlflow.tracking._tracking_service.utils._tracking_uri", None)  # it holds for the process
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    mlflow.set_tracking_uri(jobs.client.workspaces.get("ws-test").mlflow_tracking_uri)
    found = mlflow.get_run(done.name).data
    assert found.metrics["eval_gain_lower"] == pytest.approx(metrics["gain"]["lower"])
    assert found.tags["eval_verdict"] == metrics["verdict"]
    client = mlflow.MlflowClient()
    kept = {each.path for each in client.list_artifacts(done.name, "evaluation")}
    assert "evaluation/report.html" in kept
    assert {each.path for each in client.list_artifacts(done.name, "run")} >= {"run/recipe.yml", "run/card.json"}
    child = next(iter(jobs.client.jobs.list(parent_job_name=done.name)))
    assert "eval_gain_lower" in mlflow.get_run(child.name).data.metrics
