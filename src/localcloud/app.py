"""The list of routes: which host name is which service, and the front door that all requests pass.

What no route answers is a 501 that names method and path, never a silent 200.
"""

from __future__ import annotations

import fnmatch
import logging
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from localcloud.arm import ArmError, ArmRoute, json_response, read_json
from localcloud.cloud import Cloud
from localcloud.fault_door import pass_through
from localcloud.governance import governed
from localcloud.guard import Guard, Needs
from localcloud.needs import of_arm, of_data_plane
from localcloud.services import (
    alerts,
    authorization,
    autoscale,
    blob,
    budgets,
    compute_skus,
    containerregistry,
    diagnostics,
    entra,
    files,
    graph,
    identity_door,
    keyvault,
    keyvault_keys,
    locks,
    managedidentity,
    metadata,
    monitoring,
    network_access,
    networks,
    policies,
    prices,
    private_dns,
    private_endpoints,
    resources,
    storage_accounts,
)
from localcloud.services.ml import (
    artifacts,
    code,
    components,
    computes,
    data,
    datastores,
    deployments,
    discovery,
    endpoints,
    environments,
    history,
    jobs,
    managed_network,
    mlflow_gateway,
    models,
    registries,
    registry,
    sizes,
    workspaces,
)
from localcloud.serving import insights, router

log = logging.getLogger("localcloud.requests")

ARM_AUDIENCES = ("https://management.azure.com", "https://management.core.windows.net")
ML_AUDIENCES = (*ARM_AUDIENCES, "https://ml.azure.com")

Routes = Callable[[Cloud], list[Route]]


@dataclass(frozen=True)
class Host:
    """A host name pattern, the services behind it, and for whom a token must have been issued.

    `audiences` is None where the service checks for itself (tokens, blobs, scoring). `needs` tells which right a call
    takes.
    """

    pattern: str
    services: Sequence[Routes]
    audiences: tuple[str, ...] | None = None
    needs: Needs | None = None


def arm_services() -> list[Routes]:
    """Services behind `management.azure.com`, in the order in which their routes are tried."""
    return [
        lambda cloud: cloud.operations.routes(),
        metadata.routes,
        resources.routes,
        storage_accounts.routes,
        keyvault.routes,
        keyvault_keys.routes,
        monitoring.routes,
        compute_skus.routes,
        containerregistry.routes,
        managedidentity.routes,
        authorization.routes,
        locks.routes,
        policies.routes,
        diagnostics.routes,
        alerts.routes,
        autoscale.routes,
        budgets.routes,
        networks.routes,
        private_endpoints.routes,
        private_dns.routes,
        workspaces.routes,
        managed_network.routes,
        registries.routes,
        computes.routes,
        sizes.routes,
        datastores.routes,
        data.routes,
        environments.routes,
        components.routes,
        models.routes,
        code.routes,
        jobs.routes,
        insights.routes,
        endpoints.routes,
        deployments.routes,
    ]


def data_plane_services() -> list[Routes]:
    """Services behind `*.api.azureml.ms`: run history, MLflow, the registry, data references."""
    return [
        discovery.routes,
        registry.routes,
        history.routes,
        artifacts.routes,
        mlflow_gateway.routes,
    ]


def hosts() -> list[Host]:
    """Every name that the proxy lets through, the most exact first."""
    return [
        Host("management.azure.com", arm_services(), ARM_AUDIENCES, of_arm),
        Host("login.microsoftonline.com", [entra.routes]),
        Host("graph.microsoft.com", [graph.routes], ("https://graph.microsoft.com",)),
        Host("*.api.azureml.ms", data_plane_services(), ML_AUDIENCES, of_data_plane),
        Host("*.experiments.azureml.net", data_plane_services(), ML_AUDIENCES, of_data_plane),
        Host(prices.HOST, [prices.routes]),
        Host("*.blob.core.windows.net", [blob.routes]),
        Host("*.file.core.windows.net", [files.routes]),
        Host("*.vault.azure.net", [keyvault_keys.data_routes]),
        Host("*.inference.ml.azure.com", [router.routes]),
        Host("127.0.0.1", [_own_routes, identity_door.routes]),
    ]


def is_azure_name(name: str) -> bool:
    """Whether the local cloud answers for this host name; the proxy refuses all others."""
    return any(fnmatch.fnmatchcase(name.lower(), host.pattern) for host in hosts() if host.pattern != "127.0.0.1")


