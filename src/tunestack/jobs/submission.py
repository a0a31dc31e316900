"""From a recipe and its data to the gate's word: the job that is there or a new one, watched, and its gate read.

Nothing is sent before every check has said yes, or somebody took its no on.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunestack import cli
from tunestack.connect import Connection
from tunestack.data.data_folder import DataFolder
from tunestack.errors import GateSaidNo
from tunestack.jobs import evaluation_step, finetune, gate, job_name, job_report, run_key, trained_model
from tunestack.jobs.failed_job import failure
from tunestack.jobs.run_folder import RunFolder
from tunestack.jobs.run_history import ENDED, RunHistory
from tunestack.preflight import preflight, preflight_inputs
from tunestack.recipes.recipe import Recipe


@dataclass(frozen=True)
class Places:
    """Folders of the project: the gate's component, and deployment settings per base model."""

    step: Path
    serve: Path


def run(
    connection: Connection, found: Recipe, data: DataFolder, places: Places, options: argparse.Namespace
) -> cli.Result:
    """The job of this recipe and data, and with `--no-wait` absent its end and the gate's verdict."""
    finetune.check_sources(found, data)
    taken_on = preflight.accepted(options)
    history = RunHistory(connection)
    training = finetune.training_key(found, data)
    job = finetune.existing(connection, training) if training and not options.again else None
    if job is None:
        plan = finetune.plan(connection, found, data, options.data, places.step, again=options.again)
        job = None if options.again else finetune.existing(connection, plan.training)
        if job is None:
            return _new(connection, found, data, plan, places, taken_on, options)
    return _known(connection, history, job, found, places, options)


def attach(connection: Connection, options: argparse.Namespace) -> cli.Result:
    """The end of a job that is there, and the gate's verdict where the job has a gate."""
    history = RunHistory(connection)
    job = job_name.find(history, options.attach)
    properties = (history.job(job) or {}).get("properties") or {}
    if options.no_wait:
        return cli.Result(job, {"job": job, "status": properties.get("status")})
    of = str((properties.get("tags") or {}).get(gate.EVALUATES) or "")
    if gate.OUTPUT not in (properties.get("outputs") or {}):
        return job_report.watch(history, job, options)
    result, verdict = watched(connection, history, job, options, of=of)
    verdict.require(shown=shown(result, options))
    return result


def watched(
    connection: Connection, history: RunHistory, job: str, options: argparse.Namespace, *, of: str = ""
) -> tuple[cli.Result, gate.Verdict]:
    """A job's end and the verdict on the model of `of` (else its own), both in the record."""
    result = job_report.watch(history, job, options)
    verdict = gate.read(connection, of or job)
    cli.note(verdict.sentence)
    return cli.Result(of or job, {**result.record, "gate": verdict.record}), verdict


def shown(result: cli.Result, options: argparse.Namespace) -> str:
    """What belongs on stdout although the gate said no."""
    return json.dumps(result.record, indent=2, default=str) if options.json else result.handle


def require(
    connection: Connection,
    verdict: gate.Verdict,
    wanted: Recipe,
    step: Path,
    options: argparse.Namespace,
    text: str,
) -> None:
    """GateSaidNo unless the verdict is a pass, of the gate that the recipe asks for now. `text` goes to stdout."""
    key = _gate_of(RunHistory(connection).job(verdict.job) or {})
    differing = evaluation_step.differences(verdict, key, _gate_now(wanted, step), wanted.evaluation)
    if differing:
        raise GateSaidNo(
            f"the verdict '{verdict.word}' on job '{verdict.evaluated}' is of another gate: {'; '.join(differing)}",
            fix=f"Gate it anew, without training again: {_gate_command(verdict.evaluated, options)}",
            shown=text,
        )
    verdict.require(shown=text)


def _gate_of(job: Mapping[str, Any]) -> str:
    """The key of the gate that a job went through, or will; empty where it does not say."""
    return str(((job.get("properties") or {}).get("tags") or {}).get(evaluation_step.TAG) or "")


def _gate_now(wanted: Recipe, step: Path) -> str:
    questions = evaluation_step.questions_hash(wanted.regression_file)
    return evaluation_step.gate_key(wanted.evaluation, questions, run_key.step_code(step))


