"""The dials of a fine-tune: the published step's arguments, their defaults, and what of them cannot be.

Dials that have no effect on this machine are accepted and named in the log.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcloud.components.chat_completion.program import UserError, read_json, truth

SCHEDULES = ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup")


@dataclass(frozen=True)
class Settings:
    """One fine-tune's dials, with the component's names and defaults."""

    apply_lora: bool = False
    lora_alpha: int = 128
    lora_r: int = 8
    lora_dropout: float = 0.0
    num_train_epochs: int = 1
    max_steps: int = -1
    per_device_train_batch_size: int = 1
    per_device_eval_batch_size: int = 1
    auto_find_batch_size: bool = False
    optim: str = "adamw_torch"
    learning_rate: float = 2e-5
    warmup_steps: int = 0
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    gradient_accumulation_steps: int = 1
    eval_accumulation_steps: int = -1
    lr_scheduler_type: str = "linear"
    precision: int = 32
    seed: int = 42
    enable_full_determinism: bool = False
    dataloader_num_workers: int = 0
    ignore_mismatched_sizes: bool = False
    max_grad_norm: float = 1.0
    evaluation_strategy: str = "epoch"
    evaluation_steps_interval: float = 0.0
    eval_steps: int = 500
    logging_strategy: str = "steps"
    logging_steps: int = 10
    metric_for_best_model: str = "loss"
    resume_from_checkpoint: bool = False
    save_total_limit: int = -1
    apply_early_stopping: bool = False
    early_stopping_patience: int = 1
    early_stopping_threshold: float = 0.0
    apply_deepspeed: bool = False
    deepspeed: Path | None = None
    deepspeed_stage: int = 2
    apply_ort: bool = False

    def updated(self, overrides: Mapping[str, Any]) -> Settings:
        """With what the model's `hf_trainer_args` say, which win over every input. UserError for another kind."""
        kept, problems = {}, []
        for field in dataclasses.fields(self):
            if field.name not in overrides:
                continue
            try:
                kept[field.name] = _kind(field.default)(str(overrides[field.name]))
            except (ValueError, argparse.ArgumentTypeError):
                kind = type(field.default).__name__
                problems.append(f"{field.name} must be of the type {kind}, not '{overrides[field.name]}'.")
        if problems:
            raise UserError(f"In hf_trainer_args of the model's finetune_config.json {' '.join(problems)}")
        return dataclasses.replace(self, **kept)

    def check(self) -> None:
        """UserError naming every dial that cannot be, all at once."""
        problems = [*self._out_of_range(), *self._contradictions()]
        if self.apply_deepspeed and self.deepspeed is not None:
            problems += _deepspeed_problems(self.deepspeed)
        if problems:
            raise UserError(" ".join(problems))

    def _out_of_range(self) -> list[str]:
        problems = []
        if not self.learning_rate > 0:
            problems.append(f"learning_rate must be above 0, not '{self.learning_rate}'.")
        if self.optim not in ("adamw_torch", "adafactor"):
            problems.append(f"optim must be adamw_torch or adafactor, not '{self.optim}'.")
        if self.lr_scheduler_type not in SCHEDULES:
            problems.append(f"lr_scheduler_type must be one of {', '.join(SCHEDULES)}, not '{self.lr_scheduler_type}'.")
        least_one = ("num_train_epochs", "per_device_train_batch_size", "per_device_eval_batch_size", "lora_r",
                     "gradient_accumulation_steps", "logging_steps", "eval_steps")  # fmt: skip
        for name in least_one:
            if getattr(self, name) < 1:
                problems.append(f"{name} must be at least 1, not '{getattr(self, name)}'.")
        return problems

    def _contradictions(self) -> list[str]:
        problems = []
        if self.apply_early_stopping and self.evaluation_strategy in ("disable", "no"):
            problems.append("apply_early_stopping needs an evaluation: set evaluation_strategy to epoch or steps.")
        if self.apply_deepspeed and self.auto_find_batch_size:
            problems.append("apply_deepspeed and auto_find_batch_size cannot be used together: set one to false.")
        return problems


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One `--name` for every dial; booleans and closed sets are checked by argparse, which ends with 2."""
    choices: dict[str, tuple[Any, ...]] = {
        "precision": (32, 16),
        "deepspeed_stage": (2, 3),
        "evaluation_strategy": ("epoch", "steps", "disable", "no"),
        "logging_strategy": ("epoch", "steps"),
        "metric_for_best_model": ("loss", "f1", "exact"),
    }
    for field in dataclasses.fields(Settings):
        default = field.default
        parser.add_argument(f"--{field.name}", type=_kind(default), default=default, choices=choices.get(field.name))


def _kind(default: Any) -> Any:
    """What makes a dial's value of its text."""
    return Path if default is None else truth if isinstance(default, bool) else type(default)


def settings_of(found: argparse.Namespace) -> Settings:
    return Settings(**{field.name: getattr(found, field.name) for field in dataclasses.fields(Settings)})


def _deepspeed_problems(path: Path) -> list[str]:
    try:
        zero = read_json(path).get("zero_optimization")
    except UserError as error:
        return [f"The DeepSpeed file is no settings file: {error}"]
    stage = zero.get("stage") if isinstance(zero, dict) else None
    if stage is None:
        return [f"The DeepSpeed file '{path.name}' names no 'zero_optimization.stage'."]
    if stage == 3 and not (isinstance(zero, dict) and zero.get("stage3_gather_16bit_weights_on_model_save")):
        return [f"The stage 3 file '{path.name}' must set 'stage3_gather_16bit_weights_on_model_save' to true."]
    return []
