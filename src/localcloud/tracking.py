"""The MLflow server behind the workspace's tracking address: a child process with a web page of its own.

It starts in the background with the local cloud; until it answers, what is to be recorded waits in a queue. The
child's side is `localcloud.mlflow_server`; the address that clients use is `services/ml/mlflow_gateway.py`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import httpx

from localcloud import processes
from localcloud.cloud import Cloud
from localcloud.store import Body

log = logging.getLogger("localcloud.tracking")

READY_SECONDS = 60.0

# Tags that carry a fact to the store of the child and are not kept as tags there.
RUN_ID_TAG = "localcloud.runId"
ARTIFACT_TAG = "localcloud.artifactLocation"

Record = Callable[["Tracking"], Awaitable[None]]


class TrackingError(Exception):
    """MLflow is off, did not start, or refused a call; the text says which."""


class Tracking:
    """Starts and stops the MLflow server of one local cloud, calls it, and keeps a queue of what it must record."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._child: subprocess.Popen[bytes] | None = None
        self._client = httpx.AsyncClient(trust_env=False, timeout=READY_SECONDS)
        self._queue: asyncio.Queue[Record] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._answers = asyncio.Event()
        self._failure: str | None = None
        cloud.on_start.append(self.start)
        cloud.on_stop.append(self.stop)

    @property
    def folder(self) -> Path:
        return self._cloud.state / "mlflow"

    @property
    def page(self) -> str:
        """The address of the web page, or an empty text when MLflow is off."""
        port = self._cloud.addresses.mlflow
        return f"http://127.0.0.1:{port}" if port else ""

    @property
    def pid(self) -> int | None:
        """The child's process id while there is one."""
        return self._child.pid if self._child else None

    async def start(self) -> None:
        """Start the child; it answers some seconds later. Early calls wait in the socket's queue."""
        if self._cloud.mlflow_socket is None:
            self._failure = "MLflow tracking is switched off on this local cloud."
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._cloud.mlflow_socket as listener:
            listener.listen(256)
            self._child = await asyncio.to_thread(self._spawn, listener.fileno())
        self._tasks = [asyncio.create_task(self._wait_until_it_answers()), asyncio.create_task(self._work())]

    def _spawn(self, descriptor: int) -> subprocess.Popen[bytes]:
        arguments = [str(descriptor), str(self.folder), str(self._cloud.addresses.mlflow)]
        with (self.folder / "server.log").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "localcloud.mlflow_server", *arguments],
                env=_child_environment(os.environ),
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[descriptor],
            )

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()
        if self._child:
            await asyncio.to_thread(processes.stop_group, self._child.pid)
            if self._child.stdin:
                self._child.stdin.close()
            self._child.wait()

    async def _wait_until_it_answers(self) -> None:
        assert self._child
        answer = asyncio.create_task(self._client.get(f"{self.page}/health", timeout=None))
        try:
            while not answer.done():
                if self._child.poll() is not None:
                    log_file = self.folder / "server.log"
                    self._failure = f"The MLflow server ended with code {self._child.returncode}; see '{log_file}'."
                    log.error("%s", self._failure)
                    self._answers.set()
                    return
                await asyncio.wait([answer], timeout=0.25)
        finally:
            answer.cancel()  # else a stop before the first answer ends in a traceback of the closed connection
        log.info("MLflow answers on %s", self.page)
        self._answers.set()

    async def ready(self, seconds: float | None = READY_SECONDS) -> None:
        """Wait until MLflow answers; TrackingError when it never will or not within this time."""
        if self._failure is None and not self._answers.is_set():
            try:
                await asyncio.wait_for(self._answers.wait(), seconds)
            except TimeoutError:
                raise TrackingError(f"MLflow did not answer within {seconds} seconds.") from None
        if self._failure is not None:
            raise TrackingError(self._failure)

    # -- what must be recorded ---------------------------------------------------------------------------------

    def later(self, record: Record) -> None:
        """Have something recorded as soon as MLflow answers, in order; this returns at once."""
        if self._cloud.addresses.mlflow:
            self._queue.put_nowait(record)

    async def flush(self) -> None:
        """Wait until everything that was put into the queue so far is recorded."""
        await self._queue.join()

    async def flush_if_ready(self) -> None:
        """The same when MLflow answers by now; nobody waits for it to start."""
        if self._answers.is_set():
            await self.flush()

    async def _work(self) -> None:
        while True:
            record = await self._queue.get()
            try:
                await self.ready(None)
                await record(self)
            except (TrackingError, httpx.HTTPError) as error:
                log.error("Not recorded in MLflow: %s", error)
            finally:
                self._queue.task_done()

    # -- calls -------------------------------------------------------------------------------------------------

    async def forward(
        self, method: str, path: str, query: str, body: bytes, headers: Mapping[str, str]
    ) -> httpx.Response:
        """Pass a request on as it is; `path` is the part from `/api` on."""
        await self.ready()
        url = f"{self.page}{path}" + (f"?{query}" if query else "")
        return await self._client.request(method, url, content=body, headers=dict(headers))

    async def call(self, method: str, name: str, body: Body) -> Body:
        """Call `/api/2.0/mlflow/<name>`; TrackingError with MLflow's own text when it refuses."""
        await self.ready()
        url = f"{self.page}/api/2.0/mlflow/{name}"
        if method == "GET":
            answer = await self._client.get(url, params=body)
        else:
            answer = await self._client.request(method, url, json=body)
        if answer.is_error:
            raise TrackingError(f"MLflow answered {answer.status_code} to '{name}': {answer.text[:500]}")
        found: Body = answer.json()
        return found


def _child_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The server speaks to nobody: no proxy, no telemetry, no job executor (ten processes more)."""
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(("MLFLOW_", "_MLFLOW_", "AZURE", "ARM_")) and not name.lower().endswith("_proxy")
    }
    return {
        **kept,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }


def tracking_of(cloud: Cloud) -> Tracking:
    return cloud.part(Tracking, lambda: Tracking(cloud))
