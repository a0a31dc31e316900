"""A server that is killed: finished jobs are intact, those that ran are failed with the reason, nothing runs on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from localcloud.server import Options
from tests.conftest import RunningCloud, serve
from tests.localcloud.runner.conftest import ENVIRONMENT, WORKSPACE, cluster_nodes, make_workspace, runs

VERSION = "api-version=2024-01-01-preview"
SERVER = """
import asyncio, sys
from pathlib import Path
from localcloud.server import Options, Server

async def main():
    await Server(Options(Path(sys.argv[1]), engine=False, tracking=False)).start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def submit(cloud: RunningCloud, name: str, line: str) -> None:
    properties = {
        "jobType": "Command",
        "command": line,
        "environmentId": ENVIRONMENT,
        "computeId": f"{WORKSPACE}/computes/cpu-cluster",
    }
    cloud.arm("PUT", f"{WORKSPACE}/jobs/{name}?{VERSION}", {"properties": properties})


def test_after_kill_9_finished_jobs_are_there_and_running_ones_have_failed(tmp_path: Path) -> None:
    from localcloud import client
    from localcloud.runner.execution import runner_of

    state, pid_file = tmp_path / "state", tmp_path / "pid"
    with serve(Options(state, engine=False, tracking=False)) as first:
        make_workspace(first)
        submit(first, "done", "echo kept")
        first.call(runner_of(first.cloud).wait(WORKSPACE, "done"))

    os.mkfifo(pid_file)
    with subprocess.Popen([sys.executable, "-c", SERVER, str(state)], stdout=subprocess.PIPE) as killed:
        assert killed.stdout
        assert killed.stdout.readline() == b"ready\n"
        running = client.find(state)
        body = {
            "jobType": "Command",
            "command": f"echo $$ > {pid_file}; sleep 600",
            "environmentId": ENVIRONMENT,
            "computeId": f"{WORKSPACE}/computes/cpu-cluster",
        }
        running.arm("PUT", f"{WORKSPACE}/jobs/ran?{VERSION}", {"properties": body})
        pid = int(pid_file.read_text())
        job = running.arm("GET", f"{WORKSPACE}/jobs/ran?{VERSION}")
        assert job["properties"]["status"] == "Running"
        killed.send_signal(signal.SIGKILL)
    assert runs(pid)

    with serve(Options(state, engine=False, tracking=False)) as again:
        assert not runs(pid)
        states = {
            job["name"]: job["properties"]["status"] for job in again.arm("GET", f"{WORKSPACE}/jobs?{VERSION}")["value"]
        }
        assert states == {"done": "Completed", "ran": "Failed"}
        answer = again.running.call(
            "GET", "eastus.api.azureml.ms", f"/history/v1.0{WORKSPACE}/runs/ran/details", None, again.running.token()
        )
        assert "The local cloud stopped while this job ran" in answer["error"]["error"]["message"]
        assert cluster_nodes(again) == 0


def test_a_server_that_stops_ends_what_it_runs(tmp_path: Path) -> None:
    state, pid_file = tmp_path / "state", tmp_path / "pid"
    os.mkfifo(pid_file)
    with serve(Options(state, engine=False, tracking=False)) as first:
        make_workspace(first)
        submit(first, "ran", f"echo $$ > {pid_file}; sleep 600")
        pid = int(pid_file.read_text())
    assert not runs(pid)
    with serve(Options(state, engine=False, tracking=False)) as again:
        job = again.arm("GET", f"{WORKSPACE}/jobs/ran?{VERSION}")
        assert job["properties"]["status"] == "Failed"
