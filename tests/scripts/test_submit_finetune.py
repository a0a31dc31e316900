"""`submit_finetune`: every check before anything is sent, through the real SDK; the training itself is the story's."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.scripts.conftest import RECIPE, Jobs, Script, Stack

CONTENT = yaml.safe_load(RECIPE.read_text())
REGISTRY = "azureml://registries/azureml"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folder with the data, once some test has prepared it."""
    return [tmp_path_factory.mktemp("prepared") / "data"]


@pytest.fixture
def data(script: Script, prepared: list[Path], tmp_path: Path) -> Path:
    if not prepared[0].exists():
        assert script("prepare_data", "--recipe", RECIPE, "--output", prepared[0]).code == 0
    return Path(shutil.copytree(prepared[0], tmp_path / "data"))


@pytest.fixture
def recipe(tmp_path):
    def write(**changes) -> Path:
        file = tmp_path / "mine.yml"
        file.write_text(yaml.safe_dump({**CONTENT, **changes}))
        return file

    return write


@pytest.fixture
def submit(stack: Stack, script: Script, data: Path):
    def run(recipe: Path, *arguments: object):
        return script("submit_finetune", "--recipe", recipe, "--data", data, "--dry-run", *arguments)

    return run


def test_a_dry_run_shows_what_would_be_sent_and_sends_nothing(submit, stack: Stack) -> None:
    ended = submit(RECIPE, "--json")
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)
    assert record["job"].startswith("smollm2-local-")
    assert record["inputs"]["lora_r"] == "16"
    assert record["inputs"]["number_of_gpu_to_use_finetuning"] == "1"
    assert {"recipe", "base_model", "component", "data", "data_hash", "commit", "stack"} <= set(record["tags"])
    assert "recipe wins" in ended.err
    assert f"all: scripts/preflight.py --recipe {RECIPE} --data " in ended.err
    assert stack.cloud.arm("GET", f"{stack.workspace}/jobs?api-version=2024-01-01-preview")["value"] == []


def test_the_same_run_has_the_same_name_and_another_seed_another(submit, recipe) -> None:
    first, again = submit(RECIPE).handle, submit(RECIPE).handle
    other = submit(recipe(training={**CONTENT["training"], "seed": 7})).handle
    assert first == again
    assert first.rsplit("-", 1)[1] != other.rsplit("-", 1)[1]


def test_a_label_is_resolved_once_and_the_version_recorded(submit, recipe) -> None:
    ended = submit(recipe(base_model=f"{REGISTRY}/models/SmolLM2-135M-Instruct/labels/latest"), "--json")
    assert "label 'latest' is version 1" in ended.err
    assert json.loads(ended.out)["tags"]["base_model"].endswith("/versions/1")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_model": f"{REGISTRY}/models/SmolLM9/versions/1"}, "base model '.*SmolLM9/versions/1' does not exist"),
        ({"base_model": f"{REGISTRY}/models/SmolLM9/labels/latest"}, "SmolLM9/labels/latest' does not exist"),
        ({"base_model": "azureml://registries/nowhere/models/M/versions/1"}, "registry 'nowhere' does not exist"),
        ({"component": f"{REGISTRY}/components/chat_completion_pipeline/versions/9"}, "component '.*' does not exist"),
        ({"training": {"num_epochs": 3}}, "'num_epochs' is not an input.*'num_train_epochs'"),
        ({"training": {"num_train_epochs": 0}}, "'num_train_epochs' cannot be '0'.*minimum 1"),
        ({"training": {"lr_scheduler_type": "nope"}}, "'lr_scheduler_type' cannot be 'nope'.*cosine"),
        ({"training": {"number_of_gpu_to_use_finetuning": 4}}, "cannot be 4: size 'Standard_NC24ads_A100_v4' has 1"),
        ({"data": {**CONTENT["data"], "source": "hub:HuggingFaceH4/ultrachat_200k"}}, "the recipe .* wants"),
    ],
    ids=["model", "label", "registry", "component", "parameter", "range", "enum", "gpus", "data"],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(submit, recipe, changes, said) -> None:
    assert re.search(said, submit(recipe(**changes)).failed(2))


