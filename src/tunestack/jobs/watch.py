"""Waiting for a job: looks at it until it ends, through lost connections, refusals that pass, and a laptop's sleep.

What a look shows is `job_view.py`'s, how it is printed `watch_screen.py`'s; how a failed one is told `failed_job.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tunestack.errors import CloudError, Interrupted, NotConfigured, TunestackError
from tunestack.jobs import training_progress
from tunestack.jobs.failed_job import as_ours, failure
from tunestack.jobs.job_view import View, step_views
from tunestack.jobs.run_cost import Cost, Costs
from tunestack.jobs.run_history import QUEUED, Point, Run, RunHistory
from tunestack.jobs.training_progress import Dials, Training, duration
from tunestack.jobs.watch_clock import Clock, Waiting
from tunestack.jobs.watch_screen import screen

# How long run history may stay out of reach before waiting is given up; the job goes on meanwhile.
PATIENCE_SECONDS = 600.0
LONGEST_PAUSE = 5.0
_SPREAD = 0.25


def follow(history: RunHistory, job: str, attach: str, waiting: Waiting | None = None) -> Run:
    """The job's run once it has ended well. `attach` is the command that watches it again.

    Raises EndedBadly for a failed or cancelled job, naming the child that failed, and when time runs out.
    """
    run = until_ended(history, job, attach, waiting)
    if run.status != "Completed":
        raise failure(history, run)
    return run


def until_ended(history: RunHistory, job: str, attach: str, waiting: Waiting | None = None) -> Run:
    """The job's run once it has ended, however it did."""
    watcher = Watcher(history.asking_once(), job, attach, waiting or Waiting())
    try:
        return watcher.watch()
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted; job '{job}' goes on", fix=f"Watch it again with: {attach}") from error
    finally:
        watcher.close()


