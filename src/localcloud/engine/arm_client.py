"""ARM requests to the local cloud, as azure-native sends them: a token, retries, and waiting for what takes long.

Connects to loopback only and asks there for `management.azure.com` and `login.microsoftonline.com` by Host header;
links in answers are followed by their path at the same address, wherever they say they lead.
"""

from __future__ import annotations

import base64
import copy
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

MANAGEMENT_HOST = "management.azure.com"
LOGIN_HOST = "login.microsoftonline.com"
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
RETRY_SECONDS = (0.5, 1.0, 2.0)  # azure-native waits 20, 60 and 120: a local answer needs no such patience
FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.1, 2.0
DEFAULT_TIMEOUT = 2 * 60 * 60.0

Body = dict[str, Any]


class NotLoopbackError(Exception):
    """The address is not this machine's own."""


class RequestError(Exception):
    """What the local cloud answered instead of doing it; `accepted` when it had taken the request first."""

    def __init__(self, message: str, *, status: int = 0, accepted: bool = False) -> None:
        super().__init__(message)
        self.status, self.accepted = status, accepted


class CancelledError(RequestError):
    """The engine called the operation off while it was being waited for."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and the reserved subscription of the local cloud: with a secret, or with an issuer's assertion."""

    client_id: str
    client_secret: str
    tenant_id: str
    subscription_id: str
    assertion: str = ""
    assertion_file: str = ""

    def proof(self) -> dict[str, str]:
        """The members of a token request that prove who asks; a file is read each time, as it is replaced."""
        if not (self.assertion or self.assertion_file):
            return {"client_secret": self.client_secret}
        token = Path(self.assertion_file).read_text() if self.assertion_file else self.assertion
        return {
            "client_assertion": token.strip(),
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        }


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an operation may be waited for, and the event that calls it off."""

    cancelled: threading.Event
    seconds: float = DEFAULT_TIMEOUT


class ArmClient:
    """One local cloud's ARM; safe to share between threads."""

    def __init__(self, url: str, ca_file: Path | None, principal: Principal) -> None:
        require_loopback(url)
        self.principal = principal
        verify = ssl.create_default_context(cafile=str(ca_file)) if ca_file else True
        # trust_env off: the proxy of `localcloud run` is for names, and this goes to an address
        self._http = httpx.Client(base_url=url, verify=verify, trust_env=False, timeout=60.0)
        self._token: tuple[str, float] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        self._http.close()

    def acting_as(self, principal: Principal) -> ArmClient:
        """The same cloud, asked by somebody else; connections are shared, tokens are not."""
        if principal == self.principal:
            return self
        other = copy.copy(self)
        other.principal, other._token, other._lock = principal, None, threading.Lock()
        return other

    def get(self, path: str, api_version: str, patience: Patience) -> Body | None:
        """The resource, or None where there is none (404, 204, or an empty body)."""
        answer = self._send("GET", path, {"api-version": api_version}, None, patience)
        if answer.status_code in (204, 404) or not answer.content:
            return None
        return self._json(answer)

    def put(
        self, path: str, api_version: str, body: Mapping[str, Any], patience: Patience, query: Mapping[str, str]
    ) -> Body:
        """PUTs the whole resource and waits until it is there; returns the first answer."""
        answer = self._send("PUT", path, {"api-version": api_version, **query}, body, patience)
        try:
            self._wait(answer, path, api_version, patience)
        except RequestError as error:
            error.accepted = True
            raise
        return self._json(answer) if answer.content else {}

    def delete(self, path: str, api_version: str, patience: Patience) -> None:
        """Deletes the resource and waits until it is gone; one that is not there is a success."""
        answer = self._send("DELETE", path, {"api-version": api_version}, None, patience)
        if answer.status_code != 404:
            self._wait(answer, path, api_version, patience)

    def object_id(self) -> str:
        """The principal's object id, as the token's `oid` claim says it."""
        claims = self._bearer().split(".")[1]
        decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return str(decoded.get("oid", ""))

    def _send(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None, patience: Patience
    ) -> httpx.Response:
        for delay in (*RETRY_SECONDS, None):
            headers = {"Host": MANAGEMENT_HOST, "Authorization": f"Bearer {self._bearer()}"}
            try:
                answer = self._http.request(method, path, params=dict(query) or None, json=body, headers=headers)
            except httpx.TransportError as error:
                raise RequestError(
                    f"{method} {path}: the local cloud at {self._http.base_url} does not answer ({error}). "
                    "Is `localcloud up` running?"
                ) from None
            busy = answer.status_code == 409 and _code(answer) == "AnotherOperationInProgress"
            if delay is None or not (answer.status_code in RETRIED or busy):
                break
            self._pause(_retry_after(answer, delay), patience)
        if answer.status_code >= 400 and not (answer.status_code == 404 and method in ("GET", "DELETE")):
            raise RequestError(f"{method} {path}: {_message(answer)}", status=answer.status_code)
        return answer

    def _wait(self, answer: httpx.Response, path: str, api_version: str, patience: Patience) -> None:
        """Polls what the answer points to until the operation has ended; an error when it ended badly."""
        deadline = time.monotonic() + patience.seconds
        delay = FIRST_POLL_SECONDS
        operation = answer.headers.get("azure-asyncoperation")
        location = answer.headers.get("location") if answer.status_code == 202 else None
        if operation is None and location is None and _state(answer) in ENDED:
            _require_success(answer, path)
            return
        while True:
            link = operation or location
            target, query = _local(link) if link else (path, {"api-version": api_version})
            answer = self._send("GET", target, query, None, patience)
            if answer.status_code == 404 and operation is not None:
                raise RequestError(f"{path}: its operation {target} is not known", status=404)
            done = answer.status_code != 202 and (operation is None or _state(answer) in ENDED)
            if operation is None and location is None:
                done = _state(answer) in ENDED
            if done:
                _require_success(answer, path)
                return
            if time.monotonic() > deadline:
                raise RequestError(f"{path}: not finished after {patience.seconds:.0f} s")
            location = answer.headers.get("location", location)
            self._pause(_retry_after(answer, delay), patience)
            delay = min(delay * 1.5, LONGEST_POLL_SECONDS)

    def _pause(self, seconds: float, patience: Patience) -> None:
        if patience.cancelled.wait(seconds):
            raise CancelledError("called off while the cloud goes on with it: run the same command again")

    def _bearer(self) -> str:
        with self._lock:
            if self._token is None or self._token[1] < time.monotonic():
                self._token = self._fetch_token()
            return self._token[0]

    def _fetch_token(self) -> tuple[str, float]:
        principal = self.principal
        try:
            answer = self._http.post(
                f"/{principal.tenant_id}/oauth2/v2.0/token",
                headers={"Host": LOGIN_HOST},
                data={
                    "grant_type": "client_credentials",
                    "client_id": principal.client_id,
                    **principal.proof(),
                    "scope": f"https://{MANAGEMENT_HOST}/.default",
                },
            )
        except httpx.TransportError as error:
            raise RequestError(
                f"the local cloud at {self._http.base_url} does not answer ({error}). Is `localcloud up` running?"
            ) from None
        if answer.status_code != 200:
            raise RequestError(f"no token from the local cloud: {_message(answer)}", status=answer.status_code)
        token = self._json(answer)
        return str(token["access_token"]), time.monotonic() + float(token.get("expires_in", 3600)) - 60

    @staticmethod
    def _json(answer: httpx.Response) -> Body:
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise RequestError(f"{answer.request.method} {answer.request.url.path}: the answer is no JSON object")
        return body


