"""A finished job's model in the workspace: its name and version follow from the job, so that twice is once.

It takes the gate's word, or somebody's reason to go against it, and signed evidence of both goes with the model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tunestack import caller, stored_files
from tunestack.cli import note
from tunestack.connect import Connection
from tunestack.errors import EndedBadly, UsageError
from tunestack.jobs import gate, job_name, trained_model
from tunestack.jobs.failed_job import failure
from tunestack.jobs.gate import Verdict
from tunestack.jobs.run_history import ENDED, JOB_VERSION, Run, RunHistory
from tunestack.models import evidence, evidence_store, job_evidence, lineage, weights
from tunestack.models.provenance import Said
from tunestack.models.signatures import Signer
from tunestack.models.weights import Manifest
from tunestack.progress import Progress
from tunestack.registry_id import parse_base_model
from tunestack.stored_files import Folder

OUTPUT = "trained_model"
VERSION = "2023-08-01-preview"
NAMING_TAGS = ("base_model", "data")
_BADLY = ENDED - {"Completed"}
_FOLDER = Path("build/evidence")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")  # Azure takes 255 characters, and `-evidence` belongs to it
# Of a model's tags, those that Azure keeps unchangeable as well, as properties.
_PROPERTIES = (*("job", "base_model", "component", "data_hash", "test_hash", "commit"), "files_sha256", lineage.GATE)


@dataclass(frozen=True)
class Registration:
    """A model to register: `<base>-<data set>`, its version the job's end in Unix seconds, its lineage as tags."""

    name: str
    version: str
    path: str
    tags: Mapping[str, str]

    @property
    def handle(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def record(self) -> dict[str, Any]:
        return {"model": self.handle, "name": self.name, "version": self.version, "path": self.path, "tags": self.tags}


@dataclass(frozen=True)
class Judged(Registration):
    """One that may be registered, and all that its evidence is made of; `forced` is why the gate is overruled."""

    job: Mapping[str, Any] = field(repr=False)
    run: Run = field(repr=False)
    verdict: Verdict | None
    manifest: Manifest = field(repr=False)
    model: Folder = field(repr=False)
    forced: str

    @property
    def record(self) -> dict[str, Any]:
        evaluation = self.verdict.record if self.verdict else None
        return {**super().record, "evaluation": evaluation, "forced": self.forced or None}


def plan(connection: Connection, job: str, name: str = "") -> tuple[Registration, dict[str, Any], Run]:
    """What a job's model is to be called, its body, and its run. The job must have ended well and have the output.

    Where its gate failed or was cancelled, the training must have ended well: the version is that moment then.
    """
    if name and not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' is no name of a model",
            fix="Take letters, digits, '-', '_' and '.', a letter or digit first, 200 at most",
        )
    history = RunHistory(connection)
    job = job_name.find(history, job)
    body = connection.arm.get(f"{connection.workspace.path}/jobs/{job}", JOB_VERSION)
    run = history.run(job)
    rescued = trained_model.find(history, body) if run.status in _BADLY else None
    if run.status in _BADLY and rescued is None:
        raise failure(history, run)
    if not rescued and (run.status != "Completed" or run.ended is None):
        raise EndedBadly(
            f"job '{job}' has not finished: it is in state '{run.status}'",
            fix=f"Wait for it with: scripts/submit_finetune.py --attach {job}",
        )
    properties = body["properties"]
    if OUTPUT not in (properties.get("outputs") or {}):
        of = (properties.get("tags") or {}).get(gate.EVALUATES)
        fix = f"It evaluates job '{of}': register that one" if of else "Only jobs of submit_finetune have one"
        raise UsageError(f"job '{job}' has no output '{OUTPUT}'", fix=fix)
    tags = {str(key): str(value) for key, value in (properties.get("tags") or {}).items()}
    ended = rescued.ended if rescued else run.ended
    assert ended is not None
    found = Registration(
        name or _name(job, tags),
        str(int(ended.timestamp())),
        rescued.uri if rescued else f"azureml://jobs/{job}/outputs/{OUTPUT}",
        {**tags, "job": job},
    )
    return found, body, run