def _own_routes(cloud: Cloud) -> list[Route]:
    """The local cloud's own page for its command line: is it alive, and what armed faults it has."""

    async def health(request: Request) -> Response:
        return json_response({"status": "ready", "state": str(cloud.state)})

    def require_secret(request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {cloud.client_secret}":
            raise ArmError(401, "Unauthorized", "This call needs the state folder's client secret as bearer token.")

    async def allow(request: Request) -> Response:
        require_secret(request)
        cloud.allow(request.path_params["host"])
        return json_response({"allowed": request.path_params["host"]})

    async def arm_fault(request: Request) -> Response:
        require_secret(request)
        cloud.faults.arm_from(request.path_params["name"], await read_json(request))
        return json_response({"armed": request.path_params["name"]})

    async def disarm_fault(request: Request) -> Response:
        """Forgets a fault; calls that it holds go on."""
        require_secret(request)
        name = request.path_params["name"]
        if not cloud.faults.disarm(name):
            raise ArmError(404, "FaultNotFound", f"No fault '{name}' is armed.")
        return json_response({"disarmed": name})

    async def list_faults(request: Request) -> Response:
        require_secret(request)
        return json_response({"armed": cloud.faults.shown()})

    return [
        Route("/localcloud/health", health, methods=["GET"]),
        Route("/localcloud/allowed/{host}", allow, methods=["PUT"]),
        Route("/localcloud/faults", list_faults, methods=["GET"]),
        Route("/localcloud/faults/{name:path}", arm_fault, methods=["PUT"]),
        Route("/localcloud/faults/{name:path}", disarm_fault, methods=["DELETE"]),
    ]


class App:
    """The ASGI application: picks the host, checks the token, finds the route, turns errors into Azure's form."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._guard = Guard(cloud)
        self._hosts = [
            (
                re.compile(fnmatch.translate(host.pattern)),
                [route for service in host.services for route in service(cloud)],
                host,
            )
            for host in hosts()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"The local cloud speaks http only, not '{scope['type']}'.")
        scope["path"] = re.sub(r"/{2,}", "/", scope["path"])
        request = Request(scope, receive)
        try:
            found = self._find(request)
        except ArmError as error:
            log.info("%s %s%s -> %d", request.method, request.url.hostname, request.url.path, error.status)
            await error.response()(scope, receive, send)
            return
        answered = False

        async def watched_send(message: dict[str, object]) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                headers = message.setdefault("headers", [])
                assert isinstance(headers, list)
                headers.append((b"x-ms-request-id", str(uuid.uuid4()).encode()))
                log.info("%s %s%s -> %s", request.method, request.url.hostname, request.url.path, message["status"])
            await send(message)

        try:
            await pass_through(self._cloud, request, found, scope, receive, watched_send)  # type: ignore[arg-type]
        except ArmError as error:
            if answered:
                raise
            await error.response()(scope, receive, watched_send)  # type: ignore[arg-type]
        except Exception:
            log.exception("%s %s failed", request.method, request.url)
            if answered:
                raise
            failed = ArmError(500, "InternalServerError", "The local cloud failed; its log has the traceback.")
            await failed.response()(scope, receive, watched_send)  # type: ignore[arg-type]

    def _find(self, request: Request) -> ASGIApp:
        name = (request.headers.get("host") or "").partition(":")[0].lower()
        for pattern, routes, host in self._hosts:
            if not pattern.match(name):
                continue
            refused = None if host.needs is of_arm else network_access.refusal(self._cloud, request)
            if refused is not None:
                return refused
            for route in routes:
                match, more = route.matches(request.scope)
                if match is Match.FULL:
                    request.scope.update(more)
                    if not host.audiences or (isinstance(route, ArmRoute) and route.anonymous):
                        return route.handle
                    claims = entra.check_token(self._cloud, request.headers.get("authorization"), host.audiences)
                    request.scope.setdefault("state", {})["claims"] = claims
                    if host.needs is None:
                        return route.handle
                    handle = governed(self._cloud, route.handle) if host.needs is of_arm else route.handle
                    return self._guard.admit(request, claims, host.needs, handle)
            break
        raise ArmError(
            501,
            "NotImplemented",
            f"The local cloud does not have {request.method} https://{name}{request.url.path}. "
            "Run 'localcloud coverage' for what it has.",
        )


def create_app(cloud: Cloud) -> App:
    return App(cloud)


def coverage() -> list[str]:
    """Every operation of the local cloud as `METHOD https://host/path`, sorted within its host."""
    import tempfile
    from pathlib import Path

    from localcloud.store import Store

    with tempfile.TemporaryDirectory() as folder:
        cloud = Cloud(Store(), Path(folder))
        lines: list[str] = []
        for host in hosts():
            found = {
                f"{method} https://{host.pattern}{route.path}"
                for service in host.services
                for route in service(cloud)
                for method in (route.methods or set()) - {"HEAD"}
            }
            lines += sorted(found, key=lambda line: line.split(" ", 1)[::-1])
        return lines
