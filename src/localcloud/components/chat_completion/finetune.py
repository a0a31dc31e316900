"""Step 4: fine-tunes the imported model on the encoded rows, with LoRA or whole, and writes Hugging Face files.

It runs on the GPU where there is one, else on the CPU. Adapters are merged into the weights at the end.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localcloud.components.chat_completion import chat_tokenizer, model_import, preprocess
from localcloud.components.chat_completion.finetune_config import FILE, FinetuneConfig
from localcloud.components.chat_completion.metrics import Metrics
from localcloud.components.chat_completion.program import (
    PROPERTIES_FILE,
    UserError,
    parse,
    read_json,
    report_properties,
    run,
    say,
    write_json,
)
from localcloud.components.chat_completion.settings import Settings, add_arguments, settings_of
from localcloud.components.mlflow_folder import copy_beside

if TYPE_CHECKING:
    import torch

    from localcloud.components.chat_completion.checkpoints import Progress
    from localcloud.components.chat_completion.training import Data

STUB_FILE = "finetune_args.json"
METADATA_FILE = "model_metadata.json"
_OPTIMIZATION = ("apply_", "deepspeed", "lora_", "precision")


@dataclass(frozen=True)
class Folders:
    """Outputs of the two steps before, and this step's own."""

    imported: Path
    preprocessed: Path
    output: Path

    @property
    def model_name(self) -> str:
        return str(read_json(self.imported / model_import.ARGUMENTS_FILE)["model_name"])

    @property
    def base(self) -> Path:
        return self.imported / self.model_name


def finetune(folders: Folders, settings: Settings, metrics: Metrics) -> None:
    """Train, merge, save. UserError for dials that cannot be; the output folder then holds nothing but its stub."""
    _require_gpu()
    folders.output.mkdir(parents=True, exist_ok=True)
    write_json(folders.output / STUB_FILE, {"model_name": folders.model_name})
    config = FinetuneConfig.load(folders.imported)
    settings = settings.updated(config.trainer_args)
    settings.check()
    say("Loading torch, transformers and peft.")
    device = _choose_device()
    _say_what_has_no_effect(settings, device)
    model, progress = _train_until_it_fits(folders, config, settings, metrics, device)
    _save(model, folders, config, settings, progress)


