"""Step 2: puts the base model into one folder of Hugging Face files, with what `MLmodel` and its publisher say of it.

The model is given as an earlier fine-tune's folder, as an MLflow model, or as a Hugging Face hub id, in this order.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud.components.chat_completion.finetune_config import FILE
from localcloud.components.chat_completion.program import UserError, existing, parse, read_json, run, say, write_json
from localcloud.components.mlflow_folder import MlflowFolder, MlflowFolderError, copy_beside

ARGUMENTS_FILE = "model_selector_args.json"
_WEIGHTS = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.jinja", "*.model", "*.py", "LICENSE*")


@dataclass(frozen=True)
class BaseModel:
    """Where the base model comes from; at least one is given."""

    pytorch_model_path: Path | None = None
    mlflow_model_path: Path | None = None
    huggingface_id: str | None = None
    finetune_config_path: Path | None = None


def import_model(base: BaseModel, output: Path) -> None:
    """Write `<model name>/`, `model_selector_args.json`, `finetune_config.json`, and what stands beside the model."""
    output.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"task_name": "ChatCompletion", "mlflow_flavor": None, "base_model_asset_id": ""}
    pytorch = existing(base.pytorch_model_path, "pytorch_model_path")
    mlflow = existing(base.mlflow_model_path, "mlflow_model_path")
    if pytorch:
        name, source = _import_pytorch(pytorch, output), "pytorch_model_path"
    elif mlflow:
        name, source = _import_mlflow(mlflow, output, facts), "mlflow_model_path"
    elif base.huggingface_id:
        name, source = _import_from_hub(base.huggingface_id, output), "huggingface_id"
    else:
        raise UserError("No base model: give mlflow_model_path, pytorch_model_path or huggingface_id.")
    if not (output / name / "config.json").is_file():
        raise UserError(f"The base model '{name}' has no 'config.json'; it is not a Hugging Face model.")
    if given := existing(base.finetune_config_path, "finetune_config_path"):
        write_json(output / FILE, read_json(given))
    write_json(output / ARGUMENTS_FILE, {**facts, "model_name": name, "source": source})
    say(f"Imported the base model '{name}' from {source}.")


def _import_mlflow(path: Path, output: Path, facts: dict[str, Any]) -> str:
    nested = path / "mlflow_model_folder"
    try:
        opened = MlflowFolder.open(nested if (nested / "MLmodel").is_file() else path)
    except MlflowFolderError as error:
        raise UserError(
            f"mlflow_model_path is no usable MLflow model: {error} Hugging Face files go to pytorch_model_path."
        ) from None
    name = str(opened.settings.get("huggingface_id") or "default_model_name")
    for part in opened.parts:
        shutil.copytree(part, output / name, dirs_exist_ok=True, copy_function=shutil.copyfile)
    copy_beside(opened.path, output)
    shutil.copyfile(opened.path / "MLmodel", output / "MLmodel")
    facts.update(mlflow_flavor=opened.flavor, base_model_asset_id=str(opened.metadata.get("base_model_asset_id") or ""))
    return name


def _import_pytorch(path: Path, output: Path) -> str:
    if (path / "MLmodel").is_file():
        raise UserError("pytorch_model_path holds an 'MLmodel': give an MLflow model as mlflow_model_path.")
    stub = path / "finetune_args.json"
    name = str(read_json(stub).get("model_name") or "default_model_name") if stub.is_file() else "default_model_name"
    shutil.copytree(
        path,
        output / name,
        dirs_exist_ok=True,
        copy_function=shutil.copyfile,
        ignore=shutil.ignore_patterns("checkpoint-*"),
    )
    copy_beside(path, output)
    return name


def _import_from_hub(hub_id: str, output: Path) -> str:
    from httpx import TransportError
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    say(f"Downloading '{hub_id}' from the Hugging Face hub.")
    try:
        snapshot_download(hub_id, local_dir=output / hub_id, allow_patterns=list(_WEIGHTS))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, TransportError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"The model '{hub_id}' cannot be had from the Hugging Face hub: {reason}") from None
    return hub_id


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="model_import", description=__doc__, allow_abbrev=False)
    parser.add_argument("--task_name", default="ChatCompletion", help="always ChatCompletion")
    parser.add_argument("--huggingface_id", help="model id on the Hugging Face hub")
    parser.add_argument("--pytorch_model_path", type=Path, help="folder of an earlier fine-tune")
    parser.add_argument("--mlflow_model_path", type=Path, help="MLflow model folder")
    parser.add_argument("--finetune_config_path", type=Path, help="JSON that replaces the model's finetune_config.json")
    parser.add_argument("--validation_output", type=Path, help="orders this step after the validation")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder to write")
    found = parse(parser, argv)
    base = BaseModel(
        found.pytorch_model_path, found.mlflow_model_path, found.huggingface_id, found.finetune_config_path
    )
    return run(lambda: import_model(base, found.output_dir))


if __name__ == "__main__":
    sys.exit(main())
