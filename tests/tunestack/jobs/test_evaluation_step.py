"""The gate as a step: what it is told, and whether the gate behind a verdict is the one that is wanted."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunestack.jobs import evaluation_step
from tunestack.recipes.recipe import Evaluation

ASKED = {"min_gain": 0.02, "max_regression": 0.05, "min_clusters": 100}
OTHERWISE = "other rows, other questions or other code of the step"


@pytest.mark.parametrize(
    ("ran", "key", "said"),
    [
        (ASKED, "wanted", []),
        ({}, "wanted", []),
        ({**ASKED, "min_gain": 0.01}, "", []),  # of a job from before keys: nobody knows
        ({**ASKED, "min_gain": 0.01}, "other", ["min_gain 0.01 in place of 0.02"]),
        (
            {"min_gain": 0.03, "max_regression": 0.5, "min_clusters": 30},
            "other",
            [
                "min_gain 0.03 in place of 0.02",
                "max_regression 0.5 in place of 0.05",
                "min_clusters 30 in place of 100",
            ],
        ),
        ({"min_clusters": 100}, "other", [OTHERWISE]),
        (ASKED, "other", [OTHERWISE]),
        (None, "other", [OTHERWISE]),
    ],
)
def test_a_verdict_of_another_gate_says_in_what_it_was_another(ran: Any, key: str, said: list[str]) -> None:
    verdict: Any = SimpleNamespace(metrics={"gate": ran})
    assert evaluation_step.differences(verdict, key, "wanted", Evaluation(**ASKED)) == said


def test_the_step_is_told_every_setting_but_where_an_own_set_lies(tmp_path: Path) -> None:
    asked = Evaluation(**ASKED, regression_set="mine.jsonl", samples=3)
    told = evaluation_step.literals(asked, "2048", 4)
    assert told == {**asked.model_dump(exclude={"regression_set"}), "max_seq_length": 2048, "attempt": 4}
    (tmp_path / "mine.jsonl").write_bytes(b"{}")
    assert evaluation_step.questions_hash(tmp_path / "mine.jsonl") == hashlib.sha256(b"{}").hexdigest()
    assert evaluation_step.questions_hash(None) == ""
