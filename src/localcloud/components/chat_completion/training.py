"""The training loop: one optimizer step after another, with evaluations, checkpoints and metrics in between.

The loss is the mean over the assistant's tokens of a step, evaluations over all of the validation rows.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from localcloud.components.chat_completion.answer_loss import AnswerLoss
from localcloud.components.chat_completion.batches import Batch, Example, collate, plan_epoch, plan_evaluation
from localcloud.components.chat_completion.checkpoints import Checkpoints, Progress
from localcloud.components.chat_completion.metrics import Metrics
from localcloud.components.chat_completion.program import say
from localcloud.components.chat_completion.settings import Settings


@dataclass(frozen=True)
class Data:
    """Encoded rows, and the token that fills a batch up."""

    train: Sequence[Example]
    validation: Sequence[Example]
    pad: int


class Training:
    """One fine-tune of a model that is on its device already and whose trainable weights are marked."""

    def __init__(self, model: Any, data: Data, settings: Settings, checkpoints: Checkpoints, metrics: Metrics) -> None:
        from transformers.optimization import get_scheduler

        self._model, self._data, self._settings = model, data, settings
        self._checkpoints, self._metrics = checkpoints, metrics
        self._device = next(model.parameters()).device
        # gradient checkpointing, which is on then, keeps no keys and values
        sharing = not (settings.apply_deepspeed and self._device.type == "cuda")
        self._loss = AnswerLoss(model, share_prefixes=sharing)
        self._trained = [weight for weight in model.parameters() if weight.requires_grad]
        micro = math.ceil(len(data.train) / settings.per_device_train_batch_size)
        self.steps_per_epoch = math.ceil(micro / settings.gradient_accumulation_steps)
        self.total_steps = settings.max_steps if settings.max_steps > 0 else (
            settings.num_train_epochs * self.steps_per_epoch)  # fmt: skip
        self._optimizer = self._make_optimizer()
        self._schedule = get_scheduler(
            settings.lr_scheduler_type, self._optimizer, settings.warmup_steps, self.total_steps
        )
        self.progress = Progress()
        self._norm = self._rate = 0.0  # of the last step

    def resume(self) -> bool:
        """Go on from the newest complete checkpoint; false when there is none."""
        step = self._checkpoints.newest()
        if step is None:
            return False
        self.progress = self._checkpoints.load(self._model, self._optimizer, self._schedule, step)
        say(f"Resumed from checkpoint-{step}.")
        self._metrics.recall(step)
        self._metrics.log({"checkpoint_load_step": step}, step)
        return True

    def run(self) -> Progress:
        """Train to the end and leave the best weights in the model."""
        settings = self._settings
        started, first_step = time.monotonic(), self.progress.step
        evaluating = settings.evaluation_strategy not in ("disable", "no") and bool(self._data.validation)
        if not evaluating:
            say("There are no evaluations, and so no checkpoints.")
        elif first_step == 0:
            self._metrics.log({**self.evaluate(), "epoch": 0.0}, 0)
        for micro_batches in self._updates(first_step):
            if self._stops_early:
                say(f"Stopped early: no better loss in {self.progress.stale_evaluations} evaluations.")
                break
            self._update(micro_batches)
            if evaluating and self._is_evaluation_step():
                self._evaluate_and_save()
        if self.progress.window:
            self._log_training()
        if self.progress.best_step and self.progress.best_step != self.progress.step:
            say(f"The best weights are those of step {self.progress.best_step}.")
            self._checkpoints.load_weights(self._model, self.progress.best_step)
        self._log_end(time.monotonic() - started, first_step)
        return self.progress

    def evaluate(self) -> dict[str, float]:
        """The mean loss over the assistant's tokens of all validation rows, and how fast that was."""
        started, rows = time.monotonic(), self._data.validation
        batches = plan_evaluation(rows, self._settings.per_device_eval_batch_size)
        total, tokens = 0.0, 0
        self._model.eval()
        with torch.inference_mode():
            for chosen in batches:
                batch = collate([rows[index] for index in chosen], self._data.pad).to(self._device)
                with self._autocast():
                    total += float(self._loss(batch))
                tokens += batch.answer_tokens
        seconds = time.monotonic() - started
        return {
            "eval_loss": total / max(tokens, 1),
            "eval_runtime": seconds,
            "eval_samples_per_second": len(rows) / seconds,
            "eval_steps_per_second": len(batches) / seconds,
        }

    def _updates(self, first_step: int) -> Iterator[list[Batch]]:
        """The micro batches of each optimizer step that is still to be done."""
        rows, together = self._data.train, self._settings.gradient_accumulation_steps
        for step in range(first_step, self.total_steps):
            epoch, place = divmod(step, self.steps_per_epoch)
            plan = plan_epoch(rows, self._settings.per_device_train_batch_size, self._settings.seed, epoch)
            chosen = plan[place * together : (place + 1) * together]
            yield [collate([rows[index] for index in micro], self._data.pad) for micro in chosen]

    def _update(self, micro_batches: Sequence[Batch]) -> None:
        """One optimizer step over its micro batches, weighted by their answer tokens."""
        settings, progress = self._settings, self.progress
        tokens = max(sum(batch.answer_tokens for batch in micro_batches), 1)
        self._model.train()
        mean = 0.0
        for batch in micro_batches:
            with self._autocast():
                loss = self._loss(batch.to(self._device)) / tokens
            loss.backward()  # type: ignore[no-untyped-call]
            mean += float(loss.detach())
            progress.tokens_seen += batch.input_ids.numel()
        limit = settings.max_grad_norm if settings.max_grad_norm > 0 else float("inf")
        self._norm = float(torch.nn.utils.clip_grad_norm_(self._trained, limit))
        self._rate = float(self._schedule.get_last_lr()[0])
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        progress.loss_sum += mean
        progress.window.append(mean)
        say(f"step {progress.step}/{self.total_steps}: loss {mean:.4f}")
        by_epoch = settings.logging_strategy == "epoch"
        if progress.step % (self.steps_per_epoch if by_epoch else settings.logging_steps) == 0:
            self._log_training()

    def _log_training(self) -> None:
        window = self.progress.window
        values = {"loss": sum(window) / len(window), "grad_norm": self._norm, "learning_rate": self._rate}
        self._metrics.log({**values, "epoch": self._epoch}, self.progress.step)
        window.clear()

    @property
    def _epoch(self) -> float:
        return self.progress.step / self.steps_per_epoch

    def _is_evaluation_step(self) -> bool:
        """After each epoch, also one cut short by max_steps; or every so many steps."""
        step, settings = self.progress.step, self._settings
        if settings.evaluation_strategy == "epoch":
            return step % self.steps_per_epoch == 0 or step == self.total_steps
        interval = settings.eval_steps
        if settings.evaluation_steps_interval > 0:
            interval = max(1, int(self.steps_per_epoch * settings.evaluation_steps_interval))
        return step % interval == 0

    @property
    def _stops_early(self) -> bool:
        """Also of a start that goes on from the checkpoint at which the one before had stopped."""
        evaluated = self._settings.apply_early_stopping and bool(self.progress.history)
        return evaluated and self.progress.stale_evaluations >= self._settings.early_stopping_patience

    def _evaluate_and_save(self) -> None:
        """Evaluate, remember the best, save a checkpoint."""
        settings, progress = self._settings, self.progress
        found = self.evaluate()
        self._metrics.log({**found, "epoch": self._epoch}, progress.step)
        loss = found["eval_loss"]
        if loss < progress.best_loss - settings.early_stopping_threshold:
            progress.stale_evaluations = 0
        else:
            progress.stale_evaluations += 1
        if loss < progress.best_loss:
            progress.best_loss, progress.best_step = loss, progress.step
        progress.history.append({"step": progress.step, "eval_loss": loss})
        self._checkpoints.save(self._model, self._optimizer, self._schedule, progress)
        self._metrics.log({"checkpoint_save_step": progress.step}, progress.step)

    def _log_end(self, seconds: float, first_step: int) -> None:
        settings, progress = self._settings, self.progress
        steps = progress.step - first_step
        rows = steps * settings.per_device_train_batch_size * settings.gradient_accumulation_steps
        self._metrics.log(
            {
                "train_runtime": seconds,
                "train_samples_per_second": rows / seconds,
                "train_steps_per_second": steps / seconds,
                # as transformers counts them: six per parameter and token
                "total_flos": 6.0 * sum(weight.numel() for weight in self._model.parameters()) * progress.tokens_seen,
                "train_loss": progress.loss_sum / max(progress.step, 1),
            },
            progress.step,
        )

    def _make_optimizer(self) -> torch.optim.Optimizer:
        settings = self._settings
        if settings.optim == "adafactor":
            return torch.optim.Adafactor(self._trained, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        return torch.optim.AdamW(
            self._trained,
            lr=settings.learning_rate,
            betas=(settings.adam_beta1, settings.adam_beta2),
            eps=settings.adam_epsilon,
            weight_decay=settings.weight_decay,
        )

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        """16 bit is bf16, and only on a GPU: most CPUs are slower with it."""
        enabled = self._settings.precision == 16 and self._device.type == "cuda"
        return torch.autocast("cuda", dtype=torch.bfloat16) if enabled else contextlib.nullcontext()
