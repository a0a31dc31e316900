"""A job's name: the same for the same run, another for whatever changes what is learnt or how it is judged."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tunestack.jobs import evaluation_step, run_key
from tunestack.jobs.finetune import display_name
from tunestack.recipes.recipe import Evaluation, Recipe

CONTENT = {
    "name": "mine",
    "experiment": "e",
    "base_model": "azureml://registries/azureml/models/M/versions/1",
    "component": "azureml://registries/azureml/components/C/versions/1",
    "data": {"source": "rows.jsonl", "percent": 5},
    "compute": {"model_import": "cpu", "preprocess": "cpu", "finetune": "gpu", "evaluate": "gpu"},
    "training": {"seed": 1, "learning_rate": 0.001},
}


def key(data_hash="d", model="m", component="c", **changes):
    return run_key.training_key(Recipe.model_validate({**CONTENT, **changes}), data_hash, model, component)


@pytest.mark.parametrize(
    "changes",
    [
        {"description": "other words"},
        {"experiment": "other"},
        {"budget": 3},
        {"evaluation": {"min_gain": 0.5, "max_rows": 3, "seed": 9}},
        {"compute": {**CONTENT["compute"], "evaluate": "cpu", "preprocess": "gpu"}},
        {"data": {"source": "elsewhere.jsonl", "percent": 9}, "folder": Path("/elsewhere")},
        {"training": {"learning_rate": 0.001, "seed": 1, "max_steps": None}},
        {"training": {"learning_rate": 1e-3}, "optimization": {"seed": "1"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_words_order_machines_and_the_gate_do_not_make_another_training(changes):
    assert key(**changes) == key()


@pytest.mark.parametrize(
    "changes",
    [
        {"data_hash": "other"},
        {"model": "other"},
        {"component": "other"},
        {"training": {"seed": 2, "learning_rate": 0.001}},
        {"optimization": {"apply_lora": True}},
        {"compute": {**CONTENT["compute"], "finetune": "cpu"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_changes_what_is_learnt_makes_another_training(changes):
    assert key(**changes) != key()


def test_the_content_of_a_finetune_config_counts_and_its_place_does_not(tmp_path):
    def of(folder: str, text: str) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "config.json").write_text(text)
        return key(finetune_config="config.json", folder=tmp_path / folder)

    assert of("a", "{}") == of("b", "{}")
    assert of("a", '{"x": 1, "y": 2}') == of("b", '{\r\n  "y": 2,\r\n  "x": 1\r\n}\r\n'), "layout says nothing"
    assert of("a", "no JSON\n") == of("b", "no JSON\r\n") != of("a", "{}")
    assert of("a", "{}") != of("a", '{"lora_algo": "peft"}')
    assert of("a", "{}") != key()


@pytest.fixture
def step(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "component.yml").write_text("name: x\n")
    (tmp_path / "code" / "__main__.py").write_text("print()\n")
    (tmp_path / "code" / "questions.jsonl").write_text("{}\n")
    return tmp_path


@pytest.mark.parametrize(
    "place", ["README.md", "code/notes.md", "code/__pycache__/x.pyc", ".amlignore", "LICENSE", "code/.cache/x"]
)
def test_a_commit_to_a_page_or_a_cache_never_buys_a_run(step, place):
    before = run_key.step_code(step)
    (step / place).parent.mkdir(exist_ok=True)
    (step / place).write_text("new words")
    assert run_key.step_code(step) == before


def test_a_checkout_with_the_line_ends_of_windows_is_the_same_code(step):
    before = run_key.step_code(step)
    for file in step.rglob("*.*"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert run_key.step_code(step) == before


@pytest.mark.parametrize("place", ["component.yml", "code/__main__.py", "code/questions.jsonl", "code/new.py"])
def test_code_and_sets_of_our_own_step_make_another_run(step, place):
    before, file = run_key.step_code(step), step / place
    file.write_text(file.read_text()[::-1] if file.exists() else "new\n")  # as long as before
    after = run_key.step_code(step)
    assert after != before
    assert run_key.run_key("t", after) != run_key.run_key("t", before)


@pytest.mark.parametrize("place", ["questions.jsonl", "code/questions_2.jsonl"])
def test_a_file_that_is_renamed_or_moved_is_other_code(step, place):
    before = run_key.step_code(step)
    (step / "code" / "questions.jsonl").rename(step / place)
    assert run_key.step_code(step) != before


def test_keys_stay_the_same_from_version_to_version_so_that_none_buys_a_run_again(step):
    assert key() == "4a938f56ec0e"
    assert run_key.step_code(step) == "75f807efe767"
    assert run_key.run_key("t", "s") == "34a200e4f2ae"
    asked = Evaluation(min_gain=0.1, max_regression=0.2, min_clusters=30, max_rows=40, seed=5)
    assert evaluation_step.gate_key(asked, "q", "s") == "6df81405259e"


def test_only_what_decides_makes_another_gate():
    same = evaluation_step.gate_key(Evaluation(), "", "s")
    assert evaluation_step.gate_key(Evaluation(samples=1, max_new_tokens=3), "", "s") == same
    for changed in (Evaluation(min_gain=0.1), Evaluation(max_rows=3), Evaluation(seed=1), Evaluation(min_clusters=9)):
        assert evaluation_step.gate_key(changed, "", "s") != same
    assert evaluation_step.gate_key(Evaluation(), "", "other code") != same
    assert evaluation_step.gate_key(Evaluation(), "other questions", "s") != same


def test_again_takes_the_next_free_name():
    taken = {"a", "a-2"}
    assert run_key.next_name("a", taken.__contains__) == "a-3"
    assert run_key.next_name("a", {"a"}.__contains__) == "a-2"
    assert run_key.next_name("b", taken.__contains__) == "b"


def test_a_folder_without_git_has_no_commit(tmp_path):
    assert run_key.commit(tmp_path) == "unknown"


def test_a_commit_is_marked_when_the_work_tree_differs(tmp_path):
    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", tmp_path, *who, *arguments], check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "code.py").write_text("print()")
    git("add", ".")
    git("commit", "-qm", "x")
    clean = run_key.commit(tmp_path)
    assert re.fullmatch("[0-9a-f]{12}", clean)
    (tmp_path / "notes").write_text("beside the code")
    assert run_key.commit(tmp_path) == clean
    (tmp_path / "code.py").write_text("print(1)")
    assert run_key.commit(tmp_path) == f"{clean}-changed"


def test_a_display_name_tells_one_run_from_the_next():
    sent = {"num_train_epochs": "3", "per_device_train_batch_size": "2", "number_of_gpu_to_use_finetuning": "4"}
    sent |= {"learning_rate": "5e-06", "apply_lora": "true", "apply_deepspeed": "true", "deepspeed_stage": "3"}
    assert display_name("Phi-4", "ultrachat-200k", sent) == "Phi-4-ultrachat-200k-3ep-bs8-lr5e-06-lora8-zero3"
