"""Checkpoints of a fine-tune: the trained weights, optimizer, schedule and random state after a step.

`checkpoint_done.txt` is written last: a folder without it was cut off, and is never resumed from.
"""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

_DONE = "checkpoint_done.txt"


@dataclass
class Progress:
    """Where a fine-tune stands; what a resumed one continues from."""

    step: int = 0
    loss_sum: float = 0.0  # of the mean losses of all steps so far
    best_step: int = 0
    best_loss: float = float("inf")
    stale_evaluations: int = 0
    tokens_seen: int = 0
    window: list[float] = field(default_factory=list)  # losses since they were last logged
    history: list[dict[str, float]] = field(default_factory=list)


class Checkpoints:
    """The `checkpoint-<step>` folders in an output folder; at most `limit` are kept (-1: all), the best always."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit

    def path(self, step: int) -> Path:
        return self._folder / f"checkpoint-{step}"

    def newest(self) -> int | None:
        """The step of the newest complete checkpoint."""
        return max(self._complete(), default=None)

    def clear(self) -> int:
        """Remove what an earlier start has left, complete or not; how many there were."""
        left = list(self._folder.glob("checkpoint-*"))
        for path in left:
            shutil.rmtree(path)
        return len(left)

    def save(self, model: torch.nn.Module, optimizer: Any, schedule: Any, progress: Progress) -> None:
        path = self.path(progress.step)
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        trained = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
        torch.save(trained, path / "trained_weights.pt")
        torch.save(optimizer.state_dict(), path / "optimizer.pt")
        torch.save(schedule.state_dict(), path / "scheduler.pt")
        torch.save(_random_state(), path / "rng_state.pth")
        (path / "trainer_state.json").write_text(json.dumps(asdict(progress), indent=2) + "\n")
        (path / _DONE).write_text(f"step {progress.step}\n")
        self._drop_old(progress)

    def load_weights(self, model: torch.nn.Module, step: int) -> None:
        device = next(model.parameters()).device
        trained = torch.load(self.path(step) / "trained_weights.pt", map_location=device, weights_only=True)
        found = model.load_state_dict(trained, strict=False)
        if found.unexpected_keys:
            raise ValueError(f"'{self.path(step).name}' is of another model: it has {found.unexpected_keys[:3]}.")

    def load(self, model: torch.nn.Module, optimizer: Any, schedule: Any, step: int) -> Progress:
        path = self.path(step)
        self.load_weights(model, step)
        optimizer.load_state_dict(torch.load(path / "optimizer.pt", weights_only=True))
        schedule.load_state_dict(torch.load(path / "scheduler.pt", weights_only=True))
        state = torch.load(path / "rng_state.pth", weights_only=False)
        random.setstate(state["python"])
        torch.set_rng_state(state["cpu"])
        if torch.cuda.is_available() and state["cuda"]:
            torch.cuda.set_rng_state_all(state["cuda"])
        return Progress(**json.loads((path / "trainer_state.json").read_text()))

    def _complete(self) -> list[int]:
        return [int(done.parent.name.rpartition("-")[2]) for done in self._folder.glob(f"checkpoint-*/{_DONE}")]

    def _drop_old(self, progress: Progress) -> None:
        if self._limit < 1:
            return
        newest = sorted(self._complete())[-self._limit :]
        for step in self._complete():
            if step not in (*newest, progress.best_step):
                shutil.rmtree(self.path(step))


def _random_state() -> dict[str, Any]:
    return {
        "python": random.getstate(),
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
