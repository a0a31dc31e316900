"""Whether a model may be deployed: its evidence holds, is of this very version, and of the files that lie there.

A base model of Azure's own registries needs none. Everything else does, unless somebody answers for it by name.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunestack import caller, stored_files
from tunestack.cli import note
from tunestack.errors import GateSaidNo, UsageError
from tunestack.models import evidence, evidence_store, lineage, weights
from tunestack.progress import Progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from tunestack.connect import Connection
    from tunestack.models.evidence import Checked
    from tunestack.models.signatures import Trust
    from tunestack.stored_files import Folder

VERSION = "2023-08-01-preview"
# Registries that Microsoft keeps for everybody; whatever lies in any other was put there by somebody.
PUBLIC = frozenset({"azureml", "azureml-meta", "azureml-mistral", "azureml-cohere", "huggingface", "nvidia-ai"})
_REGISTRY = re.compile(r"azureml://registries/(?P<registry>[^/]+)/models/(?P<name>[^/]+)/versions/(?P<version>[^/]+)")
_WORKSPACE = re.compile(
    r"(?:azureml:)?(?:(?P<id>/subscriptions/.+)/models/)?(?P<name>[^/:]+)(?:/versions/|:)(?P<version>[^/:]+)"
)


@dataclass(frozen=True)
class Terms:
    """Whom the caller believes, whether the weights are hashed again, and why no evidence is asked for."""

    trust: Trust | None
    production: bool
    full: bool = False
    unsigned: str = ""


@dataclass(frozen=True)
class Stored:
    """A model version where it is kept: its tags, where its files lie, and its evidence, if it has any."""

    name: str
    version: str
    tags: Mapping[str, str]
    files: Folder = field(repr=False)
    evidence: Folder | None = field(repr=False)

    @property
    def handle(self) -> str:
        return f"{self.name}:{self.version}"


def terms(options: argparse.Namespace, *, production: bool) -> Terms:
    """What the flags ask for. Nothing is read yet, so a base model needs no key."""
    from tunestack.models import signers

    why = (options.why or "").strip()
    if options.unsigned != bool(why):
        raise UsageError("--unsigned and --why are needed together", fix="Say why with --unsigned --why TEXT")
    if options.unsigned and options.full:
        raise UsageError("--unsigned and --full were both given: without evidence there is nothing to compare with")
    trust = None if options.unsigned else signers.trust(options, production=production)
    return Terms(trust, production, options.full, why)


def is_public(model: str) -> bool:
    """Whether this is a base model of a registry that is Azure's own."""
    found = _REGISTRY.fullmatch(model)
    return found is not None and found["registry"].lower() in PUBLIC


def of(connection: Connection, model: str, options: argparse.Namespace) -> dict[str, str]:
    """What the model's deployment is tagged with. GateSaidNo unless its evidence holds, or somebody answers for it."""
    if is_public(model):
        if options.unsigned or options.full:
            raise UsageError(f"'{model}' is a base model: it has no evidence, and needs neither --unsigned nor --full")
        return {}
    production = connection.workspace.is_production
    asked = terms(options, production=production)
    if asked.unsigned:
        who = caller.name(connection)
        note(f"warning: '{model}' goes without evidence, because {who} says: {asked.unsigned}")
        tags = {
            lineage.EVIDENCE: lineage.UNSIGNED,
            lineage.UNSIGNED_WHY: asked.unsigned,
            lineage.UNSIGNED_BY: who,
        }
        return {name: lineage.cut(text, lineage.LONGEST_DEPLOYMENT_VALUE) for name, text in tags.items()}
    found = check(connection, stored(connection, model), asked)
    return {lineage.EVIDENCE: f"{found.said.model.replace(':', '-evidence:')}", lineage.GATE: found.said.gate}


def stored(connection: Connection, model: str) -> Stored:
    """The model behind `name:version`, its id in this workspace, or its id in a registry."""
    found = _REGISTRY.fullmatch(model)
    if found is not None:
        return _in_registry(connection, found["registry"], found["name"], found["version"])
    named = _WORKSPACE.fullmatch(model)
    place = connection.workspace
    if named is None or (named["id"] and named["id"].lower() != place.path.lower()):
        raise UsageError(f"model '{model}' is not one of workspace '{place.name}', nor of a registry")
    name, version = named["name"], named["version"]
    body = connection.arm.find(f"{place.path}/models/{name}/versions/{version}", VERSION)
    if body is None:
        raise UsageError(f"model '{name}:{version}' does not exist in workspace '{place.name}'")
    properties = body["properties"]
    return Stored(
        name,
        version,
        _texts(properties.get("tags")),
        stored_files.folder(connection, str(properties["modelUri"])),
        evidence_store.find(connection, name, version),
    )


def check(connection: Connection, model: Stored, asked: Terms) -> Checked:
    """The evidence of a model, if it holds. GateSaidNo with all that is wrong otherwise."""
    if model.evidence is None or not asked.trust:
        raise GateSaidNo(
            f"model '{model.handle}' has no evidence of how it came about",
            fix="Register its job: scripts/register_model.py --job JOB; one that was not made here needs "
            "--unsigned --why TEXT",
        )
    with tempfile.TemporaryDirectory() as target:
        root = evidence_store.fetch(model.evidence, Path(target), model.handle)
        found = evidence.check(root, asked.trust, model.handle, production=asked.production)
    problems = list(_objections(model, found))
    if asked.full and not problems:
        problems = _rehashed(model, found)
    if problems:
        raise GateSaidNo(
            *(f"model '{model.handle}' is not the one that its evidence speaks of: {text}" for text in problems),
            fix="Deploy nothing of it, and find out who changed it; its job can be registered again under another name",
        )
    note(f"the evidence of model '{model.handle}' holds, gate {found.said.gate}, signed by {asked.trust.shown}")
    return found


def _objections(model: Stored, found: Checked) -> list[str]:
    """What the service says of the model, held against what was signed. Tags can be changed, so they prove nothing."""
    said = found.said
    signed = {**said.tags, "job": said.job, "files_sha256": said.files_sha256, lineage.GATE: said.gate}
    problems = [
        f"its tag '{tag}' is '{model.tags.get(tag, '')}', and signed was '{wanted}'"
        for tag, wanted in signed.items()
        if model.tags.get(tag) != wanted
    ]
    return problems + found.manifest.differences(model.files.files())


def _rehashed(model: Stored, found: Checked) -> list[str]:
    progress = Progress(f"hashing model '{model.handle}'")
    try:
        return weights.rehashed(
            found.manifest, model.files, lambda done, total: progress.show(f"of {total:,} bytes", f"{done:,}")
        )
    finally:
        progress.close()


def _in_registry(connection: Connection, registry: str, name: str, version: str) -> Stored:
    found = stored_files.registry_model(connection, registry, name, version)
    if found is None:
        raise UsageError(f"registry '{registry}' has no model '{name}:{version}'")
    kept = stored_files.registry_model(connection, registry, evidence_store.asset_name(name), version)
    return Stored(name, version, _texts(found[0].tags), found[1], kept[1] if kept else None)


def _texts(tags: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in (tags or {}).items()}
