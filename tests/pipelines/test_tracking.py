"""MLflow: figures, parameters and pages on the step's run and on the root's; what is lost there fails nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from evaluation import tracking

from tests.pipelines.conftest import Evaluate


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    from mlflow.tracking import MlflowClient

    return MlflowClient()


def test_everything_stands_on_both_runs_and_the_curves_come_from_the_root(
    client: Any, evaluate: Evaluate, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = client.create_experiment("gate", artifact_location=(tmp_path / "artifacts").as_uri())
    step, root = (client.create_run(experiment).info.run_id for _ in range(2))
    for number, loss in ((10, 2.5), (2, 4.0)):
        client.log_metric(root, "loss", loss, step=number)
    client.log_metric(root, "eval_loss", 3.0, step=10)
    monkeypatch.setenv("MLFLOW_RUN_ID", step)
    monkeypatch.setenv("AZUREML_ROOT_RUN_ID", root)
    found = evaluate(run_folder=run_folder)
    for run in (step, root):
        data = client.get_run(run).data
        assert data.metrics["eval_gain_lower"] == pytest.approx(found["gain"]["lower"])
        assert data.metrics["eval_regression_upper"] == pytest.approx(found["regression"]["upper"])
        assert data.metrics["eval_passed"] == (found["verdict"] == "passed")
        assert data.params["eval_min_gain"] == "0.02"
        assert data.params["learning_rate"] == "0.002"
        assert data.tags["eval_verdict"] == found["verdict"]
        kept = {each.path for each in client.list_artifacts(run, "evaluation")}
        assert kept == {f"evaluation/{path.name}" for path in (tmp_path / "evaluation").iterdir()}
        assert {each.path for each in client.list_artifacts(run, "run")} >= {"run/recipe.yml", "run/card.json"}
    assert client.get_run(root).data.metrics["eval_loss"] == 3.0
    curves = tracking.from_environment().curves(None)
    assert curves.curves == {"train": [(2, 4.0), (10, 2.5)], "validation": [(10, 3.0)]}
    page = (tmp_path / "evaluation" / "report.html").read_text()
    assert page.count("<polyline") == 2
    assert tracking.from_environment().curves(step).missing == "The run has none."


TRAINERS = (
    *("loss", "grad_norm", "learning_rate", "epoch", "eval_loss", "eval_runtime", "eval_samples_per_second"),
    *("eval_steps_per_second", "train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos"),
    *("train_loss", "checkpoint_save_step", "checkpoint_load_step"),
)


def test_beside_the_trainers_metrics_azure_has_room_for_all_of_the_gates(
    evaluate: Evaluate, tiny_models: dict[str, Path]
) -> None:
    found = tracking.figures(evaluate(serving_model=tiny_models["serving"]))
    assert {"eval_gain_over_serving_lower", "eval_serving_repetition", "eval_base_perplexity"} <= set(found)
    assert len({*found, *TRAINERS}) == len(found) + len(TRAINERS) <= 50


def test_a_tracking_server_that_does_not_answer_costs_no_verdict(
    evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise ConnectionError("nobody answers\nat length")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_RUN_ID", "nothing")
    monkeypatch.setattr(tracking, "_client", refuse)
    assert evaluate()["verdict"] == "inconclusive"
    said = capfd.readouterr().err
    assert "The figures cannot be recorded on run 'nothing': nobody answers\n" in said
    assert "The loss curves of run 'nothing' cannot be read: nobody answers\n" in said


def test_without_an_address_nothing_is_sent() -> None:
    tracker = tracking.from_environment({"AZUREML_RUN_ID": "step"})
    assert tracker.runs == ("step",)
    assert tracker.curves(None).missing == "The step ran without a tracking server."


def test_the_step_that_is_its_own_root_is_recorded_once() -> None:
    environment = {"MLFLOW_RUN_ID": "a", "AZUREML_RUN_ID": "a", "AZUREML_ROOT_RUN_ID": "a", "MLFLOW_TRACKING_URI": "x"}
    assert tracking.from_environment(environment).runs == ("a",)
