"""One deployment: what it is to be, every check before anything is sent, and the wait until it serves or failed."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import date
from typing import Any

from tunestack import azure_facts, cli, registry, roles
from tunestack.connect import Connection
from tunestack.deployments import autoscale, leases
from tunestack.deployments.deployment_settings import Settings
from tunestack.deployments.endpoint import Deployment, Endpoint
from tunestack.deployments.traffic import BEFORE, SHIFT
from tunestack.errors import EndedBadly, Interrupted, UsageError
from tunestack.models.lineage import of_a_model
from tunestack.progress import Progress
from tunestack.registry_id import BaseModelId, RegistryId, parse_base_model

MODEL_VERSION = "2023-08-01-preview"
CURATED = "azureml"  # Azure's own registry: its models are base models


@dataclass(frozen=True)
class Served:
    """A model to deploy: the id that is sent, its base model, and the lineage that the deployment's tags take on."""

    id: str
    base: BaseModelId | None
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Wanted:
    """The deployment that is asked for, and the lease that it gets or gets anew."""

    slot: str
    model: Served
    settings: Settings
    lease: str

    @property
    def tags(self) -> dict[str, str]:
        """What it is made of. Its lease is no part of that: a longer one changes no deployment."""
        # Left out where there is none: what was deployed before there was autoscale is the same as ever.
        without = None if self.settings.autoscale else {"autoscale"}
        content = json.dumps(self.settings.model_dump(exclude=without), sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:12]
        scaled = autoscale.tag(self.settings.autoscale)
        return {**self.model.tags, "model": self.model.id, "settings": digest, **scaled}

    @property
    def record(self) -> dict[str, Any]:
        settings = self.settings.model_dump(exclude_none=True)
        return {"deployment": self.slot, "lease": self.lease, "tags": self.tags, "settings": settings}


def served(connection: Connection, text: str) -> Served:
    """The model of a registry id or of `name:version` in the workspace, checked to be there."""
    if text.startswith("azureml://"):
        try:
            wanted = RegistryId.parse(text, "models")
        except ValueError as error:
            raise UsageError(f"--model: {error}") from error
        lineage = {"base_model": str(wanted)}
        if wanted.is_label or wanted.registry != CURATED:
            found = registry.registry_model(connection, wanted)
            wanted, lineage = found.id, {"base_model": str(found.id)} | of_a_model(found.tags)
        # Its base is another one where the model was promoted into a registry of one's own.
        origin = parse_base_model(lineage["base_model"])
        return Served(str(wanted), origin, {**lineage, "stack": connection.workspace.stack})
    name, colon, version = text.removeprefix("azureml:").partition(":")  # as Azure, and the record, write it too
    if not colon or not name or not version:
        raise UsageError(f"--model '{text}' is neither name:version nor azureml://registries/…")
    body = connection.arm.find(f"{connection.workspace.path}/models/{name}/versions/{version}", MODEL_VERSION)
    if body is None:
        raise UsageError(
            f"model '{text}' does not exist in workspace '{connection.workspace.name}'{_versions(connection, name)}"
        )
    tags = of_a_model(body["properties"].get("tags") or {})
    base = parse_base_model(tags["base_model"]) if "base_model" in tags else None
    return Served(f"azureml:{name}:{version}", base, {**tags, "stack": connection.workspace.stack})


def check_size(connection: Connection, wanted: Wanted) -> None:
    """The instance type against the base model's inference allow-list, and the retired sizes."""
    size, base = wanted.settings.instance_type, wanted.model.base
    if base is None:
        cli.note(f"warning: the base model of '{wanted.model.id}' is not known; size '{size}' goes unchecked")
        allowed, name = None, wanted.model.id
    else:
        tags = registry.base_model(connection, base).tags
        allowed, name = azure_facts.allow_list(base.name, tags, "inference"), base.name
        if allowed is None:
            cli.note(f"warning: no inference allow-list is known for '{name}'; size '{size}' goes unchecked")
    problems = azure_facts.objections(size, allowed, "inference", name, date.today())
    if problems:
        raise UsageError(*problems, fix="Change instance_type in pipelines/serve")


def same(found: Deployment | None, wanted: Wanted) -> bool:
    """Whether the deployment that is there is the one asked for, by the tags it was made with."""
    return found is not None and all(found.tags.get(name) == wanted.tags[name] for name in ("model", "settings"))


