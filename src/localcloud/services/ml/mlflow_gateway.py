"""The workspace's tracking address: passes MLflow's REST calls on to the MLflow server of this local cloud.

Two things are Azure's: a run's artifacts are addressed as `azureml://…/artifacts`, and there is an asynchronous
form of `log-batch`. Experiments of all workspaces share one MLflow server.
"""

from __future__ import annotations

from typing import Any

import httpx
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import ArmError, json_response, route
from localcloud.cloud import REGION, Cloud
from localcloud.runner.recording import artifact_folder
from localcloud.services.ml.ids import WORKSPACE, require_workspace
from localcloud.tracking import ARTIFACT_TAG, TrackingError, tracking_of

_METHODS = ["GET", "POST", "PATCH", "PUT", "DELETE"]

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    gateway = Gateway(cloud)
    return [
        route(f"/mlflow/{version}{WORKSPACE}/api/{{call:path}}", _METHODS, gateway.forward)
        for version in ("v1.0", "v2.0")
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class Gateway:
    """Forwards, and turns the artifact addresses of the answers into Azure's."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._tracking = tracking_of(cloud)

    async def forward(self, request: Request) -> Response:
        workspace: str = require_workspace(self._cloud, request)["id"]
        call = request.path_params["call"]
        body = await request.body()
        is_async = call.endswith("mlflow/runs/log-batch-async")
        if is_async:
            call = "2.0/mlflow/runs/log-batch"
        if call.endswith("mlflow/runs/create"):
            body = with_artifact_folder(body, artifact_folder(self._cloud, workspace))
        try:
            await self._tracking.ready()
            await self._tracking.flush()
            headers = {"content-type": request.headers.get("content-type", "application/json")}
            answer = await self._tracking.forward(request.method, f"/api/{call}", request.url.query, body, headers)
        except (TrackingError, httpx.HTTPError) as error:
            raise ArmError(503, "ServiceUnavailable", f"MLflow tracking cannot be reached: {error}") from None
        if is_async and not answer.is_error:
            # An empty id says that the batch is written already, and the client does not poll.
            return json_response({"batch_tracking_id": ""})
        kind = answer.headers.get("content-type", "application/json")
        if not kind.startswith("application/json"):
            return Response(answer.content, answer.status_code, media_type=kind)
        shown = in_azure_form(answer.json(), workspace)
        return json_response(shown, answer.status_code)


# -- model -----------------------------------------------------------------------------------------------------


def with_artifact_folder(body: bytes, folder: str) -> bytes:
    """The body of `runs/create` with the tag by which the store learns where the run's artifacts lie."""
    run: dict[str, Any] = orjson.loads(body or b"{}")
    tags = [tag for tag in run.get("tags") or [] if tag.get("key") != ARTIFACT_TAG]
    return orjson.dumps({**run, "tags": [*tags, {"key": ARTIFACT_TAG, "value": folder}]})


def in_azure_form(answer: Any, workspace: str) -> Any:
    """The answer with every run's `artifact_uri` in the only form that azureml-mlflow understands."""
    if isinstance(answer, list):
        return [in_azure_form(each, workspace) for each in answer]
    if not isinstance(answer, dict):
        return answer
    shown = {name: in_azure_form(value, workspace) for name, value in answer.items()}
    if "artifact_uri" in shown and "run_id" in shown and "experiment_id" in shown:
        head = f"azureml://{REGION}.api.azureml.ms/mlflow/v2.0{workspace}"
        shown["artifact_uri"] = f"{head}/experiments/{shown['experiment_id']}/runs/{shown['run_id']}/artifacts"
    return shown
