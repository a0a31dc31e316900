"""`--set KEY=VALUE`: what it changes, and what it says to a wrong key, place or value."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunestack.errors import UsageError
from tunestack.recipes import recipe, recipe_settings

FILE = Path(__file__).parents[3] / "pipelines" / "finetune" / "smollm2-local.yml"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("training.learning_rate=1e-5", 1e-5),
        ("training.learning_rate=1.5e-05", 1.5e-5),
        ("training.apply_early_stopping=true", True),
        ("training.lr_scheduler_type=linear", "linear"),
        ("training.seed = 7", 7),
    ],
)
def test_a_value_is_yaml_and_wins_over_the_file(text, value):
    assert recipe.read(FILE, [text]).training[text.partition("=")[0].strip().partition(".")[2]] == value


def test_an_absent_section_is_made_and_null_takes_a_key_away():
    found = recipe.read(FILE, ["data.columns.prompt=question", "training.max_steps=null", "budget=null"])
    assert found.data.columns == {"prompt": "question"}
    assert "max_steps" not in found.parameters
    assert found.budget is None


def test_the_file_itself_is_left_as_it_was():
    content = {"a": {"b": 1}}
    changed, places, problems = recipe_settings.applied(content, ["a.b=2"])
    assert (content, changed, problems) == ({"a": {"b": 1}}, {"a": {"b": 2}}, [])
    assert places == {"a.b": "--set 'a.b=2'"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["training"], "--set 'training' is not of the form KEY=VALUE"),
        (["=3"], "is not of the form KEY=VALUE"),
        (["training..seed=3"], "is not of the form KEY=VALUE"),
        (["trainin.seed=3"], "--set 'trainin.seed=3' has an unknown key 'trainin'; did you mean 'training'?"),
        (["evaluation.mingain=3"], "has an unknown key 'evaluation.mingain'; did you mean 'min_gain'?"),
        (["buget=null"], "--set 'buget=null' has an unknown key 'buget'; did you mean 'budget'?"),
        (["data.percent=900"], "--set 'data.percent=900': 'data.percent' cannot be 900"),
        (["experiment.x=1"], "--set 'experiment.x=1': 'experiment' holds one value and no keys"),
        (["training.seed=["], "--set 'training.seed=[': its value is not YAML"),
        (["training.seed=1", "training.seed=2"], "are two values for one thing"),
        (["name=other"], "a recipe is called as its file is"),
        (["training.num_train_epochs=2"], "max_steps 12 and num_train_epochs 2; keep one (--set"),
        (["optimization.seed=1"], "input 'seed' has two values: training.seed (42) and optimization.seed (1)"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_set_is_refused_with_what_was_given(settings, said):
    with pytest.raises(UsageError) as caught:
        recipe.read(FILE, settings)
    assert said in caught.value.problems[0]


def test_wrong_settings_are_reported_together():
    with pytest.raises(UsageError) as caught:
        recipe.read(FILE, ["nonsense", "data.percent=0", "training.mlflow_model_path=x"])
    assert len(caught.value.problems) == 3
