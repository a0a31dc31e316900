"""The check that every call to Resource Manager and to Azure ML's data plane passes: may this caller do this here?

A list that the caller may read only in parts is answered with those parts. Identities that a body names need a right of
their own (linked access), and assignments that a condition rules are judged by what they would hand out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from localcloud.arm import ArmError
from localcloud.cloud import SUBSCRIPTION, Cloud
from localcloud.needs import Need
from localcloud.permissions import ASSIGNMENTS, denied, permissions_of

ASSIGN = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"
_SUBSCRIPTION = f"/subscriptions/{SUBSCRIPTION}"
Needs = Callable[[str, str], Need | None]


class Guard:
    """One per application."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud, self._permissions = cloud, permissions_of(cloud)

    def admit(self, request: Request, claims: Mapping[str, Any], needs: Needs, found: ASGIApp) -> ASGIApp:
        """The application that answers the call, or ArmError 403."""
        need = needs(request.method, request.url.path)
        if need is None or not self._of_ours(need.scope):
            return found
        if not self._permissions.allowed(claims["oid"], need.action, need.scope):
            parts = self._permissions.scopes(claims["oid"], need.action, need.scope) if need.of_list else ()
            if parts:
                return _in_parts(found, parts)
            if need.action.lower().startswith(ASSIGNMENTS.lower()) and request.method in ("PUT", "DELETE"):
                return self._with_body(request, claims, need, found, conditional=True)
            raise denied(claims, need)
        if request.method in ("PUT", "PATCH"):
            return self._with_body(request, claims, need, found, conditional=False)
        return found

    def _of_ours(self, scope: str) -> bool:
        """Whether a role is needed: a foreign subscription is not found, and Azure's own registries are open to all."""
        head, _, name = scope.lower().partition("/registries/")
        if not head.startswith(_SUBSCRIPTION):
            return False
        if not name or "/microsoft.machinelearningservices" not in head:
            return True
        return self._cloud.store.get(f"{head}/registries/{name.partition('/')[0]}") is not None

    def _with_body(
        self, request: Request, claims: Mapping[str, Any], need: Need, found: ASGIApp, *, conditional: bool
    ) -> ASGIApp:
        """Judge by the body, which is read here and handed on."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            body = await Request(scope, receive).body()
            if conditional:
                attributes = self._attributes(request.url.path, body)
                self._permissions.require(claims, need, attributes)
            for identity in _identities(body):
                self._require_linked(claims, need, identity)
            await found(scope, _again(body, receive), send)

        return answer

    def _attributes(self, path: str, body: bytes) -> dict[str, str]:
        """What a condition may ask of an assignment: as it is sent, or as it stands when it is to be deleted."""
        sent = _json(body) or self._cloud.store.get(path) or {}
        properties = sent.get("properties") or {}
        return {
            "RoleDefinitionId": str(properties.get("roleDefinitionId", "")).rpartition("/")[2],
            "PrincipalId": str(properties.get("principalId", "")),
            "PrincipalType": str(properties.get("principalType", "")),
        }

    def _require_linked(self, claims: Mapping[str, Any], need: Need, identity: str) -> None:
        if not self._permissions.allowed(claims["oid"], ASSIGN, identity):
            raise ArmError(
                403,
                "LinkedAuthorizationFailed",
                f"The client '{claims.get('appid', claims['oid'])}' with object id '{claims['oid']}' has permission to "
                f"perform action '{need.action}' on scope '{need.scope}'; however, it does not have permission to "
                f"perform action(s) '{ASSIGN}' on the linked scope(s) '{identity}' (respectively) or the linked "
                "scope(s) are invalid.",
            )


def _identities(body: bytes) -> Iterator[str]:
    """The user-assigned identities that a body puts onto a resource, asked for at every PUT, changed or not."""
    if b"userAssignedIdentities" not in body:
        return
    identity = (_json(body) or {}).get("identity")
    named = (identity or {}).get("userAssignedIdentities") if isinstance(identity, dict) else None
    yield from named or ()


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None  # the service refuses it in its own words
    return read if isinstance(read, dict) else None


def _again(body: bytes, receive: Receive) -> Receive:
    """A body that has been read, once more."""
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _in_parts(found: ASGIApp, scopes: tuple[str, ...]) -> ASGIApp:
    """The same list without what lies outside of the scopes."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await found(scope, receive, keep)
        start = messages[0]
        listed = _json(b"".join(message.get("body", b"") for message in messages[1:]))
        if start["status"] == 200 and listed is not None and isinstance(listed.get("value"), list):
            listed["value"] = [item for item in listed["value"] if _is_within(item, scopes)]
            await Response(orjson.dumps(listed), media_type="application/json")(scope, receive, send)
            return
        for message in messages:
            await send(message)

    return answer


def _is_within(item: Any, scopes: tuple[str, ...]) -> bool:
    where = str(item.get("id", "")).lower() if isinstance(item, dict) else ""
    return any(where == each or where.startswith(f"{each}/") for each in scopes)
