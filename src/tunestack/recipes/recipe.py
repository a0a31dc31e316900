"""A recipe: one YAML file that is one complete fine-tuning run, checked when read, single values overridden by --set.

The file's name is the recipe's name. Which machines play the roles `cpu` and `gpu` is the stack's business.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from tunestack.errors import UsageError
from tunestack.recipes import recipe_rules, recipe_settings
from tunestack.registry_id import BaseModelId, RegistryId, parse_base_model
from tunestack.settings_file import checked, load, mapping

Scalar = bool | int | float | str
Role = Literal["cpu", "gpu"]
Sampling = Literal["head", "row_groups", "rows"]
Format = Literal["messages", "ultrachat", "prompt_response", "sharegpt", "alpaca"]


def _base_model(text: str) -> str:
    parse_base_model(text)
    return text


def _component(text: str) -> str:
    RegistryId.parse(text, "components")
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9-]{0,59}", text):
        raise ValueError(
            "a recipe is called as its file is, and jobs after it: rename the file to at most 60 letters, digits and "
            "dashes, a letter first"
        )
    return text


def _experiment(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}", text):
        raise ValueError("at most 255 letters, digits, '_', '.' and '-', a letter or digit first")
    return text


def _one_value(value: Any) -> Any:
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise ValueError("an input of the component is one text, number, true or false")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("an input of the component is a finite number")
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _held(cls, content: Any) -> Any:
        """A known key that holds nothing is not there, such as a section of which every line is commented out."""
        if not isinstance(content, dict):
            return content
        return {key: value for key, value in content.items() if value is not None or key not in cls.model_fields}


ComponentInput = Annotated[Scalar | None, BeforeValidator(_one_value)]


class Splits(_Strict):
    """The source's split that plays each role; `sample` (questions to ask an endpoint with) may be absent."""

    train: str = Field(min_length=1)
    test: str = Field(min_length=1)
    sample: str | None = Field(default=None, min_length=1)


class Data(_Strict):
    """Where rows come from: `hub:OWNER/NAME[@REVISION]`, `package:chatterbot-corpus`, or the path of a file or folder.

    `percent` and `validation_percent` are percentages; `max_tokens` counts tokens of a row as the model reads it.
    """

    source: str = Field(min_length=1)
    subset: str | None = Field(default=None, min_length=1)
    splits: Splits | None = None
    percent: float = Field(gt=0, le=100)
    sampling: Sampling = "head"
    seed: int = Field(default=42, ge=0, lt=2**32)
    format: Format = "messages"
    columns: dict[str, str] = {}
    max_tokens: int | None = Field(default=None, gt=0, lt=2**31)
    validation_percent: float = Field(default=10, gt=0, le=50)
    max_rejected_percent: float = Field(default=5, ge=0, le=100)


class Compute(_Strict):
    """The role that runs each part of the pipeline; roles are the stack's clusters."""

    model_import: Role
    preprocess: Role
    finetune: Role
    evaluate: Role


class Evaluation(_Strict):
    """What the gate asks of the tuned model: gains in nats per assistant token, sizes in rows, clusters, tokens.

    `min_clusters` counts conversations that differ; below 100 the verdict is labelled as a demonstration's.
    """

    min_gain: float = Field(default=0.02, ge=0)
    max_regression: float = Field(default=0.05, ge=0)
    min_clusters: int = Field(default=100, ge=2)
    max_rows: int = Field(default=2000, ge=1)
    samples: int = Field(default=8, ge=0)
    max_new_tokens: int = Field(default=200, ge=1)
    regression_set: str | None = Field(default=None, min_length=1)
    seed: int = Field(default=42, ge=0, lt=2**32)


class Recipe(_Strict):
    """One complete run. `training` and `optimization` are inputs of the component and win over the model's defaults.

    Paths of files beside the recipe (`finetune_config`, `evaluation.regression_set`) are relative to `folder`.
    """

    description: str = ""
    experiment: Annotated[str, AfterValidator(_experiment)]
    base_model: Annotated[str, AfterValidator(_base_model)]
    finetune_config: str | None = Field(default=None, min_length=1)
    component: Annotated[str, AfterValidator(_component)]
    data: Data
    compute: Compute
    training: dict[str, ComponentInput] = {}
    optimization: dict[str, ComponentInput] = {}
    evaluation: Evaluation = Evaluation()
    budget: float | None = Field(default=None, gt=0)
    name: Annotated[str, AfterValidator(_name)] = Field(exclude=True)
    folder: Path = Field(default=Path("."), exclude=True)

    @property
    def model(self) -> BaseModelId:
        return parse_base_model(self.base_model)

    @property
    def pipeline(self) -> RegistryId:
        return RegistryId.parse(self.component, "components")

    @property
    def parameters(self) -> dict[str, Scalar]:
        """Training and optimization together; a key set to null counts as not there."""
        return {name: value for name, value in {**self.training, **self.optimization}.items() if value is not None}

    @property
    def finetune_config_file(self) -> Path | None:
        return self.folder / self.finetune_config if self.finetune_config else None

    @property
    def regression_file(self) -> Path | None:
        found = self.evaluation.regression_set
        return self.folder / found if found else None


def read(file: Path, settings: Sequence[str] = ()) -> Recipe:
    """The recipe in a file, with `KEY=VALUE` texts applied. Every problem is reported together, as one UsageError."""
    what = f"recipe '{file}'"
    found, problems = _parsed(mapping(file, "recipe"), what, file.stem, file.parent, settings)
    if found is not None:
        problems += [f"{what}: {flaw}" for flaw in recipe_rules.wrong_files(found)]
    if problems or found is None:
        raise UsageError(*problems)
    return found


def from_text(text: str, what: str, name: str, settings: Sequence[str] = ()) -> Recipe:
    """A recipe that is no file here, such as the one that a job ran with; files that it names are not looked for."""
    content = load(text)
    if not isinstance(content, dict):
        raise UsageError(f"{what} is not a mapping of keys to values")
    found, problems = _parsed(content, what, name, Path(), settings)
    if problems or found is None:
        raise UsageError(*problems)
    return found


def _parsed(
    given: dict[str, Any], what: str, name: str, folder: Path, settings: Sequence[str]
) -> tuple[Recipe | None, list[str]]:
    problems = [f"{what} has a key '{key}': a recipe is called as its file is" for key in ("name",) if key in given]
    problems += [f"{what} has an unknown key '{key}'" for key in ("folder",) if key in given]
    content, places, wrong = recipe_settings.applied(given, settings)
    kept = {key: value for key, value in content.items() if key not in ("name", "folder")}
    found, flaws = checked(Recipe, {**kept, "name": name, "folder": folder}, what, places)
    return found, [*problems, *wrong, *flaws, *(f"{what}: {flaw}" for flaw in recipe_rules.conflicts(content))]


def as_yaml(found: Recipe) -> str:
    """What ran, every default written out: reading it again gives the same recipe."""
    content: dict[str, Any] = found.model_dump(exclude_none=True)
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    return text
