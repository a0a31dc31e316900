"""Waiting for a job: shows its state, its children and its last metrics until it ends, through lost connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tunestack.errors import CloudError, EndedBadly, Interrupted
from tunestack.progress import Progress
from tunestack.run_history import QUEUED, Run, RunHistory

# How long run history may stay out of reach before waiting is given up; the job goes on meanwhile.
PATIENCE_SECONDS = 600.0
_SHOWN = ("loss", "eval_loss")


@dataclass(frozen=True)
class Waiting:
    """How to wait: `timeout` in seconds (None for as long as it takes), and the clock, for tests."""

    timeout: float | None = None
    pause: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time


def follow(history: RunHistory, job: str, attach: str, waiting: Waiting | None = None) -> Run:
    """The job's run once it has ended well. `attach` is the command that watches it again.

    Raises EndedBadly for a failed or cancelled job, naming the child that failed, and when time runs out.
    """
    try:
        run = _until_ended(history, job, attach, waiting or Waiting())
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted; job '{job}' goes on", fix=f"Watch it again with: {attach}") from error
    if run.status != "Completed":
        raise failure(history, run)
    return run


def failure(history: RunHistory, run: Run) -> EndedBadly:
    """Why a job did not end well: the children that failed, their messages, and the end of the first one's log."""
    failed = [step for step in history.steps(run.id) if step.status == "Failed"]
    problems = [f"job '{run.id}' ended as {run.status}" + (f": {run.error}" if run.error and not failed else "")]
    problems += [f"its step '{step.name}' failed: {step.error or 'no reason given'}" for step in failed]
    details = history.log((failed[0] if failed else run).id, lines=20)
    return EndedBadly(*problems, fix="Mend the cause, then run it again with --again", details=details)


def _until_ended(history: RunHistory, job: str, attach: str, waiting: Waiting) -> Run:
    progress = Progress(f"job {job}", waiting.now)
    lost_since, interval = 0.0, 1.0
    try:
        while True:
            try:
                run = history.run(job)
                lost_since = 0.0
                if run.has_ended:
                    progress.show(run.status)
                    return run
                progress.show(run.status, "" if run.status in QUEUED else _detail(history, run))
            except CloudError as error:
                lost_since = lost_since or waiting.now()
                if not error.is_passing or waiting.now() - lost_since > PATIENCE_SECONDS:
                    raise
                progress.show("out of reach, trying again", error.problems[0])
            if waiting.timeout is not None and progress.elapsed > waiting.timeout:
                raise EndedBadly(
                    f"job '{job}' has not ended after {waiting.timeout / 60:g} minutes; it goes on",
                    fix=f"Watch it again with: {attach}",
                )
            waiting.pause(interval)
            interval = min(interval * 1.2, 5.0)
    finally:
        progress.close()


def _detail(history: RunHistory, run: Run) -> str:
    steps = history.steps(run.id)
    done = sum(step.status == "Completed" for step in steps)
    now = [step.name for step in steps if not step.has_ended and step.status not in QUEUED]
    try:
        metrics = history.metrics(run.id)
    except CloudError as error:
        return f"{done} of {len(steps)} steps done  (no metrics: {error.problems[0]})"
    said = [f"{name} {metrics[name]:.3f}" for name in _SHOWN if name in metrics]
    return "  ".join([f"{done} of {len(steps)} steps done", *now, *said])
