"""Recipes: what the committed ones say, and what a wrong one gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunestack import recipe
from tunestack.errors import UsageError
from tunestack.registry_id import RegistryId

ROOT = Path(__file__).parent.parent.parent
RECIPES = sorted((ROOT / "pipelines" / "finetune").glob("*.yml"))
GOOD = """
experiment: e
base_model: azureml://registries/azureml/models/M/versions/1
component: azureml://registries/azureml/components/C/versions/0.0.82
data: {source: rows.jsonl, percent: 5}
compute: {model_import: cpu, preprocess: cpu, finetune: gpu, evaluate: gpu}
"""


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_every_committed_recipe_is_complete_and_named_as_its_file(file):
    found = recipe.read(file)
    assert found.name == file.stem
    assert not found.model.is_label
    assert not found.pipeline.is_label


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "mine.yml"
    file.write_text(text)
    return file


def problems(tmp_path: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(UsageError) as caught:
        recipe.read(written(tmp_path, text))
    return caught.value.problems


def test_a_recipe_may_leave_out_parameters_and_validation_percent(tmp_path):
    found = recipe.read(written(tmp_path, GOOD))
    assert (found.parameters, found.data.validation_percent) == ({}, 10)


def test_all_problems_are_reported_together(tmp_path):
    found = problems(tmp_path, GOOD.replace("percent: 5", "percent: 300").replace("experiment: e", "experiment: ''"))
    assert len(found) == 2
    assert any("'data.percent' cannot be 300" in problem for problem in found)


def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path):
    (found,) = problems(tmp_path, GOOD + "trainning: {}\n")
    assert "unknown key 'trainning'; did you mean 'training'?" in found
    (found,) = problems(tmp_path, GOOD.replace("percent: 5", "percent: 5, validation: 3"))
    assert "'data.validation'; did you mean 'validation_percent'?" in found


def test_a_missing_key_is_named(tmp_path):
    (found,) = problems(tmp_path, GOOD.replace("experiment: e", ""))
    assert "lacks the key 'experiment'" in found


@pytest.mark.parametrize("value", ["Phi-4", "azureml://registries/azureml/components/C/versions/1", "azureml:M:1"])
def test_a_base_model_is_an_exact_registry_id(tmp_path, value):
    (found,) = problems(tmp_path, GOOD.replace("azureml://registries/azureml/models/M/versions/1", value))
    assert "'base_model'" in found
    assert "azureml://registries/REGISTRY/models/NAME/versions/VERSION" in found


def test_a_name_in_the_file_is_refused(tmp_path):
    assert "has a key 'name'" in problems(tmp_path, GOOD + "name: other\n")[0]


@pytest.mark.parametrize(("text", "said"), [("- a\n", "not a mapping"), ("a: [\n", "cannot be read")])
def test_what_is_no_yaml_mapping_is_said_so(tmp_path, text, said):
    assert said in problems(tmp_path, text)[0]


def test_a_recipe_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"recipe '.*nowhere\.yml' does not exist"):
        recipe.read(tmp_path / "nowhere.yml")


@pytest.mark.parametrize(
    "text", ["azureml://registries/r/models/m/versions/1", "azureml://registries/r/models/m/labels/latest"]
)
def test_a_registry_id_is_written_as_it_was_read(text):
    assert str(RegistryId.parse(text, "models")) == text
