"""`register_model`: the same job always gives the same version, and only a finished job gives one."""

from __future__ import annotations

import pytest

from tests.scripts.conftest import Jobs, Script, Stack

TAGS = {
    "base_model": "azureml://registries/azureml/models/SmolLM2-135M-Instruct/versions/1",
    "data": "chatterbot-corpus",
    "data_hash": "abc",
    "commit": "123",
    "stack": "test",
}
WRITE = "echo 'flavors: {}' > ${{outputs.trained_model}}/MLmodel"


@pytest.fixture
def finished(jobs: Jobs) -> str:
    return jobs.run(WRITE, "Completed", "trained_model", TAGS)


def test_a_finished_job_becomes_a_version_and_twice_is_once(stack: Stack, script: Script, finished: str) -> None:
    first = script("register_model", "--job", finished)
    name, version = first.handle.split(":")
    assert name == "SmolLM2-135M-Instruct-chatterbot-corpus"
    body = stack.cloud.arm("GET", f"{stack.workspace}/models/{name}/versions/{version}?api-version=2023-08-01-preview")
    assert body["properties"]["tags"] == {**TAGS, "job": finished}
    run = stack.cloud.arm("GET", f"{stack.workspace}/jobs/{finished}?api-version=2024-01-01-preview")
    assert run["properties"]["status"] == "Completed"
    again = script("register_model", "--job", finished)
    assert again.handle == first.handle
    assert "is registered already" in again.err
    versions = stack.cloud.arm("GET", f"{stack.workspace}/models/{name}/versions?api-version=2023-08-01-preview")
    assert len(versions["value"]) == 1


def test_a_dry_run_registers_nothing(stack: Stack, script: Script, finished: str) -> None:
    handle = script("register_model", "--job", finished, "--name", "other", "--dry-run").handle
    name, version = handle.split(":")
    with pytest.raises(Exception, match="NotFound"):
        stack.cloud.arm("GET", f"{stack.workspace}/models/{name}/versions/{version}?api-version=2023-08-01-preview")


def test_a_job_that_runs_is_not_registered(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = jobs.start("sleep 600", "trained_model", TAGS)
    said = script("register_model", "--job", name).failed(4)
    assert "has not finished" in said
    assert f"--attach {name}" in said


def test_a_failed_job_is_not_registered_and_says_why(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = jobs.run("echo the cause; exit 1", "Failed", "trained_model", TAGS)
    ended = script("register_model", "--job", name)
    assert "ended as Failed" in ended.failed(4)
    assert "the cause" in ended.err


def test_a_job_without_a_model_is_refused(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = jobs.run("true", "Completed")
    assert "has no output 'trained_model'" in script("register_model", "--job", name).failed(2)


def test_a_job_without_lineage_needs_a_name(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = jobs.run(WRITE, "Completed", "trained_model")
    said = script("register_model", "--job", name).failed(2)
    assert "no tag base_model and data" in said
    assert "--name" in said
    assert script("register_model", "--job", name, "--name", "mine").handle.startswith("mine:")


def test_all_finished_fine_tunes_get_their_model_and_the_others_are_named(
    stack: Stack, script: Script, jobs: Jobs
) -> None:
    script("register_model", "--finished")  # what the tests above have left
    good = jobs.run(WRITE, "Completed", "trained_model", TAGS)
    failed = jobs.run("exit 1", "Failed", "trained_model", TAGS)
    jobs.run(WRITE, "Completed", "trained_model")  # no fine-tune of ours
    jobs.start("sleep 600", "trained_model", TAGS)
    planned = script("register_model", "--finished", "--dry-run").handle
    ended = script("register_model", "--finished")
    name, version = ended.handle.split(":")
    assert ended.handle == planned
    body = stack.cloud.arm("GET", f"{stack.workspace}/models/{name}/versions/{version}?api-version=2023-08-01-preview")
    assert body["properties"]["tags"]["job"] == good
    assert f"job '{failed}' is in state 'Failed'" in ended.err
    assert script("register_model", "--finished").handle == "nothing to register"
    assert "--name names one model" in script("register_model", "--finished", "--name", "mine").failed(2)
