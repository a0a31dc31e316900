"""An MLflow folder of a chat model: where its flavor keeps weights, config and tokenizer, and what `MLmodel` says."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HF_FLAVORS = ("hftransformersv2", "hftransformers")
BESIDE = ("LICENSE", "conda.yaml", "ml_configs", "finetune_config.json")


class MlflowFolderError(Exception):
    """A folder that is no MLflow model, or one of a flavor that no chat model has."""


@dataclass(frozen=True)
class MlflowFolder:
    """One such folder; `described` is its parsed `MLmodel`."""

    path: Path
    flavor: str
    described: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> MlflowFolder:
        file = path / "MLmodel"
        if not file.is_file():
            raise MlflowFolderError(f"'{path}' holds no 'MLmodel': it is not an MLflow model.")
        described = yaml.safe_load(file.read_text())
        flavors = described.get("flavors") if isinstance(described, dict) else None
        for flavor in ("transformers", *HF_FLAVORS):
            if flavor in (flavors or {}):
                return cls(path, flavor, described)
        raise MlflowFolderError(
            f"'{file}' has the flavors {sorted(flavors or {})}; a chat model has one of transformers, "
            f"{', '.join(HF_FLAVORS)}."
        )

    @property
    def metadata(self) -> dict[str, Any]:
        return dict(self.described.get("metadata") or {})

    @property
    def settings(self) -> dict[str, Any]:
        """What `MLmodel` says under the flavor's name."""
        return dict(self.described["flavors"][self.flavor] or {})

    @property
    def model(self) -> Path:
        return self.path / places(self.flavor)["model"]

    @property
    def tokenizer(self) -> Path:
        return self.path / places(self.flavor)["tokenizer"]

    @property
    def parts(self) -> list[Path]:
        """The folders whose files make one Hugging Face model folder when they are put together."""
        found = [self.path / place for place in ("code", *places(self.flavor).values())]
        return [folder for folder in dict.fromkeys(found) if folder.is_dir()]


def places(flavor: str) -> dict[str, str]:
    """Where a flavor keeps config, tokenizer and model; the model comes last, so that its files win."""
    if flavor == "transformers":
        return {"config": "model", "tokenizer": "components/tokenizer", "model": "model"}
    return {"config": "data/config", "tokenizer": "data/tokenizer", "model": "data/model"}


def copy_beside(source: Path, target: Path, names: tuple[str, ...] = BESIDE) -> None:
    """Copy the files that go with a model (licence, environment, settings) where the source has them."""
    for name in names:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        elif (source / name).is_file():
            shutil.copyfile(source / name, target / name)
