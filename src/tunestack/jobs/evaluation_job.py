"""The gate alone, for a job that has trained: another gate, other questions or mended code buy no second training.

What the model was trained with comes from the job itself; only `evaluation` and `compute.evaluate` may be other.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunestack import caller, cli, connect, stored_files
from tunestack.connect import Connection
from tunestack.errors import CloudError, EndedBadly, UsageError
from tunestack.jobs import (
    attempts,
    clusters,
    evaluation_step,
    finetune_pipeline,
    job_name,
    run_folder,
    run_key,
    serving_model,
    submission,
    trained_model,
)
from tunestack.jobs.failed_job import failure
from tunestack.jobs.finetune_pipeline import GATE_OUTPUT, Asset, Head
from tunestack.jobs.run_folder import RunFolder
from tunestack.jobs.run_history import ENDED, JOB_VERSION, RunHistory, created
from tunestack.jobs.trained_model import MODEL_OUTPUT
from tunestack.recipes import recipe
from tunestack.recipes.recipe import Recipe
from tunestack.registry_id import HubId

EVALUATES = "evaluates"
# What must be known of the job for its verdict to be one on the same model and rows.
_NEEDED = ("base_model", "data_hash", "test_hash")
_KEPT = ("recipe", "base_model", "component", "data", "data_source", "data_hash", "test_hash", "stack")
_ALLOWED = ("evaluation", "compute.evaluate")


@dataclass(frozen=True)
class Plan:
    """What is sent: the gate for the model of `job`."""

    job: str
    head: Head
    assets: Mapping[str, Asset]
    gate: Mapping[str, Any]
    cluster: str
    about: RunFolder
    notes: tuple[str, ...]

    @property
    def record(self) -> dict[str, Any]:
        return {
            "job": self.job,
            "evaluation_job": self.head.name,
            "tags": dict(self.head.tags),
            "assets": {name: asset.path for name, asset in self.assets.items()},
            "gate": dict(self.gate),
            "cluster": self.cluster,
        }


def run(options: argparse.Namespace, places: submission.Places) -> cli.Result:
    """Find or submit the evaluation of `--evaluate JOB`, watch it, and say its verdict. The handle is JOB."""
    _check(options)
    wanted = recipe.read(options.recipe, options.settings) if options.recipe else None
    connection = connect.connect(options)
    history = RunHistory(connection)
    job = job_name.find(history, options.evaluate)
    body = trained(history, job)
    status = body["properties"].get("status")
    if status != "Completed":
        cli.note(f"job '{job}' ended as {status}; its training had completed, and is not repeated")
    require_model(connection, body)
    ran = run_folder.of_job(connection, body)
    asked = _asked(ran.recipe, wanted, () if wanted else options.settings)
    steps = run_key.step_code(places.step)
    own = own_questions(asked, wanted is not None, options.settings)
    key = evaluation_step.gate_key(asked.evaluation, _questions(asked, own, body), steps)
    known = None if options.again else existing(connection, body, key)
    if known is None:
        made = plan(connection, history, body, ran, asked, own, places.step, key)
        for note in made.notes:
            cli.note(note)
        if options.dry_run:
            return cli.Result(job, made.record)
        known = submit(connection, made, places.step, key)
    else:
        cli.note(
            f"job '{known}' {'is' if known == job else 'evaluates'} '{job}' with this very gate; --again repeats it"
        )
    if options.no_wait or options.dry_run:
        return cli.Result(job, {"job": job, "evaluation_job": known})
    result, verdict = submission.watched(connection, history, known, options, of=job)
    result = cli.Result(job, {**result.record, "job": job, "evaluation_job": known})
    verdict.require(shown=submission.shown(result, options))
    return result


def trained(history: RunHistory, job: str) -> dict[str, Any]:
    """The body of a job whose model can be gated. Every reason why it cannot is an error of its own kind."""
    body = history.job(job) or {"properties": {}}
    properties = body["properties"]
    tags = properties.get("tags") or {}
    if tags.get(EVALUATES):
        raise UsageError(
            f"job '{job}' is itself an evaluation, of job '{tags[EVALUATES]}'",
            fix=f"Evaluate that one: --evaluate {tags[EVALUATES]}",
        )
    status = str(properties.get("status"))
    if status not in ENDED:
        raise EndedBadly(
            f"job '{job}' has not finished: it is in state '{status}'",
            fix=f"Wait for it with: scripts/submit_finetune.py --attach {job}",
        )
    if status != "Completed" and trained_model.find(history, body) is None:
        raise failure(history, history.run(job))
    problems = [f"job '{job}' has no output '{MODEL_OUTPUT}'"] * (MODEL_OUTPUT not in (properties.get("outputs") or {}))
    problems += [f"job '{job}' has no tag '{tag}'" for tag in _NEEDED if not tags.get(tag)]
    if not _uri(body, "test_file"):
        problems.append(f"job '{job}' has no input 'test_file', so its test rows are not known")
    if problems:
        raise UsageError(*problems, fix="Only jobs of submit_finetune can be evaluated")
    return body


def require_model(connection: Connection, body: Mapping[str, Any]) -> None:
    """UsageError where the job's model was never written, or was deleted since."""
    where = stored_files.job_output(connection, body, MODEL_OUTPUT)
    if where is None or "MLmodel" not in where.files():
        raise UsageError(
            f"the output '{MODEL_OUTPUT}' of job '{body['name']}' has no file 'MLmodel'"
            + (f" at '{where.uri}'" if where else ""),
            fix="It was deleted, or never written: train it anew with --again",
        )


