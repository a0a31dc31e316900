"""Nodes of low-priority clusters that are taken away in the middle of a step, and how often a step gets another one.

As on Azure the step goes back into the queue and starts again on another node: what lay on the node is gone, what it
had written to its outputs is there. Simulated: a node goes when its process is killed from outside, or at the moment
that the fault `job.preempt` names.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from localcloud.faults import PREEMPTION, Faults

MOST = 10
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)  # the shell's own end, and that of what it ran
_LOOK_SECONDS = 0.05


class Preempted(Exception):
    """The node under a step is gone."""


def is_killed(exit_code: int) -> bool:
    """Whether a process ended by SIGKILL, which on a low-priority node means that the node went."""
    return exit_code in _KILLED


async def notice(faults: Faults, log: Path, start: int) -> None:
    """Return when the fault `job.preempt` takes the node; `start` is where in the log this attempt begins."""
    while PREEMPTION not in faults.armed or not faults.preempts(_said(log, start)):
        await asyncio.sleep(_LOOK_SECONDS)


def _said(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        return file.read().decode("utf-8", "replace")
