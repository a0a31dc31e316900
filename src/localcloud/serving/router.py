"""The inference host: who may score, which deployment answers, under which limits.

Status codes and headers are those of Azure's managed online endpoints: 401 for a wrong key or token, 404 without a
deployment to answer, 408 over the request timeout, 413 over the payload limit, 424 when the container fails, 429 over
the concurrency limit.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import httpx
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from localcloud.arm import ArmError, json_response, route
from localcloud.cloud import Cloud
from localcloud.needs import Need
from localcloud.permissions import permissions_of
from localcloud.services import entra
from localcloud.serving import access
from localcloud.serving.balance import Balance
from localcloud.serving.fleet import Fleet
from localcloud.serving.metrics import Dimensions, Metrics
from localcloud.serving.settings import RequestSettings
from localcloud.serving.upkeep import Upkeep
from localcloud.store import Body

log = logging.getLogger("localcloud.serving")

# Azure's documents name no number; this one bounds the memory that a request can take.
LARGEST_PAYLOAD = 10 * 2**20
SCORE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"
ML_AUDIENCES = ("https://ml.azure.com", "https://management.azure.com", "https://management.core.windows.net")

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "host",
        "authorization",
    }
)


def routes(cloud: Cloud) -> list[Route]:
    router = cloud.part(Router, lambda: Router(cloud))
    return [route("/{path:path}", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"], router.score)]


def host_of(name: str, region: str) -> str:
    """An endpoint's host name, which is also its key in the collection `endpoint-host`."""
    return f"{name}.{region}.inference.ml.azure.com".lower()


