"""Azure Resource Manager's manners: ids, the envelope, api-versions, pages of a list, and errors.

What a resource type allows is said by its service; this module only knows the form that all share.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.store import Body

Handler = Callable[[Request], Awaitable[Response]]


class ArmError(Exception):
    """An answer in Azure's error form: `{"error": {code, message, details, target?}}` and its status.

    `details` are (code, message) pairs.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Sequence[tuple[str, str]] = (),
        target: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.details, self.target, self.headers = tuple(details), target, dict(headers or {})

    def body(self) -> Body:
        error: Body = {
            "code": self.code,
            "message": self.message,
            "details": [{"code": code, "message": message} for code, message in self.details],
        }
        if self.target is not None:
            error["target"] = self.target
        return {"error": error}

    def response(self) -> Response:
        return json_response(self.body(), self.status, self.headers)


def not_found(resource_id: str) -> ArmError:
    """Azure's 404 for a resource that is not there."""
    segments = resource_id.strip("/").split("/")
    lower = [segment.lower() for segment in segments]
    if "providers" not in lower:
        return ArmError(404, "ResourceGroupNotFound", f"Resource group '{segments[-1]}' could not be found.")
    at = len(lower) - 1 - lower[::-1].index("providers")
    kind = "/".join([segments[at + 1], *segments[at + 2 :: 2]])
    name = "/".join(segments[at + 3 :: 2])
    group = segments[lower.index("resourcegroups") + 1] if "resourcegroups" in lower else ""
    return ArmError(
        404,
        "ResourceNotFound",
        f"The Resource '{kind}/{name}' under resource group '{group}' was not found. "
        "For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, headers=dict(headers or {}), media_type="application/json")


class ArmRoute(Route):
    """A route whose fixed path segments match in any case, as Azure's do; parameters keep theirs.

    An `anonymous` one is answered without a token.
    """

    anonymous = False


def route(path: str, methods: Sequence[str], handler: Handler, *, anonymous: bool = False) -> ArmRoute:
    """Parameters in the path are Starlette's (`{name}`, `{rest:path}`)."""
    made = ArmRoute(path, handler, methods=list(methods))
    made.path_regex = re.compile(made.path_regex.pattern, re.IGNORECASE)
    made.anonymous = anonymous
    return made


async def read_json(request: Request) -> Body:
    """The request's body as a JSON object; `InvalidRequestContent` otherwise."""
    raw = await request.body()
    try:
        body = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError as error:
        raise ArmError(
            400,
            "InvalidRequestContent",
            f"The request content was invalid and could not be deserialized: '{error}'.",
        ) from None
    if not isinstance(body, dict):
        raise ArmError(400, "InvalidRequestContent", "The request content must be a JSON object.")
    return body


def require_api_version(request: Request) -> str:
    """The `api-version` of the query; Azure's 400 when it is missing."""
    version = request.query_params.get("api-version")
    if not version:
        raise ArmError(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    return version


def refuse_unknown(body: Mapping[str, Any], known: Collection[str], where: str) -> None:
    """Strict mode: a member that the public contract does not have is refused, and named.

    `where` is the path of the object inside the request, e.g. `properties.scaleSettings`.
    """
    unknown = [name for name in body if name not in known]
    if unknown:
        names = ", ".join(f"'{name}'" for name in sorted(unknown))
        raise ArmError(
            400,
            "InvalidRequestContent",
            f"Could not find member {names} on object '{where}'. Known members: {', '.join(sorted(known))}.",
        )


def timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def type_of(resource_id: str) -> str:
    """`Microsoft.X/things/parts` of an id, in the id's own case."""
    segments = resource_id.strip("/").split("/")
    lower = [segment.lower() for segment in segments]
    if "providers" not in lower:
        return (
            "Microsoft.Resources/resourceGroups" if "resourcegroups" in lower else "Microsoft.Resources/subscriptions"
        )
    at = len(lower) - 1 - lower[::-1].index("providers")
    return "/".join([segments[at + 1], *segments[at + 2 :: 2]])


def envelope(resource_id: str, body: Mapping[str, Any], old: Mapping[str, Any] | None, now: datetime) -> Body:
    """A whole resource: the body as sent, with `id`, `name`, `type` and `systemData` added.

    `old` is what stood there before (its creation time is kept), or None.
    """
    moment = timestamp(now)
    created = (old or {}).get("systemData", {})
    return {
        "id": resource_id,
        "name": resource_id.rstrip("/").rpartition("/")[2],
        "type": type_of(resource_id),
        **{name: value for name, value in body.items() if name not in ("id", "name", "type", "systemData")},
        "systemData": {
            "createdAt": created.get("createdAt", moment),
            "createdBy": created.get("createdBy", "localcloud"),
            "createdByType": "Application",
            "lastModifiedAt": moment,
            "lastModifiedBy": "localcloud",
            "lastModifiedByType": "Application",
        },
    }


def page(request: Request, items: Sequence[Any], *, size: int = 100) -> Response:
    """One page of a list as `{"value": […], "nextLink": …}`; `$skip` and `$top` of the query are obeyed."""
    query = request.query_params
    try:
        skip = int(query.get("$skip", "0"))
        top = int(query["$top"]) if "$top" in query else None
        size = min(size, int(query["count"])) if "count" in query else size
    except ValueError:
        raise ArmError(400, "InvalidQueryParameter", "'$skip', '$top' and 'count' must be whole numbers.") from None
    wanted = items[: skip + top] if top is not None else items
    shown = wanted[skip : skip + size]
    link = None
    if skip + len(shown) < len(wanted):
        rest: dict[str, Any] = {"$skip": skip + len(shown)}
        if top is not None:
            rest["$top"] = top - len(shown)
        link = str(request.url.include_query_params(**rest))
    return json_response({"value": list(shown), "nextLink": link})
