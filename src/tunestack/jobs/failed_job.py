"""How a job that did not end well is told: the step that failed, what it says, the known cause, the end of its log.

The causes are `causes.py`'s. What cannot be read is said, and hides nothing of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunestack.errors import EndedBadly, TunestackError
from tunestack.jobs import trained_model
from tunestack.jobs.causes import Cause, explain
from tunestack.jobs.run_history import Run, RunHistory
from tunestack.jobs.trained_model import GATE_NODE

_SHOWN_LINES = 20
_LOOKED_AT = 200  # lines of a log in which a cause is looked for


def failure(history: RunHistory, run: Run) -> EndedBadly:
    """Why a job did not end well, and the line to go on with."""
    steps, unread = _steps(history, run)
    failed = [step for step in steps if step.status == "Failed"]
    problems = [
        f"job '{run.id}' ended as {run.status}" + (f": {_first(run.error)}" if run.error and not failed else "")
    ]
    problems += [f"its step '{step.name}' failed: {_first(step.error)}" for step in failed]
    logs, unread_logs = _logs(history, failed[0] if failed else run)
    problems += [*unread, *unread_logs]
    if run.status == "NotResponding":
        fix = (
            "Its machine may still run, and cost: watch it with scripts/submit_finetune.py "
            f"--attach {run.id}, or end it with --cancel {run.id}"
        )
        return EndedBadly(*problems, fix=fix, details=_end(logs))
    again, is_trained = _again(history, run, failed)
    problems += ["its training completed, and its model is there"] * is_trained
    if run.status == "Canceled":
        return EndedBadly(*problems, fix=again[0].upper() + again[1:], details=_end(logs))
    cause, log = _cause(failed[0] if failed else run, logs, is_step=bool(failed))
    unknown = "the cause is not known" + ("; the log is above" if log else "")
    problems.append(f"the cause is known: {cause.what}" if cause else unknown)
    return EndedBadly(*problems, fix=_fix(cause, again), details=_end([log]))


def as_ours(error: Exception) -> TunestackError:
    """Any error as one of our own."""
    if isinstance(error, TunestackError):
        return error
    from tunestack.refusals import explain as explained

    return explained(error)


def _steps(history: RunHistory, run: Run) -> tuple[list[Run], list[str]]:
    try:
        return history.steps(run.id), []
    except Exception as error:  # the SDK's own kinds as well
        return [], [f"its steps cannot be read: {as_ours(error).problems[0]}"]


def _logs(history: RunHistory, run: Run) -> tuple[list[list[str]], list[str]]:
    """The last lines of each log, the run's own first, then those of its other processes; and what cannot be read."""
    found: list[list[str]] = []
    try:
        found.extend(history.logs(run.id, lines=_LOOKED_AT))
    except Exception as error:  # as above
        return found, [f"its log cannot be read: {as_ours(error).problems[0]}"]
    return found, []


def _cause(run: Run, logs: Sequence[list[str]], *, is_step: bool) -> tuple[Cause | None, list[str]]:
    """The cause, and the log that tells it: the run's own, else that of another of its processes."""
    name = f"{run.node} {run.name}" if is_step else ""
    found = [(explain(name, log, run.error), log) for log in logs or [[]]]
    strong = [one for one in found if one[0] is not None and not one[0].is_weak]
    weak = [one for one in found if one[0] is not None]
    return (strong or weak or found)[0]


def _again(history: RunHistory, run: Run, failed: Sequence[Run]) -> tuple[str, bool]:
    """The line to go on with once it is mended, and whether the training completed and only its gate did not."""
    is_gate = all(GATE_NODE in (step.node, step.name) for step in failed)
    gate = trained_model.gate_again(history, run) if is_gate else ""
    if not gate:
        return "run it again with --again", False
    return f"gate it anew, without training again: {gate}", not run.tags.get("evaluates")


def _fix(cause: Cause | None, again: str) -> str:
    """What to do, and how to go on then: `again`, unless the cause's own fix is to submit something new."""
    if cause is None:
        return f"Mend it, then {again}"
    if "--again" not in cause.fix:
        return f"{cause.fix}; then {again}"
    is_that_all = cause.fix.startswith("Run it again")
    return again[0].upper() + again[1:] if is_that_all and "--evaluate" in again else cause.fix


def _end(logs: Sequence[list[str]]) -> list[str]:
    return logs[0][-_SHOWN_LINES:] if logs else []


def _first(message: str) -> str:
    """The first line of an error: what follows are the log's last lines, which are shown as they stand."""
    return (message.splitlines() or ["no reason given"])[0]
