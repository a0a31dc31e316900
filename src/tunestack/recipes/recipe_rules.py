"""What two keys of a recipe may not say together: two values for one thing, or one value that needs another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tunestack.errors import UsageError
from tunestack.recipes.parameters import RESERVED, as_text
from tunestack.sources.formats import COLUMNS, Format
from tunestack.sources.sources import Source

if TYPE_CHECKING:
    from tunestack.recipes.recipe import Recipe

_SECTIONS = ("training", "optimization")


def conflicts(content: Mapping[str, Any]) -> Iterator[str]:
    """Each contradiction in a recipe's content, as a sentence; content of the wrong shape is others' to report."""
    parts = {name: _section(content, name) for name in _SECTIONS}
    training, optimization = parts["training"], parts["optimization"]
    for name in sorted(training.keys() & optimization.keys()):
        yield (
            f"input '{name}' has two values: training.{name} ({as_text(training[name])}) "
            f"and optimization.{name} ({as_text(optimization[name])}); keep one"
        )
    for section, given in parts.items():
        for name in sorted(given.keys() & RESERVED.keys()):
            yield f"'{section}.{name}' cannot be set: {RESERVED[name]}"
    both = {**training, **optimization}
    if _number(both.get("max_steps")) > 0 and "num_train_epochs" in both:
        yield (
            f"how long to train has two values: max_steps {as_text(both['max_steps'])} and num_train_epochs "
            f"{as_text(both['num_train_epochs'])}; keep one (--set training.num_train_epochs=null takes one away)"
        )
    if _number(both.get("evaluation_steps_interval")) > 0 and "eval_steps" in both:
        yield (
            f"how often to evaluate has two values: evaluation_steps_interval "
            f"{as_text(both['evaluation_steps_interval'])} and eval_steps {as_text(both['eval_steps'])}; keep one"
        )
    yield from _base_model(content)
    yield from of_data(_section(content, "data"))


def wrong_files(found: Recipe) -> Iterator[str]:
    """Files that the recipe names beside itself and that are not there, or not what they should be."""
    from tunestack.recipes import architecture

    if found.finetune_config_file is not None and found.finetune_config_file.is_file():
        try:
            architecture.of_recipe(found)
        except UsageError as error:
            yield from error.problems
    for key, file in (("finetune_config", found.finetune_config_file), ("regression_set", found.regression_file)):
        if file is not None and not file.is_file():
            yield f"'{key}' names the file '{file}', which does not exist"


def _base_model(content: Mapping[str, Any]) -> Iterator[str]:
    model = content.get("base_model")
    if isinstance(model, str) and model.startswith("hub:") and not content.get("finetune_config"):
        yield (
            f"base_model '{model}' needs 'finetune_config': a model of the hub carries no chat_special_tokens, "
            "without which the run fails in preprocess"
        )


def of_data(data: Mapping[str, Any]) -> Iterator[str]:
    """Contradictions in the section `data` alone."""
    source = data.get("source")
    if isinstance(source, str) and source.startswith("hub:"):
        try:
            Source.parse(source)
        except UsageError as error:
            yield from error.problems
    if isinstance(source, str) and not source.startswith("hub:") and data.get("subset"):
        yield f"data.subset '{data['subset']}' is of data sets on the hub; source is '{source}'"
    columns = data.get("columns") or {}
    if isinstance(columns, dict) and data.get("format", "messages") in COLUMNS:
        try:
            Format.of(data.get("format", "messages"), {str(key): str(value) for key, value in columns.items()})
        except UsageError as error:
            yield from error.problems
    splits = data.get("splits")
    if isinstance(splits, Mapping):
        roles: dict[str, str] = {}
        for role, split in splits.items():
            if split is None:
                continue
            if str(split) in roles:
                yield f"split '{split}' plays two roles, {roles[str(split)]} and {role}: no row may stand in both"
            roles.setdefault(str(split), str(role))


def _section(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A section's keys that have a value; empty where it is no mapping."""
    found = content.get(name)
    return {str(key): value for key, value in found.items() if value is not None} if isinstance(found, dict) else {}


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
