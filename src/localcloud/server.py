"""The running local cloud: TLS on loopback, the proxy, the engine's side and the state folder's lock.

`Server` is used by `localcloud up` in the foreground and by tests in a thread; ports are written to
`server.json` when everything answers, and that file is what other commands read.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import secrets
import signal
import socket
import ssl
import sys
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO

import uvicorn

from localcloud import app
from localcloud.arm import ArmError
from localcloud.certificates import Authority
from localcloud.cloud import KEEP_ALIVE_SECONDS, Cloud
from localcloud.operations import Clock, Pace, SystemClock
from localcloud.proxy import Proxy
from localcloud.store import Store

log = logging.getLogger("localcloud")


class CannotStart(Exception):
    """The local cloud cannot start here; the text says why and what to do."""


@dataclass(frozen=True)
class Options:
    """How a server is started. Ports of 0 are chosen by the system; `allow` names are let through the proxy."""

    state: Path
    port: int = 0
    pace: Pace = field(default_factory=Pace)
    strict: bool = True
    allow: Collection[str] = ()
    engine: bool = True
    tracking: bool = True


AZURE_SUFFIXES = (
    "azure.com",
    "azure.net",
    "azurecr.io",
    "azureml.ms",
    "azureml.net",
    "live.com",
    "microsoft.com",
    "microsoftonline.com",
    "windows.net",
    "windowsazure.com",
)


def refuse_azure_name(name: str) -> None:
    """A name that belongs to Azure at large is never let out of the machine, not even with `--allow`."""
    plain = name.lower().rstrip(".")
    if any(plain == suffix or plain.endswith("." + suffix) for suffix in AZURE_SUFFIXES):
        raise CannotStart(f"'{name}' is a name of Azure's; the local cloud never lets a call to Azure out.")


class Server:
    """One local cloud on one state folder. `start` returns when it answers; `stop` ends everything it started."""

    def __init__(self, options: Options, clock: Clock | None = None) -> None:
        self.options = options
        for name in options.allow:
            refuse_azure_name(name)
        self.state = options.state.resolve()
        self._lock_file: IO[str] | None = None
        self._clock = clock or SystemClock()
        self._engine: asyncio.subprocess.Process | None = None

    async def start(self) -> Cloud:
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock()
        self._authority = Authority(self.state)
        self.cloud = Cloud(
            store=Store(self.state / "state.db"),
            state=self.state,
            clock=self._clock,
            pace=self.options.pace,
            strict=self.options.strict,
            client_secret=_secret(self.state),
        )
        if self.options.tracking:
            self._bind_mlflow()
        self._asgi = app.create_app(self.cloud)
        listener = _listen(self.options.port)
        self.cloud.addresses.tls = listener.getsockname()[1]
        self._uvicorn = self._make_uvicorn()
        self._serving = asyncio.create_task(self._uvicorn.serve([listener]))
        self._proxy = Proxy(app.is_azure_name, self.cloud.addresses.tls, self.options.allow, self.cloud.stands)
        self.cloud.addresses.proxy = await self._proxy.start()
        self.cloud.allow = self._allow
        while not self._uvicorn.started:
            if self._serving.done():
                self._serving.result()
                raise CannotStart("The server ended before it answered; its log says why.")
            await asyncio.sleep(0.005)
        if self.options.engine:
            await self._start_engine_side()
        for hook in self.cloud.on_start:
            await hook()
        self._announce()
        return self.cloud

    def _allow(self, host: str) -> None:
        try:
            refuse_azure_name(host)
        except CannotStart as error:
            raise ArmError(400, "InvalidHost", str(error)) from None
        self._proxy.allow(host)

    def _make_uvicorn(self) -> uvicorn.Server:
        config = uvicorn.Config(
            self._asgi,
            log_config=None,
            access_log=False,
            lifespan="off",
            http="httptools",
            timeout_graceful_shutdown=2,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            server_header=False,
        )
        config.load()
        context = self._authority.context("localhost")

        def by_name(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            if name and name != "localhost" and app.is_azure_name(name):
                connection.context = self._authority.context(name)

        context.sni_callback = by_name
        config.ssl = context
        server = uvicorn.Server(config)
        # Signals belong to whoever runs this server (the command line, a test's thread).
        server.capture_signals = suppress  # type: ignore[method-assign, assignment]
        return server

    async def _start_engine_side(self) -> None:
        """The provider and the language host for Pulumi's engine, in a process that ends with this one."""
        self._engine = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "localcloud.engine.host",
            "--arm",
            f"https://127.0.0.1:{self.cloud.addresses.tls}",
            "--ca",
            str(self._authority.certificate_file),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**_own_environment(), "ARM_CLIENT_SECRET": self.cloud.client_secret},
            start_new_session=True,
        )
        assert self._engine.stdout
        line = await self._engine.stdout.readline()
        if not line:
            raise CannotStart("The engine's side (localcloud.engine.host) ended before it named its ports.")
        ports = json.loads(line)
        self.cloud.addresses.provider, self.cloud.addresses.language = ports["provider"], ports["language"]

    def _lock(self) -> None:
        lock = (self.state / "server.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise CannotStart(
                f"The state folder '{self.state}' is in use by another server. "
                "Stop that one, or set LOCALCLOUD_STATE to another folder."
            ) from None
        self._lock_file = lock

    def _bind_mlflow(self) -> None:
        """Take the port of last time where it is free, so that a page's address outlives the server."""
        kept = self.state / "mlflow.port"
        self.cloud.mlflow_socket = _bind(int(kept.read_text()) if kept.exists() else 0)
        self.cloud.addresses.mlflow = self.cloud.mlflow_socket.getsockname()[1]
        kept.write_text(str(self.cloud.addresses.mlflow))

    def _announce(self) -> None:
        addresses = self.cloud.addresses
        record = {
            "pid": os.getpid(),
            "version": version("tunestack"),
            **{name: getattr(addresses, name) for name in ("tls", "proxy", "provider", "language", "mlflow")},
        }
        temporary = self.state / "server.json.tmp"
        temporary.write_text(json.dumps(record))
        temporary.replace(self.state / "server.json")

    async def stop(self) -> None:
        """Stop taking calls, end children and deployments, and let go of the state folder."""
        if self._lock_file is None:
            return  # the folder is another server's, and so is what lies in it
        (self.state / "server.json").unlink(missing_ok=True)
        if hasattr(self, "_proxy"):
            self._proxy.stop()
        if hasattr(self, "cloud"):
            self.cloud.faults.release_all()
            for hook in reversed(self.cloud.on_stop):
                await hook()
        if self._engine and self._engine.returncode is None:
            # Waited for by asyncio alone, which warns of a child whose end somebody else has taken notice of.
            for word in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError, TimeoutError):
                    os.killpg(self._engine.pid, word)
                    await asyncio.wait_for(self._engine.wait(), timeout=5)
                    break
        if hasattr(self, "_serving"):
            self._proxy.drop()
            self._uvicorn.should_exit = True
            await asyncio.wait([self._serving], timeout=5)
        if hasattr(self, "cloud"):
            self.cloud.store.close()
            if self.cloud.mlflow_socket:
                self.cloud.mlflow_socket.close()
        self._lock_file.close()


def _own_environment() -> dict[str, str]:
    """This process's environment without proxies: what we start speaks to loopback only."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def _secret(state: Path) -> str:
    """The throw-away principal's secret: made once per state folder, readable by its owner only."""
    path = state / "client-secret"
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24))
    return path.read_text()


def _bind(preferred: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", preferred))
    except OSError:
        bound.bind(("127.0.0.1", 0))
    return bound


def _listen(port: int) -> socket.socket:
    # The protocol is named because asyncio turns Nagle off only where it is: 40 ms per answer otherwise.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise CannotStart(
            f"Port {port} on 127.0.0.1 cannot be used: {error.strerror}. Choose another with --port, or none."
        ) from None
    listener.listen(128)
    listener.setblocking(False)
    return listener
