"""The processes of deployments: started, probed, restarted when they end, and stopped.

One process stands for all instances of a deployment. What a process runs is told by `programs`; which deployment
gets a request, by `router`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from localcloud import processes
from localcloud.cloud import Cloud
from localcloud.serving.programs import Program
from localcloud.serving.settings import Probe

log = logging.getLogger("localcloud.serving")

# A start is mostly one core's work (importing and loading), so more at a time only slows each of them.
PARALLEL_STARTS = 2
# A start that takes longer than this no longer keeps others from starting.
SLOT_SECONDS = 60.0
_POLL_SECONDS = 0.1
_LEFTOVERS = "deployment-process"


class NotReady(Exception):
    """A deployment's process did not become healthy; the text names the probe or how the process ended."""


@dataclass(frozen=True)
class Order:
    """What is to be served: `key` is the deployment's id in lower case, `wanted` tells whether it still exists."""

    key: str
    program: Program
    probe: Probe
    log: Path
    wanted: Callable[[], bool] = lambda: True


class Worker:
    """One process and its life. `settled` is set while it is known whether it answers."""

    def __init__(self, fleet: Fleet, order: Order) -> None:
        self._fleet, self.order = fleet, order
        self.settled = asyncio.Event()
        self.healthy = False
        self.restarts = 0
        self.address = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._exited = asyncio.Event()
        self._supervision: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Spawn and wait until it answers. NotReady when it ends or the probe's patience does; it is stopped then."""
        slots = self._fleet.slots
        async with contextlib.AsyncExitStack() as stack:
            await slots.acquire()
            release = stack.enter_context(_Once(slots.release))
            asyncio.get_running_loop().call_later(SLOT_SECONDS, release)
            try:
                self._spawn()
                await self._until_ready()
            except BaseException:
                await self._end()
                self.settled.set()
                raise
        self.healthy = True
        self.settled.set()

    def supervise(self) -> None:
        """From now on start it again when it ends or no longer answers."""
        self._supervision = asyncio.create_task(self._keep_alive())

    async def stop(self) -> None:
        if self._supervision:
            self._supervision.cancel()
            await asyncio.wait([self._supervision])
        self.healthy = False
        self.settled.set()
        await self._end()

    def _spawn(self) -> None:
        program = self.order.program
        # Bound here and handed over: a port that is only known to be free may be another's when the program listens.
        with socket.socket() as port:
            port.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{port.getsockname()[1]}"
            self._process = processes.spawn(
                program.argv(port.fileno()),
                env=program.environment,
                cwd=program.folder,
                log=self.order.log,
                stdin_open=True,
                pass_fds=[port.fileno()],
            )
        self._fleet.remember(self._process.pid)
        self._exited = asyncio.Event()
        _watch(self._process, asyncio.get_running_loop(), self._exited)

    async def _until_ready(self) -> None:
        probe, deadline = self.order.probe, time.monotonic() + self.order.probe.patience
        trouble = "connection refused"
        while time.monotonic() < deadline:
            if self._exited.is_set():
                assert self._process is not None
                raise NotReady(
                    f"User container has crashed or terminated: the process ended with code {self._process.poll()} "
                    f"before the readiness probe (GET /) was answered. {self._last_words()}"
                )
            answer = await self._ask(probe.timeout)
            if answer is None:
                return
            trouble = answer
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._exited.wait(), _POLL_SECONDS)
        raise NotReady(
            f"Liveness probe failed: GET / got '{trouble}' for {probe.patience:g} s (initialDelay "
            f"{probe.initial_delay:g} s, then {probe.failures} times every {probe.period:g} s). {self._last_words()}"
        )

    def _last_words(self) -> str:
        lines = [line for line in tail(self.order.log, 20).splitlines() if line.strip()]
        return f"Last line of its log: '{lines[-1].strip()}'." if lines else "Its log is empty."

    async def _ask(self, timeout: float) -> str | None:
        """None when it answers that it is well; what is wrong otherwise."""
        try:
            answer = await self._fleet.client.get(self.address + "/", timeout=timeout)
        except httpx.TimeoutException:
            return f"no answer within {timeout:g} s"
        except httpx.HTTPError as error:
            return str(error) or type(error).__name__
        return None if answer.status_code < 400 else f"HTTP {answer.status_code}"

    async def _keep_alive(self) -> None:
        probe, failures = self.order.probe, 0
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._exited.wait(), probe.period)
            if not self.order.wanted():
                # Its workspace or resource group was deleted above it.
                self._fleet.dismiss(self.order.key)
                return
            if not self._exited.is_set():
                failures = failures + 1 if await self._ask(probe.timeout) else 0
                if failures < probe.failures:
                    continue
                self._note(f"Liveness probe (GET /) failed {failures} times in a row; the process is started again.")
            failures = 0
            await self._start_again()

    async def _start_again(self) -> None:
        self.healthy = False
        self.settled.clear()
        await self._end()
        self.restarts += 1
        await asyncio.sleep(min(0.1 * 2 ** (self.restarts - 1), 30.0))
        try:
            await self.start()
        except NotReady as error:
            self._note(str(error))

    def _note(self, text: str) -> None:
        log.warning("%s: %s", self.order.key, text)
        with self.order.log.open("a") as file:
            file.write(f"[localcloud] {text}\n")

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        await asyncio.to_thread(processes.stop_group, process.pid)
        if process.stdin:
            process.stdin.close()
        self._fleet.forget(process.pid)