def _train_until_it_fits(
    folders: Folders, config: FinetuneConfig, settings: Settings, metrics: Metrics, device: torch.device
) -> tuple[Any, Progress]:
    """Train; with auto_find_batch_size a GPU that is full means half the batch and a fresh start."""
    import torch

    while True:
        try:
            return _train(folders, config, settings, metrics, device)
        except torch.OutOfMemoryError:
            size = settings.per_device_train_batch_size
            if not settings.auto_find_batch_size or size == 1:
                raise UserError(
                    f"The GPU has not enough memory for per_device_train_batch_size '{size}'. Lower it, or "
                    "max_seq_length, or set auto_find_batch_size to true."
                ) from None
            say(f"The GPU is full with {size} rows a batch; starting again with {size // 2}.")
        torch.cuda.empty_cache()
        settings = dataclasses.replace(settings, per_device_train_batch_size=size // 2)


def _train(
    folders: Folders, config: FinetuneConfig, settings: Settings, metrics: Metrics, device: torch.device
) -> tuple[Any, Progress]:
    import torch

    from localcloud.components.chat_completion.checkpoints import Checkpoints
    from localcloud.components.chat_completion.training import Training

    torch.manual_seed(settings.seed)  # the adapters' first values, dropout
    if settings.enable_full_determinism:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # CUDA is not deterministic without it
    torch.use_deterministic_algorithms(settings.enable_full_determinism)
    data = _load_data(folders)
    model = _adapted(_load_model(folders, settings, device), config, settings)
    checkpoints = Checkpoints(folders.output, settings.save_total_limit)
    training = Training(model, data, settings, checkpoints, metrics)
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    say(f"{trained:,} of {sum(weight.numel() for weight in model.parameters()):,} weights are trained on {device}: "
        f"{training.total_steps} steps, {training.steps_per_epoch} an epoch.")  # fmt: skip
    if not settings.resume_from_checkpoint:
        if left := checkpoints.clear():
            say(f"resume_from_checkpoint is false: {left} checkpoints of an earlier start are removed; starting over.")
    elif not training.resume():
        say("There is no complete checkpoint to resume from; starting from the base model.")
    return model, training.run()


def _load_data(folders: Folders) -> Data:
    from localcloud.components.chat_completion.batches import load_examples
    from localcloud.components.chat_completion.training import Data

    pad = chat_tokenizer.ChatTokenizer(folders.preprocessed).token_id("pad_token")
    assert pad is not None  # preprocess gave it one
    train, validation = (load_examples(folders.preprocessed / f"{split}.jsonl") for split in ("train", "validation"))
    return Data(train, validation, pad)


def _load_model(folders: Folders, settings: Settings, device: torch.device) -> Any:
    """The base model on its device: fp32, or bf16 under adapters on a GPU with 16 bit; its vocabulary grown to fit."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    # weights that are trained themselves stay in 32 bit; training then computes in 16
    half = settings.precision == 16 and settings.apply_lora and device.type == "cuda"
    model: Any = AutoModelForCausalLM.from_pretrained(
        folders.base,
        dtype=torch.bfloat16 if half else torch.float32,
        ignore_mismatched_sizes=settings.ignore_mismatched_sizes,
    )
    size = chat_tokenizer.ChatTokenizer(folders.preprocessed).backend.get_vocab_size()
    if size > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(size, mean_resizing=False)
    if settings.apply_deepspeed and device.type == "cuda":
        # the published step does so for the model types that it runs under DeepSpeed
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.to(device)


def _adapted(model: Any, config: FinetuneConfig, settings: Settings) -> Any:
    """The model with LoRA adapters on the layers that its publisher names, else on all linear layers."""
    if not settings.apply_lora:
        return model
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=config.lora_target_modules or "all-linear",
    )
    try:
        return get_peft_model(model, lora)
    except ValueError as error:
        raise UserError(f"LoRA cannot be applied with the 'lora_target_modules' of {FILE}: {error}") from None


def _save(model: Any, folders: Folders, config: FinetuneConfig, settings: Settings, progress: Progress) -> None:
    """The weights with adapters merged, in the base model's type, and the files that the next step reads."""
    import torch

    merged = model.merge_and_unload() if settings.apply_lora else model
    config_of_base = read_json(folders.base / "config.json")
    kept = str(config_of_base.get("dtype") or config_of_base.get("torch_dtype") or "float32")
    merged.to(getattr(torch, kept)).save_pretrained(folders.output)
    for name in chat_tokenizer.FILES:
        if (folders.preprocessed / name).is_file():
            shutil.copyfile(folders.preprocessed / name, folders.output / name)
    copy_beside(folders.imported, folders.output)
    shutil.copyfile(folders.preprocessed / preprocess.INFERENCE_FILE, folders.output / preprocess.INFERENCE_FILE)
    dials = {**dataclasses.asdict(settings), "deepspeed": str(settings.deepspeed or "")}
    torch.save(dials, folders.output / "training_args.bin")
    write_json(folders.output / STUB_FILE, {"model_name": folders.model_name, **dials})
    optimization = {name: dials[name] for name in dials if name.startswith(_OPTIMIZATION)}
    write_json(folders.output / "Azureml_finetune_optimization_args.json", optimization)
    inputs = {"model_selector_output": str(folders.imported), "preprocess_output": str(folders.preprocessed)}
    write_json(folders.output / "Azureml_io_args.json", inputs)
    _write_metadata(folders, config, progress)


def _write_metadata(folders: Folders, config: FinetuneConfig, progress: Progress) -> None:
    """What the converter puts into `MLmodel`, and the properties of this run and of the pipeline's."""
    base = _base_mlmodel(folders.imported)
    facts = read_json(folders.imported / model_import.ARGUMENTS_FILE)
    metadata = dict(base.get("metadata") or {})
    if not config.keep_base_image:
        metadata.pop("azureml.base_image", None)  # the image of contract A; without it the plain MLflow server answers
    metadata.update(
        is_finetuned_model=True,
        is_acft_model=True,
        finetuning_task="chat-completion",
        base_model_asset_id=facts["base_model_asset_id"],
    )
    flavor = "transformers" if facts["mlflow_flavor"] == "transformers" else "hftransformersv2"
    settings = (base.get("flavors") or {}).get(facts["mlflow_flavor"]) or {}
    write_json(folders.output / METADATA_FILE, {"flavor": flavor, "flavor_settings": settings, "metadata": metadata})
    tokens = read_json(folders.preprocessed / PROPERTIES_FILE)["root"]
    best = {"best_metric": str(progress.best_loss)} if progress.best_step else {}
    root = {"PipelineType": "Finetune", "model_name": folders.model_name, **tokens, **best}
    report_properties(folders.output, {"showMetricsAtRoot": "true"}, root)


def _base_mlmodel(imported: Path) -> dict[str, Any]:
    import yaml

    path = imported / "MLmodel"
    found: dict[str, Any] = yaml.safe_load(path.read_text()) if path.is_file() else {}
    return found


def _require_gpu() -> None:
    """UserError on a simulated machine without a GPU, whatever this one has: the published step refuses there too."""
    if os.environ.get("LOCALCLOUD_GPUS") == "0":
        raise UserError(
            f"No GPU in a machine of size '{os.environ.get('LOCALCLOUD_SIZE', '')}', and the fine-tune runs on nothing "
            "else: name a cluster of a GPU size as compute_finetune."
        )


def _choose_device() -> torch.device:
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    say(f"This machine has no GPU: training on its CPU with {torch.get_num_threads()} threads. Azure would refuse.")
    return torch.device("cpu")


def _say_what_has_no_effect(settings: Settings, device: torch.device) -> None:
    if settings.apply_deepspeed:
        kept = "; gradient checkpointing is on" if device.type == "cuda" else ""
        say(f"apply_deepspeed has no effect on this machine: one process holds the whole model{kept}.")
    if settings.precision == 16 and device.type == "cpu":
        say("precision 16 has no effect on the CPU: training in 32 bit.")
    if settings.dataloader_num_workers > 0 or settings.eval_accumulation_steps > 0:
        say("dataloader_num_workers and eval_accumulation_steps have no effect: rows are in memory, losses are summed.")
    if settings.apply_ort:
        say("apply_ort has no effect, as in the published component.")
    if settings.metric_for_best_model != "loss":
        say(f"metric_for_best_model '{settings.metric_for_best_model}' is never computed for chat; loss is used.")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="finetune", description=__doc__, allow_abbrev=False)
    parser.add_argument("--model_selector_output", type=Path, required=True, help="folder of the model import")
    parser.add_argument("--preprocess_output", type=Path, required=True, help="folder of the preprocessing")
    parser.add_argument("--pytorch_model_folder", type=Path, required=True, help="folder to write")
    add_arguments(parser)
    found = parse(parser, argv)
    # threads that spin while they wait take the cores from other processes; read when torch is imported
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    folders = Folders(found.model_selector_output, found.preprocess_output, found.pytorch_model_folder)
    return run(lambda: finetune(folders, settings_of(found), Metrics.from_environment()))


if __name__ == "__main__":
    sys.exit(main())
