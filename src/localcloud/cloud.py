"""What every service of the local cloud is handed: the store, the clock, operations, faults, and where things lie.

There is no module-level state: two clouds in one process do not know each other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket
from typing import Any, TypeVar

from localcloud.faults import Faults
from localcloud.operations import Clock, Operations, Pace, SystemClock
from localcloud.store import Body, Store

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
TENANT = "00000000-0000-0000-0000-000000000001"
CLIENT_ID = "00000000-0000-0000-0000-000000000002"
PRINCIPAL_ID = "00000000-0000-0000-0000-000000000003"
REGION = "eastus"
# How long the servers keep an idle connection: longer than httpx, whose 5 s are uvicorn's default too, so that a client
# would now and then send a request into a connection that is being closed.
KEEP_ALIVE_SECONDS = 75

Hook = Callable[[], Awaitable[None]]
Part = TypeVar("Part")


@dataclass
class Addresses:
    """Where the parts listen, all on 127.0.0.1; 0 until they do. `mlflow` is the MLflow server's own port."""

    tls: int = 0
    proxy: int = 0
    provider: int = 0
    language: int = 0
    mlflow: int = 0


@dataclass
class Cloud:
    """One local cloud. `state` is its folder on disk; `client_secret` the throw-away principal's secret."""

    store: Store
    state: Path
    clock: Clock = field(default_factory=SystemClock)
    pace: Pace = field(default_factory=Pace)
    strict: bool = True
    client_secret: str = "local"
    addresses: Addresses = field(default_factory=Addresses)
    # Bound to the MLflow server's port and handed over to it; None where there is none.
    mlflow_socket: socket | None = None
    faults: Faults = field(default_factory=Faults)
    # Services append what must run when the server starts (take up what a killed one left) and stops.
    on_start: list[Hook] = field(default_factory=list)
    on_stop: list[Hook] = field(default_factory=list)
    # How a resource of a type (lower case) goes when the group around it is deleted: soft delete, processes.
    removers: dict[str, Callable[[Body], None]] = field(default_factory=dict)
    # From which network the caller of a proxied connection is, by its port; see `services.network_access`.
    stands: dict[int, str] = field(default_factory=dict)
    # Opens one more name in the proxy; refuses a name of Azure's.
    allow: Callable[[str], None] = lambda host: None

    def __post_init__(self) -> None:
        self.operations = Operations(self.store, self.clock, self.pace, self.faults)
        self.state = self.state.resolve()
        self._parts: dict[type[Any], Any] = {}

    def part(self, kind: type[Part], make: Callable[[], Part]) -> Part:
        """The one object of a class that several services of this cloud share, made when first asked for.

        E.g. `cloud.part(Runner, lambda: Runner(cloud))`.
        """
        if kind not in self._parts:
            self._parts[kind] = make()
        found: Part = self._parts[kind]
        return found

    @property
    def blobs(self) -> Path:
        """Root of the blob files: `<account>/<container>/<blob name>`."""
        return self.state / "blobs"

    def client_environment(self) -> dict[str, str]:
        """The variables with which a client finds this cloud: proxy, trust, and the throw-away principal.

        `localcloud run` and the processes of jobs get the same ones.
        """
        proxy = f"http://127.0.0.1:{self.addresses.proxy}"
        bundle = str(self.state / "ca-bundle.pem")
        return {
            "HTTPS_PROXY": proxy,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": bundle,
            "SSL_CERT_FILE": bundle,
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": CLIENT_ID,
            "AZURE_CLIENT_SECRET": self.client_secret,
            "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
