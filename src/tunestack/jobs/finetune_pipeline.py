"""The pipelines that are sent: the registry's fine-tune with our gate behind it, and the gate alone.

Everything was decided before; here it takes the SDK's form. Names of nodes and outputs are what others look for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

from tunestack import cli, roles
from tunestack.connect import Connection
from tunestack.jobs.clusters import Clusters
from tunestack.jobs.evaluation_step import COMPONENT
from tunestack.jobs.run_history import JOB_VERSION
from tunestack.jobs.trained_model import MODEL_OUTPUT, place

GATE_OUTPUT = "evaluation"
CONFLICT = 409
UPLOAD_TRIES, UPLOAD_PAUSE_SECONDS = 5, 3.0


@dataclass(frozen=True)
class Asset:
    """An input that is a file, folder or model: `kind` is Azure ML's type, `path` what the SDK takes."""

    kind: str
    path: str


@dataclass(frozen=True)
class Head:
    """What a job is called and tagged with."""

    name: str
    display_name: str
    experiment: str
    tags: Mapping[str, str]


def finetune(
    connection: Connection,
    head: Head,
    component: Any,
    parameters: Mapping[str, str],
    clusters: Clusters,
    assets: Mapping[str, Asset],
    step: Path,
    gate: Mapping[str, Any],
) -> dict[str, Any] | None:
    """Submit training and gate. `assets` are inputs of the whole pipeline; `step` is the gate's folder.

    None, or the job that has the name already: a name is given once, and somebody else was faster.
    """
    from azure.ai.ml import load_component

    judge = load_component(step / COMPONENT)

    def tune(**inputs: Any) -> dict[str, Any]:
        trained_on = {f"{split}_file_path": inputs[f"{split}_file"] for split in ("train", "validation", "test")}
        if "base_model" in inputs:
            trained_on["mlflow_model_path"] = inputs["base_model"]
        if "finetune_config" in inputs:
            trained_on["finetune_config_path"] = inputs["finetune_config"]
        chat_completion_pipeline = component(  # the variable's name becomes the node's
            **parameters,
            **trained_on,
            compute_model_import=clusters.model_import,
            compute_preprocess=clusters.preprocess,
            compute_finetune=clusters.finetune,
        )
        tuned = chat_completion_pipeline.outputs.mlflow_model_folder
        evaluate = judge(**gate, **_judged(inputs), tuned_model=tuned)
        evaluate.compute = clusters.evaluate
        return {MODEL_OUTPUT: tuned, GATE_OUTPUT: evaluate.outputs.evaluation}

    job = _pipeline(tune, head, assets)
    job.outputs[MODEL_OUTPUT].path = place(head.name)
    return _submit(connection, job, head)


def evaluate_alone(
    connection: Connection,
    head: Head,
    cluster: str,
    assets: Mapping[str, Asset],
    step: Path,
    gate: Mapping[str, Any],
) -> dict[str, Any] | None:
    """Submit the gate for a model that is there; `assets` holds `tuned_model` too. Returns as `finetune` does."""
    from azure.ai.ml import load_component

    judge = load_component(step / COMPONENT)

    def gate_alone(**inputs: Any) -> dict[str, Any]:
        evaluate = judge(**gate, **_judged(inputs))
        evaluate.compute = cluster
        return {GATE_OUTPUT: evaluate.outputs.evaluation}

    return _submit(connection, _pipeline(gate_alone, head, assets), head)


_OF_GATE = ("test_file", "tuned_model", "base_model", "serving_model", "regression_file", "run_folder")


def _judged(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: inputs[name] for name in _OF_GATE if name in inputs}


def _pipeline(nodes: Callable[..., dict[str, Any]], head: Head, assets: Mapping[str, Asset]) -> Any:
    from azure.ai.ml import Input
    from azure.ai.ml.dsl import pipeline

    # The SDK takes a pipeline's inputs from the signature, refuses `**inputs`, and reads annotations as types.
    nodes.__annotations__.clear()
    named = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in assets]
    nodes.__signature__ = Signature(named)  # type: ignore[attr-defined]
    given = {name: Input(type=asset.kind, path=asset.path) for name, asset in assets.items()}
    return pipeline(nodes, name=head.display_name)(**given)


def _submit(connection: Connection, job: Any, head: Head) -> dict[str, Any] | None:
    from azure.core.exceptions import HttpResponseError

    job.name = head.name
    job.display_name = head.display_name
    job.experiment_name = head.experiment
    job.tags = dict(head.tags)
    job.settings.force_rerun = True
    job.settings.continue_on_step_failure = False
    tries = UPLOAD_TRIES
    while True:
        try:
            roles.once_spread(connection.created, lambda: connection.ml.jobs.create_or_update(job))
            return None
        except HttpResponseError as error:
            other = connection.arm.find(f"{connection.workspace.path}/jobs/{head.name}", JOB_VERSION)
            if other is not None:
                cli.note(f"job '{head.name}' was submitted already, by somebody else or a moment ago")
                return other
            # Without the job it is a file: its place is made of its content, and somebody is writing the same there.
            tries -= 1
            if error.status_code != CONFLICT or not tries:
                raise
        time.sleep(UPLOAD_PAUSE_SECONDS)
