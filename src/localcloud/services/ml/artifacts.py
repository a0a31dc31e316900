"""Artifacts of runs: what they logged and left, listed and addressed by signed URLs of the artifact store."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import ArmError, json_response, read_json, route
from localcloud.cloud import Cloud
from localcloud.runner.locations import LocationError, artifact_place
from localcloud.services.acting import signer_of
from localcloud.services.blob_access import BlobAccess
from localcloud.services.blob_files import BlobError, Blobs
from localcloud.services.ml.ids import WORKSPACE, require_workspace
from localcloud.store import Body

_HISTORY = "/history/v1.0" + WORKSPACE

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = Artifacts(cloud)
    made: list[Route] = []
    for head in ("/runs/{run}", "/experiments/{experiment}/runs/{run}", "/experimentids/{experiment}/runs/{run}"):
        made += [
            route(_HISTORY + head + "/artifacts", ["GET"], service.list),
            route(_HISTORY + head + "/artifacts/path", ["GET"], service.list),
            route(_HISTORY + head + "/artifacts/contentinfo", ["GET"], service.content),
            route(_HISTORY + head + "/artifacts/artifacturi", ["GET"], service.address),
            route(_HISTORY + head + "/artifacts/metadata", ["GET"], service.describe),
            route(_HISTORY + head + "/artifacts/prefix/contentinfo", ["GET"], service.contents),
            route(_HISTORY + head + "/artifacts/batch/metadata", ["POST"], service.create),
        ]
    return made


# -- handlers --------------------------------------------------------------------------------------------------


class Artifacts:
    """Answers of `…/runs/{run}/artifacts`. A run made by a client alone, without a job, has them too."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def list(self, request: Request) -> Response:
        workspace, run = self._where(request)
        start = request.query_params.get("path", "").strip("/")
        names = [
            name
            for name in artifact_names(self._cloud, workspace, run)
            if not start or name == start or name.startswith(f"{start}/")
        ]
        found = [artifact(run, name) for name in names]
        return json_response({"value": found, "continuationToken": None, "nextLink": None})

    async def describe(self, request: Request) -> Response:
        workspace, run = self._where(request)
        path = self._existing(workspace, run, request)
        return json_response(artifact(run, path))

    async def content(self, request: Request) -> Response:
        workspace, run = self._where(request)
        path = self._existing(workspace, run, request)
        return json_response(self._information(workspace, run, path))

    async def address(self, request: Request) -> Response:
        workspace, run = self._where(request)
        path = self._existing(workspace, run, request)
        return json_response(artifact_url(self._cloud, workspace, run, path))

    async def contents(self, request: Request) -> Response:
        workspace, run = self._where(request)
        prefix = request.query_params.get("path", "").lstrip("/")
        names = [name for name in artifact_names(self._cloud, workspace, run) if name.startswith(prefix)]
        found = [self._information(workspace, run, name) for name in names]
        return json_response({"value": found, "continuationToken": None, "nextLink": None})

    async def create(self, request: Request) -> Response:
        """Signed addresses to write to, one per path; the client then PUTs the blobs itself."""
        workspace, run = self._where(request)
        body = await read_json(request)
        paths = [str(each["path"]).lstrip("/") for each in body.get("paths") or []]
        return json_response(
            {
                "artifacts": {path: artifact(run, path) for path in paths},
                "artifactContentInformation": {
                    path: self._information(workspace, run, path, permissions="rcw") for path in paths
                },
                "errors": {},
            }
        )

    def _where(self, request: Request) -> tuple[str, str]:
        workspace: str = require_workspace(self._cloud, request)["id"]
        return workspace, request.path_params["run"]

    def _existing(self, workspace: str, run: str, request: Request) -> str:
        path = request.query_params.get("path", "").lstrip("/")
        account, container, name = _place(self._cloud, workspace, run, path)
        if not path or not blobs_of(self._cloud).exists(account, container, name):
            raise ArmError(404, "UserError", f"Run '{run}' has no artifact '{path}'.")
        return path

    def _information(self, workspace: str, run: str, path: str, permissions: str = "r") -> Body:
        url = artifact_url(self._cloud, workspace, run, path, permissions)
        return {**artifact(run, path), "contentUri": url}


# -- model -----------------------------------------------------------------------------------------------------


def blobs_of(cloud: Cloud) -> Blobs:
    return cloud.part(Blobs, lambda: Blobs(cloud))


def artifact(run: str, path: str) -> Body:
    container = f"dcid.{run}"
    return {
        "artifactId": f"ExperimentRun/{container}/{path}",
        "origin": "ExperimentRun",
        "container": container,
        "path": path,
    }


def artifact_names(cloud: Cloud, workspace: str, run: str) -> list[str]:
    """The paths of all artifacts of a run, logs included, relative to its folder."""
    account, container, prefix = _place(cloud, workspace, run, "")
    try:
        return [name.removeprefix(f"{prefix}/") for name in blobs_of(cloud).names(account, container, f"{prefix}/")]
    except BlobError as error:
        if error.code == "ContainerNotFound":
            return []
        raise ArmError(500, "InternalServerError", error.message) from None


def artifact_url(cloud: Cloud, workspace: str, run: str, path: str, permissions: str = "r") -> str:
    """A signed address of one artifact, good for a day."""
    account, container, name = _place(cloud, workspace, run, path)
    access = cloud.part(BlobAccess, lambda: BlobAccess(cloud))
    signer = signer_of(cloud, cloud.store.get(workspace))
    try:
        return access.url(account, container, name, permissions=permissions, hours=24, signer=signer)
    except BlobError as error:
        raise ArmError(404, "UserError", error.message) from None


def _place(cloud: Cloud, workspace: str, run: str, path: str) -> tuple[str, str, str]:
    try:
        return artifact_place(cloud, workspace, run, path)
    except LocationError as error:
        raise ArmError(404, "UserError", str(error)) from None
