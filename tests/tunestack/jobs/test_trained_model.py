"""Of a job that ended badly the model is known where its training completed, whatever became of the gate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tunestack.errors import CloudError
from tunestack.jobs import finetune, trained_model
from tunestack.jobs.failed_job import failure
from tunestack.jobs.run_history import Run
from tunestack.jobs.trained_model import TrainedModel

ENDED = datetime(2026, 8, 1, 12, 30, 15, tzinfo=UTC)
PLACE = "azureml://datastores/workspaceblobstore/paths/tunestack/job/trained_model/"
TRAINED = Run("a", "Chat completion", "Completed", node="chat_completion_pipeline", is_pipeline=True, ended=ENDED)
GATE = Run("b", "evaluate", "Failed", node="evaluate", error="no regression set")


class History:
    """Children of one pipeline; the steps are those of the log that is read."""

    def __init__(self, *children: Run, uri: str = PLACE, message: str = "") -> None:
        self._children, self._uri, self._message = children, uri, message

    def job(self, name: str) -> dict[str, Any]:
        return {"name": name, "properties": {"outputs": {"trained_model": {"uri": self._uri}}, "status": "Failed"}}

    def children(self, name: str) -> list[Run]:
        return list(self._children)

    def steps(self, name: str) -> list[Run]:
        return list(self._children)

    def logs(self, name: str, lines: int) -> list[list[str]]:
        return [[self._message]]


def find(*children: Run, uri: str = PLACE) -> TrainedModel | None:
    history = History(*children, uri=uri)
    return trained_model.find(history, history.job("job"))  # type: ignore[arg-type]


def test_the_place_is_the_one_that_was_sent_and_the_time_is_the_trainings() -> None:
    assert trained_model.place("job") == PLACE
    assert find(TRAINED, GATE) == TrainedModel(PLACE, ENDED)
    # By whatever name a service shows the node: it is the only one that is a pipeline.
    unnamed = Run("a", "Chat completion", "Completed", is_pipeline=True, ended=ENDED)
    assert find(unnamed, GATE) == TrainedModel(PLACE, ENDED)


@pytest.mark.parametrize(
    "children",
    [
        (),
        (GATE,),
        (Run("a", "t", "Failed", node="chat_completion_pipeline", ended=ENDED),),
        (Run("a", "t", "Canceled", node="chat_completion_pipeline", ended=ENDED), GATE),
        (Run("a", "t", "Completed", node="chat_completion_pipeline"),),
    ],
    ids=["no children", "no training", "failed", "cancelled", "no end"],
)
def test_without_a_completed_training_there_is_no_model(children: tuple[Run, ...]) -> None:
    assert find(*children) is None


@pytest.mark.parametrize("uri", ["", "azureml://jobs/job/outputs/trained_model"])
def test_an_output_without_a_place_of_its_own_has_none_before_all_has_ended_well(uri: str) -> None:
    assert find(TRAINED, GATE, uri=uri) is None


def said(*children: Run, status: str = "Failed", message: str = "", **fields: Any) -> str:
    history = History(*children, message=message)
    return str(failure(history, Run("job", "job", status, **fields)))  # type: ignore[arg-type]


def test_a_failed_gate_is_gated_again_and_a_failed_training_trained_again() -> None:
    line = "scripts/submit_finetune.py --evaluate job "
    failed = said(TRAINED, GATE)
    assert "its training completed, and its model is there" in failed
    assert f"Mend it, then gate it anew, without training again: {line}" in failed
    assert f". Gate it anew, without training again: {line}" in said(TRAINED, status="Canceled")
    training = Run("a", "t", "Failed", node="chat_completion_pipeline", is_pipeline=True, ended=ENDED, error="x")
    assert "--evaluate" not in said(training)
    assert "run it again with --again" in said(training)
    both = Run("c", "chat_completion_finetune", "Failed", error="learning_rate must be above 0, not '0'.")
    assert "--evaluate" not in said(TRAINED, GATE, both)
    # An evaluation alone has no training to repeat either.
    alone = said(GATE, tags={"evaluates": "first"})
    assert "gate it anew, without training again: scripts/submit_finetune.py --evaluate first " in alone


def test_a_cause_whose_fix_is_only_to_run_again_repeats_the_gate_and_new_data_train_anew() -> None:
    lost = said(TRAINED, GATE, message="the process was killed by signal 11: segmentation fault")
    assert "--again" not in lost
    assert "--evaluate job" in lost
    rows = said(TRAINED, GATE, message="error: test_file has no conversation to measure")
    assert "Prepare the data again with scripts/prepare_data.py, and submit it with --again" in rows


def test_a_history_out_of_reach_gives_no_line_and_hides_no_failure() -> None:
    history = History(TRAINED, GATE)
    history.children = lambda name: (_ for _ in ()).throw(CloudError("away", status=0))  # type: ignore[method-assign]
    assert "run it again with --again" in str(failure(history, Run("job", "job", "Failed")))  # type: ignore[arg-type]


def test_of_several_jobs_that_ended_badly_the_newest_with_a_model_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def job(name: str, days: int, status: str = "Failed") -> dict[str, Any]:
        made = (ENDED + timedelta(days=days)).isoformat()
        properties = {"status": status, "tags": {finetune.TRAINING: "key"}}
        return {"name": name, "properties": properties, "systemData": {"createdAt": made}}

    def existing(*jobs: dict[str, Any]) -> Any:
        arm = SimpleNamespace(pages=lambda *_, **__: iter(jobs))
        connection = SimpleNamespace(arm=arm, workspace=SimpleNamespace(path="/w"))
        return (finetune.existing(connection, "key") or {}).get("name")  # type: ignore[arg-type]

    monkeypatch.setattr(finetune, "RunHistory", lambda _: None)
    monkeypatch.setattr(trained_model, "find", lambda _, body: body["name"].startswith("trained"))
    jobs = (job("trained-1", 1), job("trained-2", 2), job("plain", 3))
    assert existing(*jobs) == "trained-2"
    assert existing(job("plain", 3), job("older", 1)) == "plain"
    assert existing(*jobs, job("good", 0, "Completed")) == "good"
    assert existing() is None
