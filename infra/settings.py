"""A stack's configuration, read once into one frozen object; nothing else in `infra` asks Pulumi for a setting.

What each setting means, its default and what it costs stands in `Pulumi.yaml`. All problems are reported together,
each with the command that mends it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pulumi

from infra.dials import DIALS, Operator, stand_in
from infra.naming import PROJECT
from infra.rules import problems as broken_rules

LOCAL_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"


class SettingsError(pulumi.RunError):
    """Settings that cannot be right; Pulumi shows the text without a traceback."""


@dataclass(frozen=True)
class Settings:
    """Every dial of a stack, checked."""

    location: str
    owner: str
    operators: tuple[Operator, ...]
    cpu_size: str
    cpu_nodes: int
    gpu_size: str
    gpu_nodes: int
    gpu_priority: str
    idle_minutes: int
    endpoint_auth_mode: str
    storage_sku: str
    registry_sku: str
    log_days: int
    vault_days: int
    purge_protection: bool
    protect: bool
    purpose: str
    production: bool
    endpoints: tuple[str, ...]
    budget: int
    budget_from: str
    alert_emails: tuple[str, ...]
    alerts: bool
    private_network: bool
    sensitive_data: bool
    lease_cap: str
    purge_on_teardown: bool
    shared_registry: str
    max_instances: int
    gpu_quota: int
    exempt_groups: tuple[str, ...]

    @classmethod
    def read(cls, configuration: Mapping[str, Any]) -> Settings:
        """From Pulumi's whole configuration (`tunestack:gpuNodes` and so on); raises SettingsError."""
        given = {
            key.removeprefix(f"{PROJECT}:"): str(value)
            for key, value in configuration.items()
            if key.startswith(f"{PROJECT}:")
        }
        problems = [_unknown(key) for key in sorted(given) if key not in DIALS]
        values: dict[str, Any] = {}
        bad: set[str] = set()
        for key, dial in DIALS.items():
            try:
                values[_field(key)] = dial.read(given[key])
                continue
            except KeyError:
                problems.append(f"'{PROJECT}:{key}' is not set: {dial.command(key)}")
            except ValueError as error:
                problems.append(f"'{PROJECT}:{key}' is '{given[key]}', and {error}: {dial.command(key, error)}")
            bad.add(key)
            values[_field(key)] = stand_in(key)
        found = cls(**values)
        # A rule that hangs on a dial without a value says nothing yet.
        problems += [line for line in broken_rules(found) if not any(f"{key}'" in line for key in bad)]
        if problems:
            raise SettingsError("\n".join(["The stack's configuration cannot be used:", *problems]))
        return found


def require_own_subscription(stack: str, subscription: str) -> None:
    """Stacks `local` and `local-…` run on the local cloud only, and no other stack runs there; SettingsError."""
    local_stack = stack == "local" or stack.startswith("local-")
    local_cloud = subscription == LOCAL_SUBSCRIPTION
    if local_stack and not local_cloud:
        raise SettingsError(
            f"Stack '{stack}' runs only on the local cloud, and this is subscription '{subscription}'; nothing was "
            "done. Run: localcloud run -- pulumi up"
        )
    if local_cloud and not local_stack:
        raise SettingsError(
            f"Stack '{stack}' does not run on the local cloud (subscription '{subscription}'); nothing was done. "
            "Leave the environment of `localcloud run`, or run: pulumi stack select local"
        )


def _field(key: str) -> str:
    return re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", key)


def _unknown(key: str) -> str:
    near = get_close_matches(key, DIALS, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"'{PROJECT}:{key}' is no setting; {hint}pulumi config rm {key}"
