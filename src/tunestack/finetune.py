"""One fine-tuning run: planned with every check before anything is sent, submitted once, and found again later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunestack import cli, clusters, data_folder, parameters, registry, roles, run_key
from tunestack.clusters import Clusters
from tunestack.connect import Connection
from tunestack.data_folder import DataFolder
from tunestack.errors import UsageError
from tunestack.parameters import Choice
from tunestack.recipe import Recipe
from tunestack.run_history import RunHistory

_GPUS = "number_of_gpu_to_use_finetuning"


@dataclass(frozen=True)
class Plan:
    """Everything that a submission sends."""

    name: str
    display_name: str
    experiment: str
    tags: Mapping[str, str]
    inputs: Mapping[str, str]
    clusters: Clusters
    choices: tuple[Choice, ...]
    component: Any

    @property
    def record(self) -> dict[str, Any]:
        return {
            "job": self.name,
            "display_name": self.display_name,
            "experiment": self.experiment,
            "tags": dict(self.tags),
            "inputs": dict(self.inputs),
        }


def existing(recipe: Recipe, data: DataFolder, history: RunHistory) -> dict[str, Any] | None:
    """The job of the same run, found without the SDK; None where there is none or a label is still to resolve."""
    if recipe.model.is_label or recipe.pipeline.is_label:
        return None
    key = run_key.run_key(recipe, data.hash, str(recipe.model), str(recipe.pipeline))
    return history.job(run_key.job_name(recipe, key))


def plan(
    connection: Connection, recipe: Recipe, data: DataFolder, *, accept_archived: bool = False, again: bool = False
) -> Plan:
    """Resolve, check and merge; nothing is sent. Problems are UsageErrors."""
    model = registry.base_model(connection, recipe.model, accept_archived=accept_archived)
    component = registry.component(connection, recipe.pipeline)
    defaults = parameters.model_defaults(model.tags)
    choices = parameters.merge(recipe.parameters, defaults, component.inputs)
    asked = recipe.parameters.get(_GPUS)
    found = clusters.check(connection, recipe.compute, model, int(asked) if asked is not None else None)
    key = run_key.run_key(recipe, data.hash, str(model.id), str(component.id))
    name = run_key.job_name(recipe, key)
    if again:
        history = RunHistory(connection)
        name = run_key.next_name(name, lambda taken: history.job(taken) is not None)
    sent = {**parameters.sent(choices), _GPUS: str(found.gpus), "mlflow_model_path": str(model.id)}
    return Plan(
        name,
        display_name(model.id.name, data.name, sent),
        recipe.experiment,
        _tags(connection, recipe, data, str(model.id), str(component.id)),
        sent,
        found,
        tuple(choices),
        component.load,
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


def submit(connection: Connection, found: Plan, folder: Path) -> None:
    """Upload the three files and start the pipeline, under the plan's name."""
    from azure.ai.ml import Input
    from azure.ai.ml.constants import AssetTypes

    files = {split: data_folder.file(folder, split) for split in ("train", "validation", "test")}
    arguments = {
        **found.inputs,
        "mlflow_model_path": Input(type=AssetTypes.MLFLOW_MODEL, path=found.inputs["mlflow_model_path"]),
        "compute_model_import": found.clusters.model_import,
        "compute_preprocess": found.clusters.preprocess,
        "compute_finetune": found.clusters.finetune,
        **{f"{name}_file_path": Input(type=AssetTypes.URI_FILE, path=str(file)) for name, file in files.items()},
    }
    job = _pipeline(found, arguments)
    roles.once_spread(connection.created, lambda: connection.ml.jobs.create_or_update(job))
    cli.note(f"submitted job '{found.name}' ({found.display_name}) to experiment '{found.experiment}'")


def _pipeline(found: Plan, arguments: Mapping[str, Any]) -> Any:
    from azure.ai.ml.dsl import pipeline

    def finetune() -> dict[str, Any]:
        chat_completion_pipeline = found.component(**arguments)  # the variable's name becomes the node's
        return {"trained_model": chat_completion_pipeline.outputs.mlflow_model_folder}

    job: Any = pipeline(finetune, name=found.display_name)()
    job.name = found.name
    job.experiment_name = found.experiment
    job.tags = dict(found.tags)
    job.settings.force_rerun = True
    job.settings.continue_on_step_failure = False
    return job


def _tags(connection: Connection, recipe: Recipe, data: DataFolder, model: str, component: str) -> dict[str, str]:
    """Lineage: from the job one can walk back to the recipe, the data and the commit."""
    tags = {
        "recipe": recipe.name,
        "base_model": model,
        "component": component,
        "data": data.name,
        "data_source": data.source,
        "data_hash": data.hash,
        "commit": run_key.commit(Path(__file__).parent),
        "stack": connection.workspace.stack,
    }
    return {name: value for name, value in tags.items() if value}


def check_sources(recipe: Recipe, data: DataFolder) -> None:
    """Data of another source than the recipe's is refused: its name would go into the model's."""
    from tunestack.sources import Source

    wanted = Source.parse(recipe.data.source)
    if data.source != str(wanted) and data.name != wanted.name:
        raise UsageError(
            f"the data comes from '{data.source}', the recipe '{recipe.name}' wants '{wanted}'",
            fix="Prepare it with scripts/prepare_data.py --recipe",
        )
