"""The environment of the process that called: the engine dials a host that it did not start, and no call carries it.

A program must see what its user set (`NAME=value pulumi up`), not what the local cloud was started with.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

import psutil

from localcloud.engine.arm_client import Principal


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


def principal_of(peer: str, otherwise: Principal) -> Principal:
    """As whom the engine at the other end deploys: azure-native's `ARM_` variables in its environment decide."""
    found = environment_of(peer)
    client = found.get("ARM_CLIENT_ID", "")
    if client in ("", otherwise.client_id):
        return otherwise
    if found.get("ARM_USE_OIDC", "").lower() == "true":
        file, token = found.get("ARM_OIDC_TOKEN_FILE_PATH", ""), found.get("ARM_OIDC_TOKEN", "")
        return replace(otherwise, client_id=client, client_secret="", assertion=token, assertion_file=file)
    return replace(otherwise, client_id=client, client_secret=found.get("ARM_CLIENT_SECRET", ""))


def _is_port(connection: object, port: int) -> bool:
    address = getattr(connection, "laddr", None)
    return bool(address) and getattr(address, "port", None) == port
