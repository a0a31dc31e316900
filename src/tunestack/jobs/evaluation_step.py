"""The gate as a step of a pipeline: its inputs from a recipe, and the key that tells one gate from another.

What the step does with them is the business of `pipelines/evaluate`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunestack.jobs import run_key
from tunestack.recipes.recipe import Evaluation

if TYPE_CHECKING:
    from tunestack.jobs.gate import Verdict

COMPONENT = "component.yml"
# Settings that decide; how many answers are shown side by side, and how long, do not.
DECIDING = ("min_gain", "max_regression", "min_clusters", "max_rows", "seed")
_STATED = ("min_gain", "max_regression", "min_clusters")
TAG, QUESTIONS = "gate_key", "questions"


def literals(evaluation: Evaluation, max_seq_length: str, attempt: int) -> dict[str, Any]:
    """The step's plain inputs; `max_seq_length` is the training's, in tokens, or -1."""
    settings = evaluation.model_dump(exclude={"regression_set"})
    return {**settings, "max_seq_length": int(max_seq_length), "attempt": attempt}


def gate_key(evaluation: Evaluation, questions: str, steps: str) -> str:
    """Twelve hex digits over what decides: settings, the hash of an own regression set, and the code of the step."""
    content = {**evaluation.model_dump(include=set(DECIDING)), "questions": questions, "steps": steps}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[: run_key.DIGITS]


def questions_hash(file: Path | None) -> str:
    """SHA-256 of an own regression set; empty for the set that comes with the step."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file else ""


def differences(verdict: Verdict, key: str, wanted_key: str, wanted: Evaluation) -> list[str]:
    """How the gate behind a verdict differs from the one that is wanted; empty where it does not, or nobody knows."""
    if not key or key == wanted_key:
        return []
    ran: Mapping[str, Any] = verdict.metrics.get("gate") or {}
    stated = [
        f"{name} {ran[name]:g} in place of {getattr(wanted, name):g}"
        for name in _STATED
        if name in ran and float(ran[name]) != float(getattr(wanted, name))
    ]
    return stated or ["other rows, other questions or other code of the step"]
