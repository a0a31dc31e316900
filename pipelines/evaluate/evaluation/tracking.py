"""MLflow: the step's figures and pages on its own run and on the pipeline's, and the loss curves read back from there.

What cannot be recorded is said and fails nothing: the verdict stands in the output folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation import run_facts
from evaluation.scoring import say
from evaluation.settings import Settings

Curve = list[tuple[int, float]]
ARTIFACTS = "evaluation"
RUN_ARTIFACTS = "run"
_CURVES = {"train": "loss", "validation": "eval_loss"}
_LONGEST_TEXT = 250  # Azure ML takes 256 characters in a tag of a run
_OF_A_MODEL = ("loss", "perplexity", "mean_tokens", "empty", "cut", "repetition")
_RUN_FILES = ("recipe.yml", "card.json", "run.json", "preflight.json")


@dataclass(frozen=True)
class Curves:
    """Loss by step, in nats per token, of training and validation; `missing` says why there is none."""

    run: str | None
    curves: dict[str, Curve] = field(default_factory=dict)
    missing: str = ""


@dataclass
class Tracker:
    """Where figures go: the step's run and the root's; without a tracking address nothing is sent."""

    address: str | None
    runs: tuple[str, ...]
    root: str | None

    def curves(self, training_run: str | None) -> Curves:
        """The history of the training run, else of the root run."""
        run = training_run or self.root
        if self.address is None or run is None:
            return Curves(run, missing="The step ran without a tracking server.")
        try:
            client = _client()
            found = {name: _curve(client.get_metric_history(run, key)) for name, key in _CURVES.items()}
        except Exception as error:  # mlflow and its plugins raise kinds of their own
            say(f"The loss curves of run '{run}' cannot be read: {_first_line(error)}")
            return Curves(run, missing=f"They could not be read: {_first_line(error)}")
        found = {name: curve for name, curve in found.items() if curve}
        return Curves(run, found, "" if found else "The run has none.")

    def log(self, settings: Settings, metrics: Mapping[str, Any]) -> None:
        """Metrics, parameters, tag and artifacts, on each run."""
        if self.address is None:
            return
        for run in self.runs:
            try:
                _log(run, settings, metrics)
            except Exception as error:  # as above
                say(f"The figures cannot be recorded on run '{run}': {_first_line(error)}")


def from_environment(environment: Mapping[str, str] = os.environ) -> Tracker:
    """From what Azure ML sets in a job."""
    own = environment.get("MLFLOW_RUN_ID") or environment.get("AZUREML_RUN_ID")
    root = environment.get("AZUREML_ROOT_RUN_ID") or own
    return Tracker(environment.get("MLFLOW_TRACKING_URI"), tuple(dict.fromkeys(r for r in (own, root) if r)), root)


def figures(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of metrics.json under flat names; what is unknown is left out.

    Azure ML takes 50 names of metrics on a run ("Service limits", Metrics), and the pipeline's run has the trainer's
    already: what a parameter says too, or metrics.json alone is asked for, is none of these.
    """
    found = {
        "eval_passed": 1.0 if metrics["verdict"] == "passed" else 0.0,
        "eval_clusters": metrics["test"]["clusters"],
        "eval_rows": metrics["test"]["rows"],
    }
    for name in ("gain", "gain_over_serving", "regression"):
        if name in metrics:
            found[f"eval_{name}"] = metrics[name]["estimate"]
            found.update({f"eval_{name}_{bound}": metrics[name][bound] for bound in ("lower", "upper")})
    for model, numbers in metrics["models"].items():
        told = {**metrics["generation"].get(model, {}), **numbers}
        found.update({f"eval_{model}_{key}": told.get(key) for key in _OF_A_MODEL})
    return {name: float(value) for name, value in found.items() if value is not None}


def _log(run: str, settings: Settings, metrics: Mapping[str, Any]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    client = _client()
    now = int(time.time() * 1000)
    gate = metrics["gate"]
    names = ("min_gain", "max_regression", "min_clusters", "attempt", "seed", "resamples")
    client.log_batch(
        run,
        metrics=[Metric(name, value, now, 0) for name, value in figures(metrics).items()],
        params=[Param(f"eval_{name}", str(gate[name])) for name in names],
        tags=[RunTag("eval_verdict", metrics["verdict"]), RunTag("eval_reasons", _short(" ".join(metrics["reasons"])))],
    )
    for name in ("metrics.json", "report.html", "losses.jsonl", "samples.jsonl", "files.json"):
        client.log_artifact(run, str(settings.evaluation / name), ARTIFACTS)
    for path in _run_files(settings.run_folder):
        client.log_artifact(run, str(path), RUN_ARTIFACTS)
    trained = run_facts.read(settings.run_folder).run.get("parameters")
    if isinstance(trained, dict):  # last: Azure's trainer logs none today, and one that differs is refused
        client.log_batch(run, params=[Param(str(name), _short(str(value))) for name, value in trained.items()])


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "\u2026"


def _run_files(folder: Path | None) -> list[Path]:
    return [folder / name for name in _RUN_FILES if (folder / name).is_file()] if folder else []


def _client() -> Any:
    # The default of seven tries with growing pauses would hold the step up for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    from mlflow.tracking import MlflowClient

    return MlflowClient()


def _curve(history: Any) -> Curve:
    return sorted({int(point.step): float(point.value) for point in history}.items())


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
