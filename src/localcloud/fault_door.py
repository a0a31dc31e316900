"""Where calls to Resource Manager meet the armed faults: before a resource is touched, and before the answer leaves."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from localcloud.arm import type_of
from localcloud.cloud import Cloud
from localcloud.faults import AFTER

_VERBS = {"GET": "read", "HEAD": "read", "DELETE": "delete", "PATCH": "update"}


def call_of(cloud: Cloud, method: str, path: str) -> tuple[str, str]:
    """The type and the phase of a call, e.g. (`Microsoft.KeyVault/vaults`, `create`); empty for no resource."""
    _, provider, rest = path.strip("/").lower().rpartition("/providers/")
    # a namespace, then pairs of type and name: a list has no name at its end
    if provider and method == "GET" and rest.count("/") % 2 == 1:
        return type_of(path), "list"
    is_resource = bool(provider) and rest.count("/") % 2 == 0 and rest.count("/") > 0
    is_group = not provider and re.fullmatch(r"subscriptions/[^/]+/resourcegroups/[^/]+", rest)
    if not (is_group or is_resource):
        return "", ""
    if method == "PUT":
        return type_of(path), "update" if cloud.store.get(path) else "create"
    return type_of(path), _VERBS.get(method, "")


async def pass_through(
    cloud: Cloud, request: Request, found: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer the request, unless a fault for it is armed: then wait or raise ArmError, before or after the work."""
    kind, phase = call_of(cloud, request.method, request.url.path) if cloud.faults.armed else ("", "")
    if not phase:
        await found(scope, receive, send)
        return
    await cloud.faults.meet(f"{kind}.{phase}")
    if phase not in AFTER:
        await found(scope, receive, send)
        return
    answer: list[Message] = []

    async def keep(message: Message) -> None:
        answer.append(message)

    await found(scope, receive, keep)
    await cloud.faults.meet(f"{kind}.{AFTER[phase]}")
    for message in answer:
        await send(message)
