"""User-assigned managed identities and their federated credentials."""

from __future__ import annotations

import uuid

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import (
    ArmError,
    envelope,
    json_response,
    not_found,
    page,
    read_json,
    refuse_unknown,
    require_api_version,
    route,
)
from localcloud.cloud import TENANT, Cloud
from localcloud.services.tracked import GROUP, TrackedResources, TrackedType
from localcloud.store import Body

IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
_CREDENTIALS = f"{GROUP}/providers/{IDENTITIES}/{{name}}/federatedIdentityCredentials"
_CREDENTIAL_MEMBERS = ("issuer", "subject", "audiences")


def routes(cloud: Cloud) -> list[Route]:
    service = Identities(cloud, _TYPE)
    return [
        *service.routes(),
        route(_CREDENTIALS, ["GET"], service.list_credentials),
        route(f"{_CREDENTIALS}/{{credential}}", ["PUT"], service.put_credential),
        route(f"{_CREDENTIALS}/{{credential}}", ["GET"], service.get_credential),
        route(f"{_CREDENTIALS}/{{credential}}", ["DELETE"], service.delete_credential),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class Identities(TrackedResources):
    """The generic handlers, and the credentials below an identity."""

    async def list_credentials(self, request: Request) -> Response:
        require_api_version(request)
        return page(request, self.cloud.store.children(self.require(request)["id"], "federatedIdentityCredentials"))

    async def put_credential(self, request: Request) -> Response:
        require_api_version(request)
        wanted, body = self._credential(request), await read_json(request)
        properties = body.get("properties") or {}
        if self.cloud.strict:
            refuse_unknown(properties, _CREDENTIAL_MEMBERS, "properties")
        for member in _CREDENTIAL_MEMBERS:
            if not properties.get(member):
                raise ArmError(400, "BadRequest", f"The required member 'properties.{member}' is missing.")
        old = self.cloud.store.get(wanted)
        whole = envelope(wanted, {"properties": properties}, old, self.cloud.clock.now())
        self.cloud.store.put(wanted, whole)
        return json_response(whole, 200 if old else 201)

    async def get_credential(self, request: Request) -> Response:
        require_api_version(request)
        wanted = self._credential(request)
        found = self.cloud.store.get(wanted)
        if found is None:
            raise not_found(wanted)
        return json_response(found)

    async def delete_credential(self, request: Request) -> Response:
        require_api_version(request)
        return Response(status_code=200 if self.cloud.store.delete(self._credential(request)) else 204)

    def _credential(self, request: Request) -> str:
        return f"{self.require(request)['id']}/federatedIdentityCredentials/{request.path_params['credential']}"


# -- model -----------------------------------------------------------------------------------------------------


def _shape(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> Body:
    kept = (old or {}).get("properties", {})
    return {
        "tenantId": TENANT,
        "principalId": kept.get("principalId") or str(uuid.uuid4()),
        "clientId": kept.get("clientId") or str(uuid.uuid4()),
    }


_TYPE = TrackedType(
    IDENTITIES,
    r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,127}",
    members=("isolationScope",),
    read_only=("tenantId", "principalId", "clientId"),
    shape=_shape,
)