def existing(connection: Connection, body: Mapping[str, Any], key: str) -> str | None:
    """The job whose word on this model counts, where it is of this very gate: the newest evaluation, else the job.

    An older one of this gate is none: since then another gate has had its word, and that would be read in its place.
    """
    job = str(body["name"])
    found = [
        one
        for one in connection.arm.pages(
            f"{connection.workspace.path}/jobs", JOB_VERSION, tag=EVALUATES, listViewType="All"
        )
        if _tags(one).get(EVALUATES) == job
        and one["properties"].get("status") not in ("Failed", "Canceled", "NotResponding")
    ]
    if found:
        newest = max(found, key=created)
        return str(newest["name"]) if _tags(newest).get(evaluation_step.TAG) == key else None
    properties = body["properties"]
    own = _tags(body).get(evaluation_step.TAG) == key and GATE_OUTPUT in (properties.get("outputs") or {})
    return job if own and properties.get("status") == "Completed" else None


def plan(
    connection: Connection,
    history: RunHistory,
    body: Mapping[str, Any],
    ran: RunFolder,
    asked: Recipe,
    own: Path | None,
    step: Path,
    key: str,
) -> Plan:
    """All that is sent; nothing is yet. `own` is a regression set that lies here; else it is the job's, if any."""
    job, tags = str(body["name"]), _tags(body)
    attempt = attempts.next_attempt(connection, tags["test_hash"])
    name = run_key.next_name(f"{job}-evaluation", lambda taken: history.job(taken) is not None)
    sent = ran.facts.get("parameters") or {}
    gate = evaluation_step.literals(asked.evaluation, str(sent.get("max_seq_length", "-1")), attempt)
    gate["training_run"] = job
    serving = serving_model.find(connection, tags["base_model"])
    if isinstance(asked.model, HubId):
        gate["huggingface_id"] = asked.model.id
    about = {
        EVALUATES: job,
        "commit": run_key.commit(Path(__file__).parent),
        "steps": run_key.step_code(step),
        "attempt": str(attempt),
        evaluation_step.TAG: key,
    }
    questions = _questions(asked, own, body)
    if questions:
        about[evaluation_step.QUESTIONS] = questions
    facts = {
        **ran.facts,
        "evaluation_job": name,
        "evaluated_by": caller.name(connection),
        "evaluated": datetime.now(UTC).isoformat(timespec="seconds"),
        "attempt": attempt,
    }
    return Plan(
        job,
        Head(
            name,
            f"{body['properties'].get('displayName') or job} evaluation",
            str(body["properties"].get("experimentName") or asked.experiment),
            {**{tag: tags[tag] for tag in _KEPT if tags.get(tag)}, **about},
        ),
        _assets(body, asked, own, serving.model),
        gate,
        clusters.of_role(connection, asked.compute.evaluate),
        replace(ran, recipe=asked, facts=facts),
        (attempts.sentence(attempt), serving.note),
    )


