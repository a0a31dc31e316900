"""`submit_finetune`: every check before anything is sent, through the real SDK; the training itself is the story's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.scripts.conftest import RECIPE, Jobs, Script, Stack

CONTENT = yaml.safe_load(RECIPE.read_text())
REGISTRY = "azureml://registries/azureml"


@pytest.fixture
def data(script: Script, tmp_path) -> Path:
    return Path(script("prepare_data", "--recipe", RECIPE, "--output", tmp_path / "data").handle)


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
        ({"base_model": f"{REGISTRY}/models/Phi-3-mini-4k-instruct/versions/15"}, "archived.*--accept-archived"),
        ({"component": f"{REGISTRY}/components/chat_completion_pipeline/versions/9"}, "component '.*' does not exist"),
        ({"training": {"num_epochs": 3}}, "'num_epochs' is not an input.*'num_train_epochs'"),
        ({"training": {"num_train_epochs": 0}}, "'num_train_epochs' cannot be '0'.*minimum 1"),
        ({"training": {"lr_scheduler_type": "nope"}}, "'lr_scheduler_type' cannot be 'nope'.*cosine"),
        ({"training": {"number_of_gpu_to_use_finetuning": 4}}, "cannot be 4: size 'Standard_NC24ads_A100_v4' has 1"),
        ({"data": {**CONTENT["data"], "source": "hub:HuggingFaceH4/ultrachat_200k"}}, "the recipe .* wants"),
    ],
    ids=["model", "label", "registry", "archived", "component", "parameter", "range", "enum", "gpus", "data"],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(submit, recipe, changes, said) -> None:
    import re

    assert re.search(said, submit(recipe(**changes)).failed(2))


def test_an_archived_model_can_be_accepted_and_its_extra_defaults_are_dropped(submit, recipe) -> None:
    ended = submit(recipe(base_model=f"{REGISTRY}/models/Phi-3-mini-4k-instruct/versions/15"), "--accept-archived")
    assert ended.code == 0, ended.err
    assert "warning: base model 'Phi-3-mini-4k-instruct' is archived" in ended.err
    assert "dropped 'learning_rate_min'" in ended.err


def test_absent_clusters_are_reported_together(submit) -> None:
    said = submit(RECIPE, "--cpu-cluster", "nowhere", "--gpu-cluster", "neither").failed(2)
    assert "cluster 'nowhere' does not exist" in said
    assert "cluster 'neither' does not exist" in said


def test_a_size_that_is_not_on_the_models_list_is_refused_with_the_list(submit, stack: Stack, recipe) -> None:
    stack.cluster("wrong", "Standard_ND40rs_v2")
    said = submit(RECIPE, "--gpu-cluster", "wrong").failed(2)
    assert "size 'Standard_ND40rs_v2' is not on the finetune allow-list of 'SmolLM2-135M-Instruct'" in said
    assert "Standard_NC24ads_A100_v4" in said
    phi = recipe(base_model=f"{REGISTRY}/models/Phi-4/versions/8")
    assert "azure_facts.yml" in submit(phi, "--gpu-cluster", "wrong").failed(2)


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


def test_a_job_that_does_not_exist_is_named(stack: Stack, script: Script) -> None:
    assert "job 'nowhere' does not exist" in script("submit_finetune", "--attach", "nowhere").failed(2)
