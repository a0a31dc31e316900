"""One fine-tuning run: planned with every check before anything is sent, submitted once, and found again later."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunestack import caller, cli, registry
from tunestack.connect import Connection
from tunestack.data import data_folder
from tunestack.data.data_folder import DataFolder
from tunestack.errors import UsageError
from tunestack.jobs import attempts, clusters, evaluation_step, finetune_pipeline, run_key, serving_model, trained_model
from tunestack.jobs.clusters import Clusters
from tunestack.jobs.finetune_pipeline import Asset, Head
from tunestack.jobs.run_folder import RunFolder
from tunestack.jobs.run_history import JOB_VERSION, RunHistory, created
from tunestack.recipes import parameters
from tunestack.recipes.parameters import Choice
from tunestack.recipes.recipe import Recipe
from tunestack.registry import BaseModel, Component
from tunestack.registry_id import HubId

_GPUS = "number_of_gpu_to_use_finetuning"
TRAINING = "training"
BADLY = ("Failed", "Canceled", "NotResponding")


@dataclass(frozen=True)
class Plan:
    """Everything that a submission sends. `step` is the folder of the gate's component."""

    head: Head
    training: str
    inputs: Mapping[str, str]
    assets: Mapping[str, Asset]
    gate: Mapping[str, Any]
    clusters: Clusters
    choices: tuple[Choice, ...]
    component: Any
    step: Path
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.head.name

    @property
    def record(self) -> dict[str, Any]:
        return {
            "job": self.head.name,
            "display_name": self.head.display_name,
            "experiment": self.head.experiment,
            "tags": dict(self.head.tags),
            "inputs": dict(self.inputs),
            "assets": {name: asset.path for name, asset in self.assets.items()},
            "gate": dict(self.gate),
        }


def existing(connection: Connection, training: str) -> dict[str, Any] | None:
    """The newest job of this very training, archived or not; one that ended badly only where there is no other.

    Of these, one whose training completed comes first: only its gate is missing.
    """
    jobs = connection.arm.pages(f"{connection.workspace.path}/jobs", JOB_VERSION, tag=TRAINING, listViewType="All")
    found = [job for job in jobs if (job["properties"].get("tags") or {}).get(TRAINING) == training]
    found.sort(key=created, reverse=True)
    good = [job for job in found if job["properties"].get("status") not in BADLY]
    if good or not found:
        return good[0] if good else None
    history = RunHistory(connection)
    return next((job for job in found if trained_model.find(history, job)), found[0])


def training_key(recipe: Recipe, data: DataFolder) -> str | None:
    """The key of a recipe's training; None where a label has to be resolved first."""
    if recipe.model.is_label or recipe.pipeline.is_label:
        return None
    return run_key.training_key(recipe, data.hash, str(recipe.model), str(recipe.pipeline))


def plan(
    connection: Connection, recipe: Recipe, data: DataFolder, folder: Path, step: Path, *, again: bool = False
) -> Plan:
    """Resolve, check and merge; nothing is sent. Problems are UsageErrors."""
    model = registry.base_model(connection, recipe.model)
    component = registry.component(connection, recipe.pipeline)
    choices = parameters.merge(recipe.parameters, parameters.model_defaults(model.tags), component.inputs)
    asked = recipe.parameters.get(_GPUS)
    found = clusters.check(connection, recipe.compute, int(asked) if asked is not None else None)
    sent = {**parameters.sent(choices), _GPUS: str(found.gpus)}
    attempt = attempts.next_attempt(connection, data.test_hash)
    training = run_key.training_key(recipe, data.hash, str(model.id), str(component.id))
    steps = run_key.step_code(step)
    name = run_key.job_name(recipe, run_key.run_key(training, steps))
    if again:
        history = RunHistory(connection)
        name = run_key.next_name(name, lambda taken: history.job(taken) is not None)
    serving = serving_model.find(connection, str(model.id))
    gate = evaluation_step.literals(recipe.evaluation, sent.get("max_seq_length", "-1"), attempt)
    if isinstance(model.id, HubId):
        sent["huggingface_id"] = gate["huggingface_id"] = model.id.id
    questions = evaluation_step.questions_hash(recipe.regression_file)
    tags = {
        **_lineage(connection, recipe, data, str(model.id), str(component.id)),
        TRAINING: training,
        "steps": steps,
        "attempt": str(attempt),
        evaluation_step.TAG: evaluation_step.gate_key(recipe.evaluation, questions, steps),
        **({evaluation_step.QUESTIONS: questions} if questions else {}),
    }
    return Plan(
        Head(name, display_name(model.id.name, data.name, sent), recipe.experiment, tags),
        training,
        sent,
        _assets(recipe, folder, model, component, serving.model),
        gate,
        found,
        tuple(choices),
        component.load,
        step,
        (attempts.sentence(attempt), serving.note),
    )