def _new(
    connection: Connection,
    found: Recipe,
    data: DataFolder,
    plan: finetune.Plan,
    places: Places,
    taken_on: dict[str, str],
    options: argparse.Namespace,
) -> cli.Result:
    report = preflight.run(preflight_inputs.of_submission(found, data, connection, places.serve, options.deployment))
    plan = finetune.accepted(plan, report.accepted(taken_on))
    preflight.show_exceptions(report, _preflight_command(options))
    job_report.show_plan(plan)
    for note in plan.notes:
        cli.note(note)
    checked = report.record(taken_on)
    planned = cli.Result(plan.name, {**plan.record, "preflight": checked})
    preflight.refuse(report, taken_on, shown=shown(planned, options) if options.dry_run and options.json else "")
    if options.dry_run:
        return planned
    history = RunHistory(connection)
    facts = {**finetune.facts(connection, plan), "accepted": taken_on}
    other = finetune.submit(connection, plan, RunFolder(found, data.card, facts, checked))
    if other is not None:
        return _known(connection, history, other, found, places, options)
    if options.no_wait:
        return cli.Result(plan.name, {**planned.record, "status": history.run(plan.name).status})
    result, verdict = watched(connection, history, plan.name, options)
    verdict.require(shown=shown(result, options))
    return result


def _preflight_command(options: argparse.Namespace) -> str:
    """The line that shows every check of this submission."""
    words = ["scripts/preflight.py", *cli.words(options, "recipe", "data", "deployment"), *_settings(options)]
    return shlex.join([*words, *cli.workspace_words(options)])


def _gate_command(job: str, options: argparse.Namespace) -> str:
    """The line that gates a job's model as the recipe asks for now."""
    words = ["scripts/submit_finetune.py", "--evaluate", job, *cli.words(options, "recipe"), *_settings(options)]
    return shlex.join([*words, *cli.workspace_words(options)])


def _settings(options: argparse.Namespace) -> list[str]:
    return [word for setting in options.settings for word in ("--set", setting)]


def _known(
    connection: Connection,
    history: RunHistory,
    job: dict[str, Any],
    found: Recipe,
    places: Places,
    options: argparse.Namespace,
) -> cli.Result:
    name, status = str(job["name"]), str(job["properties"].get("status"))
    if options.accept:
        cli.note(f"warning: --accept changes nothing: job '{name}' is there, and its checks are not made again")
    if status in finetune.BADLY:
        return _ended_badly(connection, history, job, found, places, options)
    cli.note(
        f"job '{name}' {'ran' if status == 'Completed' else 'runs'} this very training with this data; "
        "--again makes a new one"
    )
    if status not in ENDED and _gate_of(job) not in ("", _gate_now(found, places.step)):
        cli.note("its gate is another one than this recipe asks for: gate it anew with --evaluate when it has ended")
    if options.no_wait or options.dry_run:
        return cli.Result(name, {"job": name, "status": status})
    result, verdict = watched(connection, history, name, options)
    require(connection, verdict, found, places.step, options, shown(result, options))
    return result


def _ended_badly(
    connection: Connection,
    history: RunHistory,
    job: dict[str, Any],
    found: Recipe,
    places: Places,
    options: argparse.Namespace,
) -> cli.Result:
    """What a gate made of the model since, where only the gate had ended badly; otherwise why the job did."""
    name, status = str(job["name"]), str(job["properties"].get("status"))
    if trained_model.find(history, job) is None:
        cli.note(f"job '{name}' ran this very training and ended as {status}; --again makes a new one")
        raise failure(history, history.run(name))
    evaluation = gate.later(connection, name, job["properties"].get("tags") or {})
    if evaluation is None:
        cli.note(
            f"job '{name}' ran this very training, which completed before the job ended as {status}; its model is "
            f"gated, and nothing trained again, by: {_gate_command(name, options)}"
        )
        raise failure(history, history.run(name))
    cli.note(f"job '{name}' ran this very training, and job '{evaluation['name']}' has gated its model")
    if options.no_wait or options.dry_run:
        return cli.Result(name, {"job": name, "status": status})
    verdict = gate.read(connection, name)
    cli.note(verdict.sentence)
    result = cli.Result(name, {"job": name, "status": status, "gate": verdict.record})
    require(connection, verdict, found, places.step, options, shown(result, options))
    return result