def judge(connection: Connection, planned: tuple[Registration, dict[str, Any], Run], why: str = "") -> Judged:
    """The registration with the gate's word. GateSaidNo without a pass, unless `why` says why it goes on all the same.

    UsageError where the model is none, or is not the one that was evaluated.
    """
    found, body, run = planned
    job = str(body["name"])
    model = stored_files.job_output(connection, body, OUTPUT)
    if model is None:
        raise UsageError(f"the output '{OUTPUT}' of job '{job}' was never written")
    there = weights.check_layout(model, job)
    verdict = _verdict(connection, job, why)
    if verdict is not None:
        if not why:
            verdict.require()
        note(verdict.sentence)
    manifest = _manifest(verdict, model, job, there)
    forced = why if verdict is None or not verdict.passed else ""
    if why and not forced:
        note(f"job '{job}' passed the gate: nothing is forced, and '{why}' is not recorded")
    measured = {
        lineage.GATE: lineage.FORCED if forced else "passed",
        **({lineage.WHY: forced, lineage.WHO: caller.name(connection)} if forced else {}),
        "gain": verdict.gain if verdict else "not measured",
        "labels": "; ".join(verdict.labels) if verdict else "",
        "attempt": f"{(verdict.metrics.get('gate') or {}).get('attempt') or ''}" if verdict else "",
        "evaluation_job": verdict.job if verdict else "",
        "files_sha256": manifest.sha256,
        "files": str(len(manifest.files)),
        "bytes": str(manifest.size),
        lineage.EVIDENCE: f"{evidence_store.asset_name(found.name)}:{found.version}",
    }
    # A job's tags are whatever its submitter wrote: none of them stands for what was measured here.
    others = {name: value for name, value in found.tags.items() if name not in measured}
    tags = lineage.fit({"job": job, **measured, **others}, f"model '{found.handle}'")
    return Judged(found.name, found.version, found.path, tags, body, run, verdict, manifest, model, forced)


def finished(connection: Connection) -> list[str]:
    """Names of the workspace's fine-tunes that have a model, oldest first: jobs with the tags of `submit_finetune`.

    One whose gate failed is among them: it may have been gated since.
    """
    history = RunHistory(connection)
    found = []
    for job in connection.arm.pages(f"{connection.workspace.path}/jobs", JOB_VERSION):
        properties = job["properties"]
        tags = properties.get("tags") or {}
        if all(tags.get(tag) for tag in NAMING_TAGS) and OUTPUT in (properties.get("outputs") or {}):
            if properties.get("status") == "Completed":
                found.append((job.get("systemData", {}).get("createdAt", ""), str(job["name"])))
            elif properties.get("status") in ENDED:
                if trained_model.find(history, job):
                    found.append((job.get("systemData", {}).get("createdAt", ""), str(job["name"])))
                else:
                    note(f"job '{job['name']}' is in state '{properties['status']}' and has no model to register")
    return [name for _, name in sorted(found)]


def find(connection: Connection, found: Registration) -> Registration | None:
    """The version as it is registered, with its evidence; None for one without, which registering again completes.

    UsageError where it is another job's, which ended in the same second.
    """
    body = connection.arm.find(_path(connection, found.name, found.version), VERSION)
    if body is None:
        return None
    tags = {str(key): str(value) for key, value in (body["properties"].get("tags") or {}).items()}
    theirs = tags.get("job", "")
    if theirs and theirs != found.tags["job"]:
        raise UsageError(
            f"model '{found.handle}' is registered already, from another job, '{theirs}'",
            fix=_another_name(found),
        )
    kept = evidence_store.find(connection, found.name, found.version)
    return replace(found, tags=tags) if kept else None


