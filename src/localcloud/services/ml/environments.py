"""Environments: an image, with or without a conda file, or a Docker build context.

Nothing is built: on the local cloud a job runs in the local cloud's own Python, and its log says so.
"""

from __future__ import annotations

from starlette.routing import Route

from localcloud.arm import ArmError
from localcloud.cloud import Cloud
from localcloud.services.ml.assets import AssetKind, asset_routes
from localcloud.store import Body


def _prepare(cloud: Cloud, workspace: Body, asset_id: str, properties: Body) -> Body:
    if not properties.get("image") and not properties.get("build"):
        raise ArmError(400, "UserError", "An environment needs an 'image' or a 'build' context.")
    return {"osType": "Linux", "environmentType": "UserCreated", **properties}


ENVIRONMENT = AssetKind(
    segment="environments",
    members=("image", "condaFile", "build", "inferenceConfig", "osType", "autoRebuild", "environmentType"),
    required=(),
    content=lambda properties: [properties.get(name) for name in ("image", "condaFile", "build")],
    prepare=_prepare,
    conflict="An environment with this name and version exists with other content; use another version.",
)


def routes(cloud: Cloud) -> list[Route]:
    return asset_routes(cloud, ENVIRONMENT)
