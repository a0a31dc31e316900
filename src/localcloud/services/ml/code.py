"""Code assets: a folder of source that a command job or a deployment runs, found again by its content's hash."""

from __future__ import annotations

from starlette.routing import Route

from localcloud.cloud import Cloud
from localcloud.services.ml.assets import AssetKind, asset_routes

CODE = AssetKind(
    segment="codes",
    members=("codeUri",),
    required=("codeUri",),
    content=lambda properties: properties["codeUri"],
)


def routes(cloud: Cloud) -> list[Route]:
    return asset_routes(cloud, CODE)
