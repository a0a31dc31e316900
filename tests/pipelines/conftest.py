"""The evaluation step as it is shipped: its folder on the import path, and one run of it on tiny models."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_model import make_rows, make_tiny_model, write_rows

STEP = Path(__file__).parents[2] / "pipelines" / "evaluate"
sys.path.insert(0, str(STEP))

CARD = {
    "name": "tiny-100",
    "source": "package:tiny",
    "licence": "BSD-3-Clause",
    "percent": 100,
    "hash": "ab" * 32,
    "rows": {"train": 80, "validation": 8, "test": 12, "sample": 3},
    "tokens": {"train": 900, "how": "counted: all 80 rows of train"},
    "lengths": {
        "unit": "tokens",
        "histogram": [{"from": 0, "below": 16, "rows": 70}, {"from": 16, "below": 32, "rows": 10}],
    },
    "rejected": {"rows": 2, "reasons": [{"reason": "empty content", "rows": 2}]},
}
RUN = {
    "job": "tiny-0123456789ab",
    "display_name": "tiny on <questions> & answers",
    "workspace": "ws",
    "stack": "local",
    "who": "somebody",
    "submitted": "2026-11-21T17:00:00+00:00",
    "attempt": 2,
    "parameters": {"learning_rate": "0.002", "max_steps": "12"},
    "tags": {"base_model": "azureml://registries/azureml/models/tiny/versions/1", "commit": "0123abc"},
}
PREFLIGHT = {
    "verdict": "ok",
    "findings": [{"check": "base-model", "verdict": "ok"}, {"check": "budget", "verdict": "warning"}],
    "estimate": {
        "budget": 15.0,
        "run": {
            "hours": [0.1, 0.4],
            "dollars": [0.2, 0.9],
            "parts": [{"part": "training", "size": "Standard_NC4as_T4_v3", "hours": [0.1, 0.4], "dollars": [0.2, 0.9]}],
        },
    },
}


def distinct_rows(count: int) -> list[dict[str, Any]]:
    """Conversations of differing length; every fifth has two answers."""
    rows = make_rows(count)
    for number, row in enumerate(rows):
        row["messages"][1]["content"] += " Indeed it is." * (number % 4)
        if number % 5 == 4:
            row["messages"] += [
                {"role": "user", "content": "Are you sure?"},
                {"role": "assistant", "content": "I am."},
            ]
    return rows


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three models of the same tokenizer and of different weights."""
    folder = tmp_path_factory.mktemp("models")
    return {name: make_tiny_model(folder / name, seed=seed) for seed, name in enumerate(("base", "tuned", "serving"))}


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.yml").write_text("# as it ran\nbase_model: tiny # <b>\n")
    for name, content in (("card.json", CARD), ("run.json", RUN), ("preflight.json", PREFLIGHT)):
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.fixture
def test_file(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "test.jsonl", distinct_rows(12))


Evaluate = Callable[..., dict[str, Any]]


@pytest.fixture
def arguments(tmp_path: Path, tiny_models: dict[str, Path], test_file: Path) -> Callable[..., list[str]]:
    """The step's command line with tiny models, as component.yml writes it; None takes an argument away."""

    def make(**changed: object) -> list[str]:
        given: dict[str, object] = {
            "test_file": test_file,
            "tuned_model": tiny_models["tuned"],
            "base_model": tiny_models["base"],
            "max_rows": 12,
            "min_clusters": 10,
            "samples": 2,
            "max_new_tokens": 6,
            "evaluation": tmp_path / "evaluation",
            **changed,
        }
        return [text for name, value in given.items() if value is not None for text in (f"--{name}", str(value))]

    return make


@pytest.fixture
def evaluate(tmp_path: Path, arguments: Callable[..., list[str]]) -> Evaluate:
    """Run the step in this process; what its output folder holds as metrics.json is returned."""
    from evaluation import gate
    from evaluation.settings import parse

    def run(**changed: object) -> dict[str, Any]:
        gate.run(parse(arguments(**changed)))
        found: dict[str, Any] = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
        return found

    return run


def lines_of(path: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
