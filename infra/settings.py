"""A stack's configuration, read once into one frozen object; nothing else in `infra` asks Pulumi for a setting.

What each setting means, its default and what it costs stands in `Pulumi.yaml`. All problems are reported together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pulumi

from infra.naming import PROJECT

LOCAL_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
GUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
MOST_NODES = 100


class SettingsError(pulumi.RunError):
    """Settings that cannot be right; Pulumi shows the text without a traceback."""


@dataclass(frozen=True)
class Operator:
    """Someone who runs the scripts: a `User`, `Group` or `ServicePrincipal`, and its object id in Entra."""

    kind: str
    object_id: str


@dataclass(frozen=True)
class Rule:
    """What a setting may be: `read` raises ValueError with that in words; `example` is a value that fits."""

    read: Callable[[str], Any]
    example: str


def _text(pattern: str, meant: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"it must be {meant}")
        return value

    return read


def _one_of(*known: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in known:
            raise ValueError(f"it must be one of {', '.join(known)}")
        return value

    return read


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,6}", value) or not least <= int(value) <= most:
            raise ValueError(f"it must be a whole number from {least} to {most}")
        return int(value)

    return read


def _yes_or_no(value: str) -> bool:
    return _one_of("true", "false")(value) == "true"


def _operators(value: str) -> tuple[Operator, ...]:
    found = []
    for one in _json_list(value):
        matched = re.fullmatch(rf"(User|Group|ServicePrincipal):({GUID})", str(one))
        if not matched:
            raise ValueError(f"'{one}' in it is not 'User:', 'Group:' or 'ServicePrincipal:' and an object id")
        found.append(Operator(matched[1], matched[2].lower()))
    if len(set(found)) != len(found):
        raise ValueError("it names one twice")
    return tuple(found)


def _list_of(pattern: str, meant: str) -> Callable[[str], tuple[str, ...]]:
    def read(value: str) -> tuple[str, ...]:
        listed = _json_list(value)
        for one in listed:
            if not isinstance(one, str) or not re.fullmatch(pattern, one):
                raise ValueError(f"'{one}' in it is not {meant}")
        if len(set(listed)) != len(listed):
            raise ValueError("it names one twice")
        return tuple(listed)

    return read


def _json_list(value: str) -> list[Any]:
    try:
        listed = json.loads(value)
    except ValueError:
        listed = None
    if not isinstance(listed, list):
        raise ValueError("it must be a list")
    return listed


RULES: Mapping[str, Rule] = {
    "location": Rule(_text(r"[a-z]+[0-9]*", "a region's short name"), "eastus"),
    "owner": Rule(_text(r"[^<>%&\\?/]{0,256}", "up to 256 characters without <>%&\\?/"), "team-chat"),
    "operators": Rule(_operators, "'[\"User:<object id>\"]'"),
    "cpuSize": Rule(_text(r"Standard_[A-MO-Z]\w+", "a size without GPU"), "Standard_D4ds_v5"),
    "cpuNodes": Rule(_whole(1, MOST_NODES), "2"),
    "gpuSize": Rule(
        _text(r"Standard_N\w+", "a size with GPU (its name begins with Standard_N)"), "Standard_NC24ads_A100_v4"
    ),
    "gpuNodes": Rule(_whole(1, MOST_NODES), "1"),
    "gpuPriority": Rule(_one_of("Dedicated", "LowPriority"), "Dedicated"),
    "idleMinutes": Rule(_whole(1, 120), "2"),
    "endpointAuthMode": Rule(_one_of("AADToken", "AMLToken", "Key"), "AADToken"),
    "storageSku": Rule(_one_of("Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_GZRS"), "Standard_LRS"),
    "registrySku": Rule(_one_of("Basic", "Standard", "Premium"), "Basic"),
    "logDays": Rule(_whole(30, 730), "30"),
    "vaultDays": Rule(_whole(7, 90), "7"),
    "purgeProtection": Rule(_yes_or_no, "false"),
    "protect": Rule(_yes_or_no, "false"),
    "purpose": Rule(_one_of("environment", "registry"), "environment"),
    "production": Rule(_yes_or_no, "false"),
    "endpoints": Rule(_list_of(r"[a-z](-?[a-z0-9]){0,13}", "a name of up to 14 letters and digits"), "'[\"chat\"]'"),
    "budget": Rule(_whole(1, 999_999), "200"),
    "budgetFrom": Rule(_text(r"20[0-9]{2}-(0[1-9]|1[0-2])-01", "the first day of a month"), "2026-11-01"),
    "alertEmails": Rule(_list_of(r"[^@\s]+@[^@\s]+\.[^@\s]+", "an address"), "'[\"team@example.com\"]'"),
    "alerts": Rule(_yes_or_no, "false"),
    "privateNetwork": Rule(_yes_or_no, "false"),
    "sensitiveData": Rule(_yes_or_no, "false"),
    "leaseCap": Rule(_text(r"[1-9][0-9]{0,3}h|never", "hours such as 24h, or never"), "24h"),
    "purgeOnTeardown": Rule(_yes_or_no, "false"),
    "sharedRegistry": Rule(_text(r"[\w./-]{0,300}", "a registry's name or resource id"), "tunestack-shared"),
    "maxInstances": Rule(_whole(1, 50), "1"),
}


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

    @classmethod
    def read(cls, configuration: Mapping[str, Any]) -> Settings:
        """From Pulumi's whole configuration (`tunestack:gpuNodes` and so on); raises SettingsError."""
        given = {
            key.removeprefix(f"{PROJECT}:"): str(value)
            for key, value in configuration.items()
            if key.startswith(f"{PROJECT}:")
        }
        problems = [_unknown(key) for key in sorted(given) if key not in RULES]
        values: dict[str, Any] = {}
        for key, rule in RULES.items():
            if key not in given:
                problems.append(f"'{PROJECT}:{key}' is not set: pulumi config set {key} {rule.example}")
                continue
            try:
                values[_field(key)] = rule.read(given[key])
            except ValueError as error:
                problems.append(
                    f"'{PROJECT}:{key}' is '{given[key]}', and {error}: pulumi config set {key} {rule.example}"
                )
        if problems:
            raise SettingsError("\n".join(["The stack's configuration cannot be used:", *problems]))
        return cls(**values)


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
    near = get_close_matches(key, RULES, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"'{PROJECT}:{key}' is no setting; {hint}pulumi config rm {key}"
