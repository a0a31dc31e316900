"""Where a chat model keeps weights and tokenizer: in an MLflow folder of either flavor, a plain one, or on the hub."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.refusal import Refusal

_PLACES = {
    "transformers": ("model", "components/tokenizer"),
    "hftransformersv2": ("data/model", "data/tokenizer"),
    "hftransformers": ("data/model", "data/tokenizer"),
}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tokenizer_config.json")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class ModelFolder:
    """What to hand to transformers; `revision` only for a model on the hub, `settings` from finetune_config.json."""

    weights: str
    tokenizer: str
    settings: dict[str, Any]
    revision: str | None = None
    source: str = ""


def find(path: Path, what: str) -> ModelFolder:
    """Look into a folder. Refusal, which opens with `what`, when weights or tokenizer are not there."""
    if not path.is_dir():
        raise Refusal(f"{what}: there is no folder '{path}'.")
    nested = path / "mlflow_model_folder"
    root = nested if (nested / "MLmodel").is_file() else path
    weights, tokenizer = _places(root, what)
    if not (weights / "config.json").is_file():
        raise Refusal(f"{what}: '{weights}' holds no 'config.json', so it is no Hugging Face model.")
    if not any(file for pattern in _WEIGHTS for file in weights.glob(pattern)):
        raise Refusal(f"{what}: '{weights}' holds no weights (*.safetensors or pytorch_model*.bin).")
    _check_index(weights, what)
    tokenizer = next((place for place in (tokenizer, weights) if _has_tokenizer(place)), tokenizer)
    if not _has_tokenizer(tokenizer):
        raise Refusal(f"{what}: there is no tokenizer in '{tokenizer}' ({', '.join(_TOKENIZER_FILES)}).")
    return ModelFolder(str(weights), str(tokenizer), _settings(root, what), source=f"input {what}")


def on_hub(name: str) -> ModelFolder:
    """`OWNER/NAME` or `OWNER/NAME@REVISION`."""
    repository, _, revision = name.partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise Refusal(f"'{name}' is no model id of the hub: OWNER/NAME or OWNER/NAME@REVISION is needed.")
    return ModelFolder(repository, repository, {}, revision or None, source=f"hub:{name}")


def _places(root: Path, what: str) -> tuple[Path, Path]:
    described = root / "MLmodel"
    if not described.is_file():
        return root, root
    import yaml

    try:
        flavors = (yaml.safe_load(described.read_text(encoding="utf-8")) or {}).get("flavors") or {}
    except (yaml.YAMLError, ValueError, AttributeError) as error:
        raise Refusal(f"{what}: '{described}' is not readable: {error}") from None
    for flavor, (weights, tokenizer) in _PLACES.items():
        if flavor in flavors:
            return root / weights, root / tokenizer
    raise Refusal(f"{what}: '{described}' has the flavors {sorted(flavors)}; one of {', '.join(_PLACES)} is needed.")


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _TOKENIZER_FILES[:-1])


def _check_index(weights: Path, what: str) -> None:
    """A sharded model names its files: all of them have to be there."""
    for index in weights.glob("*.index.json"):
        named = set(_part(_json(index, what), "weight_map").values())
        missing = sorted(name for name in named if not (weights / name).is_file())
        if missing:
            raise Refusal(f"{what}: '{index.name}' names weights that are not there: {', '.join(missing)}.")


def _settings(root: Path, what: str) -> dict[str, Any]:
    """Of finetune_config.json; its second version keeps those of a task apart."""
    for place in (root, root / "ml_configs", root / "data"):
        if (place / "finetune_config.json").is_file():
            found = _json(place / "finetune_config.json", what)
            return {**found, **_part(_part(found, "task_specific_config"), "ChatCompletion")}
    return {}


def _json(file: Path, what: str) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refusal(f"{what}: '{file}' is not readable: {error}") from None
    if not isinstance(found, dict):
        raise Refusal(f"{what}: '{file}' holds no JSON object.")
    return found


def _part(found: dict[str, Any], name: str) -> dict[str, Any]:
    inside = found.get(name)
    return inside if isinstance(inside, dict) else {}
