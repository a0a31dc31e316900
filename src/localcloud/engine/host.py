"""The process that serves Pulumi's provider and language host on loopback; the local cloud starts it as a child.

`python -m localcloud.engine.host --arm https://127.0.0.1:PORT --ca FILE` prints its two ports as one line of JSON,
`{"provider": P, "language": L}`, and ends when its standard input closes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from pulumi.runtime.proto import language_pb2_grpc, provider_pb2_grpc

from localcloud import processes
from localcloud.cloud import CLIENT_ID, SUBSCRIPTION, TENANT
from localcloud.engine.arm_client import ArmClient, NotLoopbackError, Principal
from localcloud.engine.language_host import LanguageHost
from localcloud.engine.provider import Provider, provider_version

LARGEST_MESSAGE = 400 * 1024 * 1024  # the engine's own limit
PROVIDER_THREADS = 64  # a resource being created holds one until it is there
LANGUAGE_THREADS = 16


@dataclass(frozen=True, slots=True)
class Serving:
    """Two running gRPC servers, their ports, and how to end them."""

    provider: int
    language: int
    stop: Callable[[], None]


def serve(arm_url: str, ca_file: Path | None, client_secret: str = "local") -> Serving:
    """Serves the provider and the language host, each on a free loopback port."""
    arm = ArmClient(arm_url, ca_file, Principal(CLIENT_ID, client_secret, TENANT, SUBSCRIPTION))
    host = LanguageHost()
    provider_server, provider_port = _listen(
        PROVIDER_THREADS,
        lambda server: provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(arm), server),
    )
    language_server, language_port = _listen(
        LANGUAGE_THREADS, lambda server: language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    )

    def stop() -> None:
        host.close()
        ended = [provider_server.stop(grace=0.5), language_server.stop(grace=0.5)]
        for event in ended:
            event.wait()
        arm.close()

    return Serving(provider_port, language_port, stop)


def _listen(threads: int, add: Callable[[grpc.Server], Any]) -> tuple[grpc.Server, int]:
    server = grpc.server(
        ThreadPoolExecutor(max_workers=threads),
        options=[
            ("grpc.max_receive_message_length", LARGEST_MESSAGE),
            ("grpc.max_send_message_length", LARGEST_MESSAGE),
            ("grpc.so_reuseport", 0),
        ],
    )
    add(server)
    port: int = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m localcloud.engine.host", description=__doc__)
    parser.add_argument("--arm", required=True, metavar="URL", help="the local cloud, https://127.0.0.1:PORT")
    parser.add_argument("--ca", type=Path, metavar="FILE", help="the certificate authority to trust")
    arguments = parser.parse_args()
    try:
        serving = serve(arguments.arm, arguments.ca, os.environ.get("ARM_CLIENT_SECRET", "local"))
    except NotLoopbackError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    processes.end_with_parent()
    print(f"localcloud: azure-native {provider_version()} on 127.0.0.1:{serving.provider}", file=sys.stderr)
    print(json.dumps({"provider": serving.provider, "language": serving.language}), flush=True)
    ended.wait()
    serving.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
