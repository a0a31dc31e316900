"""A finished job's model in the workspace: its name and version follow from the job, so that twice is once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tunestack import watch
from tunestack.cli import note
from tunestack.connect import Connection
from tunestack.errors import EndedBadly, UsageError
from tunestack.registry_id import RegistryId
from tunestack.run_history import ENDED, JOB_VERSION, RunHistory

OUTPUT = "trained_model"
VERSION = "2023-08-01-preview"
NAMING_TAGS = ("base_model", "data")


@dataclass(frozen=True)
class Registration:
    """A model to register: `<base>-<data set>`, its version the job's end in Unix seconds, its lineage as tags."""

    name: str
    version: str
    path: str
    tags: Mapping[str, str]

    @property
    def handle(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def record(self) -> dict[str, Any]:
        return {"model": self.handle, **asdict(self)}


def plan(connection: Connection, job: str, name: str = "") -> Registration:
    """What registering a job's model would write. The job must have ended well and have the output."""
    history = RunHistory(connection)
    body = history.job(job)
    if body is None:
        raise UsageError(f"job '{job}' does not exist", fix="Its name is what submit_finetune printed")
    run = history.run(job)
    if run.status in ("Failed", "Canceled", "NotResponding"):
        raise watch.failure(history, run)
    if run.status != "Completed" or run.ended is None:
        raise EndedBadly(
            f"job '{job}' has not finished: it is in state '{run.status}'",
            fix=f"Wait for it with: scripts/submit_finetune.py --attach {job}",
        )
    properties = body["properties"]
    if OUTPUT not in (properties.get("outputs") or {}):
        raise UsageError(f"job '{job}' has no output '{OUTPUT}'", fix="Only jobs of submit_finetune have one")
    tags = {str(key): str(value) for key, value in (properties.get("tags") or {}).items()}
    return Registration(
        name or _name(job, tags),
        str(int(run.ended.timestamp())),
        f"azureml://jobs/{job}/outputs/{OUTPUT}",
        {**tags, "job": job},
    )


def finished(connection: Connection) -> list[str]:
    """Names of the workspace's fine-tunes that ended well, oldest first: jobs with the tags of `submit_finetune`."""
    found = []
    for job in connection.arm.pages(f"{connection.workspace.path}/jobs", JOB_VERSION):
        properties = job["properties"]
        tags = properties.get("tags") or {}
        if all(tags.get(tag) for tag in NAMING_TAGS) and OUTPUT in (properties.get("outputs") or {}):
            if properties.get("status") == "Completed":
                found.append((job.get("systemData", {}).get("createdAt", ""), str(job["name"])))
            elif properties.get("status") in ENDED:
                note(f"job '{job['name']}' is in state '{properties['status']}' and has no model to register")
    return [name for _, name in sorted(found)]


def find(connection: Connection, found: Registration) -> bool:
    return connection.arm.find(_path(connection, found.name, found.version), VERSION) is not None


def register(connection: Connection, found: Registration) -> None:
    from azure.ai.ml.constants import AssetTypes
    from azure.ai.ml.entities import Model

    connection.ml.models.create_or_update(
        Model(
            name=found.name,
            version=found.version,
            path=found.path,
            type=AssetTypes.MLFLOW_MODEL,
            description=f"Fine-tuned by job {found.tags['job']}",
            tags=dict(found.tags),
        )
    )


def _path(connection: Connection, name: str, version: str) -> str:
    return f"{connection.workspace.path}/models/{name}/versions/{version}"


def _name(job: str, tags: Mapping[str, str]) -> str:
    missing = [tag for tag in NAMING_TAGS if not tags.get(tag)]
    if missing:
        raise UsageError(
            f"job '{job}' has no tag {' and '.join(missing)}, from which the model's name is made",
            fix="Name the model with --name",
        )
    return f"{RegistryId.parse(tags['base_model'], 'models').name}-{tags['data']}".replace("/", "-")
