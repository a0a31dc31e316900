"""Child processes: what was started as a group has ended as a group."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress

import pytest

from localcloud import processes
from tests.localcloud.runner.conftest import runs


@pytest.fixture
def stubborn() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that ends when it is asked to, and the id of its child, which does not."""
    line = "(trap '' TERM; echo ready; while :; do sleep 600; done) & echo $!; wait"
    with subprocess.Popen(["bash", "-c", line], stdout=subprocess.PIPE, text=True, start_new_session=True) as leader:
        assert leader.stdout
        said = {leader.stdout.readline().strip() for _ in range(2)}
        (child,) = said - {"ready"}
        yield leader, int(child)
        with suppress(ProcessLookupError):
            os.killpg(leader.pid, signal.SIGKILL)


def test_a_child_that_does_not_end_when_it_is_asked_is_killed(stubborn: tuple[subprocess.Popen[str], int]) -> None:
    leader, child = stubborn
    assert processes.group_runs(leader.pid)
    processes.stop_group(leader.pid, grace=0.2)
    assert not runs(child)
    assert not processes.group_runs(leader.pid)


def test_a_group_that_only_waits_to_be_waited_for_does_not_run() -> None:
    with subprocess.Popen(["true"], start_new_session=True) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        assert not processes.group_runs(ended.pid)
