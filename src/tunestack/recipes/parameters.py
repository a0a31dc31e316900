"""The parameters of a run: the recipe's over the model's defaults, and only what the component takes.

The tutorial merges the other way round, so that three epochs silently become one; here the difference is shown.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunestack.errors import CloudError, UsageError, did_you_mean

# Inputs that the submit step sets itself, and where a recipe says what they are to be.
RESERVED = {
    "mlflow_model_path": "say it under 'base_model'",
    "huggingface_id": "say it under 'base_model', as hub:OWNER/NAME",
    "pytorch_model_path": "it would take the place of 'base_model'",
    "finetune_config_path": "say it under 'finetune_config'",
    **{
        f"{split}_{kind}_path": "say where rows come from under 'data'"
        for split in ("train", "validation", "test")
        for kind in ("file", "mltable")
    },
    **{
        f"compute_{step}": "say it under 'compute'"
        for step in ("model_import", "preprocess", "finetune", "model_evaluation")
    },
}

# What transformers, torch, peft or the component end with an error for on the cluster, and the schema lets pass: the
# least and the most, and whether the least itself may be.
_LIMITS: Mapping[str, tuple[float, float, bool]] = {
    "learning_rate": (0, math.inf, False),
    "gradient_accumulation_steps": (1, math.inf, True),
    "logging_steps": (1, math.inf, True),
    "warmup_steps": (0, math.inf, True),
    "lora_r": (1, math.inf, True),
    "lora_dropout": (0, 1, True),
    "weight_decay": (0, math.inf, True),
    "dataloader_num_workers": (0, math.inf, True),
    "seed": (0, 2**32 - 1, True),
}

_NUMBERS = ("integer", "number")
_ASSETS = frozenset({"uri_file", "uri_folder", "mltable", "mlflow_model", "custom_model", "triton_model"})


@dataclass(frozen=True)
class Input:
    """An input of a pipeline component; limits are None where it has none."""

    type: str
    enum: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    def objection(self, value: Any) -> str:
        """Why a value cannot be, or nothing. The SDK checks names only; Azure would say so on the cluster."""
        if self.type in _ASSETS:
            return f"takes an asset of type {self.type}, and a recipe passes on values only"
        text = as_text(value)
        if "'" in text or "\\" in text:
            return "holds a quote or a backslash, which breaks the shell line of the component's step"
        if self.enum and text not in self.enum:
            return f"is not one of {', '.join(self.enum)}"
        if self.type not in _NUMBERS:
            return ""
        try:
            number = int(text) if self.type == "integer" else float(text)
        except ValueError:
            return f"is not of type {self.type}"
        if not math.isfinite(number):
            return "is not a finite number"
        if self.minimum is not None and number < self.minimum:
            return f"is below the minimum {self.minimum:g}"
        if self.maximum is not None and number > self.maximum:
            return f"is above the maximum {self.maximum:g}"
        return ""


@dataclass(frozen=True)
class Choice:
    """One parameter after the merge: what the recipe says, what the model's default says, what is sent."""

    name: str
    recipe: str | None
    default: str | None
    sent: str | None

    @property
    def note(self) -> str:
        if self.sent is None:
            return "dropped: the component has no such input"
        if self.recipe is None:
            return "model's default"
        if self.default is None:
            return "recipe"
        return "recipe, as the model's default" if self.recipe == self.default else "recipe wins"


def as_text(value: Any) -> str:
    """A value as it travels: `true`, not `True`, which is outside the component's enums."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def model_defaults(tags: Mapping[str, Any]) -> dict[str, Any]:
    """The tag `model_specific_defaults`: JSON text or Python text of one mapping; empty without the tag."""
    text = tags.get("model_specific_defaults")
    if not text:
        return {}
    if isinstance(text, Mapping):
        return dict(text)
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(text)
        except (ValueError, SyntaxError):
            continue
        if isinstance(found, dict):
            return found
    raise CloudError(f"the model's tag model_specific_defaults is not a mapping: '{text[:80]}'")


def merge(recipe: Mapping[str, Any], defaults: Mapping[str, Any], inputs: Mapping[str, Input]) -> list[Choice]:
    """Every parameter of the two, the recipe's value winning. Wrong ones of the recipe are reported together."""
    problems = [problem for name, value in recipe.items() if (problem := objection(name, value, inputs))]
    if problems:
        raise UsageError(*problems)
    return [_choice(name, recipe, defaults, inputs) for name in sorted({*recipe, *defaults} - RESERVED.keys())]


def sent(choices: Sequence[Choice]) -> dict[str, str]:
    return {choice.name: choice.sent for choice in choices if choice.sent is not None}


def _choice(name: str, recipe: Mapping[str, Any], defaults: Mapping[str, Any], inputs: Mapping[str, Input]) -> Choice:
    wanted = as_text(recipe[name]) if name in recipe else None
    default = as_text(defaults[name]) if name in defaults else None
    value = wanted if wanted is not None else default
    return Choice(name, wanted, default, value if name in inputs else None)


def objection(name: str, value: Any, inputs: Mapping[str, Input]) -> str:
    """Why a recipe cannot give a parameter this value, one sentence; empty where it can."""
    if name in RESERVED:
        return f"parameter '{name}' is set by the step itself: {RESERVED[name]}"
    if name not in inputs:
        return f"parameter '{name}' is not an input of the component{did_you_mean(name, inputs)}"
    found = inputs[name].objection(value) or (_beyond(name, value) if inputs[name].type in _NUMBERS else "")
    return f"parameter '{name}' cannot be '{as_text(value)}': it {found}" if found else ""


def _beyond(name: str, value: Any) -> str:
    """Why a number that the schema takes ends a run all the same."""
    if name == "max_steps" and float(value) == 0:
        return "is -1, for as long as the epochs say, or the steps to train"
    least, most, itself = _LIMITS.get(name, (-math.inf, math.inf, True))
    if float(value) < least if itself else float(value) <= least:
        return f"must be {'at least' if itself else 'above'} {least:g}"
    return f"must be at most {most:.10g}" if float(value) > most else ""
