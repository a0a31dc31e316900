"""A job's name: the same for the same run, another for whatever changes what is learnt."""

from __future__ import annotations

import pytest

from tunestack import run_key
from tunestack.finetune import display_name
from tunestack.recipe import Recipe

CONTENT = {
    "name": "mine",
    "experiment": "e",
    "base_model": "azureml://registries/azureml/models/M/versions/1",
    "component": "azureml://registries/azureml/components/C/versions/1",
    "data": {"source": "rows.jsonl", "percent": 5},
    "compute": {"model_import": "cpu", "preprocess": "cpu", "finetune": "gpu", "evaluate": "gpu"},
    "training": {"seed": 1, "learning_rate": 0.001},
}


def key(data="d", model="m", component="c", **changes):
    return run_key.run_key(Recipe.model_validate({**CONTENT, **changes}), data, model, component)


def test_words_and_order_do_not_make_another_run():
    assert key() == key(description="other words", training={"learning_rate": 0.001, "seed": 1})


@pytest.mark.parametrize(
    "changes",
    [
        {"data": "other"},
        {"model": "other"},
        {"component": "other"},
        {"training": {"seed": 2, "learning_rate": 0.001}},
        {"compute": {**CONTENT["compute"], "preprocess": "gpu"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_changes_what_is_learnt_makes_another_run(changes):
    assert key(**changes) != key()


def test_again_takes_the_next_free_name():
    taken = {"a", "a-2"}
    assert run_key.next_name("a", taken.__contains__) == "a-3"
    assert run_key.next_name("b", taken.__contains__) == "b"


def test_a_folder_without_git_has_no_commit(tmp_path):
    assert run_key.commit(tmp_path) == "unknown"


def test_a_display_name_tells_one_run_from_the_next():
    sent = {"num_train_epochs": "3", "per_device_train_batch_size": "2", "number_of_gpu_to_use_finetuning": "4"}
    sent |= {"learning_rate": "5e-06", "apply_lora": "true", "apply_deepspeed": "true", "deepspeed_stage": "3"}
    assert display_name("Phi-4", "ultrachat-200k", sent) == "Phi-4-ultrachat-200k-3ep-bs8-lr5e-06-lora8-zero3"
