"""What the evaluation said of a job's model: read from its files, and refused where they speak of something else."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tunestack import stored_files
from tunestack.errors import GateSaidNo, UsageError
from tunestack.jobs.evaluation_metrics import PASSED, parse
from tunestack.jobs.evaluation_step import QUESTIONS
from tunestack.jobs.run_history import created
from tunestack.jobs.trained_model import GATE_NODE
from tunestack.stored_files import Folder

if TYPE_CHECKING:
    from tunestack.connect import Connection

OUTPUT = "evaluation"
METRICS = "metrics.json"
FILES = "files.json"
EVALUATES = "evaluates"
JOB_VERSION = "2024-01-01-preview"
# What a job that evaluates another one must have in common with it.
_SAME = ("base_model", "data_hash", "test_hash")
# When a gate asks for less than another, or draws anew.
_WEAKER = {"min_gain": operator.lt, "max_regression": operator.gt, "min_clusters": operator.lt, "seed": operator.ne}


@dataclass(frozen=True)
class Verdict:
    """The gate's word on a model. `job` is the job whose evaluation it is, `evaluated` the one that made the model."""

    passed: bool
    reasons: tuple[str, ...]
    labels: tuple[str, ...]
    metrics: Mapping[str, Any]
    job: str
    evaluated: str
    files: Folder = field(repr=False)

    @property
    def word(self) -> str:
        return str(self.metrics["verdict"])

    @property
    def record(self) -> dict[str, Any]:
        return {
            "verdict": self.word,
            "reasons": list(self.reasons),
            "labels": list(self.labels),
            "gain": self.metrics.get("gain"),
            "regression": self.metrics.get("regression"),
            "evaluation_job": self.job,
            "files": self.files.uri,
        }

    @property
    def gain(self) -> str:
        """The gain and its interval in one line: nats per assistant token, and how many clusters it rests on."""
        found = self.metrics.get("gain") or {}
        if any(found.get(name) is None for name in ("estimate", "lower", "upper")):
            return "unknown"
        place = f"[{found['lower']:+.4f}, {found['upper']:+.4f}]"
        return f"{found['estimate']:+.4f} {place} nats per token, {found.get('clusters', 'unknown')} clusters"

    @property
    def sentence(self) -> str:
        """For one line on stderr."""
        why = "" if self.passed else f": {' '.join(self.reasons).rstrip('.') or 'no reason is given'}"
        labels = f" ({', '.join(self.labels)})" if self.labels else ""
        return f"the gate says {self.word}{labels} of job '{self.evaluated}', gain {self.gain}{why}"

    def require(self, shown: str = "") -> None:
        """GateSaidNo unless it passed; `shown` is what belongs on stdout all the same."""
        if not self.passed:
            raise GateSaidNo(
                self.sentence,
                fix=f"Train on more or better data, or register it all the same: "
                f"scripts/register_model.py --job {self.evaluated} --force --why TEXT",
                shown=shown,
            )


def read(connection: Connection, job: str) -> Verdict:
    """The verdict on a job's model, from the newest evaluation of it.

    That is the newest completed job with the tag `evaluates`, else the job's own output. UsageError where there is no
    evaluation, or its figures are of another model or another test split.
    """
    body = connection.arm.find(f"{connection.workspace.path}/jobs/{job}", JOB_VERSION)
    if body is None:
        raise UsageError(f"job '{job}' does not exist", fix="Its name is what submit_finetune printed")
    tags = _tags(body)
    source = later(connection, job, tags) or body
    # What a gate that failed half-way has written is nobody's word.
    has_ended_badly = body["properties"].get("status") in ("Failed", "Canceled", "NotResponding")
    unjudged = source is body and has_ended_badly
    where = None if unjudged else stored_files.job_output(connection, source, OUTPUT)
    content = where.read(METRICS) if where else None
    if where is None or content is None:
        raise UsageError(
            f"job '{job}' has no evaluation of its model"
            + (f": its output '{OUTPUT}' has no file '{METRICS}'" if where else ""),
            fix=f"Evaluate it with: scripts/submit_finetune.py --evaluate {job}" + (" --again" if where else ""),
        )
    metrics = parse(content, f"'{METRICS}' of job '{source['name']}'", job)
    found = (metrics.get("test") or {}).get("sha256")
    wanted = tags.get("test_hash")
    if not wanted or found != wanted:
        raise UsageError(
            f"the evaluation of job '{source['name']}' was made on test rows with the hash '{found}', and job '{job}' "
            + (f"has those with '{wanted}'" if wanted else "names no test rows in a tag 'test_hash'"),
            fix=f"Evaluate it anew with: scripts/submit_finetune.py --evaluate {job} --again",
        )
    return Verdict(
        metrics["verdict"] == PASSED,
        tuple(str(reason) for reason in metrics.get("reasons") or ()),
        (*(str(label) for label in metrics.get("labels") or ()), *weaker(body, source, metrics)),
        metrics,
        str(source["name"]),
        job,
        where,
    )


def later(connection: Connection, job: str, tags: Mapping[str, str]) -> dict[str, Any] | None:
    """The newest completed job that evaluates this one. Archiving it takes no verdict back."""
    jobs = connection.arm.pages(f"{connection.workspace.path}/jobs", JOB_VERSION, tag=EVALUATES, listViewType="All")
    found = [
        body for body in jobs if _tags(body).get(EVALUATES) == job and body["properties"].get("status") == "Completed"
    ]
    if not found:
        return None
    newest = max(found, key=created)
    theirs = _tags(newest)
    differing = [name for name in _SAME if theirs.get(name, tags.get(name)) != tags.get(name)]
    if differing:
        raise UsageError(
            *(
                f"job '{newest['name']}' evaluates '{job}', and has {name} '{theirs[name]}' in place of "
                f"'{tags.get(name, '')}'"
                for name in differing
            ),
            fix=f"Evaluate it anew with: scripts/submit_finetune.py --evaluate {job} --again",
        )
    return newest


def weaker(body: Mapping[str, Any], source: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    """A label where a later gate asked for less than the one that the job was submitted with, or asked otherwise.

    `source` is the job whose evaluation it is, which may be the job itself.
    """
    node = (body["properties"].get("jobs") or {}).get(GATE_NODE) or {}
    found = []
    for name, is_weaker in _WEAKER.items():
        used = (metrics.get("gate") or {}).get(name)
        try:
            asked = float(node["inputs"][name]["value"])
        except (KeyError, TypeError, ValueError):  # a pipeline of somebody else's
            continue
        if used is not None and is_weaker(used, asked):
            found.append(f"{name} {used:g} in place of {asked:g}")
    if _tags(source).get(QUESTIONS) != _tags(body).get(QUESTIONS):
        found.append("another regression set")
    return [f"not the gate that the job was submitted with: {', '.join(found)}"] if found else []


def _tags(body: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in (body["properties"].get("tags") or {}).items()}
