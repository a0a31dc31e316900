"""Recipes: what the committed ones say, and what a wrong one gets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tunestack.errors import UsageError
from tunestack.recipes import recipe
from tunestack.recipes.recipe import Compute, Data, Evaluation, Recipe, Splits
from tunestack.registry_id import HubId, RegistryId, parse_base_model

ROOT = Path(__file__).parents[3]
RECIPES = sorted((ROOT / "pipelines" / "finetune").glob("*.yml"))
REGISTRY = "azureml://registries/azureml"
GOOD = f"""
experiment: e
base_model: {REGISTRY}/models/M/versions/1
component: {REGISTRY}/components/C/versions/0.0.82
data: {{source: rows.jsonl, percent: 5}}
compute: {{model_import: cpu, preprocess: cpu, finetune: gpu, evaluate: gpu}}
"""


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_every_committed_recipe_is_complete_and_named_as_its_file(file):
    found = recipe.read(file)
    assert found.name == file.stem
    assert not found.model.is_label
    assert not found.pipeline.is_label
    assert found.budget


def test_the_blank_recipe_names_every_key_there_is():
    text = (ROOT / "pipelines" / "finetune" / "blank.yml").read_text()
    models = (Recipe, Data, Splits, Compute, Evaluation)
    keys = {key for model in models for key, field in model.model_fields.items() if not field.exclude}
    assert [key for key in sorted(keys) if not re.search(rf"(^|[ {{#]){key}:", text, re.M)] == []


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "mine.yml"
    file.write_text(text)
    return file


def problems(tmp_path: Path, text: str, *settings: str) -> tuple[str, ...]:
    with pytest.raises(UsageError) as caught:
        recipe.read(written(tmp_path, text), settings)
    return caught.value.problems


def test_what_may_be_left_out_has_its_default(tmp_path):
    found = recipe.read(written(tmp_path, GOOD))
    assert (found.parameters, found.data.validation_percent, found.budget) == ({}, 10, None)
    assert found.evaluation == Evaluation()
    assert (found.evaluation.min_gain, found.evaluation.max_regression, found.evaluation.min_clusters) == (
        0.02,
        0.05,
        100,
    )


def test_training_and_optimization_are_one_set_of_parameters_and_null_is_none(tmp_path):
    text = GOOD + "training: {learning_rate: 1e-5, max_steps: null}\noptimization: {apply_lora: true, lora_r: 4}\n"
    assert recipe.read(written(tmp_path, text)).parameters == {
        "learning_rate": 1e-5,
        "apply_lora": True,
        "lora_r": 4,
    }


def test_all_problems_are_reported_together(tmp_path):
    text = GOOD.replace("percent: 5", "percent: 300").replace("experiment: e", "experiment: ''")
    found = problems(tmp_path, text + "training: {max_steps: 3, num_train_epochs: 1}\n", "nonsense")
    assert len(found) == 4
    assert any("'data.percent' cannot be 300" in problem for problem in found)


def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path):
    (found,) = problems(tmp_path, GOOD + "trainning: {}\n")
    assert "unknown key 'trainning'; did you mean 'training'?" in found
    (found,) = problems(tmp_path, GOOD.replace("percent: 5", "percent: 5, validation: 3"))
    assert "'data.validation'; did you mean 'validation_percent'?" in found
    (found,) = problems(tmp_path, GOOD.replace("percent: 5", "percent: 5, splits: {train: a, test: b, smple: c}"))
    assert "'data.splits.smple'; did you mean 'sample'?" in found


def test_a_missing_key_is_named(tmp_path):
    (found,) = problems(tmp_path, GOOD.replace("experiment: e", ""))
    assert "lacks the key 'experiment'" in found


@pytest.mark.parametrize("value", ["Phi-4", f"{REGISTRY}/components/C/versions/1", "azureml:M:1"])
def test_a_base_model_is_an_exact_registry_id_or_a_model_of_the_hub(tmp_path, value):
    (found,) = problems(tmp_path, GOOD.replace(f"{REGISTRY}/models/M/versions/1", value))
    assert "'base_model'" in found
    assert "azureml://registries/REGISTRY/models/NAME/versions/VERSION, nor hub:OWNER/NAME" in found


def test_a_model_of_the_hub_needs_its_finetune_config(tmp_path):
    text = GOOD.replace(f"{REGISTRY}/models/M/versions/1", "hub:owner/name")
    (found,) = problems(tmp_path, text)
    assert "base_model 'hub:owner/name' needs 'finetune_config'" in found
    (found,) = problems(tmp_path, text + "finetune_config: gone.json\n")
    assert "gone.json', which does not exist" in found
    (tmp_path / "mine.json").write_text("{}")
    read = recipe.read(written(tmp_path, text + "finetune_config: mine.json\n"))
    assert read.model == HubId("owner", "name")
    assert read.finetune_config_file == tmp_path / "mine.json"


SHAPE = {
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "vocab_size": 100,
}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"chat_special_tokens": 5}', "'chat_special_tokens' is no object"),
        ('{"hf_trainer_args": [1]}', "'hf_trainer_args' is no object"),
        ('{"lora_target_modules": [1]}', "'lora_target_modules' is no list of texts"),
        ('{"version": "2", "task_specific_config": [1]}', "'task_specific_config' is no object of objects"),
        (json.dumps({"model_config": {"vocab_size": 100}}), "lacks num_hidden_layers, hidden_size"),
        (json.dumps({"model_config": {**SHAPE, "num_key_value_heads": "8"}}), "'num_key_value_heads' is '8'"),
        (json.dumps({"model_config": {**SHAPE, "head_dim": 0}}), "'head_dim' is 0, and a whole number above 0"),
    ],
)
def test_a_finetune_config_that_cannot_be_read_is_refused_with_the_recipe(tmp_path, content, said):
    (tmp_path / "mine.json").write_text(content)
    (found,) = problems(tmp_path, GOOD + "finetune_config: mine.json\n")
    assert said in found


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("training: {lora_r: 4}\noptimization: {lora_r: 8}", r"'lora_r' has two values: .*\(4\).*\(8\)"),
        ("training: {max_steps: 5, num_train_epochs: 2}", "max_steps 5 and num_train_epochs 2"),
        ("training: {max_steps: 5}\noptimization: {num_train_epochs: 2}", "max_steps 5 and num_train_epochs 2"),
        ("training: {evaluation_steps_interval: 0.5, eval_steps: 9}", "evaluation_steps_interval 0.5 and eval_steps"),
        ("training: {mlflow_model_path: x}", "'training.mlflow_model_path' cannot be set: say it under 'base_model'"),
        ("optimization: {compute_finetune: x}", "say it under 'compute'"),
        ("training: {test_file_path: x}", "under 'data'"),
        ("training: {seed: [1, 2]}", r"'training.seed' cannot be \[1, 2\]: an input .* is one text, number"),
        ("training: {learning_rate: 1e400}", "'training.learning_rate' cannot be inf: .* finite number"),
        ("training: {seed: 2026-01-01}", "'training.seed' cannot be .*: an input .* is one text, number"),
        ("training: 3", "'training' cannot be 3: it is a section, whose keys are given one by one$"),
        ("evaluation: 3", "one by one, such as 'evaluation.min_gain'"),
        ("evaluation: {min_gain: -1}", "'evaluation.min_gain' cannot be -1"),
        ("evaluation: {min_gain: .nan}", "'evaluation.min_gain' cannot be nan"),
        ("evaluation: {min_clusters: 1}", "'evaluation.min_clusters' cannot be 1"),
        ("evaluation: {regression_set: gone.jsonl}", "'regression_set' names the file .*gone.jsonl', which does not"),
        ("budget: 0", "'budget' cannot be 0"),
        ("folder: x", "unknown key 'folder'"),
        ("name: other", "has a key 'name': a recipe is called as its file is"),
    ],
)
def test_two_values_for_one_thing_and_impossible_ones_are_refused(tmp_path, more, said):
    (found,) = problems(tmp_path, f"{GOOD}{more}\n")
    assert re.search(said, found)


def test_max_steps_of_none_goes_with_epochs(tmp_path):
    text = GOOD + "training: {max_steps: -1, num_train_epochs: 2}\n"
    assert recipe.read(written(tmp_path, text)).parameters["num_train_epochs"] == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{source: rows.jsonl, percent: 5, subset: en}", "data.subset 'en' is of data sets on the hub"),
        ("{source: 'hub:a/b', percent: 5, splits: {train: x, test: x}}", "split 'x' plays two roles, train and test"),
        ("{source: 'hub:a/b/c', percent: 5}", "data source 'hub:a/b/c' is not of the form hub:OWNER/NAME"),
        ("{source: 'hub:a/b', percent: 5, splits: {train: x}}", "lacks the key 'data.splits.test'"),
        ("{source: rows.jsonl, percent: 5, sampling: random}", "'head', 'row_groups' or 'rows'"),
        ("{source: rows.jsonl, percent: 5, format: openai}", "'data.format' cannot be 'openai'"),
        ("{source: rows.jsonl, percent: 5, max_tokens: 0}", "'data.max_tokens' cannot be 0"),
        ("{source: rows.jsonl, percent: 5, seed: 4294967296}", "'data.seed' cannot be 4294967296"),
        ("{source: rows.jsonl, percent: 5, max_tokens: 2147483648}", "'data.max_tokens' cannot be 2147483648"),
        ("{source: rows.jsonl, percent: true}", "'data.percent' cannot be True"),
        ("{source: rows.jsonl, percent: 5, columns: {mesages: a}}", "key 'mesages'"),
        ("{source: rows.jsonl, percent: 5, columns: [a]}", "'data.columns' cannot be"),
    ],
)
def test_what_cannot_be_of_data_is_refused(tmp_path, data, said):
    (found,) = problems(tmp_path, GOOD.replace("{source: rows.jsonl, percent: 5}", data))
    assert said in found


@pytest.mark.parametrize("more", ["training:\noptimization:\nevaluation:\ndescription:\nbudget:\n", ""])
def test_a_key_or_section_that_holds_nothing_is_not_there(tmp_path, more):
    whole = recipe.read(written(tmp_path, GOOD + "training: {seed: 1}\n"), ["training=null", "description=null"])
    assert recipe.read(written(tmp_path, GOOD + more)) == whole


def test_a_needed_key_that_holds_nothing_is_missing(tmp_path):
    (found,) = problems(tmp_path, GOOD.replace("percent: 5", "percent: null"))
    assert "lacks the key 'data.percent'" in found


def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path):
    (found,) = problems(tmp_path, GOOD + "training:\n  seed: 1\n  max_steps: 2\n  seed: 3\n")
    assert "key 'seed' stands twice, in line 8 and in line 10" in found
    (found,) = problems(tmp_path, GOOD + "experiment: other\n")
    assert "key 'experiment' stands twice, in line 2 and in line 7" in found


@pytest.mark.parametrize("name", ["1digit", "ünï", "a b", "x" * 61])
def test_a_file_whose_name_cannot_name_a_job_is_refused_with_what_can(tmp_path, name):
    (tmp_path / f"{name}.yml").write_text(GOOD)
    with pytest.raises(UsageError, match="rename the file to at most 60 letters, digits and dashes"):
        recipe.read(tmp_path / f"{name}.yml")


@pytest.mark.parametrize(
    ("text", "said"), [("- a\n", "not a mapping"), ("a: [\n", "in line 2, column 1"), ("# nothing\n", "is empty")]
)
def test_what_is_no_yaml_mapping_is_said_so(tmp_path, text, said):
    assert said in problems(tmp_path, text)[0]


@pytest.mark.parametrize(("text", "encoding", "line"), [(GOOD, "utf-16", 1), ("a: b\nc: caf\xe9\n", "latin-1", 2)])
def test_a_recipe_in_another_encoding_names_the_line(tmp_path, text, encoding, line):
    (tmp_path / "mine.yml").write_bytes(text.encode(encoding))
    with pytest.raises(UsageError, match=rf"mine\.yml' is not UTF-8 in line {line}"):
        recipe.read(tmp_path / "mine.yml")


def test_a_recipe_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"recipe '.*nowhere\.yml' does not exist"):
        recipe.read(tmp_path / "nowhere.yml")


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_what_ran_reads_as_the_same_recipe_with_every_default_in_it(file, tmp_path):
    found = recipe.read(file, ["evaluation.samples=3", "training.seed=7"])
    text = recipe.as_yaml(found)
    assert yaml.safe_load(text)["evaluation"]["max_regression"] == found.evaluation.max_regression
    again = recipe.from_text(text, "it", found.name)
    assert again == found.model_copy(update={"folder": again.folder})


@pytest.mark.parametrize("text", [f"{REGISTRY}/models/m/versions/1", f"{REGISTRY}/models/m/labels/latest", "hub:o/n"])
def test_a_base_model_is_written_as_it_was_read(text):
    assert str(parse_base_model(text)) == text


@pytest.mark.parametrize("text", ["hub:name", "hub:a/b/c", "hub:", "hub:a/b@main", "hub:../b"])
def test_a_model_of_the_hub_has_an_owner_a_name_and_nothing_else(text):
    with pytest.raises(ValueError, match="not of the form hub:OWNER/NAME"):
        parse_base_model(text)


def test_a_label_is_known_as_one():
    assert RegistryId.parse(f"{REGISTRY}/models/m/labels/latest", "models").is_label
