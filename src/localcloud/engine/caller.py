"""The environment of the process that called: the engine dials a host that it did not start, and no call carries it.

A program must see what its user set (`NAME=value pulumi up`), not what the local cloud was started with.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import psutil


def environment_of(peer: str) -> Mapping[str, str]:
    """The environment of the process at the other end of a gRPC peer such as `ipv4:127.0.0.1:51234`.

    Falls back to this process's own where the system does not tell (another user's process).
    """
    port = int(peer.rpartition(":")[2])
    for process in psutil.process_iter(["name"]):
        if not str(process.info["name"]).startswith("pulumi"):
            continue
        try:
            if any(_is_port(connection, port) for connection in process.net_connections("tcp")):
                return dict(process.environ())
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
    return dict(os.environ)


def _is_port(connection: object, port: int) -> bool:
    address = getattr(connection, "laddr", None)
    return bool(address) and getattr(address, "port", None) == port
