"""The merge: the recipe wins, what the component lacks is dropped, and wrong values never leave the machine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tunestack.errors import CloudError, UsageError
from tunestack.recipes import parameters
from tunestack.recipes.parameters import Input

INPUTS = {
    "num_train_epochs": Input("integer", minimum=1),
    "learning_rate": Input("number"),
    "precision": Input("string", enum=("32", "16")),
    "apply_lora": Input("string", enum=("true", "false")),
    "seed": Input("integer"),
    "lora_dropout": Input("number"),
    "max_steps": Input("integer"),
    "deepspeed": Input("uri_file"),
    "shm_size_finetune": Input("string"),
}
SCALARS = some.one_of(some.integers(1, 9), some.floats(0.1, 9))


def sent(recipe, defaults):
    return parameters.sent(parameters.merge(recipe, defaults, INPUTS))


def test_the_recipes_value_wins_over_the_models_default():
    assert sent({"num_train_epochs": 3}, {"num_train_epochs": 1})["num_train_epochs"] == "3"


def test_a_default_that_the_recipe_does_not_name_is_sent():
    assert sent({}, {"precision": 16}) == {"precision": "16"}


def test_a_default_that_the_component_lacks_is_dropped_and_shown():
    choices = parameters.merge({}, {"learning_rate_min": "5e-07", "precision": 16}, INPUTS)
    assert parameters.sent(choices) == {"precision": "16"}
    (dropped,) = [choice for choice in choices if choice.sent is None]
    assert (dropped.name, dropped.note) == ("learning_rate_min", "dropped: the component has no such input")


@given(
    some.dictionaries(some.sampled_from(["learning_rate", "seed"]), some.integers(1, 9)),
    some.dictionaries(some.sampled_from(["learning_rate", "seed", "other"]), SCALARS),
)
def test_whatever_is_merged_the_recipe_is_sent_whole_and_only_inputs_travel(recipe, defaults):
    found = sent(recipe, defaults)
    assert {name: found[name] for name in recipe} == {name: str(value) for name, value in recipe.items()}
    assert set(found) <= set(INPUTS)


def test_a_truth_value_travels_as_the_component_spells_it():
    assert sent({"apply_lora": True}, {}) == {"apply_lora": "true"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("num_train_epochs", 0, "below the minimum 1"),
        ("num_train_epochs", 1.5, "not of type integer"),
        ("learning_rate", "inf", "not a finite number"),
        ("deepspeed", "zero3.json", "takes an asset of type uri_file"),
        ("shm_size_finetune", "5g'; rm -r /", "holds a quote or a backslash"),
        ("learning_rate", "fast", "not of type number"),
        ("precision", 8, "not one of 32, 16"),
        ("lora_dropout", -0.1, "must be at least 0"),
        ("learning_rate", 0, "must be above 0"),
        ("seed", 2**32, "must be at most 4294967295"),
        ("max_steps", 0, "is -1, for as long as the epochs say"),
        ("num_epochs", 3, "not an input of the component; did you mean 'num_train_epochs'"),
        ("mlflow_model_path", "x", "set by the step itself"),
    ],
)
def test_a_wrong_parameter_of_the_recipe_is_refused_with_its_name_and_value(name, value, said):
    with pytest.raises(UsageError, match=said) as caught:
        parameters.merge({name: value}, {}, INPUTS)
    assert f"'{name}'" in str(caught.value)


def test_all_wrong_parameters_are_reported_together():
    with pytest.raises(UsageError) as caught:
        parameters.merge({"precision": 8, "num_train_epochs": 0}, {}, INPUTS)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("text", ['{"a": "true", "b": 5e-06}', "{'a': 'true', 'b': 5e-06}", {"a": "true", "b": 5e-06}])
def test_model_defaults_are_read_from_json_and_from_python_text(text):
    assert parameters.model_defaults({"model_specific_defaults": text}) == {"a": "true", "b": 5e-06}


def test_a_model_without_defaults_has_none():
    assert parameters.model_defaults({}) == {}


def test_defaults_that_are_no_mapping_are_an_error_and_not_nothing():
    with pytest.raises(CloudError, match="not a mapping"):
        parameters.model_defaults({"model_specific_defaults": "[1"})
