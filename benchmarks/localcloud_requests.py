"""Start time, memory and requests per second of the local cloud, beside moto's server, in one run.

One client, one connection where the server keeps it open, plain HTTP libraries on both sides: `GET workspace`
through the proxy and TLS here, SageMaker's `ListModels` over http there. Run: make bench
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from localcloud import client

ROUNDS, REQUESTS, WARM_UP = 5, 400, 50


@dataclass(frozen=True)
class Figures:
    """Seconds to the first answer, resident MiB of all its processes, and requests per second of each round."""

    start: float
    memory: float
    rates: list[float]


def _memory(process: subprocess.Popen[bytes]) -> float:
    root = psutil.Process(process.pid)
    return sum(p.memory_info().rss for p in [root, *root.children(recursive=True)]) / 2**20


def _rates(request: Callable[[], None]) -> list[float]:
    for _ in range(WARM_UP):
        request()
    rates = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(REQUESTS):
            request()
        rates.append(REQUESTS / (time.perf_counter() - began))
    return rates


def _ask(connection: http.client.HTTPConnection, method: str, path: str, body: str, headers: dict[str, str]) -> None:
    connection.request(method, path, body or None, headers)
    response = connection.getresponse()
    text = response.read()
    if response.status != 200:
        raise SystemExit(f"{method} {path} answered {response.status}: {text[:200]!r}")


def measure_localcloud(folder: Path) -> Figures:
    began = time.perf_counter()
    env = {**os.environ, "LOCALCLOUD_STATE": str(folder)}
    process = subprocess.Popen([sys.executable, "-m", "localcloud", "up"], env=env, stderr=subprocess.DEVNULL)
    try:
        while not (folder / "server.json").exists():
            time.sleep(0.01)
        running = client.find(folder)
        start = time.perf_counter() - began
        ids = client.make_workspace(running, "bench", "eastus")
        path = (
            f"/subscriptions/{ids['subscription_id']}/resourceGroups/{ids['resource_group']}/providers/"
            "Microsoft.MachineLearningServices/workspaces/bench?api-version=2024-10-01"
        )
        running.arm("GET", path)
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        connection = http.client.HTTPSConnection("127.0.0.1", running.addresses.proxy, context=context)
        connection.set_tunnel("management.azure.com", 443)
        token = running.token()
        rates = _rates(lambda: _ask(connection, "GET", path, "", {"Authorization": f"Bearer {token}"}))
        # MLflow comes up in the background: its memory counts from when it answers.
        with urllib.request.urlopen(f"http://127.0.0.1:{running.addresses.mlflow}/health", timeout=90):
            pass
        return Figures(start, _memory(process), rates)
    finally:
        process.terminate()
        process.wait()


def measure_moto() -> Figures:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    headers = {
        "X-Amz-Target": "SageMaker.ListModels",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/sagemaker/aws4_request, "
        "SignedHeaders=host, Signature=x",
    }
    try:
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            try:
                _ask(connection, "POST", "/", "{}", headers)
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        start = time.perf_counter() - began
        rates = _rates(lambda: _ask(connection, "POST", "/", "{}", headers))
        return Figures(start, _memory(process), rates)
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ours = measure_localcloud(Path(folder) / "state")
    moto = measure_moto()
    rows = [("localcloud, GET workspace", ours), ("moto, ListModels", moto)]
    print(f"{'':28}{'start s':>9}{'MiB':>7}{'requests/s (min, median, max)':>34}")
    for name, figures in rows:
        rates = f"{min(figures.rates):.0f}  {statistics.median(figures.rates):.0f}  {max(figures.rates):.0f}"
        print(f"{name:28}{figures.start:>9.2f}{figures.memory:>7.0f}{rates:>34}")
    ratio = statistics.median(ours.rates) / statistics.median(moto.rates)
    print(f"\nrequests per second, localcloud : moto = {ratio:.1f} : 1")
    print(json.dumps({name: vars(figures) for name, figures in rows}), file=sys.stderr)


if __name__ == "__main__":
    main()
