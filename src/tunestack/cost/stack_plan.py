"""What a stack consists of, for its bill: from Pulumi's plan where one can be had, else from the dials alone.

The dials need no login and no stack that is up: `Pulumi.yaml`'s defaults, and over them `Pulumi.<stack>.yaml`.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunestack import cli
from tunestack.errors import UsageError, did_you_mean
from tunestack.settings_file import mapping

PROJECT = "tunestack"
_ML, _NETWORK = "machinelearningservices", "network"
# What infra/network.py makes, for a bill before the first plan; a test holds both against each other.
PRIVATE_ENDPOINTS, PRIVATE_ZONES = 5, 6


@dataclass(frozen=True)
class Item:
    """One resource: its type as `module:Type`, its name, and its inputs as Pulumi sends them."""

    kind: str
    name: str
    inputs: Mapping[str, Any] = field(default_factory=dict)


def dials(folder: Path, stack: str) -> dict[str, Any]:
    """Every dial of a stack as its declared type, the project's default where its file is silent.

    Raises UsageError for dials that the project does not declare, and for values of another type, all together.
    """
    file = folder / f"Pulumi.{stack}.yaml"
    if not file.is_file():
        known = [path.name.split(".")[1] for path in folder.glob("Pulumi.*.yaml")]
        raise UsageError(f"there is no stack file '{file.name}'{did_you_mean(stack, known)}")
    declared = mapping(folder / "Pulumi.yaml", "project").get("config") or {}
    given = mapping(file, "stack file").get("config") or {}
    if not isinstance(given, Mapping):
        raise UsageError(f"stack file '{file}': 'config' is not a mapping of keys to values")
    prefix, problems = f"{PROJECT}:", []
    found = {key: dial.get("default") for key, dial in declared.items()}
    for key, value in ((key.removeprefix(prefix), value) for key, value in given.items() if key.startswith(prefix)):
        if key not in declared:
            problems.append(f"stack file '{file.name}' has an unknown dial '{key}'{did_you_mean(key, declared)}")
            continue
        kind = declared[key].get("type")
        try:
            found[key] = _typed(value, kind)
        except ValueError:
            problems.append(f"stack file '{file.name}': dial '{key}' cannot be '{value}': it is of type {kind}")
    if problems:
        raise UsageError(*problems)
    return found


def _typed(value: Any, kind: str) -> Any:
    """A dial's value: `pulumi config set` writes whole numbers and booleans as text."""
    text = str(value).lower()
    if kind == "integer":
        return int(text)
    if (kind == "boolean" and text not in ("true", "false")) or (kind == "array" and not isinstance(value, list)):
        raise ValueError(value)
    return text == "true" if kind == "boolean" else value


def project_folder(start: Path) -> Path:
    """The nearest folder, upward, with the project's `Pulumi.yaml`."""
    for folder in (start, *start.parents):
        if (folder / "Pulumi.yaml").is_file():
            return folder
    raise UsageError(f"no Pulumi.yaml in '{start}' or above", fix="Run it in the project's folder")


def from_dials(dials: Mapping[str, Any], stack: str) -> list[Item]:
    """What costs, or is known to cost nothing, of a stack with these dials."""
    return list((_registry if dials.get("purpose") == "registry" else _environment)(dials, stack))


def _registry(dials: Mapping[str, Any], stack: str) -> Iterator[Item]:
    account = {"systemCreatedStorageAccount": {"storageAccountType": dials["storageSku"]}}
    yield Item("resources:ResourceGroup", f"{stack}-group")
    yield Item(f"{_ML}:Registry", f"{stack}-registry", {"regionDetails": [{"storageAccountDetails": [account]}]})


