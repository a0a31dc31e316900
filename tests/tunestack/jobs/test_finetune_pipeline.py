"""The pipelines in the SDK's own form: what is bound to what, under which name, and a name that is taken already."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tunestack.jobs import finetune_pipeline
from tunestack.jobs.clusters import Clusters
from tunestack.jobs.finetune_pipeline import Asset, Head

STEP = Path(__file__).parents[3] / "pipelines" / "evaluate"
HEAD = Head("chat-5f2c", "a chat", "experiment", {"recipe": "r"})
CLUSTERS = Clusters("cpu", "cpu", "gpu", "small-gpu", 1)
FILES = {
    f"{split}_file": Asset("uri_file", f"azureml://datastores/d/paths/{split}.jsonl") for split in ("train", "test")
}
FILES["validation_file"] = Asset("uri_file", "azureml://datastores/d/paths/validation.jsonl")
BASE = {"base_model": Asset("mlflow_model", "azureml://registries/azureml/models/M/versions/1")}
GATE = {"min_gain": 0.02, "attempt": 1}


class Cloud:
    """Takes jobs; `taken` are those that are there, `refusal` is what submitting raises at first."""

    def __init__(self, refusal: Exception | None = None, refusals: int = 99, **taken: Any) -> None:
        self.sent: list[Any] = []
        self.tries = 0
        self._refusal, self._refusals, self._taken = refusal, refusals, taken
        self.created = None
        self.workspace = SimpleNamespace(path="/w")
        self.ml = SimpleNamespace(jobs=SimpleNamespace(create_or_update=self._take))
        self.arm = SimpleNamespace(
            find=lambda path, version: self._taken.get(path.rpartition("/")[2].replace("-", "_"))
        )

    def _take(self, job: Any) -> None:
        self.tries += 1
        if self._refusal and self.tries <= self._refusals:
            raise self._refusal
        self.sent.append(job)


@pytest.fixture(scope="module")
def train() -> Any:
    from azure.ai.ml import load_component

    splits = {f"{split}_file_path": {"type": "uri_file"} for split in ("train", "validation", "test")}
    computes = [f"compute_{part}" for part in ("model_import", "preprocess", "finetune")]
    spec = {
        "type": "command",
        "name": "train",
        "version": "1",
        "inputs": {
            **splits,
            "mlflow_model_path": {"type": "mlflow_model", "optional": True},
            "finetune_config_path": {"type": "uri_file", "optional": True},
            **{name: {"type": "string", "optional": True} for name in ("huggingface_id", "seed", *computes)},
        },
        "outputs": {"mlflow_model_folder": {"type": "mlflow_model"}},
        "environment": "azureml://registries/azureml/environments/e/versions/1",
        "command": "true",
    }
    return load_component(io.StringIO(yaml.safe_dump(spec)))


def finetune(cloud: Cloud, train: Any, assets: dict[str, Asset], **parameters: str) -> dict[str, Any] | None:
    given: Any = cloud
    return finetune_pipeline.finetune(given, HEAD, train, parameters, CLUSTERS, assets, STEP, GATE)


def test_training_and_gate_get_the_same_test_rows_and_the_gate_the_tuned_model(train: Any) -> None:
    cloud = Cloud()
    config = {"finetune_config": Asset("uri_file", "azureml://datastores/d/paths/config.json")}
    assert finetune(cloud, train, {**FILES, **BASE, **config}, seed="7") is None
    (job,) = cloud.sent
    assert (job.name, job.display_name, job.experiment_name, job.tags) == (
        "chat-5f2c",
        "a chat",
        "experiment",
        HEAD.tags,
    )
    assert job.settings.force_rerun is True, "a reused result would be a run without metrics"
    assert job.settings.continue_on_step_failure is False
    assert job.outputs["trained_model"].path.endswith("/tunestack/chat-5f2c/trained_model/")
    nodes = job._to_rest_object().properties.jobs
    tuned, judged = nodes["chat_completion_pipeline"]["inputs"], nodes["evaluate"]["inputs"]
    assert tuned["seed"]["value"] == "7"
    assert tuned["compute_finetune"]["value"] == "gpu"
    for split in ("train", "validation", "test"):
        assert tuned[f"{split}_file_path"]["value"] == f"${{{{parent.inputs.{split}_file}}}}"
    assert tuned["finetune_config_path"]["value"] == "${{parent.inputs.finetune_config}}"
    assert judged["test_file"]["value"] == "${{parent.inputs.test_file}}"
    assert judged["base_model"]["value"] == tuned["mlflow_model_path"]["value"] == "${{parent.inputs.base_model}}"
    assert judged["tuned_model"]["value"] == "${{parent.jobs.chat_completion_pipeline.outputs.mlflow_model_folder}}"
    assert "small-gpu" in str(nodes["evaluate"]["computeId"])


def test_a_model_of_the_hub_is_bound_to_neither_model_input(train: Any) -> None:
    cloud = Cloud()
    finetune(cloud, train, FILES, huggingface_id="own/model")
    nodes = cloud.sent[0]._to_rest_object().properties.jobs
    assert "mlflow_model_path" not in nodes["chat_completion_pipeline"]["inputs"]
    assert "base_model" not in nodes["evaluate"]["inputs"]


def test_the_gate_alone_is_the_gate_alone() -> None:
    given: Any = (cloud := Cloud())
    assets = {
        "test_file": FILES["test_file"],
        "tuned_model": Asset("mlflow_model", "azureml://jobs/j/outputs/trained_model"),
    }
    assert finetune_pipeline.evaluate_alone(given, HEAD, "gpu", {**assets, **BASE}, STEP, GATE) is None
    nodes = cloud.sent[0]._to_rest_object().properties.jobs
    assert set(nodes) == {"evaluate"}
    assert nodes["evaluate"]["inputs"]["tuned_model"]["value"] == "${{parent.inputs.tuned_model}}"


def test_a_name_that_somebody_took_meanwhile_gives_the_job_that_has_it(
    train: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from azure.core.exceptions import ResourceExistsError

    theirs = {"name": "chat-5f2c"}
    refusal = ResourceExistsError("A job with this name already exists.")
    assert finetune(Cloud(refusal, chat_5f2c=theirs), train, {**FILES, **BASE}) is theirs
    assert "job 'chat-5f2c' was submitted already" in capsys.readouterr().err


def test_a_file_that_somebody_else_uploads_at_the_same_moment_is_tried_again_for_a_while(
    train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.core.exceptions import HttpResponseError, ResourceExistsError

    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    taken = ResourceExistsError("The specified blob already exists.")
    taken.status_code = 409
    meanwhile = Cloud(taken, refusals=2)
    assert finetune(meanwhile, train, {**FILES, **BASE}) is None
    assert (len(meanwhile.sent), len(pauses)) == (1, 2)
    with pytest.raises(ResourceExistsError):
        finetune(Cloud(taken), train, {**FILES, **BASE})
    assert len(pauses) == 2 + finetune_pipeline.UPLOAD_TRIES - 1
    refused = Cloud(HttpResponseError("an input has no value"))
    with pytest.raises(HttpResponseError):
        finetune(refused, train, {**FILES, **BASE})
    assert refused.tries == 1
