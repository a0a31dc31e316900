"""What stands over every write to Resource Manager, whoever the caller is: locks first, then policies that deny.

A right has been checked before this (see `guard`), and the service has not been asked yet, as on Azure.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from localcloud.cloud import Cloud
from localcloud.services.locks import refuse_locked
from localcloud.services.policies import refuse_denied


def governed(cloud: Cloud, found: ASGIApp) -> ASGIApp:
    """The same application behind locks and policies; ArmError 409 or 403."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        read: list[Message] = []

        async def keep() -> Message:
            read.append(await receive())
            return read[-1]

        async def again() -> Message:
            return read.pop(0) if read else await receive()

        request = Request(scope, keep)
        refuse_locked(cloud, request)
        await refuse_denied(cloud, request)
        await found(scope, again, send)

    return answer
