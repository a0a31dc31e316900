"""The local cloud's own calls about who is who: service principals made by name, tokens for what runs as an identity,
and how long a new role assignment takes to count.
"""

from __future__ import annotations

import hmac

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud import principals
from localcloud.arm import ArmError, json_response, read_json
from localcloud.cloud import Cloud
from localcloud.permissions import permissions_of
from localcloud.services import acting, entra

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = IdentityDoor(cloud)
    return [
        Route("/localcloud/principals/{name}", service.make_principal, methods=["PUT"]),
        Route("/localcloud/identities/{name}", service.find_identity, methods=["GET"]),
        Route("/localcloud/role-delay", service.delay_roles, methods=["PUT"]),
        Route(acting.TOKEN_PATH, service.identity_token, methods=["GET"]),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class IdentityDoor:
    """All but the tokens need the state folder's secret; a token needs the secret of its identity."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def make_principal(self, request: Request) -> Response:
        self._require_secret(request)
        name = request.path_params["name"]
        try:
            made = principals.ThrowAway(name)
        except ValueError as error:
            raise ArmError(400, "InvalidPrincipal", f"{error}.") from None
        body = {"name": name, "clientId": principals.client_id(name), "objectId": made.object_id}
        self._cloud.store.put_record(entra.PRINCIPALS, body["clientId"], body)
        return json_response(body)

    async def find_identity(self, request: Request) -> Response:
        """A user-assigned identity by its client id or name."""
        self._require_secret(request)
        wanted = request.path_params["name"].lower()
        found = [
            body
            for body in self._cloud.store.beneath("/subscriptions", acting.IDENTITIES)
            if wanted in (body["name"].lower(), body["properties"]["clientId"])
        ]
        if len(found) != 1:
            raise ArmError(404, "IdentityNotFound", f"{len(found)} user-assigned identities are called '{wanted}'.")
        return json_response({"name": found[0]["name"], "id": found[0]["id"], **found[0]["properties"]})

    async def delay_roles(self, request: Request) -> Response:
        """`{"seconds": n}`: assignments made from now on count after so many seconds of the cloud's clock."""
        self._require_secret(request)
        seconds = (await read_json(request)).get("seconds")
        if not isinstance(seconds, int | float) or seconds < 0:
            raise ArmError(400, "InvalidDelay", f"'seconds' is '{seconds}'; it must be a number of 0 or more.")
        permissions_of(self._cloud).delay = float(seconds)
        return json_response({"seconds": seconds})

    async def identity_token(self, request: Request) -> Response:
        """What the identity endpoint of a cluster's node or a deployment's container answers."""
        client, resource = request.query_params.get("clientid", ""), request.query_params.get("resource", "")
        found = acting.by_client_id(self._cloud, client)
        given = request.headers.get("secret", "")
        if found is None or not hmac.compare_digest(given, acting.secret_of(self._cloud, client)):
            raise ArmError(400, "invalid_request", f"The identity '{client}' is not one of this machine.")
        token = entra.issue_token(self._cloud, resource, oid=found["principalId"], appid=client)
        until = int(self._cloud.clock.now().timestamp()) + entra.LIFETIME_SECONDS
        return json_response(
            {
                "access_token": token,
                "expires_on": str(until),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": client,
            }
        )

    def _require_secret(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {self._cloud.client_secret}":
            raise ArmError(401, "Unauthorized", "This call needs the state folder's client secret as bearer token.")
