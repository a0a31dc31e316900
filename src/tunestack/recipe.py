"""A recipe: one YAML file that is one complete fine-tuning run, checked when read.

The file's name is the recipe's name. Which machines play the roles `cpu` and `gpu` is the stack's business.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tunestack.errors import UsageError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)
Scalar = str | int | float | bool
Role = Literal["cpu", "gpu"]
_ASSET = re.compile(r"azureml://registries/([\w.-]+)/(models|components)/([\w.-]+)/(versions|labels)/([\w.-]+)")


@dataclass(frozen=True)
class RegistryId:
    """A registry asset, taken apart: `azureml://registries/R/models/M/versions/V` (or `/labels/latest`)."""

    registry: str
    kind: str
    name: str
    version: str
    is_label: bool = False

    @classmethod
    def parse(cls, text: str, kind: str) -> RegistryId:
        found = _ASSET.fullmatch(text)
        if not found or found[2] != kind:
            raise ValueError(f"'{text}' is not of the form azureml://registries/REGISTRY/{kind}/NAME/versions/VERSION")
        return cls(found[1], found[2], found[3], found[5], found[4] == "labels")

    def __str__(self) -> str:
        return f"azureml://registries/{self.registry}/{self.kind}/{self.name}/{self._which}/{self.version}"

    @property
    def _which(self) -> str:
        return "labels" if self.is_label else "versions"


def _registry_id(kind: str) -> AfterValidator:
    def check(text: str) -> str:
        RegistryId.parse(text, kind)
        return text

    return AfterValidator(check)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(_Strict):
    """Where rows come from: `hub:OWNER/NAME`, `package:chatterbot-corpus`, or the path of a file or folder."""

    source: str = Field(min_length=1)
    percent: float = Field(gt=0, le=100)
    validation_percent: float = Field(default=10, gt=0, le=50)


class Compute(_Strict):
    """The role that runs each part of the pipeline; roles are the stack's clusters."""

    model_import: Role
    preprocess: Role
    finetune: Role


class Recipe(_Strict):
    """One complete run. `parameters` are inputs of the pipeline component and win over the model's defaults."""

    description: str = ""
    experiment: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=255)
    base_model: Annotated[str, _registry_id("models")]
    component: Annotated[str, _registry_id("components")]
    data: Data
    compute: Compute
    parameters: dict[str, Scalar] = {}
    name: str = Field(pattern=r"^[a-zA-Z][a-zA-Z0-9-]*$", max_length=60)

    @property
    def model(self) -> RegistryId:
        return RegistryId.parse(self.base_model, "models")

    @property
    def pipeline(self) -> RegistryId:
        return RegistryId.parse(self.component, "components")


def read(file: Path) -> Recipe:
    """The recipe in a file. Every problem in it is reported together, as one UsageError."""
    content = mapping(file, "recipe")
    if "name" in content:
        raise UsageError(f"recipe '{file}' has a key 'name'", fix="A recipe is called as its file is; drop the key")
    return validated(Recipe, {**content, "name": file.stem}, f"recipe '{file}'")


def mapping(file: Path, what: str) -> dict[str, Any]:
    """A YAML file that holds one mapping."""
    try:
        content = yaml.safe_load(file.read_text())
    except FileNotFoundError as error:
        raise UsageError(f"{what} '{file}' does not exist") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{what} '{file}' cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{what} '{file}' is not a mapping of keys to values")
    return content


def validated(model: type[Model], content: Mapping[str, Any], what: str) -> Model:
    """A mapping as a checked object; unknown keys are refused with the nearest known one."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UsageError(*(_problem(model, found, what) for found in error.errors())) from error


def _problem(model: type[BaseModel], found: Any, what: str) -> str:
    place = ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden":
        return f"{what} has an unknown key '{place}'{did_you_mean(str(found['loc'][-1]), _keys(model, found['loc']))}"
    if found["type"] == "missing":
        return f"{what} lacks the key '{place}'"
    return f"{what}: '{place}' cannot be {found['input']!r}: {found['msg'].removeprefix('Value error, ')}"


def _keys(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """The keys known where an unknown one was found."""
    for part in place[:-1]:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        model = field.annotation
    return [field.alias or name for name, field in model.model_fields.items()]
