"""Pipelines of own components through the real SDK: graphs, children, outputs, and what one failed step means."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from localcloud.runner.locations import job_output
from tests.localcloud.runner.conftest import ENVIRONMENT, WORKSPACE, Jobs, runs


def component(name: str, line: str, **more: Any) -> Any:
    from azure.ai.ml import command

    return command(name=name, command=line, environment=ENVIRONMENT, **more).component


TRAIN = "cat ${{inputs.data}}/rows > ${{outputs.model}}/model; echo ${{inputs.rate}} >> ${{outputs.model}}/model"


def two_steps(line: str = TRAIN) -> Any:
    from azure.ai.ml import Input, Output, dsl

    prepare = component(
        "prepare",
        "for i in $(seq ${{inputs.count}}); do echo $i; done > ${{outputs.data}}/rows",
        inputs={"count": Input(type="integer", default=2, min=1)},
        outputs={"data": Output(type="uri_folder")},
    )
    train = component(
        "train",
        line,
        inputs={"data": Input(type="uri_folder"), "rate": Input(type="number", optional=True, default=0.1)},
        outputs={"model": Output(type="uri_folder")},
    )

    @dsl.pipeline(name="two-steps", default_compute="cpu-cluster")
    def pipeline(count=3):
        prepared = prepare(count=count)
        trained = train(data=prepared.outputs.data, rate=0.25)
        return {"trained_model": trained.outputs.model}

    return pipeline


def test_a_pipeline_of_two_components_hands_outputs_on(jobs: Jobs) -> None:
    done = jobs.run(two_steps()(count=4))
    assert done.status == "Completed", jobs.error(done.name)
    children = list(jobs.client.jobs.list(parent_job_name=done.name))
    assert sorted(child.display_name for child in children) == ["prepared", "trained"]
    assert {child.status for child in children} == {"Completed"}
    assert not any(child.name.startswith(done.name) for child in children)
    jobs.client.jobs.download(done.name, output_name="trained_model", download_path=str(jobs.folder / "down"))
    files = [path for path in (jobs.folder / "down").rglob("model") if path.is_file()]
    assert files[0].read_text().split() == ["1", "2", "3", "4", "0.25"]


def test_a_pipelines_output_can_be_registered_as_a_model(jobs: Jobs) -> None:
    from azure.ai.ml.entities import Model

    done = jobs.run(two_steps()(count=1))
    path = f"azureml://jobs/{done.name}/outputs/trained_model"
    model = jobs.client.models.create_or_update(Model(path=path, name="small", version="7", type="custom_model"))
    jobs.client.models.download("small", "7", download_path=str(jobs.folder / "got"))
    assert any(found.is_file() for found in (jobs.folder / "got").rglob("model"))
    assert model.version == "7"


def test_a_failed_step_fails_the_pipeline_with_its_message(jobs: Jobs) -> None:
    from azure.ai.ml.exceptions import JobException

    job = two_steps("echo 'UserError: the rate is too high' >&2; exit 1")()
    job.settings.continue_on_step_failure = False
    done = jobs.run(job)
    assert done.status == "Failed"
    assert jobs.error(done.name) == "Step 'trained' failed: the rate is too high"
    states = {child.display_name: child.status for child in jobs.client.jobs.list(parent_job_name=done.name)}
    assert sorted(states.values()) == ["Completed", "Failed"]
    with pytest.raises(JobException, match="the rate is too high"):
        jobs.client.jobs.stream(done.name)


def test_a_nested_pipeline_runs_as_a_child_with_children(jobs: Jobs) -> None:
    from azure.ai.ml import dsl

    inner = two_steps()

    @dsl.pipeline(default_compute="cpu-cluster")
    def outer():
        nested = inner(count=2)
        return {"final": nested.outputs.trained_model}

    done = jobs.run(outer())
    assert done.status == "Completed", jobs.error(done.name)
    (child,) = jobs.client.jobs.list(parent_job_name=done.name)
    assert len(list(jobs.client.jobs.list(parent_job_name=child.name))) == 2
    jobs.client.jobs.download(done.name, output_name="final", download_path=str(jobs.folder / "down"))
    assert any(found.is_file() for found in (jobs.folder / "down").rglob("model"))


def test_children_are_not_in_the_list_of_jobs_and_can_be_read_by_name(jobs: Jobs) -> None:
    done = jobs.run(two_steps()())
    assert [job.name for job in jobs.client.jobs.list()] == [done.name]
    child = next(iter(jobs.client.jobs.list(parent_job_name=done.name)))
    assert jobs.client.jobs.get(child.name).status == "Completed"


def test_independent_steps_run_side_by_side(jobs: Jobs) -> None:
    from azure.ai.ml import dsl

    meeting = jobs.folder / "meeting"
    os.mkfifo(meeting)
    # Each waits for the other: opening a fifo returns only when both ends are open.
    speaks = component("speaks", f"echo hello > {meeting}")
    listens = component("listens", f"read word < {meeting}; echo heard $word")

    @dsl.pipeline(default_compute="cpu-cluster")
    def both():
        speaks()
        listens()

    assert jobs.run(both()).status == "Completed"


def test_a_canceled_pipeline_ends_its_steps(jobs: Jobs) -> None:
    ready = jobs.folder / "ready"
    job = jobs.submit(two_steps(f"echo $$ > {ready}.part; mv {ready}.part {ready}; sleep 600")())
    jobs.until(ready.exists)
    jobs.client.jobs.begin_cancel(job.name).result()
    states = sorted(child.status for child in jobs.client.jobs.list(parent_job_name=job.name))
    assert jobs.client.jobs.get(job.name).status == "Canceled"
    assert states == ["Canceled", "Completed"]
    assert not runs(int(ready.read_text()))


def test_steps_that_do_not_need_the_failed_one_go_on_when_asked(jobs: Jobs) -> None:
    from azure.ai.ml import Input, Output, dsl

    fails = component("fails", "exit 3", outputs={"out": Output(type="uri_folder")})
    needs = component("needs", "ls ${{inputs.it}}", inputs={"it": Input(type="uri_folder")})
    alone = component("alone", "sleep 0.3; echo fine")

    @dsl.pipeline(default_compute="cpu-cluster")
    def both():
        failed = fails()
        needs(it=failed.outputs.out)
        alone()

    job = both()
    job.settings.continue_on_step_failure = True
    done = jobs.run(job)
    states = {child.display_name: child.status for child in jobs.client.jobs.list(parent_job_name=done.name)}
    assert states == {"failed": "Failed", "needs": "Canceled", "alone": "Completed"}
    assert done.status == "Failed"
    assert "status code 3" in jobs.error(done.name)


REGISTRY_PIPELINE = """
kind: component
name: tiny_pipeline
version: "1"
created: 2026-01-01
description: Two steps, bound as the published pipelines are.
spec:
  type: pipeline
  inputs:
    compute_make: {type: string, optional: true, default: serverless}
    word: {type: string, default: hello, enum: [hello, bye]}
    note: {type: string, optional: true}
  outputs:
    made: {type: mlflow_model}
  jobs:
    check:
      type: command
      componentId: azureml://registries/azureml/components/tiny_check/versions/1
      computeId: ${{parent.inputs.compute_make}}
      inputs: {word: "${{parent.inputs.word}}"}
      outputs: {}
    make:
      type: command
      componentId: azureml://registries/azureml/components/tiny_make/versions/1
      computeId: ${{parent.inputs.compute_make}}
      inputs:
        word: ${{parent.inputs.word}}
        note: ${{parent.inputs.note}}
        after: ${{parent.jobs.check.outputs.info}}
      outputs: {made: "${{parent.outputs.made}}"}
