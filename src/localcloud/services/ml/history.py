"""Run history on the data plane: what `jobs.stream`, `jobs.download` and the list of a pipeline's children read.

The addresses of a run's outputs are resolved here too; its artifacts have a file of their own.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import ArmError, json_response, read_json, route
from localcloud.cloud import Cloud
from localcloud.runner.runs import Run, Runs, runs_of
from localcloud.services.ml.artifacts import artifact_names, artifact_url
from localcloud.services.ml.ids import WORKSPACE, require_workspace
from localcloud.services.ml.jobs import change_run
from localcloud.services.ml.paths import long_form
from localcloud.store import Body

HISTORY = "/history/v1.0" + WORKSPACE
DATA = "/data/v1.0" + WORKSPACE
JUST_OVER_SECONDS = 10.0
# Only these types are resolved by the client; a model output reported as itself makes it raise (REST surface 9c).
_DATA_TYPES = ("uri_file", "uri_folder", "mltable")
# The contract has two forms of a run; the one with logs and data sets lacks these members of the other.
_NOT_IN_DETAILS = frozenset(
    ("experimentId", "displayName", "name", "description", "runType", "createdUtc", "hidden"),
)

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = History(cloud)
    made: list[Route] = [
        route(DATA + "/dataversion/batchGetResolvedUris", ["POST"], service.resolve),
        route(HISTORY + "/rundata", ["POST"], service.rundata),
        route(HISTORY + "/runs/{run}/serviceinstances/{node}", ["GET"], service.service_instances),
    ]
    for head in ("/runs/{run}", "/experiments/{experiment}/runs/{run}", "/experimentids/{experiment}/runs/{run}"):
        made += [
            route(HISTORY + head, ["GET"], service.get),
            route(HISTORY + head, ["PATCH"], service.patch),
            route(HISTORY + head + "/children", ["GET"], service.children),
            route(HISTORY + head + "/details", ["GET"], service.details),
        ]
    return made


# -- handlers --------------------------------------------------------------------------------------------------


class History:
    """Answers of `/history/v1.0`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._runs: Runs = runs_of(cloud)
        self._asked: set[tuple[str, str]] = set()

    async def get(self, request: Request) -> Response:
        return json_response(run_body(self._run(request)))

    async def patch(self, request: Request) -> Response:
        run = self._run(request)
        change_run(self._cloud, run, await read_json(request))
        return json_response(run_body(run))

    async def children(self, request: Request) -> Response:
        run = self._run(request)
        found = [run_body(child) for child in self._runs.children(run.workspace, run.id)]
        return json_response({"value": found, "continuationToken": None, "nextLink": None})

    async def details(self, request: Request) -> Response:
        run = self._run(request)
        urls = {
            name: artifact_url(self._cloud, run.workspace, run.id, name)
            for name in artifact_names(self._cloud, run.workspace, run.id)
            if name.startswith(("user_logs/", "logs/"))
        }
        body = {name: value for name, value in run_body(run).items() if name not in _NOT_IN_DETAILS}
        body |= {"status": self._told_status(run), "createdTimeUtc": run.created, "logFiles": urls}
        inputs = [
            {"identifier": {"savedId": value["uri"]}, "inputDetails": {"inputName": name}}
            for name, value in run.inputs.items()
            if "uri" in value
        ]
        return json_response({**body, "inputDatasets": inputs, "outputDatasets": []})

    async def service_instances(self, request: Request) -> Response:
        self._run(request)
        return json_response({"instances": {}})

    async def rundata(self, request: Request) -> Response:
        require_workspace(self._cloud, request)
        body = await read_json(request)
        run_id = body.get("runId")
        run = self._runs.find(request_workspace(self._cloud, request), str(run_id))
        if run is None:
            raise run_not_found(str(run_id))
        return json_response({"runMetadata": run_body(run), "runDefinition": None, "jobSpecification": None})

    async def resolve(self, request: Request) -> Response:
        """Asset ids of run outputs as addresses in a datastore; what cannot be resolved is left out."""
        workspace = request_workspace(self._cloud, request)
        body = await read_json(request)
        values = {}
        for asset in body.get("values") or []:
            resource = self._cloud.store.get(asset) if str(asset).startswith("/subscriptions/") else None
            uri = resource["properties"]["dataUri"] if resource else str(asset)
            values[asset] = {"uri": long_form(workspace, uri)}
        return json_response({"values": values})

    def _told_status(self, run: Run) -> str:
        """The status, except that a run which is just over is told as `Finalizing` to who asks for the first time.

        The client prints no log of a run that is over when it begins to stream (REST surface 17.19), which on Azure
        no job is so soon; here a job may take milliseconds.
        """
        key = (run.workspace.lower(), run.id)
        first = key not in self._asked
        self._asked.add(key)
        if not (first and run.ended):
            return run.status
        age = (self._cloud.clock.now() - datetime.fromisoformat(run.ended)).total_seconds()
        return "Finalizing" if age < JUST_OVER_SECONDS else run.status

    def _run(self, request: Request) -> Run:
        run = self._runs.find(request_workspace(self._cloud, request), request.path_params["run"])
        if run is None:
            raise run_not_found(request.path_params["run"])
        return run


# -- model -----------------------------------------------------------------------------------------------------


def request_workspace(cloud: Cloud, request: Request) -> str:
    """The workspace's id in its own case; 404 when there is none."""
    found: str = require_workspace(cloud, request)["id"]
    return found


def run_not_found(run_id: str) -> ArmError:
    return ArmError(404, "UserError", f"Run '{run_id}' was not found.")


def experiment_guid(run: Run) -> str:
    """Run history's id of an experiment: derived, so that it is the same at every answer."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{run.workspace.lower()}/experiments/{run.experiment}"))


def run_body(run: Run) -> Body:
    """A run as run history has it."""
    outputs: dict[str, Any] = {
        name: {"assetId": place["uri"], "type": place["type"] if place["type"] in _DATA_TYPES else "uri_folder"}
        for name, place in run.outputs.items()
    }
    return {
        "runId": run.id,
        "runUuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{run.workspace.lower()}/runs/{run.id}")),
        "parentRunId": run.parent,
        "rootRunId": run.root,
        "experimentId": experiment_guid(run),
        "displayName": run.display_name,
        "name": run.node,
        "description": run.description,
        "status": run.status,
        "runType": "azureml.PipelineRun" if run.kind == "pipeline" else "azureml.StepRun" if run.parent else "Command",
        "target": run.target or "serverless",
        "createdUtc": run.created,
        "startTimeUtc": run.started,
        "endTimeUtc": run.ended,
        "tags": run.tags,
        "properties": {"azureml.runsource": "azureml.PipelineRun", **run.properties}
        if run.kind == "pipeline"
        else run.properties,
        "inputs": {
            name: {"assetId": value.get("uri"), "type": value["type"]}
            for name, value in run.inputs.items()
            if "uri" in value
        },
        "outputs": outputs,
        "hidden": run.hidden,
        "error": {"error": {**run.error, "details": [], "innerError": None}} if run.error else None,
        "warnings": [],
    }
