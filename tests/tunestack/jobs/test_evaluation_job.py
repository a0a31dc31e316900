"""The gate alone: which finished jobs can be gated, and when an evaluation that is there answers already."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.scripts.fine_tunes import TAGS
from tunestack.errors import EndedBadly, TunestackError, UsageError
from tunestack.jobs import evaluation_job, trained_model
from tunestack.jobs.evaluation_step import TAG

KEY, OTHER = "asked", "another"


def job(
    name: str, status: str = "Completed", created: str = "2026-11-20T10:00:00Z", *, inputs: Any = None, **tags: str
) -> dict[str, Any]:
    outputs = {name: {"uri": f"azureml://datastores/d/paths/{name}"} for name in ("trained_model", "evaluation")}
    properties = {
        "status": status,
        "tags": {**TAGS, **tags},
        "outputs": outputs,
        "inputs": {"test_file": {"uri": "azureml://t"}} if inputs is None else inputs,
    }
    return {"name": name, "systemData": {"createdAt": created}, "properties": properties}


def later(key: str, status: str = "Completed", created: str = "2026-11-21T10:00:00Z", of: str = "j") -> dict[str, Any]:
    return job("later", status, created, evaluates=of, **{TAG: key})


@pytest.mark.parametrize(
    ("own", "others", "answers"),
    [
        (job("j", **{TAG: KEY}), [], "j"),
        (job("j", **{TAG: OTHER}), [], None),
        (job("j", "Failed", **{TAG: KEY}), [], None),
        (job("j", **{TAG: OTHER}), [later(KEY)], "later"),
        (job("j", **{TAG: OTHER}), [later(KEY, "Running")], "later"),
        (job("j", **{TAG: OTHER}), [later(KEY, of="other")], None),
        (job("j", **{TAG: KEY}), [later(OTHER)], None),
        *((job("j", **{TAG: KEY}), [later(OTHER, status)], "j") for status in ("Failed", "Canceled", "NotResponding")),
        (job("j"), [later(KEY, created="2026-11-21T10:00:00.5Z"), later(OTHER)], "later"),
        (job("j"), [later(OTHER, created="2026-11-21T10:00:00.5Z"), later(KEY)], None),
    ],
)
def test_a_gate_is_not_repeated_while_its_word_is_the_one_that_counts(own: Any, others: Any, answers: Any) -> None:
    arm = SimpleNamespace(pages=lambda *_, **__: others)
    connection: Any = SimpleNamespace(arm=arm, workspace=SimpleNamespace(path="/w"))
    assert evaluation_job.existing(connection, own, KEY) == answers


def test_a_job_without_an_evaluation_of_its_own_answers_nothing() -> None:
    plain = job("j", **{TAG: KEY})
    del plain["properties"]["outputs"]["evaluation"]
    connection: Any = SimpleNamespace(
        arm=SimpleNamespace(pages=lambda *_, **__: []), workspace=SimpleNamespace(path="/w")
    )
    assert evaluation_job.existing(connection, plain, KEY) is None


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (job("j", evaluates="first"), UsageError, "job 'j' is itself an evaluation, of job 'first'"),
        (job("j", "Running"), EndedBadly, "job 'j' has not finished: it is in state 'Running'"),
        (job("j", base_model=""), UsageError, "job 'j' has no tag 'base_model'"),
        (job("j", data_hash=""), UsageError, "job 'j' has no tag 'data_hash'"),
        (job("j", test_hash=""), UsageError, "job 'j' has no tag 'test_hash'"),
        (job("j", inputs={}), UsageError, "job 'j' has no input 'test_file', so its test rows are not known"),
    ],
)
def test_what_cannot_be_gated_is_refused_with_its_reason(body: Any, kind: type[TunestackError], said: str) -> None:
    history: Any = SimpleNamespace(job=lambda name: body)
    with pytest.raises(kind) as caught:
        evaluation_job.trained(history, "j")
    assert caught.value.problems == (said,)


@pytest.mark.parametrize("status", ["Completed", "Failed", "Canceled"])
def test_whatever_ended_with_a_model_can_be_gated(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body = job("j", status)
    history: Any = SimpleNamespace(job=lambda name: body)
    monkeypatch.setattr(trained_model, "find", lambda *_: "a model")
    assert evaluation_job.trained(history, "j") is body
