"""Microsoft Entra ID: the OpenID document, tokens for service principals and federated identities, and their check.

Tokens are JWTs signed with a key of this state folder. Users, groups and consent are not here.
"""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud import assertions, principals
from localcloud.arm import ArmError, json_response, route
from localcloud.cloud import CLIENT_ID, PRINCIPAL_ID, TENANT, Cloud

LIFETIME_SECONDS = 3599
PRINCIPALS = "principal"  # records of service principals by client id
_IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = Entra(cloud)
    return [
        route("/{tenant}/v2.0/.well-known/openid-configuration", ["GET"], service.openid_configuration),
        route("/{tenant}/discovery/instance", ["GET"], service.instances),
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

    async def instances(self, request: Request) -> Response:
        """The names under which this authority is known: MSAL asks when a token was refused, to try another."""
        name = "login.microsoftonline.com"
        return json_response(
            {
                "tenant_discovery_endpoint": f"https://{name}/{TENANT}/v2.0/.well-known/openid-configuration",
                "api-version": "1.1",
                "metadata": [{"preferred_network": name, "preferred_cache": name, "aliases": [name]}],
            }
        )

    async def token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if form.get("grant_type") != "client_credentials":
            return _refuse(400, "unsupported_grant_type", "AADSTS70003: The grant type is not supported here.")
        who = self._who(form)
        if isinstance(who, Response):
            return who
        # Go's identity library asks for `openid offline_access profile` beside the scope.
        scopes = [scope.removesuffix("/.default") for scope in form.get("scope", "").split() if "/" in scope]
        audience = form.get("resource") or next(iter(scopes), "")
        if not audience:
            return _refuse(400, "invalid_request", "AADSTS90014: The required field 'scope' is missing.")
        token = issue_token(self._cloud, audience, oid=who[0], appid=who[1])
        return json_response(
            {
                "token_type": "Bearer",
                "expires_in": LIFETIME_SECONDS,
                "ext_expires_in": LIFETIME_SECONDS,
                "access_token": token,
            }
        )

    def _who(self, form: dict[str, str]) -> tuple[str, str] | Response:
        """(object id, client id) of who asks, by secret or by assertion; Entra's refusal otherwise."""
        client = form.get("client_id", "")
        if form.get("client_assertion"):
            return self._federated(client, form)
        known = self._cloud.store.record(PRINCIPALS, client)
        if client == CLIENT_ID:
            who, secret = PRINCIPAL_ID, self._cloud.client_secret
        elif known:
            who, secret = known["objectId"], principals.secret_of(self._cloud.client_secret, client)
        else:
            return _unknown(client)
        if not hmac.compare_digest(form.get("client_secret", "").encode(), secret.encode()):
            return _refuse(401, "invalid_client", f"AADSTS7000215: Invalid client secret provided for '{client}'.")
        return who, client

    def _federated(self, client: str, form: dict[str, str]) -> tuple[str, str] | Response:
        """An identity whose federated credential trusts the assertion's issuer, subject and audience, all exactly."""
        store = self._cloud.store
        found = [
            body for body in store.beneath("/subscriptions", _IDENTITIES) if body["properties"]["clientId"] == client
        ]
        if not found:
            return _unknown(client)
        if form.get("client_assertion_type") != _ASSERTION_TYPE:
            return _refuse(400, "invalid_request", "AADSTS900144: The request body must contain client_assertion_type.")
        try:
            claims = assertions.read(self._cloud.client_secret, form["client_assertion"])
        except assertions.NotSigned:
            return _refuse(401, "invalid_client", "AADSTS50013: Assertion failed signature validation.")
        if claims["exp"] <= self._cloud.clock.now().timestamp():
            return _refuse(401, "invalid_client", "AADSTS700024: Client assertion is not within its valid time range.")
        trusted = [body["properties"] for body in store.children(found[0]["id"], "federatedIdentityCredentials")]
        for code, claim, matches in (
            ("700211", "issuer", lambda each: each["issuer"].rstrip("/") == claims["iss"].rstrip("/")),
            ("700213", "subject", lambda each: each["subject"] == claims["sub"]),
            ("700212", "audience", lambda each: claims["aud"] in each["audiences"]),
        ):
            trusted = [each for each in trusted if matches(each)]
            if not trusted:
                said = claims[{"issuer": "iss", "subject": "sub", "audience": "aud"}[claim]]
                return _refuse(
                    401,
                    "invalid_client",
                    f"AADSTS{code}: No matching federated identity record found for presented assertion {claim} "
                    f"'{said}'. Check your federated identity credential Subject, Audience and Issuer against the "
                    "presented assertion. https://learn.microsoft.com/entra/workload-id/workload-identity-federation",
                )
        return found[0]["properties"]["principalId"], client


def _unknown(client: str) -> Response:
    return _refuse(
        400,
        "unauthorized_client",
        f"AADSTS700016: Application with identifier '{client}' was not found in the directory.",
    )


def _refuse(status: int, code: str, description: str) -> Response:
    return json_response({"error": code, "error_description": description}, status)


# -- model -----------------------------------------------------------------------------------------------------


def issue_token(cloud: Cloud, audience: str, *, lifetime: int = LIFETIME_SECONDS, **claims: Any) -> str:
    """A signed JWT for an audience such as `https://management.azure.com`; `claims` are added."""
    now = int(cloud.clock.now().timestamp())
    return assertions.sign(
        cloud.client_secret,
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
        },
    )


def check_token(cloud: Cloud, header: str | None, audiences: tuple[str, ...]) -> dict[str, Any]:
    """The claims of `Authorization: Bearer …`, when it was issued here, is not over, and is for one of `audiences`.

    Raises ArmError 401 with Azure's codes otherwise.
    """
    if not header:
        raise ArmError(401, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
    scheme, _, token = header.partition(" ")
    try:
        claims = assertions.read(cloud.client_secret, token) if scheme.lower() == "bearer" else None
    except assertions.NotSigned:
        claims = None
    if claims is None:
        raise ArmError(401, "InvalidAuthenticationToken", "The access token is invalid.")
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
