"""Watching, failing and cancelling real jobs of a local cloud that is made to misbehave; pauses are the test's."""

from __future__ import annotations

import argparse
import json
import re
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from localcloud.arm import ArmError
from tests.localcloud.runner.conftest import runs
from tests.scripts.conftest import Jobs, Script, Stack
from tests.tiny_model import make_rows, make_tiny_model, write_rows
from tunestack import connect
from tunestack.connect import Connection
from tunestack.errors import UsageError
from tunestack.jobs import cancelling, job_name
from tunestack.jobs.run_history import Run, RunHistory
from tunestack.jobs.watch import follow
from tunestack.jobs.watch_clock import Waiting

RUNS = "Microsoft.MachineLearningServices/workspaces/runs.read"
NO_FLAGS = {"subscription": None, "resource_group": None, "workspace_name": None}


@pytest.fixture
def connection(stack: Stack) -> Connection:
    return connect.connect(argparse.Namespace(outputs=stack.outputs, **NO_FLAGS))


@pytest.fixture(autouse=True)
def _no_faults(stack: Stack) -> Any:
    yield
    stack.cloud.cloud.faults.release_all()


class Pauses:
    """A clock of the test's: the watch's pauses take a moment, and at some of them something happens."""

    def __init__(self, **events: Callable[[], object]) -> None:
        self.asked: list[float] = []
        self._events = events

    def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        self._events.get(f"at{len(self.asked)}", lambda: None)()
        threading.Event().wait(0.02)


class Turns:
    """Pauses in which one thing after the other happens: each when a whole look has passed since it was due."""

    def __init__(self, *turns: tuple[Callable[[], bool], Callable[[], object]]) -> None:
        self._turns = list(turns)
        self._was_due = False

    def __call__(self, seconds: float) -> None:
        if self._was_due:
            self._turns.pop(0)[1]()
        self._was_due = bool(self._turns) and self._turns[0][0]()
        threading.Event().wait(0.02)


def watched(connection: Connection, job: str, pauses: Callable[[float], None]) -> Run:
    return follow(RunHistory(connection), job, "attach", Waiting(3600, pauses, chance=lambda: 0.0))


@pytest.fixture
def gated(jobs: Jobs, tmp_path: Path) -> tuple[str, Callable[[], object]]:
    """A job that runs until the function is called."""
    gate = tmp_path / "gate"
    return jobs.start(f"until [ -e {gate} ]; do sleep 0.05; done"), gate.touch


def test_a_cloud_that_is_busy_is_left_alone_as_long_as_it_asks(
    stack: Stack, connection: Connection, gated: Any
) -> None:
    job, release = gated
    faults = stack.cloud.cloud.faults

    def busy() -> None:
        faults.arm(RUNS, ArmError(429, "TooManyRequests", "slow down", headers={"Retry-After": "33"}))

    def broken() -> None:
        faults.arm(RUNS, ArmError(503, "ServiceUnavailable", "not now"), times=3)

    pauses = Pauses(at2=busy, at4=broken, at9=release)
    assert watched(connection, job, pauses).status == "Completed"
    assert pauses.asked.count(33.0) == 1
    assert faults.armed == {}


