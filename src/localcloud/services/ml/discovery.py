"""The discovery document of a workspace's region: where the data plane of Azure ML lies."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import json_response, route
from localcloud.cloud import Cloud

_SERVICES = ("api", "catalog", "experimentation", "gallery", "history", "hyperdrive", "labeling", "modelmanagement")


def routes(cloud: Cloud) -> list[Route]:
    async def discovery(request: Request) -> Response:
        base = f"https://{request.url.hostname}"
        # Clients read `api`; the others are named as they are by the service. Studio is not here.
        return json_response({**dict.fromkeys(_SERVICES, base), "studio": "https://ml.azure.com"})

    return [route("/discovery", ["GET"], discovery, anonymous=True)]
