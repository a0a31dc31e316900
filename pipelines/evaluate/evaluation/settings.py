"""What the step was started with: its arguments, which are the inputs of component.yml under the same names."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.refusal import Refusal
from evaluation.verdict import Gate

# As `min` in component.yml, which a service need not hold against what it is sent.
LEAST = {
    "min_gain": 0,
    "max_regression": 0,
    "min_clusters": 2,
    "max_rows": 1,
    "samples": 0,
    "max_new_tokens": 1,
    "attempt": 1,
    "seed": 0,
}


@dataclass(frozen=True)
class Settings:
    """One run of the gate; paths are as the job mounts them."""

    test_file: Path
    tuned_model: Path
    evaluation: Path
    base_model: Path | None
    huggingface_id: str | None
    serving_model: Path | None
    regression_file: Path | None
    run_folder: Path | None
    training_run: str | None
    gate: Gate
    max_rows: int
    samples: int
    max_new_tokens: int
    max_seq_length: int
    seed: int


def parse(argv: Sequence[str] | None = None) -> Settings:
    """From the command line. Refusal when there is no base model or two, and where a figure is none to judge by."""
    parser = argparse.ArgumentParser(prog="evaluation", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--test_file", type=Path, required=True, help="the test split, JSON lines")
    add("--tuned_model", type=Path, required=True, help="folder of the model to judge")
    add("--base_model", type=Path, help="folder of the model that it was tuned from")
    add("--huggingface_id", help="the base model on the hub, OWNER/NAME[@REVISION]")
    add("--serving_model", type=Path, help="folder of the model that answers today")
    add("--regression_file", type=Path, help="questions with reference answers, JSON lines")
    add("--run_folder", type=Path, help="recipe.yml, card.json, run.json, preflight.json for the report")
    add("--training_run", help="run whose loss curves are shown")
    add("--min_gain", type=float, default=0.02, help="nats per token")
    add("--max_regression", type=float, default=0.05, help="nats per token")
    add("--min_clusters", type=int, default=100, help="conversations needed for a verdict")
    add("--max_rows", type=int, default=2000, help="test rows at most")
    add("--samples", type=int, default=8, help="conversations that each model answers itself")
    add("--max_new_tokens", type=int, default=200, help="length at which such an answer is cut")
    add("--max_seq_length", type=int, default=-1, help="length at which a conversation is cut, -1: the model's own")
    add("--attempt", type=int, default=1, help="gates that have used this test split, this one counted")
    add("--seed", type=int, default=42, help="seed of the choice of rows and of the resampling")
    add("--evaluation", type=Path, required=True, help="folder to write")
    found = vars(parser.parse_args(argv))
    if bool(found["base_model"]) == bool(found["huggingface_id"]):
        raise Refusal("The base model is needed once: give either base_model or huggingface_id.")
    wrong = [
        f"{name} is {found[name]}, and at least {least} is needed."
        for name, least in LEAST.items()
        if not (math.isfinite(found[name]) and found[name] >= least)
    ]
    if wrong:
        raise Refusal(" ".join(wrong))
    gate = Gate(*(found.pop(name) for name in ("min_gain", "max_regression", "min_clusters", "attempt")))
    return Settings(gate=gate, **found)
