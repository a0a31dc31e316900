"""A registration: named after its job, and passed, refused, or overruled by somebody who says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from tests.scripts.fine_tunes import FILES, TAGS, FineTune
from tests.tunestack.stored import MemoryFolder
from tunestack import caller, stored_files
from tunestack.errors import EndedBadly, GateSaidNo, UsageError
from tunestack.jobs import gate, job_name, trained_model
from tunestack.jobs.gate import Verdict
from tunestack.jobs.run_history import Run
from tunestack.jobs.trained_model import TrainedModel
from tunestack.models import registration
from tunestack.models.registration import Judged, Registration

YES, NO = FineTune(), FineTune(gain=(0.05, -0.01, 0.1))
SUM = YES.metrics["files"]["sha256"]
Judge = Callable[..., Judged]


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    """Judges job `j`: `made` is what its evaluation left, if there is one; `there` are the model's files by now."""

    def judged(made: FineTune | None, why: str = "", there: Any = FILES, **tags: str) -> Judged:
        def read(connection: Any, job: str) -> Verdict:
            if made is None:
                raise UsageError(f"job '{job}' has no evaluation of its model")
            files = MemoryFolder({"files.json": json.dumps(made.manifest)})
            passed = made.metrics["verdict"] == "passed"
            return Verdict(passed, ("Too uncertain.",), ("a label",), made.metrics, "e", job, files)

        monkeypatch.setattr(gate, "read", read)
        monkeypatch.setattr(stored_files, "job_output", lambda *_: MemoryFolder(there))
        monkeypatch.setattr(caller, "name", lambda _: "somebody")
        found = Registration("m", "1", "azureml://jobs/j/outputs/trained_model", {"job": "j", **TAGS, **tags})
        connection: Any = None  # whoever would ask it is replaced above
        planned: Any = (found, {"name": "j"}, None)
        return registration.judge(connection, planned, why)

    return judged


@pytest.mark.parametrize(
    ("made", "why", "word", "forced_why", "forced_by"),
    [
        (YES, "", "passed", None, None),
        (YES, "just in case", "passed", None, None),
        (NO, "for the board", "forced", "for the board", "somebody"),
        (None, "no GPU was free", "forced", "no GPU was free", "somebody"),
    ],
)
def test_only_a_gate_that_said_no_is_forced_and_then_by_whom_and_why(
    judge: Judge, made: Any, why: str, word: str, forced_why: str | None, forced_by: str | None
) -> None:
    found = judge(made, why)
    assert (found.tags["gate"], found.tags.get("forced_why"), found.tags.get("forced_by")) == (
        *(word, forced_why, forced_by),
    )
    assert found.forced == (forced_why or "")
    assert (found.tags["files_sha256"], found.tags["files"]) == (SUM, str(len(FILES)))
    assert found.tags.get("labels") == ("a label" if made else None)
    assert found.tags["evidence"] == "m-evidence:1"


def test_without_a_reason_a_no_and_no_word_at_all_are_refused(judge: Judge) -> None:
    with pytest.raises(GateSaidNo, match="the gate says inconclusive"):
        judge(NO)
    with pytest.raises(UsageError, match="has no evaluation"):
        judge(None)


@pytest.mark.parametrize("why", ["", "whatever it takes"])
@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({**FILES, "predict.py": "import os"}, "added were 'predict.py'"),
        ({name: text for name, text in FILES.items() if name != "LICENSE"}, "missing are 'LICENSE'"),
        ({**FILES, "data/model/model.safetensors": "trained again"}, "has 13 bytes, not 7"),
    ],
)
def test_a_verdict_on_another_model_than_the_one_that_lies_there_is_none(
    judge: Judge, there: Any, said: str, why: str
) -> None:
    with pytest.raises(UsageError, match="job 'e' evaluated another model than job 'j' has now") as caught:
        judge(YES, why, there)
    assert said in str(caught.value)
    with pytest.raises(UsageError, match="its metrics name another hash over all files"):
        judge(FineTune(changed={"files": {"sha256": "0" * 64}}), why)


def test_no_tag_of_a_job_stands_for_what_was_measured(judge: Judge) -> None:
    claimed = {"gate": "passed", "gain": "+9", "files_sha256": "0", "labels": "none", "evaluation_job": "mine"}
    tags = judge(NO, "for the board", **claimed, evidence="theirs:1", forced_why="x").tags
    assert {name for name, text in claimed.items() if tags.get(name) == text} == set()
    assert (tags["forced_why"], tags["evidence"]) == ("for the board", "m-evidence:1")


def planned(
    monkeypatch: pytest.MonkeyPatch, run: Run, name: str = "", rescued: TrainedModel | None = None, **tags: str
) -> Registration:
    """The registration of job `j`, whose run is this; `rescued` is the model of one that ended badly."""
    outputs = {"trained_model": {"uri": "azureml://datastores/d/paths/j"}}
    body = {"name": "j", "properties": {"tags": {**TAGS, **tags}, "outputs": outputs}}
    monkeypatch.setattr(registration, "RunHistory", lambda _: SimpleNamespace(run=lambda job: run))
    monkeypatch.setattr(job_name, "find", lambda history, job: job)
    monkeypatch.setattr(trained_model, "find", lambda history, body: rescued)
    monkeypatch.setattr(registration, "failure", lambda history, run: EndedBadly("it failed"))
    arm = SimpleNamespace(get=lambda *_: body)
    connection: Any = SimpleNamespace(arm=arm, workspace=SimpleNamespace(path="/w"))
    return registration.plan(connection, "j", name)[0]


def test_name_version_and_job_follow_from_the_job_and_from_no_tag_that_claims_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run("j", "j", "Completed", ended=datetime(2026, 11, 21, 10, 0, 0, 999_000, tzinfo=UTC))
    found = planned(monkeypatch, run, job="another")
    assert found.handle == "SmolLM2-135M-Instruct-chatterbot-corpus:1795255200"
    assert found.path == "azureml://jobs/j/outputs/trained_model"
    assert found.tags == {**TAGS, "job": "j"}
    assert planned(monkeypatch, run, "mine").handle == "mine:1795255200"
    for status in ("Failed", "Canceled", "NotResponding"):
        with pytest.raises(EndedBadly, match="it failed"):
            planned(monkeypatch, replace(run, status=status))
        rescued = TrainedModel("azureml://datastores/d/paths/trained/", datetime(2026, 11, 21, 9, tzinfo=UTC))
        found = planned(monkeypatch, replace(run, status=status), rescued=rescued)
        assert (found.version, found.path) == ("1795251600", rescued.uri), "since the training ended"
    for unfinished in (replace(run, status="Running"), replace(run, ended=None)):
        with pytest.raises(EndedBadly, match="has not finished"):
            planned(monkeypatch, unfinished)
