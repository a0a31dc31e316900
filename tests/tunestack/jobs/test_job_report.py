"""What is told of a run that has ended: figures, and what is none in words."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tunestack.errors import NotConfigured
from tunestack.jobs import cancelling, job_report
from tunestack.jobs.run_history import Point, Run, RunHistory

TOLD = {
    "loss": [Point(1, 3.0), Point(2, 2.0), Point(3, math.nan), Point(4, math.inf)],
    "eval_loss": [Point(0, math.nan)],
    "epoch": [],
}


def test_a_loss_that_became_no_number_is_said_and_is_no_figure(capsys: pytest.CaptureFixture[str]) -> None:
    history: Any = SimpleNamespace(metrics=lambda run: dict.fromkeys(TOLD), metric=lambda run, name: TOLD[name])
    found = job_report.metrics(cast(RunHistory, history), Run("j", "j", "Completed"))
    assert found == {"loss": {"first": 3.0, "first_step": 1, "last": 2.0, "last_step": 2, "lowest": 2.0}}
    json.dumps(found, allow_nan=False)
    said = capsys.readouterr().err
    assert "'loss' is no number at 2 of 4 steps, first at step 3" in said
    assert "'eval_loss' is no number at 1 of 1 steps, first at step 0" in said


def test_a_credential_that_is_lost_after_the_end_takes_no_result_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any) -> Any:
        raise NotConfigured("no credential was accepted")

    ended = Run("j", "j", "Completed")
    history: Any = SimpleNamespace(metrics=lost, job=lost, connection=None)
    monkeypatch.setattr(job_report, "follow", lambda *_: ended)
    monkeypatch.setattr(job_report.job_name, "find", lambda history, job: job)
    options = SimpleNamespace(outputs=None, subscription=None, resource_group=None, workspace_name=None)
    result = job_report.watch(history, "j", cast(Any, options))
    assert (result.record["status"], result.record["metrics"], result.record["estimated_cost"]) == (
        "Completed",
        {},
        None,
    )
    assert cancelling.cost(history, ended) is None
    said = capsys.readouterr().err
    assert "warning: the metrics of job 'j' cannot be read: no credential was accepted" in said
    assert "warning: what job 'j' has cost cannot be found out: no credential was accepted" in said
