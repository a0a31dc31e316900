"""Every run as an MLflow run of the same id: created when the job is, ended when it ends."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

from localcloud.cloud import Cloud
from localcloud.runner.locations import LocationError, artifact_file
from localcloud.runner.runs import Run, runs_of
from localcloud.tracking import ARTIFACT_TAG, RUN_ID_TAG, Tracking, TrackingError, tracking_of

_STATUS = {"Completed": "FINISHED", "Failed": "FAILED", "Canceled": "KILLED"}
_MAX_PARAM = 6000


def record_later(cloud: Cloud, run: Run) -> None:
    """Have MLflow told about a run's present state as soon as it answers."""
    tracking_of(cloud).later(partial(_record, cloud, run))


async def _record(cloud: Cloud, run: Run, tracking: Tracking) -> None:
    if run.recorded is None:
        await _create(cloud, run, tracking)
        run.recorded = "Running"
    if run.inputs and not run.recorded_inputs:
        await _record_parameters(run, tracking)
        run.recorded_inputs = True
    if run.is_over and run.recorded != run.status:
        await tracking.call(
            "POST", "runs/update", {**_id(run), "status": _STATUS[run.status], "end_time": _ms(run.ended)}
        )
        run.recorded = run.status
    runs_of(cloud).save(run)


async def _create(cloud: Cloud, run: Run, tracking: Tracking) -> None:
    try:
        known = await tracking.call("GET", "runs/get", {"run_id": run.id})
    except TrackingError:
        known = {}
    if known:
        run.tracked_experiment = str(known["run"]["info"]["experiment_id"])
        return
    tags = {
        **run.tags,
        RUN_ID_TAG: run.id,
        ARTIFACT_TAG: artifact_folder(cloud, run.workspace),
        "mlflow.rootRunId": run.root,
        "azureml.jobName": run.root,
        "azureml.runType": run.kind,
        "mlflow.user": "localcloud",
    }
    if run.parent:
        tags["mlflow.parentRunId"] = run.parent
    run.tracked_experiment = await experiment_id(tracking, run.experiment)
    body = {
        "experiment_id": run.tracked_experiment,
        "run_name": run.display_name,
        "start_time": _ms(run.started or run.created),
        "tags": _pairs(tags),
    }
    await tracking.call("POST", "runs/create", body)


async def _record_parameters(run: Run, tracking: Tracking) -> None:
    """The literal inputs; those of a step of a pipeline are known when it starts, not when its run is made."""
    params = {name: value["value"] for name, value in run.inputs.items() if "value" in value}
    for start in range(0, len(params), 100):
        some = dict(list(params.items())[start : start + 100])
        await tracking.call("POST", "runs/log-batch", {**_id(run), "params": _pairs(some)})


async def experiment_id(tracking: Tracking, name: str) -> str:
    """The id of the experiment of that name, made if absent."""
    try:
        found = await tracking.call("GET", "experiments/get-by-name", {"experiment_name": name})
    except TrackingError:
        return str((await tracking.call("POST", "experiments/create", {"name": name}))["experiment_id"])
    return str(found["experiment"]["experiment_id"])


def artifact_folder(cloud: Cloud, workspace: str) -> str:
    """Where MLflow finds the artifacts of a run `{run}`: the run's blobs, as a folder."""
    try:
        return str(artifact_file(cloud, workspace, "{run}"))
    except LocationError:
        return str(cloud.state / "mlflow" / "artifacts" / "{run}")


def _id(run: Run) -> dict[str, str]:
    return {"run_id": run.id, "run_uuid": run.id}


def _pairs(values: dict[str, Any]) -> list[dict[str, str]]:
    return [{"key": key, "value": str(value)[:_MAX_PARAM]} for key, value in values.items()]


def _ms(moment: str | None) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000) if moment else 0
