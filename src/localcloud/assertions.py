"""JSON Web Tokens signed with a secret of the state folder: access tokens, and assertions as of an outside issuer.

Entra checks a real assertion with the issuer's public keys; here the issuer and Entra share the secret.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import orjson

GITHUB = "https://token.actions.githubusercontent.com"
EXCHANGE = "api://AzureADTokenExchange"  # the audience that Entra asks of an assertion
ASSERTION_SECONDS = 600
_HEAD = base64.urlsafe_b64encode(b'{"typ":"JWT","alg":"HS256"}').rstrip(b"=").decode()


class NotSigned(Exception):
    """The text is no token, or nobody here has signed it."""


def sign(secret: str, claims: Mapping[str, Any]) -> str:
    """The claims as a signed token."""
    text = f"{_HEAD}.{_encode(orjson.dumps(claims))}"
    return f"{text}.{_signature(secret, text)}"


def read(secret: str, token: str) -> dict[str, Any]:
    """The claims of a token; NotSigned when it is not one of ours. When it ends is the caller's to check."""
    text, _, signature = token.strip().rpartition(".")
    if not hmac.compare_digest(_signature(secret, text).encode(), signature.encode()):
        raise NotSigned("The signature is not one of this local cloud.")
    claims: dict[str, Any] = orjson.loads(_decode(text.partition(".")[2]))
    return claims


def derived(secret: str, purpose: str) -> str:
    """A secret of its own for one purpose, the same as long as the state folder lives."""
    return _signature(secret, purpose)


def assertion(secret: str, subject: str, now: float, *, issuer: str = GITHUB, audience: str = EXCHANGE) -> str:
    """What a workflow's runner gets from its issuer: who it runs for, for some minutes."""
    claims = {"iss": issuer, "sub": subject, "aud": audience, "iat": int(now), "exp": int(now) + ASSERTION_SECONDS}
    return sign(secret, claims)


def _encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _signature(secret: str, text: str) -> str:
    return _encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())