"""
CHECK = """
kind: component
name: tiny_check
version: "1"
created: 2026-01-01
spec:
  type: command
  environment: azureml://registries/azureml/environments/acft-hf-nlp-gpu/versions/112
  inputs: {word: {type: string}}
  outputs: {info: {type: uri_file}}
  command: echo checked > '${{outputs.info}}'
"""
MAKE = """
kind: component
name: tiny_make
version: "1"
created: 2026-01-01
spec:
  type: command
  environment: azureml://registries/azureml/environments/acft-hf-nlp-gpu/versions/112
  inputs: {word: {type: string}, note: {type: string, optional: true}, after: {type: uri_file}}
  outputs: {made: {type: mlflow_model}}
  command: >-
    cat ${{inputs.after}} > ${{outputs.made}}/MLmodel;
    echo ${{inputs.word}} $[[note=${{inputs.note}}]] >> ${{outputs.made}}/MLmodel
"""


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that has a small pipeline too."""
    folder = tmp_path / "catalog"
    folder.mkdir()
    for number, text in enumerate((REGISTRY_PIPELINE, CHECK, MAKE)):
        (folder / f"{number}.yaml").write_text(text)
    monkeypatch.setenv("LOCALCLOUD_CATALOG", str(folder))


def test_a_registry_pipeline_shows_its_inner_jobs_and_gives_its_output_to_the_job(catalog: None, jobs: Jobs) -> None:
    from azure.ai.ml import MLClient, dsl
    from azure.identity import DefaultAzureCredential

    registry = MLClient(DefaultAzureCredential(), registry_name="azureml")
    tiny = registry.components.get("tiny_pipeline", label="latest")

    @dsl.pipeline
    def job():
        made = tiny(word="bye", compute_make="cpu-cluster")
        return {"trained_model": made.outputs.made}

    done = jobs.run(job())
    assert done.status == "Completed", jobs.error(done.name)
    (node,) = jobs.client.jobs.list(parent_job_name=done.name)
    inner = {child.display_name: child.status for child in jobs.client.jobs.list(parent_job_name=node.name)}
    assert inner == {"check": "Completed", "make": "Completed"}
    folder = job_output(jobs.cloud.cloud, WORKSPACE, done.name, "trained_model")
    assert folder.name == "made"
    assert (folder / "MLmodel").read_text().split() == ["checked", "bye"]


def test_values_that_the_client_lets_through_are_refused_for_the_chat_pipeline(jobs: Jobs) -> None:
    """One test for all, since the component's way through the client takes most of a second."""
    from azure.ai.ml import MLClient, dsl
    from azure.core.exceptions import HttpResponseError
    from azure.identity import DefaultAzureCredential

    registry = MLClient(DefaultAzureCredential(), registry_name="azureml")
    chat = registry.components.get("chat_completion_pipeline", label="latest")
    for name, value, message in (
        ("deepspeed_stage", "4", "'4', which is not one of: 2, 3"),
        ("lr_scheduler_type", "nope", "'nope', which is not one of: linear"),
        ("num_train_epochs", 0, "'0', which is below the minimum 1"),
        ("per_device_train_batch_size", 1.5, "'1.5', which is not an integer"),
        ("compute_finetune", "nope", "compute 'nope', which does not exist"),
    ):
        given = {"huggingface_id": "some/model", name: value}

        @dsl.pipeline
        def job():
            chat(**given)  # noqa: B023, run before the loop goes on

        with pytest.raises(HttpResponseError, match=message):
            jobs.submit(job())
