"""Data assets: a name and version for a file, a folder or an MLTable in a datastore."""

from __future__ import annotations

from starlette.routing import Route

from localcloud.arm import ArmError
from localcloud.cloud import Cloud
from localcloud.services.ml.assets import AssetKind, asset_routes
from localcloud.services.ml.paths import blob_place, job_output_uri
from localcloud.store import Body

_TYPES = ("uri_file", "uri_folder", "mltable")


def _prepare(cloud: Cloud, workspace: Body, asset_id: str, properties: Body) -> Body:
    kind = properties["dataType"]
    if kind not in _TYPES:
        raise ArmError(400, "UserError", f"The data type '{kind}' is not one of {', '.join(_TYPES)}.")
    uri = job_output_uri(cloud, workspace["id"], properties["dataUri"])
    if uri.startswith("azureml://"):
        # An unknown datastore is refused here; whether the path exists is seen when it is read, as in the service.
        blob_place(cloud, workspace["id"], uri)
    return properties | {"dataUri": uri}


DATA = AssetKind(
    segment="data",
    members=("dataType", "dataUri", "referencedUris", "autoDeleteSetting", "stage", "intellectualProperty"),
    required=("dataType", "dataUri"),
    content=lambda properties: (properties["dataUri"], properties["dataType"]),
    prepare=_prepare,
    has_state=False,
)


def routes(cloud: Cloud) -> list[Route]:
    return asset_routes(cloud, DATA)
