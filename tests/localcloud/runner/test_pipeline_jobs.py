"""Pipelines of own components through the real SDK: graphs, children, outputs, and what one failed step means."""

from __future__ import annotations

from typing import Any

import pytest

from tests.localcloud.runner.conftest import ENVIRONMENT, Jobs


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
