"""What is told of a run that has ended: figures, and what is none in words."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tunestack.jobs import job_report
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
