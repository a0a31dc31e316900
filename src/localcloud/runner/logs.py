"""A run's log in the artifact store, where clients stream it from, and the error message read out of it."""

from __future__ import annotations

import os
from pathlib import Path

from localcloud.cloud import Cloud
from localcloud.runner.locations import LocationError, artifact_file
from localcloud.runner.runs import Run

STD_LOG = "user_logs/std_log.txt"
# What a client streams of a pipeline: what became of its steps, not what they say.
EXECUTION_LOG = "logs/azureml/executionlogs.txt"
_TAIL_BYTES = 64 * 1024
_TAIL_LINES = 20
_USER_ERROR = "UserError:"


def log_file(cloud: Cloud, run: Run) -> Path:
    """The run's log as a file; a blob of the workspace's artifact store where it has one."""
    try:
        return artifact_file(cloud, run.workspace, run.id, EXECUTION_LOG if run.kind == "pipeline" else STD_LOG)
    except LocationError:
        return cloud.state / "jobs" / run.id / "std_log.txt"


def write_line(path: Path, text: str) -> None:
    """Add a line of the local cloud's own to a log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as log:
        log.write(f"[local cloud] {text}\n")


def tail(path: Path) -> str:
    """The end of a log, at most 64 KiB."""
    if not path.is_file():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - _TAIL_BYTES))
        return log.read().decode("utf-8", "replace")


def error_of(path: Path, exit_code: int) -> dict[str, str]:
    """`{code, message}` of a failed process: its last `UserError:` line, else its last lines and the exit code."""
    lines = [line.rstrip() for line in tail(path).splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith(_USER_ERROR):
            return {"code": "UserError", "message": line.removeprefix(_USER_ERROR).strip()}
    said = "\n".join(line for line in lines[-_TAIL_LINES:] if not line.startswith("[local cloud]"))
    how = f"signal {-exit_code}" if exit_code < 0 else f"status code {exit_code}"
    message = f"Execution failed. The user process exited with {how}. Its log is '{STD_LOG}'."
    return {"code": "UserError", "message": f"{message} Last lines:\n{said}" if said else message}