def display_name(model: str, data: str, sent: Mapping[str, str]) -> str:
    """What people see in the studio: model, data, and what tells one run from the next."""
    pieces = [model, data]
    steps = sent.get("max_steps", "-1")
    pieces.append(f"{steps}steps" if int(steps) > 0 else f"{sent.get('num_train_epochs', '1')}ep")
    batch = int(sent.get("per_device_train_batch_size", "1")) * int(sent.get(_GPUS, "1"))
    pieces += [
        f"bs{batch * int(sent.get('gradient_accumulation_steps', '1'))}",
        f"lr{sent.get('learning_rate', '2e-05')}",
    ]
    if sent.get("apply_lora") == "true":
        pieces.append(f"lora{sent.get('lora_r', '8')}")
    if sent.get("apply_deepspeed") == "true":
        pieces.append(f"zero{sent.get('deepspeed_stage', '2')}")
    return "-".join(pieces)


def submit(connection: Connection, found: Plan, about: RunFolder) -> dict[str, Any] | None:
    """Upload the files and start the pipeline, under the plan's name. `about` travels with it.

    None, or the job that somebody else submitted under this name since the plan was made.
    """
    with tempfile.TemporaryDirectory() as target:
        place = about.write(Path(target) / "run")
        assets = {**found.assets, "run_folder": Asset("uri_folder", str(place))}
        other = finetune_pipeline.finetune(
            connection, found.head, found.component, found.inputs, found.clusters, assets, found.step, found.gate
        )
    if other is not None:
        return other
    cli.note(f"submitted job '{found.name}' ({found.head.display_name}) to experiment '{found.head.experiment}'")
    return None


def accepted(found: Plan, text: str) -> Plan:
    """The plan with what preflight said no to and somebody took on, as a tag."""
    return replace(found, head=replace(found.head, tags={**found.head.tags, "accepted": text})) if text else found


def facts(connection: Connection, found: Plan) -> dict[str, Any]:
    """What the report says about the run beside its figures."""
    place = connection.workspace
    return {
        "job": found.name,
        "display_name": found.head.display_name,
        "experiment": found.head.experiment,
        "workspace": place.name,
        "stack": place.stack,
        "who": caller.name(connection),
        "submitted": datetime.now(UTC).isoformat(timespec="seconds"),
        "attempt": found.gate["attempt"],
        "parameters": dict(found.inputs),
        "tags": dict(found.head.tags),
    }


def _assets(recipe: Recipe, folder: Path, model: BaseModel, component: Component, serving: str) -> dict[str, Asset]:
    """All three files are passed on: the pipeline would otherwise take 20 % of train away by position."""
    found = {
        f"{split}_file": Asset("uri_file", str(data_folder.file(folder, split)))
        for split in ("train", "validation", "test")
    }
    if not isinstance(model.id, HubId):
        found["base_model"] = Asset("mlflow_model", str(model.id))
    config = recipe.finetune_config_file
    if config:
        if "finetune_config_path" not in component.inputs:
            raise UsageError(
                f"component '{component.id}' takes no finetune_config, and the recipe names '{config}'",
                fix="Take version 0.0.82 or newer of chat_completion_pipeline",
            )
        found["finetune_config"] = Asset("uri_file", str(config))
    if serving:
        found["serving_model"] = Asset("mlflow_model", serving)
    if recipe.regression_file:
        found["regression_file"] = Asset("uri_file", str(recipe.regression_file))
    return found


def _lineage(connection: Connection, recipe: Recipe, data: DataFolder, model: str, component: str) -> dict[str, str]:
    """From the job one can walk back to the recipe, the data and the commit."""
    tags = {
        "recipe": recipe.name,
        "base_model": model,
        "component": component,
        "data": data.name,
        "data_source": data.source,
        "data_hash": data.hash,
        "test_hash": data.test_hash,
        "commit": run_key.commit(Path(__file__).parent),
        "stack": connection.workspace.stack,
    }
    return {name: value for name, value in tags.items() if value}


def check_sources(recipe: Recipe, data: DataFolder) -> None:
    """Data of another source than the recipe's is refused: its name would go into the model's."""
    from tunestack.sources.sources import Source

    wanted, given = Source.parse(recipe.data.source), Source.parse(data.source)
    same = data.name == wanted.name or (given.kind, given.place) == (wanted.kind, wanted.place)
    if not same or (wanted.version and given.version and wanted.version != given.version):
        raise UsageError(
            f"the data comes from '{data.source}', the recipe '{recipe.name}' wants '{wanted}'",
            fix="Prepare it with scripts/prepare_data.py --recipe",
        )