def _assets(body: Mapping[str, Any], asked: Recipe, own: Path | None, serving: str) -> dict[str, Asset]:
    """The files and models that the gate reads, all but the run's own folder."""
    found = {
        "test_file": Asset("uri_file", _uri(body, "test_file")),
        "tuned_model": Asset("mlflow_model", _model(body)),
    }
    if not isinstance(asked.model, HubId):
        found["base_model"] = Asset("mlflow_model", _tags(body)["base_model"])
    if serving:
        found["serving_model"] = Asset("mlflow_model", serving)
    if own:
        found["regression_file"] = Asset("uri_file", str(own))
    elif asked.evaluation.regression_set:
        found["regression_file"] = Asset("uri_file", _uri(body, "regression_file"))
    return found


def submit(connection: Connection, found: Plan, step: Path, key: str) -> str:
    """The job's name. CloudError where somebody else took it at the same moment for a gate of another key."""
    with tempfile.TemporaryDirectory() as target:
        place = found.about.write(Path(target) / "run")
        assets = {**found.assets, run_folder.INPUT: Asset("uri_folder", str(place))}
        other = finetune_pipeline.evaluate_alone(connection, found.head, found.cluster, assets, step, found.gate)
    if other is None:
        cli.note(f"submitted job '{found.head.name}', which gates the model of job '{found.job}'")
    elif _tags(other).get(evaluation_step.TAG) != key:
        raise CloudError(f"job '{found.head.name}' asks another gate of job '{found.job}'", fix="Run it again")
    return found.head.name


def _check(options: argparse.Namespace) -> None:
    problems = []
    if options.data:
        problems.append("--data was given with --evaluate, which takes the test rows of the job")
    for text in () if options.recipe else options.settings:
        key = text.partition("=")[0].strip()
        if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in _ALLOWED):
            problems.append(f"--set '{text}' changes more than the gate, and --evaluate trains nothing")
    if problems:
        raise UsageError(*problems, fix="What may be other is evaluation.… and compute.evaluate")


def _asked(ran: Recipe, wanted: Recipe | None, settings: tuple[str, ...] | list[str]) -> Recipe:
    """The recipe as it ran, with the gate that is asked for now: another recipe's, or single settings."""
    if wanted is not None:
        if wanted.name != ran.name:
            cli.note(f"only `evaluation` and `compute.evaluate` of recipe '{wanted.name}' count: '{ran.name}' ran")
        compute = ran.compute.model_copy(update={"evaluate": wanted.compute.evaluate})
        return ran.model_copy(update={"evaluation": wanted.evaluation, "compute": compute, "folder": wanted.folder})
    if not settings:
        return ran
    return recipe.from_text(recipe.as_yaml(ran), f"the recipe of job '{ran.name}'", ran.name, settings)


def own_questions(asked: Recipe, is_of_a_recipe: bool, settings: Sequence[str]) -> Path | None:
    """The regression set that lies here, named by a recipe or by `--set`; UsageError where it does not."""
    is_set = any(text.partition("=")[0].strip() == "evaluation.regression_set" for text in settings)
    file = asked.regression_file if is_of_a_recipe or is_set else None
    if file and not file.is_file():
        raise UsageError(f"evaluation.regression_set: '{file}' does not exist", fix="Name a file that is here")
    return file


def _questions(asked: Recipe, own: Path | None, body: Mapping[str, Any]) -> str:
    """What tells one own regression set from another: its content's hash, as the job that used it recorded it."""
    if own:
        return evaluation_step.questions_hash(own)
    return _tags(body).get(evaluation_step.QUESTIONS, "") if asked.evaluation.regression_set else ""


def _model(body: Mapping[str, Any]) -> str:
    """Where the job was told to write it, which holds however it ended; by its output where it was told no place."""
    found = str(((body["properties"].get("outputs") or {}).get(MODEL_OUTPUT) or {}).get("uri") or "")
    return found if "datastores/" in found else f"azureml://jobs/{body['name']}/outputs/{MODEL_OUTPUT}"


def _uri(body: Mapping[str, Any], name: str) -> str:
    return str(((body["properties"].get("inputs") or {}).get(name) or {}).get("uri") or "")


def _tags(body: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in (body["properties"].get("tags") or {}).items()}
