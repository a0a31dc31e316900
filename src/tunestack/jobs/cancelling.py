"""Cancels a job: asks for it, waits until its machines are free, and says what it has cost."""

from __future__ import annotations

import argparse
import shlex
from datetime import UTC, datetime

from tunestack import cli
from tunestack.connect import Connection
from tunestack.errors import CloudError, TunestackError, UsageError
from tunestack.jobs import job_name
from tunestack.jobs.run_cost import Cost, Costs
from tunestack.jobs.run_history import JOB_VERSION, Run, RunHistory
from tunestack.jobs.training_progress import Dials
from tunestack.jobs.watch import until_ended
from tunestack.jobs.watch_clock import Waiting


def run(connection: Connection, options: argparse.Namespace) -> cli.Result:
    """`--cancel JOB`, as long as the flags let it wait."""
    again = shlex.join(["scripts/submit_finetune.py", "--cancel", options.cancel, *cli.workspace_words(options)])
    return cancel(connection, options.cancel, Waiting.of(options), again=again, wait=not options.no_wait)


def cancel(
    connection: Connection, job: str, waiting: Waiting | None = None, *, again: str = "", wait: bool = True
) -> cli.Result:
    """The job, cancelled and over. A job that has ended by itself is a UsageError; one cancelled before is fine.

    `again` is the command to go on with after Ctrl-C; without `wait` it returns once the cloud has agreed.
    """
    history = RunHistory(connection)
    name = job_name.find(history, job)
    run = history.run(name)
    _require_open(run)
    if run.status == "Canceled":
        cli.note(f"job '{name}' was cancelled before")
    else:
        _ask(connection, history, name)
        if not wait:
            return cli.Result(name, {"job": name, "status": "CancelRequested"})
        run = _ended(history, name, again or f"scripts/submit_finetune.py --cancel {name}", waiting)
    spent = cost(history, run)
    if spent is not None:
        cli.note(f"it has cost {spent} (an estimate: the steps' running time at their clusters' hourly prices)")
    dollars = round(spent.dollars, 4) if spent is not None else None
    return cli.Result(name, {"job": name, "status": run.status, "ended": run.ended, "estimated_cost": dollars})


def cost(history: RunHistory, run: Run) -> Cost | None:
    """What a job has cost until now; None, with a warning, where that cannot be found out."""
    try:
        body = history.job(run.id) or {}
        return Costs(history).of(history.steps(run.id) or [run], Dials.of(body), datetime.now(UTC))
    except TunestackError as error:
        cli.note(f"warning: what job '{run.id}' has cost cannot be found out: {error}")
        return None


def _ask(connection: Connection, history: RunHistory, name: str) -> None:
    try:
        connection.arm.post(f"{connection.workspace.path}/jobs/{name}/cancel", JOB_VERSION)
    except CloudError:
        run = history.run(name)  # it may have ended between the look and the call, or somebody else was faster
        _require_open(run)
        if run.status not in ("Canceled", "CancelRequested"):
            raise
    cli.note(f"asked for job '{name}' to be cancelled")


def _ended(history: RunHistory, name: str, again: str, waiting: Waiting | None) -> Run:
    run = until_ended(history, name, again, waiting)
    _require_open(run)
    if run.status == "Canceled":
        cli.note(f"job '{name}' is cancelled; its machines are free")
    else:
        cli.note(f"warning: job '{name}' does not respond; whether its machine is free, the studio shows")
    return run


def _require_open(run: Run) -> None:
    if run.has_ended and run.status not in ("Canceled", "NotResponding"):
        raise UsageError(
            f"job '{run.id}' has ended as {run.status} and cannot be cancelled",
            fix="Nothing of it runs any more",
        )