def register(connection: Connection, found: Judged, signer: Signer) -> None:
    """Sign the evidence, keep it, then name the model: a model that is registered has its evidence."""
    root = evidence.write(
        _FOLDER / f"{found.name}-{found.version}",
        job_evidence.facts(connection, found, signer),
        found.manifest,
        job_evidence.files(connection, found),
        signer,
    )
    is_ours = evidence_store.keep(connection, found.name, found.version, root)
    if not is_ours:
        _require_same(connection, found, root)
    evidence_store.to_run(connection, found.job, root)
    card = (root / evidence.FOLDER / evidence.CARD).read_text()
    body = {
        "properties": {
            "modelType": "mlflow_model",
            "modelUri": found.path,
            "description": lineage.cut(card, lineage.LONGEST_DESCRIPTION),
            "tags": dict(found.tags),
            "properties": {name: found.tags[name] for name in _PROPERTIES if name in found.tags},
        }
    }
    connection.arm.put(_path(connection, found.name, found.version), VERSION, body)
    if is_ours:
        note(f"its evidence is '{found.tags[lineage.EVIDENCE]}', signed with {signer.shown}; here in '{root}'")


def _require_same(connection: Connection, found: Judged, root: Path) -> None:
    """UsageError where the evidence that is there speaks otherwise of the model than ours: no deployment would take it.

    It is of a registration that was broken off, or somebody else's of this moment, and stays as it is.
    """
    kept = evidence_store.find(connection, found.name, found.version)
    name = f"{evidence.FOLDER}/{evidence.PROVENANCE}"
    theirs, ours = (Said.parse(content or b"") for content in (kept and kept.read(name), (root / name).read_bytes()))
    differing = [
        one for one in ("gate", "tags", "files_sha256", "signer") if getattr(theirs, one) != getattr(ours, one)
    ]
    if differing:
        raise UsageError(
            f"evidence '{found.tags[lineage.EVIDENCE]}' is there already, and says otherwise of {', '.join(differing)}",
            fix=_another_name(found),
        )


def _another_name(found: Registration) -> str:
    return f"Name this one: scripts/register_model.py --job {found.tags['job']} --name NAME"


def _verdict(connection: Connection, job: str, why: str) -> Verdict | None:
    """The gate's word; None where there is none and somebody goes on without."""
    try:
        return gate.read(connection, job)
    except UsageError as error:
        if not why:
            raise
        note(f"warning: {error.problems[0]}; registered all the same")
        return None


def _manifest(verdict: Verdict | None, model: Folder, job: str, there: Mapping[str, int]) -> Manifest:
    """The hashes that the evaluation made beside the weights; made here, from the weights, where it made none."""
    content = verdict.files.read(gate.FILES) if verdict else None
    if verdict is None or content is None:
        note(f"job '{job}' left no '{gate.FILES}': the weights are read and hashed from here")
        progress = Progress(f"hashing the model of job '{job}'")
        try:
            return weights.hashed(model, lambda done, total: progress.show(f"of {total:,} bytes", f"{done:,}"))
        finally:
            progress.close()
    found = Manifest.parse(content, f"'{gate.FILES}' of job '{verdict.job}'")
    problems = found.differences(there)
    if found.sha256 != (verdict.metrics.get("files") or {}).get("sha256"):
        problems.append("its metrics name another hash over all files")
    if problems:
        raise UsageError(
            *(f"job '{verdict.job}' evaluated another model than job '{job}' has now: {text}" for text in problems),
            fix=f"Evaluate it anew with: scripts/submit_finetune.py --evaluate {job} --again",
        )
    return found


def _path(connection: Connection, name: str, version: str) -> str:
    return f"{connection.workspace.path}/models/{name}/versions/{version}"


def _name(job: str, tags: Mapping[str, str]) -> str:
    missing = [tag for tag in NAMING_TAGS if not tags.get(tag)]
    if missing:
        raise UsageError(
            f"job '{job}' has no tag {' and '.join(missing)}, from which the model's name is made",
            fix="Name the model with --name",
        )
    return f"{parse_base_model(tags['base_model']).name}-{tags['data']}".replace("/", "-")