def test_a_network_that_is_away_for_a_while_does_not_end_the_watch(
    connection: Connection, gated: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job, release = gated
    with monkeypatch.context() as away:
        pauses = Pauses(
            at2=lambda: away.setenv("HTTPS_PROXY", "http://127.0.0.1:9"), at5=lambda: (away.undo(), release())
        )
        assert watched(connection, job, pauses).status == "Completed"
    said = capsys.readouterr().err
    assert "out of reach, trying again: nothing answers at 'http://127.0.0.1:9'" in said
    assert f"job '{job}' is in reach again" in said


def test_a_preempted_job_is_seen_in_the_queue_again(
    stack: Stack, connection: Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = {"vmSize": "Standard_DS3_v2", "vmPriority": "LowPriority", "scaleSettings": {"maxNodeCount": 1}}
    body = {"computeType": "AmlCompute", "properties": inner}
    stack.put("computes/cheap", {"location": "eastus", "properties": body})
    begun = tmp_path / "begun"
    faults = stack.cloud.cloud.faults
    job = started(connection, f"if [ -e {begun} ]; then exit 0; fi; touch {begun}; sleep 600", compute="cheap")

    def preempt() -> None:
        faults.hold("job.allocate")
        faults.preempt()

    def is_queued() -> bool:
        gate = faults.gate("job.allocate")
        return gate is not None and gate.reached.is_set()

    turns = Turns((begun.exists, preempt), (is_queued, lambda: faults.disarm("job.allocate")))
    assert watched(connection, job, turns).status == "Completed"
    said = capsys.readouterr().err
    assert "was preempted: it stands in the queue again" in said
    assert "preempted, in the queue again (" in said


def started(connection: Connection, line: str, compute: str) -> str:
    from azure.ai.ml import command

    job = command(
        command=line,
        environment="azureml://registries/azureml/environments/acft-hf-nlp-gpu/versions/112",
        compute=compute,
        display_name="walk",
    )
    return str(connection.ml.jobs.create_or_update(job).name)


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def preprocess(tmp_path: Path) -> Callable[[Path], str]:
    """The real step's command on some rows."""
    from localcloud.components.chat_completion.model_import import BaseModel, import_model

    import_model(BaseModel(mlflow_model_path=make_tiny_model(tmp_path / "tiny")), tmp_path / "imported")
    step = "python -m localcloud.components.chat_completion.preprocess"
    return lambda rows: (
        f"{step} --train_file_path {rows} --validation_file_path {rows} --test_file_path {rows} "
        f"--model_selector_output {tmp_path / 'imported'} --output_dir {tmp_path / 'out'}"
    )


def test_a_step_that_fails_for_a_known_reason_ends_with_the_cause_and_the_fix(
    stack: Stack, script: Script, jobs: Jobs, preprocess: Any, tmp_path: Path
) -> None:
    name = jobs.run(preprocess(write_rows(tmp_path / "rows.jsonl", make_rows(9))), "Failed")
    ended = script("submit_finetune", "--attach", name)
    said = ended.failed(4)
    assert f"job '{name}' ended as Failed: The number of training examples is 9" in said
    assert "the cause is known: fewer than 10 train rows were usable" in said
    assert "Give more rows (data.percent in the recipe)" in said
    assert "UserError: The number of training examples is 9" in ended.err


def test_a_step_that_fails_for_an_unknown_reason_shows_its_log(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = jobs.run("echo a strange thing; exit 3", "Failed")
    ended = script("submit_finetune", "--attach", name)
    assert "the cause is not known; the log is above" in ended.failed(4)
    assert "  | a strange thing" in ended.err


def test_a_quota_that_is_used_up_and_a_region_that_is_full_are_told_apart(
    stack: Stack, script: Script, jobs: Jobs
) -> None:
    for code, cause in (("ClusterCoreQuotaReached", "not enough cores left"), ("AllocationFailed", "matter of quota")):
        stack.cloud.cloud.faults.arm("job.allocate", ArmError(400, code, f"{code}: no machine of this size."))
        said = script("submit_finetune", "--attach", jobs.run("true", "Failed")).failed(4)
        assert cause in said, said


# -- cancelling --------------------------------------------------------------------------------------------------------


def test_a_cancelled_job_ends_with_all_its_processes_and_its_cost(
    connection: Connection, jobs: Jobs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pids = tmp_path / "pids"
    tree = f"(trap '' TERM; sleep 600 & echo $! > {pids}.part; mv {pids}.part {pids}; wait; sleep 600) & wait"
    name = jobs.start(tree)
    jobs.until(pids.exists)
    result = cancelling.cancel(connection, name, Waiting(60, Pauses()))
    assert result.record["status"] == "Canceled"
    assert result.record["estimated_cost"] is not None
    said = capsys.readouterr().err
    assert f"job '{name}' is cancelled" in said
    assert re.search(r"it has cost (about \d+\.\d\d|less than 0\.01) \$ so far \(an estimate", said)
    assert not runs(int(pids.read_text()))
    assert cancelling.cancel(connection, name).record["status"] == "Canceled", "once more is no error"


@pytest.mark.parametrize(("line", "status"), [("true", "Completed"), ("false", "Failed")])
def test_a_finished_job_cannot_be_cancelled(connection: Connection, jobs: Jobs, line: str, status: str) -> None:
    name = jobs.run(line, status)
    with pytest.raises(UsageError, match=f"'{name}' has ended as {status} and cannot be cancelled"):
        cancelling.cancel(connection, name)


def test_a_job_that_ends_while_it_is_being_cancelled_is_said_to_have_ended(
    stack: Stack, connection: Connection, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = jobs.run("true", "Completed")
    looks = [Run(name, name, "Running")]
    real = RunHistory.run
    monkeypatch.setattr(RunHistory, "run", lambda self, run: looks.pop() if looks else real(self, run))
    with pytest.raises(UsageError, match="has ended as Completed and cannot be cancelled"):
        cancelling.cancel(connection, name)


@pytest.mark.parametrize("status", ["Canceled", "CancelRequested"])
def test_a_job_that_somebody_else_cancels_at_the_same_moment_is_cancelled(
    connection: Connection, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    name = jobs.run("true", "Completed")  # whose cancel the cloud refuses
    looks = [Run(name, name, "Running"), Run(name, name, status), Run(name, name, "Canceled")]
    monkeypatch.setattr(RunHistory, "run", lambda self, run: looks.pop(0))
    assert cancelling.cancel(connection, name, Waiting(60, Pauses())).record["status"] == "Canceled"


def test_a_job_that_does_not_respond_is_asked_to_end_and_no_more_is_said_than_is_known(
    connection: Connection, jobs: Jobs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = jobs.start("sleep 600")
    monkeypatch.setattr(RunHistory, "run", lambda self, run: Run(name, name, "NotResponding"))
    assert cancelling.cancel(connection, name, Waiting(60, Pauses())).record["status"] == "NotResponding"
    said = capsys.readouterr().err
    assert f"asked for job '{name}' to be cancelled" in said
    assert f"warning: job '{name}' does not respond" in said


# -- names -------------------------------------------------------------------------------------------------------------


def test_a_job_is_found_by_each_of_its_names(stack: Stack, connection: Connection, jobs: Jobs) -> None:
    name, history = jobs.run("true", "Completed"), RunHistory(connection)
    studio = f"https://ml.azure.com/runs/{name}?wsid={stack.workspace.lower()}&tid=x"
    for text in (name, f"{stack.workspace}/jobs/{name}", f"azureml://jobs/{name}/outputs/trained_model", studio):
        assert job_name.find(history, text) == name


def test_a_job_of_another_workspace_is_named_with_its_workspace(stack: Stack, script: Script) -> None:
    other = stack.workspace.rpartition("/")[0] + "/elsewhere"
    for text in (f"{other}/jobs/far", f"https://ml.azure.com/runs/far?wsid={other}"):
        said = script("submit_finetune", "--attach", text).failed(2)
        assert "job 'far' is one of workspace 'elsewhere', and this is workspace 'test'" in said
        assert "--workspace-name elsewhere" in said


def test_a_job_that_does_not_exist_and_a_step_of_one_are_named(connection: Connection, jobs: Jobs) -> None:
    from azure.ai.ml import command, dsl

    history = RunHistory(connection)
    with pytest.raises(UsageError, match="job 'nowhere' does not exist in workspace 'test'"):
        job_name.find(history, "nowhere")
    part = command(
        name="part",
        command="true",
        environment="azureml://registries/azureml/environments/acft-hf-nlp-gpu/versions/112",
    ).component

    @dsl.pipeline(default_compute="cpu")
    def whole() -> None:
        part()

    root = connection.ml.jobs.create_or_update(whole()).name
    jobs.wait(root)
    (step,) = history.steps(root)
    with pytest.raises(UsageError, match=f"'{step.id}' is a step of job '{root}'"):
        job_name.find(history, step.id)


def test_a_watched_jobs_record_has_its_cost_and_its_end_in_iso_8601(stack: Stack, script: Script, jobs: Jobs) -> None:
    record = json.loads(script("submit_finetune", "--attach", jobs.run("true", "Completed"), "--json").out)
    assert record["estimated_cost"] >= 0
    assert "T" in record["ended"]
    assert datetime.fromisoformat(record["ended"]).tzinfo
