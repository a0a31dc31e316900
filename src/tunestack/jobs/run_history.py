"""What a job did: states, children, logs and metrics, read from run history and MLflow over plain HTTPS.

`jobs.stream` of the SDK polls up to once a minute and prints to stdout; this reads the same services.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from tunestack.connect import Connection
from tunestack.errors import CloudError

JOB_VERSION = "2024-01-01-preview"
ENDED = frozenset({"Completed", "Failed", "Canceled", "NotResponding"})
QUEUED = frozenset({"NotStarted", "Queued", "Preparing", "Provisioning", "Starting"})
_OWN_LOGS = "user_logs/"
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


@dataclass(frozen=True)
class Run:
    """One run: a job or a child of a pipeline. Times are UTC, None until they are known.

    `node` is its name in the pipeline, `target` the compute's name, `root` the pipeline job that it belongs to.
    """

    id: str
    name: str
    status: str
    started: datetime | None = None
    ended: datetime | None = None
    error: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    is_pipeline: bool = False
    created: datetime | None = None
    node: str = ""
    target: str = ""
    root: str = ""
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def is_finetune(self) -> bool:
        """Whether it is the step that trains, which alone may run on several machines."""
        return "finetune" in f"{self.node} {self.name}".lower()

    @classmethod
    def parse(cls, raw: dict[str, Any]) -> Run:
        return cls(
            raw["runId"],
            raw.get("displayName") or (raw.get("properties") or {}).get("azureml.moduleName") or raw["runId"],
            raw.get("status") or "NotStarted",
            _time(raw.get("startTimeUtc")),
            _time(raw.get("endTimeUtc")),
            _message(raw.get("error")),
            raw.get("tags") or {},
            raw.get("runType") == "azureml.PipelineRun",
            _time(raw.get("createdUtc")),
            raw.get("name") or "",
            raw.get("target") or "",
            raw.get("rootRunId") or "",
            raw.get("properties") or {},
        )


@dataclass(frozen=True)
class Point:
    """One value of a metric at a training step; `time` in seconds since the epoch."""

    step: int
    value: float
    time: float = 0.0


class RunHistory:
    """The run history and MLflow services of one workspace, at the host that the workspace names."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._arm, self._workspace = connection.arm, connection.workspace.path
        host = urlsplit(connection.body["properties"].get("mlFlowTrackingUri", "")).hostname
        if not host:
            raise CloudError(f"workspace '{connection.workspace.name}' has no tracking address yet", fix="Run it again")
        self._host = host

    def asking_once(self) -> RunHistory:
        """The same, without retries of its own: for whoever asks again anyway."""
        found = copy(self)
        found._arm = self._arm.asking_once()
        return found

    def job(self, name: str) -> dict[str, Any] | None:
        """The job as Resource Manager has it, or None."""
        return self._arm.find(f"{self._workspace}/jobs/{name}", JOB_VERSION)

    def run(self, run_id: str) -> Run:
        return Run.parse(self._arm.get(f"{self._history}/runs/{run_id}"))

    def children(self, run_id: str) -> list[Run]:
        """The children of a pipeline, in the order of their start."""
        found = [Run.parse(raw) for raw in self._arm.pages(f"{self._history}/runs/{run_id}/children", "")]
        return sorted(found, key=lambda run: (run.started is None, run.started and run.started.timestamp(), run.id))

    def steps(self, run_id: str) -> list[Run]:
        """The runs that do the work: a pipeline component stands in a pipeline as a pipeline of its own."""
        found: list[Run] = []
        for child in self.children(run_id):
            found += (self.steps(child.id) if child.is_pipeline else []) or [child]
        return found

    def logs(self, run_id: str, lines: int) -> Iterator[list[str]]:
        """The last lines of a run's own log, then those of its other processes, each fetched when it is asked for."""
        files = self._arm.get(f"{self._history}/runs/{run_id}/details").get("logFiles") or {}
        names = sorted((name for name in files if name.endswith((".txt", ".log"))), key=_rank)
        for place, name in enumerate(names):
            if place == 0 or name.startswith(_OWN_LOGS):
                yield log_lines(self._arm.text(files[name]))[-lines:]

    def metrics(self, run_id: str) -> dict[str, float]:
        """The last value of every metric."""
        return {name: point.value for name, point in self.latest(run_id).items()}

    def latest(self, run_id: str) -> dict[str, Point]:
        """The last point of every metric."""
        data = self._arm.get(f"{self._mlflow}/runs/get", run_id=run_id, run_uuid=run_id)["run"].get("data", {})
        return {metric["key"]: _point(metric) for metric in data.get("metrics", [])}

    def metric(self, run_id: str, name: str) -> list[Point]:
        """One metric in the order of steps, one point a step: of a step that ran again, what it said last."""
        found = self._arm.get(f"{self._mlflow}/metrics/get-history", run_id=run_id, run_uuid=run_id, metric_key=name)
        points = sorted((_point(raw) for raw in found.get("metrics", [])), key=lambda point: point.time)
        return [point for _, point in sorted({point.step: point for point in points}.items())]

    @property
    def _history(self) -> str:
        return f"https://{self._host}/history/v1.0{self._workspace}"

    @property
    def _mlflow(self) -> str:
        return f"https://{self._host}/mlflow/v2.0{self._workspace}/api/2.0/mlflow"


def log_lines(text: str) -> list[str]:
    """A log's lines as they stood in the end: no colours, and of a progress bar that is drawn anew its last state."""
    drawn = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return [line for each in drawn if (line := _ESCAPES.sub("", each).rstrip())]


def _point(raw: dict[str, Any]) -> Point:
    value = raw.get("value")
    return Point(
        int(raw.get("step") or 0),
        float("nan" if value is None else value),
        float(raw.get("timestamp") or 0) / 1000,
    )


def _rank(name: str) -> tuple[bool, str]:
    """The user's own log first."""
    return not name.startswith(_OWN_LOGS), name


def _message(error: Any) -> str:
    while isinstance(error, dict) and isinstance(error.get("error"), dict):
        error = error["error"]
    return str(error.get("message") or error.get("code") or "") if isinstance(error, dict) else ""


def created(body: Mapping[str, Any]) -> datetime:
    """When a job was made, as Resource Manager has it; its texts have no order, as fractions of a second vary."""
    return _time((body.get("systemData") or {}).get("createdAt")) or datetime.min.replace(tzinfo=UTC)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
