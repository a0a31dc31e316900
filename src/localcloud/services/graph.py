"""Microsoft Graph, the one question that a clean-up needs: which of these principals exist.

Users and groups are not here: of the ids asked for, service principals and identities are found.
"""

from __future__ import annotations

from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import ArmError, json_response, read_json, refuse_unknown, route
from localcloud.cloud import PRINCIPAL_ID, Cloud
from localcloud.services.entra import PRINCIPALS
from localcloud.store import Body

MOST_IDS = 1000
_METADATA = "https://graph.microsoft.com/v1.0/$metadata#directoryObjects"

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    return [route("/v1.0/directoryObjects/getByIds", ["POST"], Graph(cloud).get_by_ids)]


# -- handlers --------------------------------------------------------------------------------------------------


class Graph:
    """Answers of `graph.microsoft.com`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def get_by_ids(self, request: Request) -> Response:
        body = await read_json(request)
        refuse_unknown(body, ("ids", "types"), "body")
        ids = body.get("ids")
        if not isinstance(ids, list) or not 1 <= len(ids) <= MOST_IDS:
            raise ArmError(400, "Request_BadRequest", f"'ids' must be a list of 1 to {MOST_IDS} object ids.")
        known = dict(self._principals())
        found = [
            {"@odata.type": "#microsoft.graph.servicePrincipal", "id": one, "displayName": known[one]}
            for one in ids
            if one in known
        ]
        return json_response({"@odata.context": _METADATA, "value": found})

    # -- model -------------------------------------------------------------------------------------------------

    def _principals(self) -> Iterator[tuple[str, str]]:
        """(object id, name) of the throw-away principal, of named ones, and of every managed identity."""
        yield PRINCIPAL_ID, "localcloud"
        for _, record in self._cloud.store.records(PRINCIPALS):
            yield record["objectId"], str(record.get("name", "principal"))
        for resource in self._cloud.store.beneath("/subscriptions"):
            yield from _of(resource)


def _of(resource: Body) -> Iterator[tuple[str, str]]:
    for place in (resource.get("identity"), resource.get("properties")):
        if isinstance(place, dict) and place.get("principalId") and "roleDefinitionId" not in place:
            yield place["principalId"], resource["name"]
