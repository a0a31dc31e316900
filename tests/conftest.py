"""What all tests share: a clean environment, a temporary HOME, and a real local cloud in a thread."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from localcloud import client
from localcloud.cloud import PRINCIPAL_ID, SUBSCRIPTION, Cloud
from localcloud.operations import Clock
from localcloud.server import Options, Server

# Tiny models are fifty times slower when their threads wait for each other on busy cores; read when torch is imported.
os.environ["OMP_NUM_THREADS"] = "1"

# The same examples on every machine, however slow: what a random one finds would fail a change that has no part in it.
hypothesis.settings.load_profile("ci")

# Ends a test that hangs. What is waited for is an event, so that this costs nothing and is for no machine too short.
HANG_SECONDS = 600.0

CACHE = Path(
    os.environ.get("TUNESTACK_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tunestack"
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the developer's accounts, stacks or home; the caches that set-up filled are handed in."""
    for name in list(os.environ):
        if name.startswith(("AZURE", "ARM_", "PULUMI_", "MLFLOW_", "LOCALCLOUD_", "TUNESTACK_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("TUNESTACK_CACHE", str(CACHE))


@dataclass
class RunningCloud:
    """A local cloud that runs in a thread: its `Cloud`, its address for clients, and its environment."""

    cloud: Cloud
    running: client.Running
    server: Server
    loop: asyncio.AbstractEventLoop

    @property
    def environment(self) -> dict[str, str]:
        return self.cloud.client_environment()

    def call(self, coroutine: Any) -> Any:
        """Run a coroutine on the server's loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout=HANG_SECONDS)

    def arm(self, method: str, path: str, body: Any = None) -> Any:
        return self.running.arm(method, path, body)

    def grant(self, role: str, scope: str, principal: str = PRINCIPAL_ID) -> str:
        """Assign a role (a GUID) at a scope, to the throw-away principal unless told otherwise; the assignment's id."""
        name = uuid.uuid5(uuid.NAMESPACE_URL, f"{scope}|{principal}|{role}".lower())
        path = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"
        definition = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/{role}"
        body = {"roleDefinitionId": definition, "principalId": principal, "principalType": "ServicePrincipal"}
        self.arm("PUT", f"{path}?api-version=2022-04-01", {"properties": body})
        return path

    def revoke(self, assignment: str) -> None:
        self.arm("DELETE", f"{assignment}?api-version=2022-04-01")


@contextmanager
def serve(options: Options, clock: Clock | None = None) -> Iterator[RunningCloud]:
    """A real server in a thread of its own; stopped, with all that it started, when the block is left."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="local-cloud")
    thread.start()
    server = Server(options, clock)
    try:
        cloud = asyncio.run_coroutine_threadsafe(server.start(), loop).result(timeout=HANG_SECONDS)
        yield RunningCloud(cloud, client.find(options.state), server, loop)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(timeout=HANG_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _point_at(found: RunningCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def local_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningCloud]:
    """A local cloud without engine and MLflow, and this process pointed at it, as `localcloud run` does."""
    with serve(Options(tmp_path / "state", engine=False, tracking=False)) as found:
        _point_at(found, monkeypatch)
        yield found


@pytest.fixture
def tracked_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningCloud]:
    """As `local_cloud`, with the MLflow server."""
    with serve(Options(tmp_path / "state", engine=False, tracking=True)) as found:
        _point_at(found, monkeypatch)
        yield found