class Watcher:
    """Looks at one job again and again."""

    def __init__(self, history: RunHistory, job: str, attach: str, waiting: Waiting) -> None:
        self._history, self._job, self._attach, self._waiting = history, job, attach, waiting
        self._clock = Clock(waiting)
        self._screen = screen(waiting.now)
        self._began = self._heard = waiting.now()
        self._seen = View(job, "not looked at yet")
        self._steps: list[Run] = []
        self._ran: set[str] = set()
        self._preempted: set[str] = set()
        self._told: dict[str, Point] = {}
        self._stands_back = False
        self._peace = 0.0
        self._costs: Costs | None = None
        self._body: dict[str, Any] | None = None
        self._lost_since: float | None = None
        self._has_answered = False

    def watch(self) -> Run:
        """Until the job has ended. EndedBadly when a budget is used up, CloudError when patience is."""
        interval = 1.0
        while True:
            self._peace, spread = 0.0, 0.0
            try:
                run = self._history.run(self._job)
                self._answered()
                self._look(run)
                if run.has_ended:
                    return run
                spread = _SPREAD if self._peace else 0.0
            except Exception as error:
                # A little more each, and not for all alike: who was turned away together must not come back together.
                self._peace, spread = self._bear(error), _SPREAD
            wait = max(interval, self._peace) * (1 + spread * self._waiting.chance())
            self._note_jump(self._clock.looked(in_queue=self._in_queue))
            self._clock.check(self._job, self._attach)
            self._note_jump(self._clock.pause(wait, in_queue=self._in_queue))
            interval = min(interval * 1.2, LONGEST_PAUSE)

    def close(self) -> None:
        self._screen.close()

    # -- one look ----------------------------------------------------------------------------------------------

    def _look(self, run: Run) -> None:
        alone = [] if run.is_pipeline else [run]
        self._steps = self._ask(lambda: self._history.steps(run.id) or alone, self._steps)
        self._note_preemptions()
        now = datetime.fromtimestamp(self._waiting.now(), UTC)
        is_training = run.status not in QUEUED
        training = self._ask(lambda: self._training(run), self._seen.training) if is_training else None
        if training and any(step.is_finetune and step.has_ended for step in self._steps):
            training = replace(training, left=None, steps_per_second=None, tokens_per_second=None)
        cost = self._ask(lambda: self._cost(now), self._seen.cost) if is_training or run.has_ended else None
        self._show(run.status, training, cost, step_views(self._steps, now, frozenset(self._preempted)))

    def _show(self, status: str, training: Training | None, cost: Cost | None, steps: Any, note: str = "") -> None:
        now = self._waiting.now()
        self._seen = View(self._job, status, now - self._began, steps, training, cost, now - self._heard, note)
        self._screen.show(self._seen)

    def _training(self, run: Run) -> Training | None:
        latest = self._history.latest(run.id)
        told = {name: point for name, point in latest.items() if name in training_progress.TOLD}
        is_new = told != self._told
        if not is_new and not self._stands_back:
            return self._seen.training
        losses = self._history.metric(run.id, "loss") if "loss" in latest else []
        found = training_progress.read(latest, losses, self._dials(), run.properties)
        # The service's last point is that of the highest step: one that started again is behind it for a while.
        self._stands_back = bool(found and found.is_behind) or (self._stands_back and not is_new)
        self._told = told
        return found

    def _cost(self, now: datetime) -> Cost | None:
        if not any(step.started for step in self._steps):
            return None
        self._costs = self._costs or Costs(self._history)
        return self._costs.of(self._steps, self._dials(), now)

    def _dials(self) -> Dials:
        if self._body is None:
            self._body = self._history.job(self._job) or {}
        return Dials.of(self._body)

    def _ask(self, read: Callable[[], Any], otherwise: Any) -> Any:
        """What is only shown never ends the watch: what was known last stands for it."""
        try:
            return read()
        except CloudError as error:
            self._peace = max(self._peace, error.retry_after)
            return otherwise

    def _note_preemptions(self) -> None:
        for step in self._steps:
            if step.status == "Running":
                self._ran.add(step.id)
                self._preempted.discard(step.id)
            elif step.status in QUEUED and step.id in self._ran:
                self._ran.discard(step.id)
                self._preempted.add(step.id)
                self._stands_back = True
                self._screen.say(f"step '{step.name}' was preempted: it stands in the queue again")

    @property
    def _in_queue(self) -> bool:
        """Whether the job has no machine: it stands in the queue itself, or all its steps that could run do."""
        if self._seen.status in QUEUED:
            return True
        open_steps = [step for step in self._steps if not step.has_ended]
        return any(step.status in QUEUED for step in open_steps) and all(step.status in QUEUED for step in open_steps)

    # -- trouble -----------------------------------------------------------------------------------------------

    def _answered(self) -> None:
        if self._lost_since is not None:
            self._screen.say(f"job '{self._job}' is in reach again")
        self._lost_since, self._has_answered, self._heard = None, True, self._waiting.now()

    def _bear(self, error: Exception) -> float:
        """For how many seconds to leave the cloud alone; raises what does not pass, or has lasted too long."""
        found = as_ours(error)
        passes = isinstance(found, CloudError) and found.is_passing
        # A credential that worked may fail while the network is away, or while a laptop wakes.
        passes = passes or (self._has_answered and isinstance(found, NotConfigured))
        if self._lost_since is None:
            self._lost_since = self._clock.awake
        lasted = self._clock.awake - self._lost_since
        if not passes or lasted > PATIENCE_SECONDS:
            raise self._given_up(found, lasted) from error
        after = found.retry_after if isinstance(found, CloudError) else 0.0
        asked = f", which asks for {duration(after)} of peace" if after else ""
        note = f"out of reach, trying again{asked}: {found.problems[0]}"
        note += "" if isinstance(found, CloudError) else found.advice
        self._show(self._seen.status, self._seen.training, self._seen.cost, self._seen.steps, note)
        return after

    def _given_up(self, found: TunestackError, lasted: float) -> TunestackError:
        """What ends the watch, and leaves the job."""
        out = f"job '{self._job}' was out of reach for {duration(PATIENCE_SECONDS)}; it goes on: "
        said = (out if lasted > PATIENCE_SECONDS else "") + found.problems[0]
        again = f"watch it again with: {self._attach}"
        fix = f"{found.fix}; then {again}" if found.fix else again[0].upper() + again[1:]
        if isinstance(found, CloudError):
            return CloudError(said, fix=fix, status=found.status)
        return type(found)(said, fix=fix)

    def _note_jump(self, seconds: float) -> None:
        if seconds > 0:
            self._screen.say(
                f"this machine slept for {duration(seconds)} (or its clock was set); the job went on meanwhile, and no "
                "time limit counts it"
            )
