"""Waiting for a job: looks at it until it ends, through lost connections, refusals that pass, and a laptop's sleep.

What a look shows is `job_view.py`'s, how it is printed `watch_screen.py`'s; why a step failed `causes.py` knows.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tunestack.errors import CloudError, EndedBadly, Interrupted, NotConfigured, TunestackError
from tunestack.jobs import trained_model, training_progress
from tunestack.jobs.causes import Cause, explain
from tunestack.jobs.job_view import View, step_views
from tunestack.jobs.run_cost import Cost, Costs
from tunestack.jobs.run_history import QUEUED, Run, RunHistory
from tunestack.jobs.trained_model import GATE_NODE
from tunestack.jobs.training_progress import Dials, Training, duration
from tunestack.jobs.watch_clock import Clock, Waiting
from tunestack.jobs.watch_screen import screen

__all__ = ["PATIENCE_SECONDS", "Waiting", "failure", "follow"]

# How long run history may stay out of reach before waiting is given up; the job goes on meanwhile.
PATIENCE_SECONDS = 600.0
LONGEST_PAUSE = 5.0
_SPREAD = 0.25
_LOG_LINES = 20
_LOOKED_AT = 200  # lines of a log in which a cause is looked for


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
    watcher = Watcher(history, job, attach, waiting or Waiting())
    try:
        return watcher.watch()
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted; job '{job}' goes on", fix=f"Watch it again with: {attach}") from error
    finally:
        watcher.close()


def failure(history: RunHistory, run: Run) -> EndedBadly:
    """Why a job did not end well: the children that failed, what they say, the known cause, the end of the log."""
    steps = history.steps(run.id)
    failed = [step for step in steps if step.status == "Failed"]
    problems = [
        f"job '{run.id}' ended as {run.status}" + (f": {_first(run.error)}" if run.error and not failed else "")
    ]
    problems += [f"its step '{step.name}' failed: {_first(step.error)}" for step in failed]
    first = failed[0] if failed else run
    try:
        lines = history.log(first.id, lines=_LOOKED_AT)
    except CloudError as error:
        lines = []
        problems.append(f"its log cannot be read: {error.problems[0]}")
    gate_failed = all(GATE_NODE in (step.node, step.name) for step in failed)
    gate = trained_model.gate_again(history, run) if gate_failed else ""
    if gate and not run.tags.get("evaluates"):
        problems.append("its training completed, and its model is there")
    again = f"gate it anew, without training again: {gate}" if gate else "run it again with --again"
    fix = again[0].upper() + again[1:]
    if run.status != "Canceled":
        cause = explain(first.name if failed else "", lines, first.error)
        unknown = "the cause is not known" + ("; the log is above" if lines else "")
        problems.append(f"the cause is known: {cause.what}" if cause else unknown)
        fix = _fix(cause, again)
    return EndedBadly(*problems, fix=fix, details=lines[-_LOG_LINES:])


def _fix(cause: Cause | None, again: str) -> str:
    """What to do, and how to go on then: `again`, unless the cause's own fix is to submit something new."""
    if cause is None:
        return f"Mend it, then {again}"
    if "--again" not in cause.fix:
        return f"{cause.fix}; then {again}"
    is_that_all = cause.fix.startswith("Run it again")
    return again[0].upper() + again[1:] if is_that_all and "--evaluate" in again else cause.fix


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
        self._told: dict[str, int] = {}
        self._costs: Costs | None = None
        self._body: dict[str, Any] | None = None
        self._lost_since: float | None = None
        self._has_answered = False

    def watch(self) -> Run:
        """Until the job has ended. EndedBadly when a budget is used up, CloudError when patience is."""
        interval = 1.0
        while True:
            wait = interval
            try:
                run = self._history.run(self._job)
                self._answered()
                self._look(run)
                if run.has_ended:
                    return run
            except Exception as error:
                # A little more each, and not for all alike: who was turned away together must not come back together.
                wait = max(interval, self._bear(error)) * (1 + _SPREAD * self._waiting.chance())
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
        cost = self._ask(lambda: self._cost(now), self._seen.cost) if is_training or run.has_ended else None
        self._show(run.status, training, cost, step_views(self._steps, now, frozenset(self._preempted)))

    def _show(self, status: str, training: Training | None, cost: Cost | None, steps: Any, note: str = "") -> None:
        now = self._waiting.now()
        self._seen = View(self._job, status, now - self._began, steps, training, cost, now - self._heard, note)
        self._screen.show(self._seen)

    def _training(self, run: Run) -> Training | None:
        latest = self._history.latest(run.id)
        told = {name: point.step for name, point in latest.items() if name in ("loss", "eval_loss")}
        if told == self._told:
            return self._seen.training
        self._told = told
        losses = self._history.metric(run.id, "loss") if "loss" in latest else []
        return training_progress.read(latest, losses, self._dials(), run.properties)

    def _cost(self, now: datetime) -> Cost | None:
        if not any(step.started for step in self._steps):
            return None
        self._costs = self._costs or Costs(self._history)
        return self._costs.of(self._steps, self._dials(), now)

    def _dials(self) -> Dials:
        if self._body is None:
            self._body = self._history.job(self._job) or {}
        return Dials.of(self._body)

    @staticmethod
    def _ask(read: Callable[[], Any], otherwise: Any) -> Any:
        """What is only shown never ends the watch: what was known last stands for it."""
        try:
            return read()
        except CloudError:
            return otherwise

    def _note_preemptions(self) -> None:
        for step in self._steps:
            if step.status == "Running":
                self._ran.add(step.id)
                self._preempted.discard(step.id)
            elif step.status in QUEUED and step.id in self._ran:
                self._ran.discard(step.id)
                self._preempted.add(step.id)
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
        found = _as_ours(error)
        passes = isinstance(found, CloudError) and found.is_passing
        # A credential that worked may fail while the network is away, or while a laptop wakes.
        passes = passes or (self._has_answered and isinstance(found, NotConfigured))
        if self._lost_since is None:
            self._lost_since = self._clock.awake
        if not passes:
            raise error
        if self._clock.awake - self._lost_since > PATIENCE_SECONDS:
            raise CloudError(
                f"job '{self._job}' was out of reach for {duration(PATIENCE_SECONDS)}; it goes on: {found.problems[0]}",
                fix=f"Watch it again with: {self._attach}",
                status=found.status if isinstance(found, CloudError) else 0,
            ) from error
        after = found.retry_after if isinstance(found, CloudError) else 0.0
        asked = f", which asks for {duration(after)} of peace" if after else ""
        note = f"out of reach, trying again{asked}: {found.problems[0]}"
        self._show(self._seen.status, self._seen.training, self._seen.cost, self._seen.steps, note)
        return after

    def _note_jump(self, seconds: float) -> None:
        if seconds > 0:
            self._screen.say(
                f"this machine slept for {duration(seconds)} (or its clock was set); the job went on meanwhile, and no "
                "time limit counts it"
            )


def _as_ours(error: Exception) -> TunestackError:
    if isinstance(error, TunestackError):
        return error
    from tunestack.refusals import explain as explained

    return explained(error)


def _first(message: str) -> str:
    """The first line of an error: what follows are the log's last lines, which are shown as they stand."""
    return (message.splitlines() or ["no reason given"])[0]
