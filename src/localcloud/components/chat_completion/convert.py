"""Step 5: lays the fine-tuned model out as an MLflow folder, in the flavor of its base. It copies files and no more."""

from __future__ import annotations

import argparse
import importlib.metadata
import shutil
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from localcloud.components.chat_completion import chat_tokenizer
from localcloud.components.chat_completion.finetune import METADATA_FILE
from localcloud.components.chat_completion.program import UserError, parse, read_json, run, say
from localcloud.components.mlflow_folder import copy_beside, places

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*.bin", "generation_config.json")
_NOT_WEIGHTS = {"training_args.bin"}


def convert(model_path: Path, output: Path) -> None:
    """Write `MLmodel`, `conda.yaml`, `requirements.txt` and the model's folders of its flavor."""
    if not (model_path / METADATA_FILE).is_file():
        raise UserError(f"The fine-tuned model has no '{METADATA_FILE}': the fine-tune did not end well.")
    known = read_json(model_path / METADATA_FILE)
    flavor = known["flavor"]
    where = places(flavor)
    for place in where.values():
        (output / place).mkdir(parents=True, exist_ok=True)
    _copy_model(model_path, output / where["model"])
    shutil.copyfile(model_path / "config.json", output / where["config"] / "config.json")
    for place in (where["tokenizer"], where["model"]):
        _copy_named(model_path, output / place, chat_tokenizer.FILES)
    copy_beside(model_path, output)
    if not (output / "conda.yaml").is_file():
        (output / "conda.yaml").write_text(yaml.safe_dump(_conda_environment(), sort_keys=False))
    (output / "requirements.txt").write_text("".join(f"{line}\n" for line in _requirements()))
    (output / "MLmodel").write_text(yaml.safe_dump(mlmodel(known), sort_keys=False))
    say(f"Wrote an MLflow model of flavor {flavor}.")


def mlmodel(known: dict[str, Any]) -> dict[str, Any]:
    """The `MLmodel` of a fine-tuned model: the base's settings and metadata, and what changed."""
    flavor = known["flavor"]
    # the converter does not copy the key that makes a module of the base model answer
    settings = {name: value for name, value in known["flavor_settings"].items() if name != "hf_predict_module"}
    settings.update(task_type="chat-completion", transformers_version=importlib.metadata.version("transformers"))
    data = "data" if flavor != "transformers" else "model"
    loader = "azureml.evaluate.mlflow.hftransformers" if flavor != "transformers" else "mlflow.transformers"
    pyfunc = {"data": data, "env": "conda.yaml", "loader_module": loader, "python_version": _python()}
    return {
        "flavors": {flavor: settings, "python_function": pyfunc},
        "metadata": known["metadata"],
        "model_uuid": uuid.uuid4().hex,
        "utc_time_created": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
    }


def _copy_model(source: Path, target: Path) -> None:
    files = [path for pattern in _WEIGHTS for path in source.glob(pattern) if path.name not in _NOT_WEIGHTS]
    if not any(path.suffix in (".safetensors", ".bin") for path in files):
        raise UserError("The fine-tuned model has no weights: the fine-tune did not end well.")
    for path in [*files, source / "config.json", *source.glob("*.py")]:
        shutil.copyfile(path, target / path.name)


def _copy_named(source: Path, target: Path, names: Sequence[str]) -> None:
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _requirements() -> list[str]:
    return [f"{name}=={importlib.metadata.version(name)}" for name in ("mlflow", "torch", "transformers", "accelerate")]


def _conda_environment() -> dict[str, Any]:
    packages = [f"python={_python()}", "pip", {"pip": _requirements()}]
    return {"name": "mlflow-env", "channels": ["conda-forge"], "dependencies": packages}


def _python() -> str:
    return ".".join(str(part) for part in sys.version_info[:3])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="convert", description=__doc__, allow_abbrev=False)
    parser.add_argument("--model_path", type=Path, required=True, help="folder of the fine-tune")
    parser.add_argument("--mlflow_model_folder", type=Path, required=True, help="folder to write")
    found = parse(parser, argv)
    return run(lambda: convert(found.model_path, found.mlflow_model_folder))


if __name__ == "__main__":
    sys.exit(main())
