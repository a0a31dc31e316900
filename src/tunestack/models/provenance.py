"""The statement of how a model came about: in-toto's Statement v1 with the predicate SLSA provenance v1.

Formats: github.com/in-toto/attestation (spec/v1) and slsa.dev/spec/v1.0/provenance. Who signs it is left to others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunestack.errors import GateSaidNo
from tunestack.models import lineage
from tunestack.models.weights import Manifest

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:tunestack:fine-tune:v1"  # what it means stands in docs/evidence.md
# Lineage that a deployment takes from the model: signed, because tags can be changed by many.
_TAGS = (
    *("base_model", "component", "recipe", "data", "data_source", "data_hash", "test_hash", "commit", "steps", "stack"),
    *("attempt", "accepted", "gain", "labels", lineage.WHY, lineage.WHO),
)


@dataclass(frozen=True)
class Facts:
    """What a statement speaks of. `model` is name:version, `workspace` and `job` are Azure's ids.

    Times are RFC 3339 in UTC with a Z, as in-toto's field types want them, or empty.
    """

    model: str
    workspace: str
    job: str
    started: str
    ended: str
    location: str
    gate: str
    evaluation_job: str
    signer: str
    registered_by: str
    tags: Mapping[str, str]


def statement(facts: Facts, manifest: Manifest, files: Mapping[str, str]) -> dict[str, Any]:
    """The statement on the model's files; `files` are the other files of the evidence with their hashes."""
    tags = facts.tags
    times = {"startedOn": facts.started, "finishedOn": facts.ended}
    dependencies = [
        _dependency(tags.get("base_model"), "base model"),
        _dependency(tags.get("component"), "fine-tuning pipeline"),
        _dependency(tags.get("data_source"), "data, all splits as prepared", tags.get("data_hash")),
        _dependency("test.jsonl" if tags.get("test_hash") else None, "test rows", tags.get("test_hash")),
    ]
    commit = tags.get("commit", "")
    if commit and commit != "unknown":
        # Twelve digits and perhaps `-changed`: less than a digest, so it is named and not claimed as one.
        dependencies.append({"uri": f"git:commit:{commit}", "annotations": {"what": "the scripts"}})
    return {
        "_type": STATEMENT,
        "subject": [{"name": file.path, "digest": {"sha256": file.sha256}} for file in manifest.files],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "model": facts.model,
                    "job": facts.job.rpartition("/")[2],
                    "recipe": tags.get("recipe", ""),
                    "gate": facts.gate,
                },
                "internalParameters": {
                    "files_sha256": manifest.sha256,
                    "location": facts.location,
                    "evaluation_job": facts.evaluation_job,
                    "signer": facts.signer,
                    "registered_by": facts.registered_by,
                    "tags": {name: tags[name] for name in _TAGS if name in tags},
                },
                "resolvedDependencies": [found for found in dependencies if found],
            },
            "runDetails": {
                "builder": {"id": f"https://management.azure.com{facts.workspace}"},
                "metadata": {
                    "invocationId": f"https://management.azure.com{facts.job}",
                    **{name: time for name, time in times.items() if time},
                },
                "byproducts": [{"name": name, "digest": {"sha256": files[name]}} for name in sorted(files)],
            },
        },
    }


@dataclass(frozen=True)
class Said:
    """What a signed statement says, as far as a deployment depends on it."""

    model: str
    job: str
    gate: str
    files_sha256: str
    signer: str
    tags: Mapping[str, str]
    sums: Mapping[str, str]
    byproducts: Mapping[str, str]

    @classmethod
    def parse(cls, content: bytes) -> Said:
        """GateSaidNo for what is no statement of ours: a signature alone makes nothing true of a model."""
        try:
            found = json.loads(content)
            types = (found["_type"], found["predicateType"], found["predicate"]["buildDefinition"]["buildType"])
            if types != (STATEMENT, PREDICATE, BUILD_TYPE):
                raise GateSaidNo(f"the evidence holds a statement of another kind: {', '.join(map(str, types))}")
            definition = found["predicate"]["buildDefinition"]
            outer, inner = definition["externalParameters"], definition["internalParameters"]
            details = found["predicate"]["runDetails"]
            return cls(
                model=str(outer["model"]),
                job=str(outer["job"]),
                gate=str(outer["gate"]),
                files_sha256=str(inner["files_sha256"]),
                signer=str(inner["signer"]),
                tags={str(name): str(text) for name, text in inner["tags"].items()},
                sums={str(row["name"]): str(row["digest"]["sha256"]) for row in found["subject"]},
                byproducts={str(row["name"]): str(row["digest"]["sha256"]) for row in details["byproducts"]},
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise GateSaidNo(f"the evidence holds no statement of how the model came about: {error!r}") from error


def _dependency(name: str | None, what: str, sha256: str | None = None) -> dict[str, Any] | None:
    if not name:
        return None
    digest = {"digest": {"sha256": sha256}} if sha256 and len(sha256) == 64 else {}
    place = {"uri": name} if ":" in name else {"name": name}
    return {**place, **digest, "annotations": {"what": what}}
