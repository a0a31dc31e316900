"""A workspace's model in the registry shared with other workspaces: its name, version, lineage and evidence kept."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunestack import outputs
from tunestack.cli import note
from tunestack.connect import Connection
from tunestack.errors import CloudError, NotConfigured, UsageError
from tunestack.models import acceptance, evidence_store
from tunestack.models.acceptance import Terms
from tunestack.models.registration import VERSION
from tunestack.models.signatures import Trust

FROM = "promoted_from"


@dataclass(frozen=True)
class Promotion:
    """A model version on its way into a registry; `tags` are its own and where it came from."""

    registry: str
    name: str
    version: str
    tags: Mapping[str, str]

    @property
    def id(self) -> str:
        return f"azureml://registries/{self.registry}/models/{self.name}/versions/{self.version}"

    @property
    def record(self) -> dict[str, Any]:
        return {"model": self.id, **vars(self)}


def registry_of(options: Any) -> str:
    """The registry's name: the flag, else the stack's output `shared_registry`."""
    named = options.registry or outputs.load(options.outputs).shared_registry
    if not named:
        raise NotConfigured(
            "no registry is named, and the stack shares none",
            fix="Name it with --registry, or: pulumi config set sharedRegistry NAME && pulumi up",
        )
    return str(named).rpartition("/")[2]


def plan(connection: Connection, handle: str, registry: str) -> Promotion:
    """What would be promoted; the model must be in the workspace."""
    if not re.fullmatch(r"[^:/\s]+:[^:/\s]+", handle):
        raise UsageError(f"model '{handle}' is not NAME:VERSION", fix="Its handle is what register_model printed")
    name, _, version = handle.partition(":")
    body = connection.arm.find(f"{connection.workspace.path}/models/{name}/versions/{version}", VERSION)
    if body is None:
        raise UsageError(
            f"model '{handle}' is not in workspace '{connection.workspace.name}'",
            fix="Register it with: scripts/register_model.py --job JOB",
        )
    tags = {str(key): str(value) for key, value in (body["properties"].get("tags") or {}).items()}
    place = connection.workspace
    return Promotion(registry, name, version, {**tags, FROM: f"{place.resource_group}/{place.name}"})


def check(connection: Connection, handle: str, trust: Trust, *, full: bool) -> None:
    """GateSaidNo unless the model's evidence holds: what is promoted is believed in more places than one."""
    terms = Terms(trust, connection.workspace.is_production, full)
    acceptance.check(connection, acceptance.stored(connection, handle), terms)


def find(connection: Connection, wanted: Promotion) -> bool:
    """Whether the registry has this version, from this very job; another's of the same name is refused."""
    from azure.core.exceptions import ResourceNotFoundError

    try:
        found = connection.registry(wanted.registry).models.get(wanted.name, version=wanted.version)
    except ResourceNotFoundError:
        return False
    theirs, ours = (found.tags or {}).get("job", ""), wanted.tags.get("job", "")
    if theirs and theirs != ours:
        raise UsageError(
            f"registry '{wanted.registry}' has '{wanted.name}:{wanted.version}' of another job, '{theirs}'",
            fix="Register this one under another name: scripts/register_model.py --job JOB --name NAME",
        )
    return True


def promote(connection: Connection, wanted: Promotion) -> None:
    """Copy evidence and model, and give the copy the tags of the original: `share` names the copy and nothing more."""
    models = connection.registry(wanted.registry).models
    _copy_evidence(connection, wanted)
    if not find(connection, wanted):
        note(f"copying '{wanted.name}:{wanted.version}' into registry '{wanted.registry}'")
        connection.ml.models.share(
            wanted.name,
            wanted.version,
            share_with_name=wanted.name,
            share_with_version=wanted.version,
            registry_name=wanted.registry,
        )
    copy = models.get(wanted.name, version=wanted.version)
    if any((copy.tags or {}).get(key) != value for key, value in wanted.tags.items()):
        copy.tags = {**(copy.tags or {}), **wanted.tags}
        models.create_or_update(copy)
        kept = models.get(wanted.name, version=wanted.version).tags or {}
        if any(kept.get(key) != value for key, value in wanted.tags.items()):
            raise CloudError(f"registry '{wanted.registry}' did not take the tags of '{wanted.name}:{wanted.version}'")


def _copy_evidence(connection: Connection, wanted: Promotion) -> None:
    """Before the model, so that no copy is there without: killed in between, the next run does the rest."""
    source = evidence_store.find(connection, wanted.name, wanted.version)
    if source is None:
        raise CloudError(f"the evidence of model '{wanted.name}:{wanted.version}' is gone", fix="Run it again")
    with tempfile.TemporaryDirectory() as target:
        root = evidence_store.fetch(source, Path(target), f"{wanted.name}:{wanted.version}")
        evidence_store.keep_in_registry(connection, wanted.registry, wanted.name, wanted.version, root)
