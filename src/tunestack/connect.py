"""Which workspace, and with which credential: decided once per script, from flags, the stack, or config.json."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tunestack import outputs
from tunestack.cli import note
from tunestack.errors import NotConfigured, TunestackError, UsageError
from tunestack.refusals import unreachable

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

    from tunestack.arm import Arm

WORKSPACE_VERSION = "2024-10-01"
CONFIG_PLACES = ("config.json", ".azureml/config.json", "aml_config/config.json")


@dataclass(frozen=True)
class Workspace:
    """The workspace to talk to, and what the stack says beside it (empty where there is no stack)."""

    subscription_id: str
    resource_group: str
    name: str
    stack: str = ""
    cpu_cluster: str = ""
    gpu_cluster: str = ""
    endpoint_name: str = ""
    lease_cap: str = ""
    max_instances: str = ""
    production: str = ""
    monthly_budget: str = ""

    @property
    def is_production(self) -> bool:
        return self.production == "true"

    @property
    def path(self) -> str:
        from tunestack.arm import workspace_path

        return workspace_path(self.subscription_id, self.resource_group, self.name)


class Connection:
    """A workspace with one credential; clients are made when first used."""

    def __init__(self, workspace: Workspace, *, endpoint: str = "", arm: Arm | None = None) -> None:
        self.workspace = workspace
        self._endpoint = endpoint or workspace.endpoint_name
        self._given_arm = arm
        self._containers: dict[tuple[str, str], Any] = {}

    @cached_property
    def credential(self) -> TokenCredential:
        return credential()

    @cached_property
    def arm(self) -> Arm:
        from tunestack.arm import Arm

        return self._given_arm or Arm(self.credential)

    @cached_property
    def body(self) -> dict[str, Any]:
        """The workspace as Resource Manager has it; asked once, and the first to say that something is missing."""
        place = self.workspace
        found = self.arm.find(place.path, WORKSPACE_VERSION)
        if found is None:
            raise UsageError(
                f"workspace '{place.name}' does not exist in resource group '{place.resource_group}'",
                fix="Make it with `pulumi up`, or name another one",
            )
        return found

    @property
    def created(self) -> str | None:
        """When the workspace was made, ISO 8601; roles that were made with it may still be spreading."""
        found: str | None = (self.body.get("systemData") or {}).get("createdAt")
        return found

    @cached_property
    def ml(self) -> Any:
        """The `MLClient` of the workspace."""
        from azure.ai.ml import MLClient

        place = self.workspace
        return MLClient(
            self.credential,
            place.subscription_id,
            place.resource_group,
            place.name,
            enable_telemetry=False,
            show_progress=sys.stderr.isatty(),
        )

    def registry(self, name: str) -> Any:
        """The `MLClient` of a registry; its constructor asks where the registry is."""
        from azure.ai.ml import MLClient
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return MLClient(self.credential, registry_name=name, enable_telemetry=False)
        except ResourceNotFoundError as error:
            raise UsageError(f"registry '{name}' does not exist") from error

    def container(self, host: str, name: str) -> Any:
        """The client of a blob container, the same each time: a new one would shake hands anew."""
        from azure.storage.blob import ContainerClient

        if (host, name) not in self._containers:
            self._containers[host, name] = ContainerClient(host, name, credential=self.credential)
        return self._containers[host, name]

    @property
    def endpoint(self) -> str:
        if not self._endpoint:
            raise NotConfigured("no endpoint is known", fix="Name it with --endpoint, or run `pulumi up` first")
        return self._endpoint


def connect(options: argparse.Namespace) -> Connection:
    """The connection that the flags ask for, else the stack's outputs, else config.json; its workspace is there."""
    _check_proxy()
    found = _workspace(options)
    clusters = {name: getattr(options, name, None) or getattr(found, name) for name in ("cpu_cluster", "gpu_cluster")}
    connection = Connection(replace(found, **clusters), endpoint=getattr(options, "endpoint", None) or "")
    _ = connection.body
    return connection


def subscription(options: argparse.Namespace) -> str:
    """The subscription alone, for when there is no stack any more: the flag, the environment, the stack."""
    _check_proxy()
    named = options.subscription or os.environ.get("AZURE_SUBSCRIPTION_ID") or os.environ.get("ARM_SUBSCRIPTION_ID")
    if named:
        return str(named)
    try:
        return outputs.load(options.outputs).subscription_id
    except TunestackError as error:
        raise NotConfigured(
            "no subscription is named, and there is no stack to ask",
            fix="Name it with --subscription, or in AZURE_SUBSCRIPTION_ID",
        ) from error


def credential() -> TokenCredential:
    """DefaultAzureCredential where it gives a token; else the browser, where somebody sits before it."""
    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import DefaultAzureCredential, InteractiveBrowserCredential

    from tunestack.arm import MANAGEMENT

    found = DefaultAzureCredential()
    try:
        found.get_token(f"{MANAGEMENT}/.default")
    except ClientAuthenticationError as error:
        if not (sys.stdin and sys.stdin.isatty()):
            raise NotConfigured("no credential gives a token for Azure", fix="Log in with: az login") from error
        browser = InteractiveBrowserCredential()
        browser.get_token(f"{MANAGEMENT}/.default")
        return browser
    return found


def _workspace(options: argparse.Namespace) -> Workspace:
    flags = {
        "--subscription": options.subscription,
        "--resource-group": options.resource_group,
        "--workspace-name": options.workspace_name,
    }
    given = [name for name, value in flags.items() if value]
    if len(given) == 3:
        return Workspace(options.subscription, options.resource_group, options.workspace_name)
    if given:
        missing = ", ".join(name for name in flags if name not in given)
        raise UsageError(f"{', '.join(given)} was given without {missing}", fix="Give all three or none")
    return _from_stack_or_config(options.outputs)


def _from_stack_or_config(file: Path | None) -> Workspace:
    try:
        stack = outputs.load(file)
    except TunestackError as error:
        found = _config_file(Path.cwd())
        if file or os.environ.get(outputs.VARIABLE) or found is None:
            raise
        note(f"workspace from '{found}', as there is no stack: {error.problems[0]}")
        return _from_config(found)
    return Workspace(
        stack.subscription_id,
        stack.resource_group,
        stack.workspace_name,
        stack.stack,
        stack.cpu_cluster,
        stack.gpu_cluster,
        stack.endpoint_name,
        stack.lease_cap,
        stack.max_instances,
        stack.production,
        stack.monthly_budget,
    )


def _config_file(folder: Path) -> Path | None:
    """The nearest config.json, upward from a folder, where `MLClient.from_config` looks too."""
    for parent in (folder, *folder.parents):
        for place in CONFIG_PLACES:
            if (parent / place).is_file():
                return parent / place
    return None


def _from_config(file: Path) -> Workspace:
    try:
        content = json.loads(file.read_text())
        return Workspace(content["subscription_id"], content["resource_group"], content["workspace_name"])
    except (ValueError, TypeError, KeyError) as error:
        raise NotConfigured(
            f"'{file}' is not a workspace configuration: {error}",
            fix="It holds subscription_id, resource_group and workspace_name as JSON; download it from the studio",
        ) from error


def _check_proxy() -> None:
    """Fail at once where the proxy is dead: MSAL alone would try for 5 s per token."""
    proxy = urlsplit(os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or "")
    if not proxy.hostname or not proxy.port:
        return
    try:
        socket.create_connection((proxy.hostname, proxy.port), timeout=10).close()
    except OSError as error:
        raise unreachable(f"the proxy '{proxy.geturl()}' does not answer: {error}") from error
