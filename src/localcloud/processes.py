"""Child processes that do not outlive the local cloud: started in a group of their own, ended as a group.

A child of ours ends by itself when its standard input closes, which happens even after `kill -9` of the server;
a job's or deployment's process is written down, and swept when the server starts again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    log: Path,
    stdin_open: bool = False,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program with its output appended to a log file; it inherits the descriptors `pass_fds`.

    With `stdin_open` its standard input is a pipe that closes when this process ends; see `end_with_parent`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE if stdin_open else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=pass_fds,
        )


def end_with_parent() -> None:
    """Called by a child of ours that was started with `stdin_open`: end when the parent is gone."""

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(sys.stdin.fileno(), 4096):
                pass
        os._exit(0)

    threading.Thread(target=wait, name="end-with-parent", daemon=True).start()


def started_at(pid: int) -> float | None:
    """When a process started (seconds since the epoch), or None when there is none: with the pid it is an identity."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def stop_group(pid: int, *, grace: float = 5.0) -> None:
    """End a process and its group: asked first, killed after `grace` seconds. None of them runs when this returns."""
    for word in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, word)
        deadline = time.monotonic() + grace
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            psutil.Process(pid).wait(timeout=grace)
        while group_runs(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        if not group_runs(pid):
            return


def group_runs(group: int) -> bool:
    """Whether a process of the group still runs: killed ones do, until their memory is given back, and zombies do not.

    Zombies stay where nobody waits for orphans, as in a container without an init.
    """
    try:
        os.killpg(group, 0)
    except OSError:
        return False
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def stop_leftover(pid: int, start: float) -> bool:
    """End what a killed server left running; false when that pid is another process by now or gone."""
    if started_at(pid) != start:
        return False
    stop_group(pid)
    return True