class Refused(Exception):
    """An answer of the router itself, in the flat form that scoring has: `{"message": …}`."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}


@dataclass(frozen=True)
class Call:
    """One request as it goes on to a container."""

    endpoint: Body
    deployment: Body
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    request_id: str

    @property
    def key(self) -> str:
        return str(self.deployment["id"]).lower()

    @property
    def deployment_name(self) -> str:
        return str(self.deployment["name"])


class PassedOn(Response):
    """A container's answer, handed on chunk by chunk as it comes; `done` is called when it ends, however it does."""

    def __init__(
        self, upstream: httpx.Response, status: int, headers: dict[str, str], done: Callable[[], None]
    ) -> None:
        self.status_code, self.background = status, None
        self._upstream, self._done = upstream, done
        # The server that answers writes its own date; the length is kept, and with it whether the answer is chunked.
        left_out = (_HOP_BY_HOP - {"content-length"}) | {"date", "server"} | set(headers)
        kept = [(name, value) for name, value in upstream.headers.multi_items() if name not in left_out]
        self.raw_headers = [
            (name.encode("latin-1"), value.encode("latin-1")) for name, value in [*kept, *headers.items()]
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The request has been read to its end, so what comes next is the client's going away.
        gone = asyncio.ensure_future(receive())
        passing = asyncio.ensure_future(self._pass_on(send))
        try:
            await asyncio.wait({gone, passing}, return_when=asyncio.FIRST_COMPLETED)
            if passing.done():
                passing.result()
        except httpx.HTTPError as error:
            # The head has gone out: an answer without its end is all that can tell the client.
            log.warning("A container broke off in the middle of its answer: %r", error)
        finally:
            gone.cancel()
            passing.cancel()
            await asyncio.gather(passing, return_exceptions=True)
            await self._finish()

    async def _pass_on(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for chunk in self._upstream.aiter_raw():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def drain(self) -> None:
        """Read the answer and drop it."""
        try:
            await self._upstream.aread()
        finally:
            await self._finish()

    async def _finish(self) -> None:
        self._done()
        await self._upstream.aclose()


class Router:
    """Answers for every `*.inference.ml.azure.com`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._fleet = cloud.part(Fleet, lambda: Fleet(cloud))
        self._metrics = cloud.part(Metrics, lambda: Metrics(cloud.clock.now))
        self._live, self._mirrored = Balance(), Balance()
        self._in_flight: Counter[str] = Counter()
        self._mirrors: set[asyncio.Task[None]] = set()

    async def score(self, request: Request) -> Response:
        request_id = request.headers.get("x-request-id") or str(uuid.uuid4())
        try:
            endpoint = self._endpoint(request)
            self._authorize(endpoint, request)
            body = await _read(request)
            deployment, chosen = self._choose(endpoint, request)
            path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            call = Call(endpoint, deployment, request.method, path, _onward(request), body, request_id)
            if chosen:
                self._mirror(call)
            return await self._forward(call)
        except Refused as error:
            return json_response(
                {"message": error.message}, error.status, {**error.headers, "x-request-id": request_id}
            )

    # -- who asks, and whom ------------------------------------------------------------------------------------

    def _endpoint(self, request: Request) -> Body:
        host = request.headers.get("host", "").partition(":")[0].lower()
        known = self._cloud.store.record("endpoint-host", host)
        endpoint = self._cloud.store.get(known["id"]) if known else None
        if endpoint is None:
            raise Refused(404, f"There is no online endpoint with the host name '{host}'.")
        return endpoint

    def _authorize(self, endpoint: Body, request: Request) -> None:
        header = request.headers.get("authorization", "")
        mode = endpoint["properties"]["authMode"]
        if mode == "Key":
            keys = self._cloud.store.record("endpoint-keys", endpoint["id"].lower()) or {}
            scheme, _, given = header.partition(" ")
            matches = [hmac.compare_digest(given.strip().encode(), str(key).encode()) for key in keys.values()]
            if scheme.lower() != "bearer" or not any(matches):
                raise Refused(401, "key_auth_access_denied")
            return
        audiences = ML_AUDIENCES if mode == "AADToken" else (token_audience(endpoint),)
        try:
            claims = entra.check_token(self._cloud, header, audiences)
            if mode == "AADToken":
                # The token of an endpoint was handed out to one who had the right; Entra's is asked for it here.
                permissions_of(self._cloud).require(claims, Need(SCORE, endpoint["id"]))
        except ArmError as error:
            raise Refused(error.status, error.message) from None

    def _choose(self, endpoint: Body, request: Request) -> tuple[Body, bool]:
        """The deployment that answers, and whether the weights chose it."""
        named = request.headers.get("azureml-model-deployment")
        if named:
            deployment = self._cloud.store.get(f"{endpoint['id']}/deployments/{named}")
            if deployment is None:
                # azure-ai-ml 1.35.2 keeps sending the name of an earlier invoke() in the same process.
                raise Refused(
                    404,
                    f"The endpoint '{endpoint['name']}' has no deployment '{named}', "
                    "which the header 'azureml-model-deployment' names.",
                )
            return deployment, False
        weights = endpoint["properties"].get("traffic") or {}
        name = self._live.pick(endpoint["id"].lower(), weights)
        deployment = self._cloud.store.get(f"{endpoint['id']}/deployments/{name}") if name else None
        if deployment is None:
            raise Refused(404, f"The endpoint '{endpoint['name']}' has no deployment with traffic above zero.")
        return deployment, True

    # -- the call ----------------------------------------------------------------------------------------------

    async def _forward(self, call: Call) -> PassedOn:
        started = time.perf_counter()
        answers = {"azureml-model-deployment": call.deployment_name, "x-request-id": call.request_id}
        try:
            upstream = await self._reach(call)
        except Refused as error:
            model_status = int(error.headers.get("ms-azureml-model-error-statuscode", 0))
            self._count(call, error.status, model_status, started)
            error.headers.update(answers)
            raise
        status = upstream.status_code
        shown = status if 200 <= status < 300 else 424
        if shown == 424:
            answers["ms-azureml-model-error-statuscode"] = str(status)
            answers["ms-azureml-model-error-reason"] = upstream.reason_phrase or "model_error"

        def done() -> None:
            self._in_flight[call.key] -= 1
            self._count(call, shown, status, started)

        return PassedOn(upstream, shown, answers, done)

    async def _reach(self, call: Call) -> httpx.Response:
        """The head of the container's answer. The place that it takes under the limit is given back by who reads it."""
        settings = RequestSettings.read(call.deployment["properties"])
        instances = int((call.deployment.get("sku") or {}).get("capacity") or 1)
        limit = 2 * settings.concurrent_per_instance * instances
        if self._in_flight[call.key] >= limit:
            raise Refused(
                429,
                f"The deployment '{call.deployment_name}' has {limit} requests in flight, which is its limit: "
                f"2 x maxConcurrentRequestsPerInstance ({settings.concurrent_per_instance}) x instances ({instances}).",
                {"retry-after": "1"},
            )
        self._in_flight[call.key] += 1
        try:
            async with asyncio.timeout(settings.timeout):
                return await self._send(call)
        except BaseException as error:
            self._in_flight[call.key] -= 1
            if isinstance(error, TimeoutError):
                raise Refused(
                    408, f"The deployment '{call.deployment_name}' did not answer within {settings.timeout:g} s."
                ) from None
            if isinstance(error, httpx.HTTPError):
                reason = f"The container of deployment '{call.deployment_name}' broke off: {error!r}"
                raise _model_error(502, reason) from None
            raise

    async def _send(self, call: Call) -> httpx.Response:
        worker = self._fleet.worker(call.key)
        if worker is None:  # its files may still be laid out, as right after the start of this server
            await self._cloud.part(Upkeep, lambda: Upkeep(self._cloud)).wait(call.key)
            worker = self._fleet.worker(call.key)
        if worker is not None and not worker.healthy:
            # It is starting, for the first time or again; the request's timeout bounds the wait.
            await worker.settled.wait()
        if worker is None or not worker.healthy:
            raise _model_error(
                503, f"The deployment '{call.deployment_name}' has no healthy container; its log says why (get_logs)."
            )
        client = self._fleet.client
        onward = client.build_request(
            call.method,
            worker.address + call.path,
            headers=[*call.headers, ("x-request-id", call.request_id)],
            content=call.body,
            timeout=httpx.Timeout(None),
        )
        return await client.send(onward, stream=True)

    def _count(self, call: Call, status: int, model_status: int, started: float) -> None:
        if not access.may_write_metrics(self._cloud, call.endpoint):
            return
        dimensions = Dimensions(call.deployment_name, status, model_status)
        self._metrics.record(call.endpoint["id"], dimensions, time.perf_counter() - started, len(call.body))

    # -- mirroring ---------------------------------------------------------------------------------------------

    def _mirror(self, call: Call) -> None:
        """Copy the request to the mirrored deployment when it is its turn; what comes back is only counted."""
        for name, percent in (call.endpoint["properties"].get("mirrorTraffic") or {}).items():
            if not self._mirrored.is_turn(call.endpoint["id"].lower(), percent):
                continue
            deployment = self._cloud.store.get(f"{call.endpoint['id']}/deployments/{name}")
            if deployment is not None:
                copy = Call(call.endpoint, deployment, call.method, call.path, call.headers, call.body, call.request_id)
                task = asyncio.create_task(self._send_copy(copy))
                self._mirrors.add(task)
                task.add_done_callback(self._mirrors.discard)

    async def _send_copy(self, copy: Call) -> None:
        with suppress(Refused):
            response = await self._forward(copy)
            await response.drain()


def token_audience(endpoint: Body) -> str:
    """For whom an `AMLToken` of this endpoint is issued."""
    return f"https://{host_of(endpoint['name'], endpoint['location'])}"


async def _read(request: Request) -> bytes:
    parts, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LARGEST_PAYLOAD:
            raise Refused(413, f"The request's body is larger than {LARGEST_PAYLOAD} bytes.")
        parts.append(chunk)
    return b"".join(parts)


def _onward(request: Request) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in request.headers.items()
        if name not in _HOP_BY_HOP and name not in ("x-request-id", "azureml-model-deployment")
    ]


def _model_error(status: int, message: str) -> Refused:
    return Refused(
        424,
        message,
        {"ms-azureml-model-error-statuscode": str(status), "ms-azureml-model-error-reason": "container_unavailable"},
    )
