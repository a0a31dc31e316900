"""Jobs: command and pipeline jobs are checked as a whole, written down, and handed to the runner.

What the client does not check is checked here (REST surface 17.18). Other types of job answer 501.
"""

from __future__ import annotations

import asyncio
import shutil

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import ArmError, envelope, json_response, not_found, page, read_json, route
from localcloud.cloud import Cloud
from localcloud.runner.execution import Runner, runner_of
from localcloud.runner.plans import Planner
from localcloud.runner.references import References
from localcloud.runner.runs import Run, Runs, runs_of
from localcloud.runner.values import OutputSpec
from localcloud.services.ml.ids import WORKSPACE, require_workspace
from localcloud.services.ml.job_checks import check_form, check_submit_token, refuse, same
from localcloud.services.ml.workspaces import Workspaces
from localcloud.store import Body
from localcloud.tracking import tracking_of

_MAY_CHANGE = ("description", "displayName", "tags", "properties", "isArchived", "services", "status")

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = Jobs(cloud)
    one = WORKSPACE + "/jobs/{job}"
    return [
        route(one, ["PUT"], service.put),
        route(one, ["GET"], service.get),
        route(one, ["DELETE"], service.delete),
        route(one + "/cancel", ["POST"], service.cancel),
        route(WORKSPACE + "/jobs", ["GET"], service.list),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


class Jobs:
    """Answers of the `jobs` operations."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._runs: Runs = runs_of(cloud)
        self._runner: Runner = runner_of(cloud)
        self._canceling: set[asyncio.Task[None]] = set()
        cloud.on_start.append(self._finish_cancels)
        cloud.part(Workspaces, lambda: Workspaces(cloud)).on_delete.append(self._runner.end_workspace)

    async def put(self, request: Request) -> Response:
        workspace = require_workspace(self._cloud, request)
        name = request.path_params["job"]
        body = await read_json(request)
        properties = check_form(name, body, strict=self._cloud.strict)
        resource_id = f"{workspace['id']}/jobs/{name}"
        old = self._cloud.store.get(resource_id)
        if old is not None:
            return json_response(self._change(resource_id, old, properties))
        self._cloud.faults.raise_if_armed("job.create")
        if properties["jobType"] == "Pipeline":
            check_submit_token(self._cloud, request.headers.get("x-azureml-token"))
        made = self._submit(workspace["id"], resource_id, name, properties, request.scope["state"]["claims"]["oid"])
        return json_response(made, 201)

    async def get(self, request: Request) -> Response:
        workspace = require_workspace(self._cloud, request)
        name = request.path_params["job"]
        resource_id = f"{workspace['id']}/jobs/{name}"
        resource = self._cloud.store.get(resource_id)
        if resource is not None:
            return json_response(shown(self._cloud, workspace["id"], resource))
        if self._runs.find(workspace["id"], name):
            # A step of a pipeline: the client then reads its run (REST surface 9a).
            kind = "Microsoft.MachineLearningServices/workspaces/jobs"
            return json_response({"id": resource_id, "name": name, "type": kind, "properties": None})
        raise not_found(resource_id)

    async def list(self, request: Request) -> Response:
        workspace = require_workspace(self._cloud, request)
        query = request.query_params
        view, kind = query.get("listViewType", "ActiveOnly"), query.get("jobType")
        found = []
        for resource in reversed(self._cloud.store.children(workspace["id"], "jobs")):
            job = shown(self._cloud, workspace["id"], resource)
            archived = job["properties"]["isArchived"]
            if (view == "ActiveOnly" and archived) or (view == "ArchivedOnly" and not archived):
                continue
            if (kind and job["properties"]["jobType"].lower() != kind.lower()) or not _has_tag(job, query.get("tag")):
                continue
            found.append(job)
        return page(request, found)

    async def delete(self, request: Request) -> Response:
        workspace = require_workspace(self._cloud, request)
        name = request.path_params["job"]
        resource_id = f"{workspace['id']}/jobs/{name}"
        if self._cloud.store.get(resource_id) is None:
            return Response(status_code=204)
        if self._runner.is_active(workspace["id"], name):
            raise ArmError(409, "Conflict", f"Job '{name}' is running. Cancel it before it is deleted.")
        for run in self._runs.family(workspace["id"], name):
            self._runs.forget(run)
            shutil.rmtree(self._cloud.state / "jobs" / run.id, ignore_errors=True)
        self._cloud.store.delete(resource_id)
        self._cloud.store.delete_record("job-request", resource_id.lower())
        return Response(status_code=200)

    async def cancel(self, request: Request) -> Response:
        workspace = require_workspace(self._cloud, request)
        name = request.path_params["job"]
        resource_id = f"{workspace['id']}/jobs/{name}"
        run = self._runs.find(workspace["id"], name)
        if run is None:
            raise not_found(resource_id)
        if run.parent is not None:
            raise ArmError(400, "UserError", f"'{name}' is a step; cancel its pipeline job '{run.root}' instead.")
        if run.status in ("Completed", "Failed"):
            raise ArmError(
                400, "UserError", f"Job '{name}' is in the terminal state '{run.status}' and cannot be canceled."
            )
        operation = self._cloud.operations.start("job.cancel", resource_id, held=True)
        task = asyncio.create_task(self._cancel(workspace["id"], name, operation))
        self._canceling.add(task)
        task.add_done_callback(self._canceling.discard)
        return self._cloud.operations.respond(request, operation, None, 202, location_only=True)

    async def _cancel(self, workspace: str, name: str, operation: str) -> None:
        await self._runner.cancel(workspace, name)
        self._cloud.operations.finish(operation)

    async def _finish_cancels(self) -> None:
        """A cancel that a killed server had begun is over: nothing runs after a start."""
        for operation, _ in self._cloud.operations.unfinished("job.cancel"):
            self._cloud.operations.finish(operation)

    # -- model -------------------------------------------------------------------------------------------------

    def _change(self, resource_id: str, old: Body, properties: Body) -> Body:
        """A PUT of a job that exists: its texts may change, what it runs may not."""
        first = self._cloud.store.record("job-request", resource_id.lower()) or old["properties"]
        differing = [
            name
            for name in sorted(set(properties) | set(first))
            if name not in _MAY_CHANGE and same(properties.get(name)) != same(first.get(name))
        ]
        name = old["name"]
        if differing:
            raise ArmError(
                409,
                "UserError",
                "A job with this name already exists. If you are trying to create a new job, use a different name. "
                f"If you are trying to update the existing job '{name}', its {', '.join(differing)} cannot be changed. "
                "Only description, displayName, tags, properties and isArchived can be updated.",
            )
        workspace = resource_id.rpartition("/jobs/")[0]
        run = self._runs.find(workspace, name)
        assert run is not None
        change_run(self._cloud, run, properties)
        kept = {key: value for key, value in properties.items() if key in _MAY_CHANGE}
        merged = {"properties": {**old["properties"], **kept}}
        made = envelope(resource_id, merged, old, self._cloud.clock.now())
        self._cloud.store.put(resource_id, made)
        return shown(self._cloud, workspace, made)

    def _submit(self, workspace: str, resource_id: str, name: str, properties: Body, submitter: str) -> Body:
        """Check everything, then write the job down and start it; a refused one leaves nothing behind."""
        references = References(self._cloud, workspace)
        planner = Planner(references)
        run = Run(
            workspace=workspace,
            id=name,
            root=name,
            parent=None,
            experiment=properties.get("experimentName") or "Default",
            display_name=properties.get("displayName") or name,
            kind=properties["jobType"].lower(),
            created=self._runs.now(),
            description=properties.get("description"),
            tags=dict(properties.get("tags") or {}),
            properties=dict(properties.get("properties") or {}),
            submitter=submitter,
        )
        made = envelope(resource_id, {"properties": properties}, None, self._cloud.clock.now())
        if properties["jobType"] == "Command":
            references.compute("The job", properties.get("computeId"))
            if not properties.get("environmentId") and not properties.get("componentId"):
                references.problems.append("The job names no environment.")
            step, values = planner.command_job(properties)
            refuse(references.problems)
            self._keep(resource_id, made)
            self._runner.submit_step(run, step, values, properties.get("computeId"))
        else:
            default = (properties.get("settings") or {}).get("default_compute") or properties.get("computeId")
            references.compute("The pipeline", default)
            graph, values = planner.pipeline_job(properties)
            refuse(references.problems)
            targets = {
                key: OutputSpec(str(body.get("jobOutputType", "uri_folder")), body.get("mode"), body.get("uri"))
                for key, body in (properties.get("outputs") or {}).items()
            }
            self._keep(resource_id, made)
            self._runner.submit_graph(run, graph, values, targets)
        return shown(self._cloud, workspace, made)

    def _keep(self, resource_id: str, made: Body) -> None:
        """Write the job down, and what was asked for: a later PUT of the same name is compared with that."""
        with self._cloud.store.transaction():
            self._cloud.store.put(resource_id, made)
            self._cloud.store.put_record("job-request", resource_id.lower(), made["properties"])


def change_run(cloud: Cloud, run: Run, change: Body) -> None:
    """Take over the texts that may change: displayName, description, tags, properties, hidden."""
    if change.get("displayName"):
        run.display_name = change["displayName"]
    if "description" in change:
        run.description = change["description"]
    if change.get("tags") is not None:
        run.tags = dict(change["tags"])
    if change.get("properties") is not None:
        run.properties = {**run.properties, **change["properties"]}
    archived = change.get("hidden", change.get("isArchived"))
    if archived is not None:
        run.hidden = bool(archived)
    runs_of(cloud).save(run)


def shown(cloud: Cloud, workspace: str, resource: Body) -> Body:
    """A job as it is answered: what was sent, with the state of its run."""
    run = runs_of(cloud).find(workspace, resource["name"])
    if run is None:
        return resource
    properties = dict(resource["properties"])
    outputs = {name: dict(body or {}) for name, body in (properties.get("outputs") or {}).items()}
    for name, body in outputs.items():
        body.setdefault("jobOutputType", "uri_folder")
        if name in run.outputs:
            body["uri"] = run.outputs[name]["uri"]
    properties |= {
        "status": run.status,
        "displayName": run.display_name,
        "description": run.description,
        "experimentName": run.experiment,
        "tags": run.tags,
        "properties": {**run.properties, **_times(run)},
        "inputs": properties.get("inputs") or {},
        "outputs": outputs,
        "isArchived": run.hidden,
        "services": _services(cloud, run),
    }
    return {**resource, "properties": properties}


def _times(run: Run) -> dict[str, str]:
    times = {"startTimeUtc": run.started, "endTimeUtc": run.ended}
    return {name: moment for name, moment in times.items() if moment}


def _services(cloud: Cloud, run: Run) -> Body:
    tracking = f"azureml://eastus.api.azureml.ms/mlflow/v1.0{run.workspace}"
    services = {"Tracking": {"jobServiceType": "Tracking", "endpoint": tracking}}
    if site := tracking_of(cloud).page:
        # The client appends `&tid=…`, hence the query at the end.
        address = f"{site}/#/experiments/{run.tracked_experiment or 0}/runs/{run.id}?local=1"
        services["Studio"] = {"jobServiceType": "Studio", "endpoint": address}
    return services


def _has_tag(job: Body, wanted: str | None) -> bool:
    if not wanted:
        return True
    name, _, value = wanted.partition("=")
    tags = job["properties"].get("tags") or {}
    return name in tags and (not value or tags[name] == value)