class Fleet:
    """All workers of one local cloud, by deployment."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._workers: dict[str, Worker] = {}
        self._dismissals: set[asyncio.Task[None]] = set()
        self.slots = asyncio.Semaphore(PARALLEL_STARTS)
        self.client = httpx.AsyncClient(
            trust_env=False, limits=httpx.Limits(max_connections=500, max_keepalive_connections=100)
        )

    def keys(self) -> list[str]:
        return list(self._workers)

    def worker(self, deployment_id: str) -> Worker | None:
        return self._workers.get(deployment_id.lower())

    async def serve(self, order: Order) -> None:
        """Start a process for the deployment; when it is healthy it takes the place of the one that served before.

        NotReady leaves the old one serving.
        """
        worker, old = Worker(self, order), self._workers.get(order.key)
        if old is None:
            # Requests that come before it is healthy find it and wait.
            self._workers[order.key] = worker
        try:
            await worker.start()
        except BaseException:
            if self._workers.get(order.key) is worker:
                del self._workers[order.key]
            raise
        self._workers[order.key] = worker
        worker.supervise()
        if old is not None:
            await old.stop()

    async def stop(self, deployment_id: str) -> None:
        worker = self._workers.pop(deployment_id.lower(), None)
        if worker:
            await worker.stop()

    def dismiss(self, deployment_id: str) -> None:
        """Stop in the background."""
        task = asyncio.create_task(self.stop(deployment_id))
        self._dismissals.add(task)
        task.add_done_callback(self._dismissals.discard)

    async def stop_all(self) -> None:
        await asyncio.gather(*(self.stop(key) for key in list(self._workers)))
        await self.client.aclose()

    def remember(self, pid: int) -> None:
        self._cloud.store.put_record(_LEFTOVERS, str(pid), {"start": processes.started_at(pid)})

    def forget(self, pid: int) -> None:
        self._cloud.store.delete_record(_LEFTOVERS, str(pid))

    async def sweep(self) -> None:
        """End what a killed server left running."""
        for pid, body in self._cloud.store.records(_LEFTOVERS):
            if body["start"] is not None:
                await asyncio.to_thread(processes.stop_leftover, int(pid), body["start"])
            self._cloud.store.delete_record(_LEFTOVERS, pid)


class _Once(contextlib.AbstractContextManager["_Once"]):
    """Calls a function at most once: by call or at the end of the block, whichever is first."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call: Callable[[], None] | None = call

    def __call__(self) -> None:
        call, self._call = self._call, None
        if call:
            call()

    def __exit__(self, *_: object) -> None:
        self()


def _watch(process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, exited: asyncio.Event) -> None:
    """Set the event when the process has ended. A thread, because waiting for a child has no portable async form."""

    def wait() -> None:
        process.wait()
        # The loop is closed already when the server has stopped.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(exited.set)

    threading.Thread(target=wait, name=f"wait-{process.pid}", daemon=True).start()


def tail(path: Path, lines: int) -> str:
    """The last lines of a log, reading no more than the last megabyte; empty when there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 2**20))
        text = file.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:])
