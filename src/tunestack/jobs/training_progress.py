"""How far a fine-tune is, from what it logs: step of total, loss, rate and time left; all of it may be unknown.

Sources of the metrics' names and of the step axis: the published component's callback, which logs to the pipeline's
run as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunestack.jobs.run_history import Point

TOKENS = "__azureml_ft_training_tokens"  # property of the pipeline's run: tokens of one epoch
# What the published step logs when it goes on from a checkpoint: whose it is.
RESUMED = "checkpoint_load_step"
_LOSSES = ("loss", "eval_loss")
TOLD = (*_LOSSES, RESUMED)
# Over how many of the last points the rate is measured: few, so that a preemption or a slow start is soon forgotten.
_RECENT = 6


@dataclass(frozen=True)
class Dials:
    """What the job was asked for: `max_steps` (0: not set), epochs, and machines per step of the fine-tune."""

    max_steps: int = 0
    epochs: int = 1
    nodes: int = 1

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Dials:
        """From the job as Resource Manager has it; what it does not say has the component's default."""
        inputs: dict[str, Any] = {}
        for node in ((body.get("properties") or {}).get("jobs") or {}).values():
            inputs |= (node or {}).get("inputs") or {}
        return cls(
            max(_whole(inputs.get("max_steps"), 0), 0),
            max(_whole(inputs.get("num_train_epochs"), 1), 1),
            max(_whole(inputs.get("num_nodes_finetune"), 1), 1),
        )


@dataclass(frozen=True)
class Training:
    """Where the fine-tune stands; `left` in seconds, of the fine-tune alone. None is unknown."""

    step: int
    total: int | None = None
    loss: float | None = None
    eval_loss: float | None = None
    steps_per_second: float | None = None
    tokens_per_second: float | None = None
    left: float | None = None
    is_behind: bool = False  # an earlier start of the step had come further

    @property
    def parts(self) -> list[str]:
        """What is known, piece by piece, for one line."""
        said = [f"step {self.step}" + (f" of {self.total}" if self.total else "")]
        said += [f"{name} {value:.3f}" for name, value in (("loss", self.loss), ("eval_loss", self.eval_loss))
                 if value is not None]  # fmt: skip
        if self.steps_per_second:
            said.append(f"{self.steps_per_second:.3g} steps/s")
        if self.tokens_per_second:
            said.append(f"{self.tokens_per_second:,.0f} tokens/s")
        if self.left is not None:
            said.append(f"about {duration(self.left)} of it left")
        return said


def read(
    latest: Mapping[str, Point], losses: Sequence[Point], dials: Dials, properties: Mapping[str, str]
) -> Training | None:
    """From the last point of every metric and all points of `loss`; None before anything is logged."""
    by_time = sorted(losses, key=_when)
    told = [*(latest[name] for name in _LOSSES if name in latest), *by_time[-1:]]
    if not told:
        return None
    resumed = latest.get(RESUMED)
    if resumed and math.isfinite(resumed.value):
        told.append(replace(resumed, step=int(resumed.value)))
    step = max(told, key=_when).step
    an_epoch = _steps_of_epoch(latest)
    total = dials.max_steps or (round(dials.epochs * an_epoch) if an_epoch else None)
    rate = _rate(by_time)
    tokens = float(properties[TOKENS]) if properties.get(TOKENS, "").isdecimal() else None
    return Training(
        step,
        total,
        by_time[-1].value if by_time else None,
        latest["eval_loss"].value if "eval_loss" in latest else None,
        rate,
        tokens / an_epoch * rate if tokens and an_epoch and rate else None,
        (total - step) / rate if total and rate and total > step else None,
        any(point.step > step for point in told),
    )


def _when(point: Point) -> tuple[float, int]:
    return point.time, point.step


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h 05 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" if whole >= 600 else f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _steps_of_epoch(latest: Mapping[str, Point]) -> float | None:
    """`epoch` is logged with the step: their ratio is the steps of one epoch."""
    epoch = latest.get("epoch")
    return epoch.step / epoch.value if epoch and epoch.step and epoch.value > 0 else None


def _rate(by_time: Sequence[Point]) -> float | None:
    """Steps a second, of the last points that follow one another: none from before a start from a checkpoint."""
    recent = list(by_time[-_RECENT:])
    back = [place for place in range(1, len(recent)) if recent[place].step <= recent[place - 1].step]
    recent = recent[back[-1] :] if back else recent
    if len(recent) < 2 or recent[-1].time <= recent[0].time:
        return None
    return (recent[-1].step - recent[0].step) / (recent[-1].time - recent[0].time)


def _whole(value: Any, default: int) -> int:
    """An input's value as it travels: text, or an object with a literal; a binding is unknown."""
    text = value.get("value") if isinstance(value, Mapping) else value
    try:
        return int(str(text))
    except ValueError:
        return default