def test_an_archived_model_is_flagged_and_its_extra_defaults_are_dropped(submit, recipe) -> None:
    ended = submit(recipe(base_model=f"{REGISTRY}/models/Phi-3-mini-4k-instruct/versions/15"), "--json")
    assert ended.code == 0, ended.err
    (found,) = [one for one in json.loads(ended.out)["preflight"]["findings"] if one["check"] == "base-model"]
    assert found["verdict"] == "warning"
    assert "archived" in found["reason"]
    assert "dropped 'learning_rate_min'" in ended.err


def test_absent_clusters_are_reported_together(submit) -> None:
    said = submit(RECIPE, "--cpu-cluster", "nowhere", "--gpu-cluster", "neither").failed(2)
    assert "cluster 'nowhere' does not exist" in said
    assert "cluster 'neither' does not exist" in said


def test_what_preflight_says_no_to_ends_with_5_unless_it_is_taken_on_with_a_reason(submit, stack: Stack) -> None:
    stack.cluster("wrong", "Standard_ND40rs_v2")
    wrong = (RECIPE, "--gpu-cluster", "wrong", "--set", "budget=500")
    said = submit(*wrong).failed(5)
    assert "check 'training-allow-list' says error: 'Standard_ND40rs_v2' is not on the finetune list" in said
    assert "--accept training-allow-list --why TEXT" in said
    assert "without --why" in submit(*wrong, "--accept", "training-allow-list").failed(2)
    assert "did you mean 'training-allow-list'" in submit(*wrong, "--accept", "training-list", "--why", "x").failed(2)
    taken = submit(*wrong, "--accept", "training-allow-list", "--why", "a test of speed", "--json")
    assert json.loads(taken.out)["tags"]["accepted"] == "training-allow-list: a test of speed"
    assert json.loads(taken.out)["preflight"]["accepted"] == {"training-allow-list": "a test of speed"}


def test_a_run_above_its_budget_is_not_started(submit) -> None:
    assert "check 'budget' says error" in submit(RECIPE, "--set", "budget=0.5").failed(5)


def test_single_values_are_set_and_wrong_ones_named_together(submit) -> None:
    record = json.loads(submit(RECIPE, "--set", "training.learning_rate=1e-5", "--json").out)
    assert record["inputs"]["learning_rate"] == "1e-05"
    said = submit(RECIPE, "--set", "trainin.seed=1", "--set", "data.percent=0").failed(2)
    assert "did you mean 'training'?" in said
    assert "'data.percent' cannot be 0" in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--attach", "a", "--cancel", "b"), "--attach and --cancel were given together"),
        (("--attach", "a", "--set", "x=1"), "--attach takes a job that is there, and --set is for a new one"),
        (("--cancel", "a", "--dry-run"), "--cancel takes a job that is there, and --dry-run is for a new one"),
        (("--attach", "a", "--deployment", "d.yml"), "and --deployment is for a new one"),
        (("--evaluate", "a", "--accept", "budget", "--why", "x"), "and --accept, --why is for a new one"),
        (("--evaluate", "a", "--data", "d"), "takes the test rows of the job"),
        (("--evaluate", "a", "--set", "training.seed=1"), "changes more than the gate, and --evaluate trains nothing"),
        (("--evaluate", "a", "--recipe", "gone.yml"), "recipe 'gone.yml' does not exist"),
    ],
)
def test_flags_that_do_not_go_together_are_named(script: Script, flags, said) -> None:
    assert said in script("submit_finetune", *flags).failed(2)


def test_only_a_finished_fine_tune_of_ours_can_be_evaluated(stack: Stack, script: Script, jobs: Jobs) -> None:
    from tests.scripts.fine_tunes import TAGS

    def said(job: str, code: int = 2) -> str:
        return script("submit_finetune", "--evaluate", job).failed(code)

    assert "job 'nowhere' does not exist in workspace 'test'" in said("nowhere")
    other = f"{stack.workspace}/jobs/j".replace("/workspaces/test/", "/workspaces/prod/")
    assert "job 'j' is one of workspace 'prod', and this is workspace 'test'" in said(other)
    plain = said(jobs.run("true", "Completed"))
    assert "has no output 'trained_model'" in plain
    assert "has no tag 'test_hash'" in plain
    assert "has no input 'test_file'" in plain
    assert "is itself an evaluation, of job 'first'" in said(jobs.run("true", "Completed", tags={"evaluates": "first"}))
    assert "ended as Failed" in said(jobs.run("exit 3", "Failed", "trained_model", TAGS), 4)
    running = jobs.start("sleep 600", "trained_model", TAGS)
    assert "has not finished" in said(running, 4)
    jobs.cancel(running)


