"""A step of one's own beside a pipeline of the registry: its code, its inputs, and where its outputs go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localcloud.runner.locations import job_output
from tests.localcloud.runner.conftest import WORKSPACE, Jobs, make_cluster
from tests.tiny_model import make_rows, make_tiny_model, write_rows

COMPONENT = """
$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
name: judge
version: 1
type: command
inputs:
  tuned_model: {type: mlflow_model}
  rows: {type: uri_file}
  run_folder: {type: uri_folder, optional: true}
  training_run: {type: string, optional: true}
  least: {type: number, default: 0.5}
  attempt: {type: integer, default: 1}
outputs:
  verdict: {type: uri_folder}
code: code
environment: azureml://registries/azureml/environments/acft-hf-nlp-gpu/versions/112
command: >-
  python judge.py --tuned ${{inputs.tuned_model}} --rows ${{inputs.rows}} --least ${{inputs.least}}
  --attempt ${{inputs.attempt}} --out ${{outputs.verdict}} $[[--folder ${{inputs.run_folder}}]]
  $[[--run ${{inputs.training_run}}]]
"""
CODE = """
import argparse, json, os, pathlib
parser = argparse.ArgumentParser()
for name in ("tuned", "rows", "least", "attempt", "out", "folder", "run"):
    parser.add_argument(f"--{name}")
found = parser.parse_args()
beside = sorted(path.name for path in pathlib.Path(__file__).parent.iterdir())
verdict = {
    "model": sorted(path.name for path in pathlib.Path(found.tuned).iterdir()),
    "rows": len(pathlib.Path(found.rows).read_text().splitlines()),
    "least": found.least, "attempt": found.attempt, "run": found.run, "beside": beside,
    "folder": sorted(path.name for path in pathlib.Path(found.folder).iterdir()) if found.folder else None,
    "root": os.environ["AZUREML_ROOT_RUN_ID"],
}
(pathlib.Path(found.out) / "metrics.json").write_text(json.dumps(verdict))
"""


@pytest.fixture
def own(tmp_path: Path) -> Any:
    from azure.ai.ml import load_component

    (tmp_path / "own" / "code" / "sets").mkdir(parents=True)
    (tmp_path / "own" / "component.yml").write_text(COMPONENT)
    (tmp_path / "own" / "code" / "judge.py").write_text(CODE)
    (tmp_path / "own" / "code" / "sets" / "questions.jsonl").write_text("{}\n")
    return load_component(tmp_path / "own" / "component.yml")


@pytest.mark.long
def test_an_own_step_takes_what_the_registrys_pipeline_made(jobs: Jobs, own: Any, tmp_path: Path) -> None:
    from azure.ai.ml import Input, MLClient, dsl
    from azure.identity import DefaultAzureCredential

    chat = MLClient(DefaultAzureCredential(), registry_name="azureml").components.get(
        "chat_completion_pipeline", version="0.0.82"
    )
    make_cluster(jobs.cloud, "gpu-cluster", "Standard_NC24ads_A100_v4")
    rows = str(write_rows(tmp_path / "rows.jsonl", make_rows(12)))
    model = str(make_tiny_model(tmp_path / "tiny" / "mlflow_model_folder"))
    (tmp_path / "about").mkdir()
    (tmp_path / "about" / "card.json").write_text("{}")

    @dsl.pipeline
    def gated():
        files = {f"{split}_file_path": Input(type="uri_file", path=rows) for split in ("train", "validation", "test")}
        computes = {f"compute_{role}": "cpu-cluster" for role in ("model_import", "preprocess")}
        computes["compute_finetune"] = "gpu-cluster"
        dials = {"apply_lora": "true", "max_steps": 1, "per_device_train_batch_size": 12}
        tuned = chat(mlflow_model_path=Input(type="mlflow_model", path=model), **files, **computes, **dials)
        evaluate = own(
            tuned_model=tuned.outputs.mlflow_model_folder,
            rows=Input(type="uri_file", path=rows),
            run_folder=Input(type="uri_folder", path=str(tmp_path / "about")),
            attempt=3,
        )
        evaluate.compute = "cpu-cluster"
        return {"trained_model": tuned.outputs.mlflow_model_folder, "evaluation": evaluate.outputs.verdict}

    job = gated()
    job.settings.force_rerun = True
    done = jobs.run(job)
    assert done.status == "Completed", jobs.error(done.name)
    found = json.loads((job_output(jobs.cloud.cloud, WORKSPACE, done.name, "evaluation") / "metrics.json").read_text())
    assert "MLmodel" in found["model"]
    assert (found["rows"], found["least"], found["attempt"], found["run"]) == (12, "0.5", "3", None)
    assert found["folder"] == ["card.json"]
    assert found["beside"] == ["judge.py", "sets"]
    assert found["root"] == done.name


def test_the_own_step_runs_alone_on_the_output_of_a_finished_job(jobs: Jobs, own: Any, tmp_path: Path) -> None:
    from azure.ai.ml import Input, Output, dsl

    from tests.localcloud.runner.test_pipeline_jobs import component

    make = component("make", "touch ${{outputs.model}}/MLmodel", outputs={"model": Output(type="mlflow_model")})

    @dsl.pipeline(default_compute="cpu-cluster")
    def first():
        return {"trained_model": make().outputs.model}

    made = jobs.run(first())
    rows = write_rows(tmp_path / "rows.jsonl", make_rows(3))

    @dsl.pipeline(default_compute="cpu-cluster")
    def alone():
        model = Input(type="mlflow_model", path=f"azureml://jobs/{made.name}/outputs/trained_model")
        evaluate = own(tuned_model=model, rows=Input(type="uri_file", path=str(rows)), training_run=made.name)
        return {"evaluation": evaluate.outputs.verdict}

    job = alone()
    job.name = f"{made.name}-evaluation"
    job.tags = {"evaluates": made.name}
    done = jobs.run(job)
    assert done.status == "Completed", jobs.error(done.name)
    found = json.loads((job_output(jobs.cloud.cloud, WORKSPACE, done.name, "evaluation") / "metrics.json").read_text())
    assert (found["model"], found["run"]) == (["MLmodel"], made.name)
