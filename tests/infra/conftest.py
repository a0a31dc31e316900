"""The program of `infra` under Pulumi's mocks: every resource that it registers, and what it exports."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import SETTINGS
from pulumi.runtime.stack import run_pulumi_func

ROOT = Path(__file__).parents[2]
SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
TENANT = "99999999-2222-3333-4444-555555555555"
IDENTITY = "azure-native:managedidentity:UserAssignedIdentity"
PATHS = {
    "azure-native:resources:ResourceGroup": "resourceGroups/{0}",
    "azure-native:storage:StorageAccount": "resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/{0}",
    IDENTITY: "resourceGroups/rg/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{0}",
}


@functools.cache
def project_defaults() -> Mapping[str, str]:
    """What the engine hands to the program of a stack that sets nothing: the defaults of `Pulumi.yaml`."""
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    return {f"tunestack:{key}": as_text(dial["default"]) for key, dial in declared.items()}


def stack_file(stack: str) -> dict[str, str]:
    """What the engine hands to the program for a committed stack file: its values over the project's defaults."""
    values = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())["config"]
    return {**project_defaults()} | {key: as_text(value) for key, value in values.items()}


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@dataclass
class Registered:
    """One resource as the program asked for it."""

    token: str
    name: str
    inputs: dict[str, Any]
    request: Any

    @property
    def id(self) -> str:
        path = PATHS.get(self.token, f"resourceGroups/rg/providers/{self.token.replace(':', '/')}/{{0}}")
        return f"/subscriptions/{SUBSCRIPTION}/{path.format(self.name)}"


@dataclass
class Program(pulumi.runtime.Mocks):
    """One run: its resources in the order of registration, and its outputs by name, as Pulumi shows them."""

    subscription: str = SUBSCRIPTION
    resources: list[Registered] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    requests: dict[tuple[str, str], Any] = field(default_factory=dict)

    def of(self, token: str) -> list[Registered]:
        return [found for found in self.resources if found.token == f"azure-native:{token}"]

    def one(self, token: str) -> Registered:
        (found,) = self.of(token)
        return found

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        made = Registered(args.typ, args.name, dict(args.inputs), self.requests[args.typ, args.name])
        self.resources.append(made)
        state = {**made.inputs, "name": made.name}
        if made.token == IDENTITY:
            state["principalId"] = f"principal of {made.name}"
        identity = made.inputs.get("identity")
        if identity and "userAssignedIdentities" in identity:
            # A list on the way in is a map on the way out, and the SDK checks the type of what comes back.
            named = {resource_id: {} for resource_id in identity["userAssignedIdentities"]}
            state["identity"] = {**identity, "userAssignedIdentities": named}
        return made.id, state

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        assert args.token == "azure-native:authorization:getClientConfig"
        return {
            "clientId": "client",
            "objectId": "object",
            "subscriptionId": self.subscription,
            "tenantId": TENANT,
        }


class Monitor(MockMonitor):
    """Keeps the request of each resource: mocks are not told its options."""

    def RegisterResource(self, request: Any) -> Any:
        self.mocks.requests[request.type, request.name] = request
        return super().RegisterResource(request)


Run = Callable[..., Program]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `infra` as the engine would, as stack `dev` with the project's defaults unless told otherwise."""

    def run_program(
        configuration: Mapping[str, str] | None = None, *, stack: str = "dev", subscription: str = SUBSCRIPTION
    ) -> Program:
        program = Program(subscription)
        given = project_defaults() if configuration is None else configuration
        monkeypatch.setenv("PULUMI_CONFIG", json.dumps(given))
        monkeypatch.setattr(pulumi, "export", program.outputs.__setitem__)
        # Mocks have no engine that could call a hook back.
        monkeypatch.setattr("pulumi.resource_hooks.register_resource_hook", lambda hook: asyncio.ensure_future(_done()))
        # Pulumi keeps its run in context variables: in a context of its own, no run sees the one before it.
        contextvars.Context().run(asyncio.run, _execute(program, stack))
        return program

    return run_program


async def _done() -> None:
    """A registration that has happened."""


async def _execute(program: Program, stack: str) -> None:
    # What a failed run left waiting belongs to a loop that is closed.
    SETTINGS.rpc_manager.clear()
    SETTINGS.outputs.clear()
    pulumi.runtime.set_mocks(program, project="tunestack", stack=stack, preview=False, monitor=Monitor(program))
    await run_pulumi_func(lambda: runpy.run_path(str(ROOT / "infra"), run_name="__main__") and None)
    for name, value in program.outputs.items():
        output = pulumi.Output.from_input(value)
        program.outputs[name] = "[secret]" if await output.is_secret() else await output.future()
