"""What one look at a job shows: each step with its time in the queue and its time running, the fine-tune, the cost.

Only data, made from what run history says; how it is printed is `watch_screen.py`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tunestack.jobs.run_cost import Cost, running_seconds
from tunestack.jobs.run_history import QUEUED, Run
from tunestack.jobs.training_progress import Training, duration

WAITING = "waits"
PREEMPTED = "preempted, in the queue again"


@dataclass(frozen=True)
class StepView:
    """One step; seconds in the queue and running are None before it came there."""

    name: str
    state: str
    queued: float | None = None
    ran: float | None = None

    @property
    def is_active(self) -> bool:
        return self.ran is not None and self.state not in ("Completed", "Failed", "Canceled", "NotResponding")

    @property
    def sentence(self) -> str:
        times = [f"{duration(self.ran)}"] if self.ran is not None else []
        times += [f"{duration(self.queued)} in the queue"] if self.queued and self.queued >= 1 else []
        return f"{self.name} {self.state}" + (f" ({', '.join(times)})" if times else "")


@dataclass(frozen=True)
class View:
    """One look. `elapsed` and `heard` (how long ago the cloud last answered) are seconds."""

    job: str
    status: str
    elapsed: float = 0.0
    steps: tuple[StepView, ...] = ()
    training: Training | None = None
    cost: Cost | None = None
    heard: float = 0.0
    note: str = ""

    @property
    def done(self) -> int:
        return sum(step.state == "Completed" for step in self.steps)

    @property
    def headline(self) -> tuple[str, ...]:
        """What is worth a line of its own when it changes."""
        return self.status, self.note, *(f"{step.name} {step.state}" for step in self.steps)


def step_views(steps: Sequence[Run], now: datetime, preempted: frozenset[str] = frozenset()) -> tuple[StepView, ...]:
    """The steps of a pipeline in order; `preempted` are ids of those that had run and stand in the queue again."""
    return tuple(_step(step, steps, now, step.id in preempted) for step in steps)


def _step(step: Run, steps: Sequence[Run], now: datetime, is_preempted: bool) -> StepView:
    queued = queue_seconds(step, steps, now)
    if is_preempted and step.status in QUEUED:
        return StepView(step.name, PREEMPTED, queued, running_seconds(step, now))
    if step.status == "NotStarted" or (step.status in QUEUED and queued is None):
        return StepView(step.name, WAITING)
    ran = running_seconds(step, now) if step.started else None
    return StepView(step.name, step.status, queued, ran)


def queue_seconds(step: Run, steps: Sequence[Run], now: datetime) -> float | None:
    """How long a step stood in the queue: from when it could start, which is when the steps before it had ended.

    Which steps those are run history does not say: all that had ended before this one started. None where it waits.
    """
    if step.created is None or (step.started is None and (step.has_ended or step.status == "NotStarted")):
        return None
    until = step.started or now
    before = [other.ended for other in steps if other.id != step.id and other.ended and other.ended <= until]
    return max((until - max([step.created, *before])).total_seconds(), 0.0)