ENDED = frozenset({"", "succeeded", "failed", "canceled"})


def require_loopback(url: str) -> None:
    """An error unless the URL's host is a loopback address; names are not resolved, so `localhost` only by name."""
    host = urlsplit(url).hostname or ""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise NotLoopbackError(
            f"the local cloud's provider talks to loopback addresses only, not to '{host}': "
            "a real Azure is served by the official azure-native provider"
        )


def _local(link: str) -> tuple[str, dict[str, str]]:
    """The path and the query of a link, to be asked of the same local address."""
    split = urlsplit(link)
    return split.path, dict(parse_qsl(split.query, keep_blank_values=True))


def _retry_after(answer: httpx.Response, otherwise: float) -> float:
    """The seconds that the answer asks to wait (`x-ms-retry-after-ms` before `Retry-After`)."""
    for name, unit in (("retry-after-ms", 1000.0), ("x-ms-retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return max(float(answer.headers[name]) / unit, 0.02)
        except (KeyError, ValueError):
            continue
    return otherwise


def _object(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _state(answer: httpx.Response) -> str:
    """`status` of an operation, or `properties.provisioningState` of a resource, in lower case."""
    body = _object(answer)
    properties = body.get("properties")
    state = body.get("status") or (properties.get("provisioningState") if isinstance(properties, dict) else None)
    return str(state or "").lower()


def _require_success(answer: httpx.Response, path: str) -> None:
    state = _state(answer)
    if state in ("failed", "canceled"):
        raise RequestError(f"{path}: {_message(answer, state)}")


def _code(answer: httpx.Response) -> str:
    error = _object(answer).get("error")
    return str(error.get("code", "")) if isinstance(error, dict) else ""


def _message(answer: httpx.Response, otherwise: str | None = None) -> str:
    """`Code: message` of Azure's error form, with its details; else the status line."""
    error = _object(answer).get("error")
    if not isinstance(error, dict):
        return otherwise or f"{answer.status_code} {answer.reason_phrase} {answer.text[:200]}".strip()
    details = [one.get("message", "") for one in error.get("details") or () if isinstance(one, dict)]
    text = f"{error.get('code', answer.status_code)}: {error.get('message', '')}"
    return "; ".join([text, *(detail for detail in details if detail and detail not in text)])
