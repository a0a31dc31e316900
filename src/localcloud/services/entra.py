"""Microsoft Entra ID: the OpenID document and the token endpoint for the throw-away principal, and the check of tokens.

Tokens are JWTs signed with a key of this state folder. Users, groups and consent are not here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import ArmError, json_response, route
from localcloud.cloud import CLIENT_ID, PRINCIPAL_ID, TENANT, Cloud

LIFETIME_SECONDS = 3599

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = Entra(cloud)
    return [
        route("/{tenant}/v2.0/.well-known/openid-configuration", ["GET"], service.openid_configuration),
        route("/{tenant}/oauth2/v2.0/token", ["POST"], service.token),
        route("/{tenant}/oauth2/token", ["POST"], service.token),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class Entra:
    """Answers of `login.microsoftonline.com`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def openid_configuration(self, request: Request) -> Response:
        tenant = request.path_params["tenant"]
        base = f"https://login.microsoftonline.com/{tenant}"
        return json_response(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_types_supported": ["code", "token"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["HS256"],
            }
        )

    async def token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if form.get("grant_type") != "client_credentials":
            return _refuse(400, "unsupported_grant_type", "AADSTS70003: The grant type is not supported here.")
        client = form.get("client_id", "")
        if client != CLIENT_ID:
            return _refuse(
                400,
                "unauthorized_client",
                f"AADSTS700016: Application with identifier '{client}' was not found in the directory.",
            )
        if not hmac.compare_digest(form.get("client_secret", ""), self._cloud.client_secret):
            return _refuse(
                401,
                "invalid_client",
                "AADSTS7000215: Invalid client secret provided for the throw-away principal.",
            )
        # Go's identity library asks for `openid offline_access profile` beside the scope.
        scopes = [scope.removesuffix("/.default") for scope in form.get("scope", "").split() if "/" in scope]
        audience = form.get("resource") or next(iter(scopes), "")
        if not audience:
            return _refuse(400, "invalid_request", "AADSTS90014: The required field 'scope' is missing.")
        token = issue_token(self._cloud, audience)
        return json_response(
            {
                "token_type": "Bearer",
                "expires_in": LIFETIME_SECONDS,
                "ext_expires_in": LIFETIME_SECONDS,
                "access_token": token,
            }
        )


def _refuse(status: int, code: str, description: str) -> Response:
    return json_response({"error": code, "error_description": description}, status)


# -- model -----------------------------------------------------------------------------------------------------


def _encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _sign(cloud: Cloud, text: str) -> str:
    return _encode(hmac.new(cloud.client_secret.encode(), text.encode(), hashlib.sha256).digest())


def issue_token(cloud: Cloud, audience: str, *, lifetime: int = LIFETIME_SECONDS, **claims: Any) -> str:
    """A signed JWT for an audience such as `https://management.azure.com`; `claims` are added."""
    now = int(cloud.clock.now().timestamp())
    head = _encode(b'{"typ":"JWT","alg":"HS256"}')
    body = _encode(
        orjson.dumps(
            {
                "aud": audience.rstrip("/"),
                "iss": f"https://sts.windows.net/{TENANT}/",
                "iat": now,
                "nbf": now,
                "exp": now + lifetime,
                "tid": TENANT,
                "oid": PRINCIPAL_ID,
                "appid": CLIENT_ID,
                "idtyp": "app",
                **claims,
            }
        )
    )
    return f"{head}.{body}.{_sign(cloud, f'{head}.{body}')}"


def check_token(cloud: Cloud, header: str | None, audiences: tuple[str, ...]) -> dict[str, Any]:
    """The claims of `Authorization: Bearer …`, when it was issued here, is not over, and is for one of `audiences`.

    Raises ArmError 401 with Azure's codes otherwise.
    """
    if not header:
        raise ArmError(401, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
    scheme, _, token = header.partition(" ")
    text, _, signature = token.strip().rpartition(".")
    if scheme.lower() != "bearer" or not hmac.compare_digest(_sign(cloud, text), signature):
        raise ArmError(401, "InvalidAuthenticationToken", "The access token is invalid.")
    claims: dict[str, Any] = orjson.loads(_decode(text.partition(".")[2]))
    if claims["exp"] <= cloud.clock.now().timestamp():
        raise ArmError(401, "ExpiredAuthenticationToken", "The access token expiry UTC time has passed.")
    if claims["aud"] not in audiences:
        raise ArmError(
            401,
            "InvalidAuthenticationTokenAudience",
            f"The access token has been obtained for wrong audience or resource '{claims['aud']}'. "
            f"It should exactly match one of the allowed audiences: {', '.join(audiences)}.",
        )
    return claims