def refuse_live(endpoint: Endpoint, found: Deployment | None, wanted: Wanted) -> None:
    """A slot that serves users keeps its model: another one goes to another slot."""
    if found is None or same(found, wanted):
        return
    if found.is_pending:
        raise UsageError(
            f"deployment '{wanted.slot}' is in state '{found.state}' with another model", fix="Wait for it"
        )
    weight = endpoint.traffic().get(wanted.slot, 0)
    if weight:
        raise UsageError(
            f"deployment '{wanted.slot}' serves {weight} % of the traffic "
            f"with model '{found.tags.get('model', found.model)}'",
            fix="Deploy to another slot, then move the traffic with scripts/shift_traffic.py",
        )


def start(connection: Connection, wanted: Wanted, found: Deployment | None) -> Any:
    """Send the deployment; the poller of the operation."""
    from azure.ai.ml.entities import ManagedOnlineDeployment

    kept = {name: found.tags[name] for name in (BEFORE, SHIFT) if found and name in found.tags}
    arguments = wanted.settings.arguments()
    scale = wanted.settings.autoscale
    if scale and found:
        # Autoscale has chosen since then; a roll-out must not take machines away from under the load.
        arguments["instance_count"] = min(max(found.instances, scale.min), scale.max)
    entity = ManagedOnlineDeployment(
        name=wanted.slot,
        endpoint_name=connection.endpoint,
        model=wanted.model.id,
        tags={**wanted.tags, **kept, **leases.tags(wanted.lease, leases.now())},
        **arguments,
    )
    return roles.once_spread(
        connection.created, lambda: connection.ml.online_deployments.begin_create_or_update(entity)
    )


def extend(endpoint: Endpoint, found: Deployment, lease: str) -> None:
    """A lease from now on, for a deployment that stays as it is; a warning that was given is taken back."""
    given = leases.tags(lease, leases.now())
    kept = {name: value for name, value in found.tags.items() if name not in leases.TAGS}
    endpoint.set_tags(found, {**kept, **given})


def scale(connection: Connection, wanted: Wanted, found: Deployment | None) -> None:
    """Autoscale as the settings have it: written, or taken away where it was and is not asked for any more."""
    if wanted.settings.autoscale:
        autoscale.write(connection, wanted.slot, wanted.settings.autoscale)
    elif found:
        autoscale.delete(connection, found)


def wait(connection: Connection, endpoint: Endpoint, slot: str, poller: Any, timeout: float | None, again: str) -> None:
    """Until the deployment serves. `poller` is None when somebody else started it; `again` is this very command."""
    from azure.core.exceptions import HttpResponseError

    progress = Progress(f"deployment {slot}")
    reason = ""
    try:
        with redirect_stdout(io.StringIO()):  # the SDK's poller prints a dot per poll
            while not _is_done(endpoint, slot, poller):
                progress.show("being made: the machine starts, the model is loaded and probed")
                if timeout is not None and progress.elapsed > timeout:
                    raise EndedBadly(
                        f"deployment '{slot}' is not ready after {timeout / 60:g} minutes; it goes on",
                        fix=f"Wait for it again with: {again}",
                    )
                if poller is None:
                    time.sleep(2.0)
                else:
                    poller.wait(1.0)
            if poller is not None:
                poller.result()
    except HttpResponseError as error:
        details = [f"({found.code}) {found.message}" for found in getattr(error.error, "details", None) or []]
        reason = " ".join([getattr(error.error, "message", None) or error.message, *details]).splitlines()[0]
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted; deployment '{slot}' goes on", fix=f"Wait for it with: {again}") from error
    finally:
        progress.close()
    state = endpoint.deployment(slot)
    if reason or state is None or state.state != "Succeeded":
        raise _failed(connection, slot, reason or (state.state if state else "it is gone"))
    cli.note(f"deployment '{slot}' serves after {progress.elapsed:.0f} s")


def _is_done(endpoint: Endpoint, slot: str, poller: Any) -> bool:
    if poller is not None:
        return bool(poller.done())
    found = endpoint.deployment(slot)
    return found is None or not found.is_pending


def _failed(connection: Connection, slot: str, reason: str) -> EndedBadly:
    """With the end of the container's log, where there is one: the cause stands there more often than not."""
    path = f"{Endpoint(connection).path}/deployments/{slot}/getLogs"
    found = connection.arm.post(path, "2023-04-01-preview", {"tail": 40}).get("content") or ""
    return EndedBadly(
        f"deployment '{slot}' failed: {reason.rstrip('.')}",
        fix=f"Mend the cause and run it again, or delete it: scripts/deploy_model.py --delete {slot}",
        details=found.splitlines()[-20:],
    )


def _versions(connection: Connection, name: str) -> str:
    found = connection.arm.find(f"{connection.workspace.path}/models/{name}/versions", MODEL_VERSION) or {}
    versions = [item["id"].rsplit("/", 1)[-1] for item in found.get("value", [])]
    return f"; versions of '{name}' are: {', '.join(versions)}" if versions else ""
