"""Run history: one record per job and per step of a pipeline, with its state, times, outputs and error.

Job name and run id are one name. What a run's state means for MLflow and for the ARM resource is told elsewhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from localcloud.arm import timestamp
from localcloud.cloud import Cloud
from localcloud.store import Body

TERMINAL = frozenset({"Completed", "Failed", "Canceled"})


@dataclass
class Run:
    """One run. `inputs` and `outputs` are `{name: {"type", "uri" or "value"}}`, times ISO 8601 in UTC.

    `submitter` is the object id of who submitted it.
    `recorded` is the status that MLflow has been told last, `recorded_inputs` whether it knows the parameters,
    `tracked_experiment` its id of the experiment;
    `pid` and `pid_started` name the process that runs; `preemptions` counts the nodes that were taken from it.
    """

    workspace: str
    id: str
    root: str
    parent: str | None
    experiment: str
    display_name: str
    kind: str
    created: str
    status: str = "NotStarted"
    started: str | None = None
    ended: str | None = None
    target: str | None = None
    description: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    node: str | None = None
    hidden: bool = False
    pid: int | None = None
    pid_started: float | None = None
    recorded: str | None = None
    tracked_experiment: str | None = None
    submitter: str = ""
    preemptions: int = 0
    recorded_inputs: bool = False

    @property
    def is_over(self) -> bool:
        return self.status in TERMINAL


_FIELDS = {each.name for each in fields(Run)}


class Runs:
    """All runs of a local cloud, in its store; every `save` is durable.

    A run is one object for as long as the server lives: whoever finds it sees what others changed.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._known: dict[tuple[str, str], Run] = {}

    def now(self) -> str:
        return timestamp(self._cloud.clock.now())

    def find(self, workspace: str, run_id: str) -> Run | None:
        known = self._known.get((workspace.lower(), run_id))
        if known is not None:
            return known
        body = self._cloud.store.record(_collection(workspace), run_id)
        return self._read(body) if body else None

    def save(self, run: Run) -> None:
        self._known[run.workspace.lower(), run.id] = run
        with self._cloud.store.transaction():
            self._cloud.store.put_record(_collection(run.workspace), run.id, asdict(run))
            self._cloud.store.put_record("run-workspace", run.workspace.lower(), {"id": run.workspace})

    def of_workspace(self, workspace: str) -> list[Run]:
        """Oldest first, steps included."""
        return [self._read(body) for _, body in self._cloud.store.records(_collection(workspace))]

    def children(self, workspace: str, run_id: str) -> list[Run]:
        return [run for run in self.of_workspace(workspace) if run.parent == run_id]

    def family(self, workspace: str, root_id: str) -> list[Run]:
        """The root run and all beneath it."""
        return [run for run in self.of_workspace(workspace) if run.root == root_id]

    def everywhere(self) -> list[Run]:
        spaces = [body["id"] for _, body in self._cloud.store.records("run-workspace")]
        return [run for workspace in spaces for run in self.of_workspace(workspace)]

    def forget(self, run: Run) -> None:
        self._known.pop((run.workspace.lower(), run.id), None)
        self._cloud.store.delete_record(_collection(run.workspace), run.id)

    def _read(self, body: Body) -> Run:
        run = Run(**{name: value for name, value in body.items() if name in _FIELDS})
        return self._known.setdefault((run.workspace.lower(), run.id), run)


def _collection(workspace: str) -> str:
    return f"run {workspace.lower()}"


def runs_of(cloud: Cloud) -> Runs:
    return cloud.part(Runs, lambda: Runs(cloud))
