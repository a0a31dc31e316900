"""The tuned model of a job that did not end well: a gate that failed, or was cancelled, takes no training away.

Where such a model lies and since when it is there is said here; whether it is any good is the gate's word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tunestack.errors import TunestackError
from tunestack.jobs.run_history import Run, RunHistory

MODEL_OUTPUT = "trained_model"
# Nodes of the pipeline: the first is called as a variable in `finetune_pipeline.py` is.
TRAINING_NODE, GATE_NODE = "chat_completion_pipeline", "evaluate"


@dataclass(frozen=True)
class TrainedModel:
    """`uri` is its folder in the workspace's storage, `ended` when the training had (UTC): the same at every look."""

    uri: str
    ended: datetime


def place(job: str) -> str:
    """Where the tuned model of a job is written: a place of its own, which holds however the job ends.

    Azure's "Manage inputs and outputs for components and pipelines" lets a promoted output name a datastore path.
    Left to the service, the path is made of the name of a run deep inside, resolved when that runs; and
    `azureml://jobs/NAME/outputs/…` is documented for jobs, not for the nodes of one. A job's name is given once, so
    nothing lies here before.
    """
    return f"azureml://datastores/workspaceblobstore/paths/tunestack/{job}/{MODEL_OUTPUT}/"


def find(history: RunHistory, body: Mapping[str, Any]) -> TrainedModel | None:
    """The model of a failed or cancelled job whose training completed; None where it did not, or nobody knows where.

    Jobs whose output was sent without a place of its own have none here: Azure names it only when all has ended well.
    """
    properties = body.get("properties") or {}
    uri = str(((properties.get("outputs") or {}).get(MODEL_OUTPUT) or {}).get("uri") or "")
    if "datastores/" not in uri:
        return None
    training = _training(history.children(str(body["name"])))
    if training is None or training.status != "Completed" or training.ended is None:
        return None
    return TrainedModel(uri, training.ended)


def gate_again(history: RunHistory, run: Run) -> str:
    """The command that gates the model of a job that ended badly; empty where there is none, or it cannot be told."""
    try:
        job = run.tags.get("evaluates") or run.id
        body = history.job(run.id) or {}
        found = job != run.id or find(history, body) is not None
    except TunestackError:
        return ""
    return f"scripts/submit_finetune.py --evaluate {job} (--recipe or --set: what shall be other)" if found else ""


def _training(children: list[Run]) -> Run | None:
    """The node that trains: by its name, else the one child that is a pipeline of its own."""
    named = [child for child in children if TRAINING_NODE in (child.node, child.name)]
    found = named or [child for child in children if child.is_pipeline]
    return found[0] if len(found) == 1 else None