def _environment(dials: Mapping[str, Any], stack: str) -> Iterator[Item]:
    yield Item("resources:ResourceGroup", f"{stack}-group")
    yield Item("storage:StorageAccount", f"{stack}-storage", {"sku": {"name": dials["storageSku"]}})
    yield Item("keyvault:Vault", f"{stack}-vault")
    yield Item("containerregistry:Registry", f"{stack}-registry", {"sku": {"name": dials["registrySku"]}})
    yield Item("operationalinsights:Workspace", f"{stack}-logs", {"retentionInDays": dials["logDays"]})
    yield Item("applicationinsights:Component", f"{stack}-insights")
    private = bool(dials.get("privateNetwork"))
    network = {"managedNetwork": {"isolationMode": "AllowOnlyApprovedOutbound"}} if private else {}
    yield Item(f"{_ML}:Workspace", f"{stack}-workspace", network)
    yield _cluster(f"{stack}-cpu", dials["cpuSize"], dials["cpuNodes"], "Dedicated")
    yield _cluster(f"{stack}-gpu", dials["gpuSize"], dials["gpuNodes"], dials["gpuPriority"])
    for name in dials["endpoints"]:
        yield Item(f"{_ML}:OnlineEndpoint", name)
        if dials.get("alerts"):
            yield from (Item("monitor:MetricAlert", f"{name}-{what}") for what in ("errors", "latency"))
    if private:
        yield _cluster(f"{stack}-build", dials["cpuSize"], 1, "Dedicated")
        yield Item(f"{_ML}:ManagedNetworkSettingsRule", "approved names", {"properties": {"type": "FQDN"}})
        yield from (Item(f"{_NETWORK}:PrivateEndpoint", f"private endpoint {n + 1}") for n in range(PRIVATE_ENDPOINTS))
        yield from (Item("privatedns:PrivateZone", f"private zone {n + 1}") for n in range(PRIVATE_ZONES))


def _cluster(name: str, size: str, nodes: int, priority: str) -> Item:
    scale = {"minNodeCount": 0, "maxNodeCount": nodes}
    properties = {"vmSize": size, "vmPriority": priority, "scaleSettings": scale}
    return Item(f"{_ML}:Compute", name, {"properties": {"computeType": "AmlCompute", "properties": properties}})


def read(
    folder: Path, stack: str, dials: Mapping[str, Any], plan: Path | None, *, offline: bool
) -> tuple[list[Item], str]:
    """The stack's resources, and one sentence that says where they were read."""
    if plan is not None:
        if not plan.is_file():
            raise UsageError(f"'{plan}' is no file", fix=f"Write it with: pulumi preview --json > {plan}")
        return from_preview(plan.read_bytes(), f" in '{plan}'"), f"resources are those of the plan in '{plan}'"
    dialled = f"resources are those that the dials in Pulumi.{stack}.yaml ask for"
    if offline:
        return from_dials(dials, stack), dialled
    cli.note(f"asking pulumi for the plan of stack '{stack}'")
    found, reason = preview(folder, stack)
    if found is None:
        return from_dials(dials, stack), f"{dialled}: there is no plan, as {reason}"
    return found, "resources are those of `pulumi preview`"


def from_preview(text: str | bytes, where: str = "") -> list[Item]:
    """Every Azure resource that is there after the plan; `text` is what `pulumi preview --json` wrote."""
    found: dict[str, Item] = {}
    try:
        for step in json.loads(text)["steps"]:
            state = step.get("newState")
            token = (state or {}).get("type", "")
            if state and step.get("op") not in ("delete", "delete-replaced", "discard") and is_azure(token):
                inputs = dict(state.get("inputs") or {})
                found[step["urn"]] = Item(kind_of(token), step["urn"].rpartition("::")[2], inputs)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"the plan{where} is not the JSON of `pulumi preview --json`") from error
    return list(found.values())


def is_azure(token: str) -> bool:
    """Whether a Pulumi type is a resource of Azure, and no component, provider or stack."""
    return token.startswith("azure-native:")


def kind_of(token: str) -> str:
    """`azure-native:storage/v20240101:StorageAccount` as `storage:StorageAccount`."""
    return re.sub(r"/v\d{8}(preview)?", "", token.removeprefix("azure-native:"))


def preview(folder: Path, stack: str) -> tuple[list[Item] | None, str]:
    """The plan of a stack, or None with the reason why there is none: not logged in, no such stack, no engine."""
    command = ["pulumi", "preview", "--json", "--stack", stack, "--non-interactive", "--suppress-progress"]
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        return None, f"'pulumi' does not run ({error.strerror})"
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return None, said[0].removeprefix("error: ") if said else f"`pulumi preview` ended with {done.returncode}"
    return from_preview(done.stdout), ""