def test_a_cluster_that_failed_is_said_with_the_reason(submit, stack: Stack) -> None:
    stack.cluster("broken", "Standard_NC24ads_A100_v4")
    store, place = stack.cloud.cloud.store, f"{stack.workspace}/computes/broken"
    body = store.get(place)
    assert body
    errors = [{"error": {"code": "ClusterCoreQuotaReached", "message": "no cores left"}}]
    store.put(
        place,
        {**body, "properties": {**body["properties"], "provisioningState": "Failed", "provisioningErrors": errors}},
    )
    said = submit(RECIPE, "--gpu-cluster", "broken").failed(2)
    assert "cluster 'broken' is in state 'Failed': no cores left" in said


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("train.jsonl", None, "train.jsonl' does not exist"),
        ("train.jsonl", "", "train.jsonl' is empty"),
        ("train.jsonl", "no json\n", "line 1 is not JSON"),
        ("test.jsonl", '{"text": 1}\n', "has no 'messages'"),
        ("train.jsonl", '{"messages": []}\n' * 9, "has 9 rows; at least 10 are needed"),
    ],
)
def test_bad_data_is_named_before_a_connection_is_made(stack, script, data, monkeypatch, file, text, said) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    if text is None:
        (data / file).unlink()
    else:
        (data / file).write_text(text)
    assert said in script("submit_finetune", "--recipe", RECIPE, "--data", data).failed(2)


def test_a_data_folder_that_does_not_exist_is_named(script: Script, tmp_path) -> None:
    said = script("submit_finetune", "--recipe", RECIPE, "--data", tmp_path / "gone").failed(2)
    assert "gone' does not exist. Make it with scripts/prepare_data.py" in said


def test_recipe_and_data_belong_together(script: Script) -> None:
    assert "--recipe and --data are needed" in script("submit_finetune", "--recipe", RECIPE).failed(2)


def test_a_failed_job_ends_with_4_its_message_and_its_log(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = jobs.run("echo before the end; exit 3", "Failed")
    ended = script("submit_finetune", "--attach", name)
    said = ended.failed(4)
    assert f"job '{name}' ended as Failed" in said
    assert "before the end" in ended.err


def test_a_job_that_goes_on_is_named_when_time_runs_out(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = jobs.start("sleep 600")
    said = script("submit_finetune", "--attach", name, "--timeout", "0.001").failed(4)
    assert f"job '{name}' has not ended" in said
    assert f"scripts/submit_finetune.py --attach {name}" in said
    jobs.cancel(name)
    assert "ended as Canceled" in script("submit_finetune", "--attach", name).failed(4)


def test_a_line_to_watch_again_finds_the_same_workspace(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = jobs.start("sleep 600")
    _, _, subscription, _, group, *_ = stack.workspace.split("/")
    where = ("--subscription", subscription, "--resource-group", group, "--workspace-name", "test")
    said = script("submit_finetune", "--attach", name, "--timeout", "0.001", *where).failed(4)
    assert said.endswith(f"scripts/submit_finetune.py --attach {name} {' '.join(where)}")
    jobs.cancel(name)


def test_without_waiting_a_job_is_looked_at_once_and_a_cancel_only_asked_for(
    stack: Stack, script: Script, jobs: Jobs
) -> None:
    name = jobs.start("sleep 600")
    looked = json.loads(script("submit_finetune", "--attach", name, "--no-wait", "--json").out)
    assert looked["job"] == name
    assert looked["status"] not in ("Completed", "Failed", "Canceled")
    assert script("submit_finetune", "--cancel", name, "--no-wait").handle == name
    assert jobs.wait(name) == "Canceled"


def test_a_job_that_does_not_exist_is_named(stack: Stack, script: Script) -> None:
    assert "job 'nowhere' does not exist" in script("submit_finetune", "--attach", "nowhere").failed(2)
