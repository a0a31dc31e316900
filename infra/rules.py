"""How the dials of a stack hang together: what production asks for, what a private network needs, what quota holds.

A rule gives one line per problem, each with the command that mends it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infra.settings import Settings

# What a name says of a family whose deployments need no cores in reserve for upgrades: "Skip 20 %" in Azure's
# managed-online-endpoints-vm-sku-list.
WITHOUT_RESERVE = re.compile(r"Standard_N[CD]\w*_(A100|H100)_v\d+|Standard_ND96\w+|Standard_ND40rs_v2", re.IGNORECASE)
RESERVE_PERCENT = 120


def problems(settings: Settings, today: date | None = None) -> list[str]:
    """Every rule that the settings break, in words. A size retired by `today` is one of them."""
    rules = _REGISTRY if settings.purpose == "registry" else _ENVIRONMENT
    found = [line for rule in rules for line in rule(settings)]
    return found + (_retired(settings, today or date.today()) if settings.purpose == "environment" else [])


def cores(size: str) -> int:
    """vCPUs of one machine, which Azure writes into the size's name (its naming conventions for sizes)."""
    found = re.match(r"Standard_[A-Za-z]+(\d+)", size)
    return int(found[1]) if found else 0


def roll_out_cores(size: str, instances: int) -> int:
    """Cores that a deployment takes next to the one that it replaces: blue plus green, each with Azure's reserve."""
    counted = instances if WITHOUT_RESERVE.fullmatch(size) else -(-instances * RESERVE_PERCENT // 100)
    return 2 * counted * cores(size)


def _production(settings: Settings) -> Iterator[str]:
    if not settings.production:
        return
    wanted: dict[str, tuple[bool, str, str]] = {
        "alerts": (settings.alerts, "true", "somebody must hear of errors"),
        "privateNetwork": (settings.private_network, "true", "data must not be reachable from the internet"),
        "purgeProtection": (settings.purge_protection, "true", "secrets must survive a mistaken purge"),
        "endpointAuthMode": (settings.endpoint_auth_mode == "AADToken", "AADToken", "callers must not share a key"),
        "leaseCap": (settings.lease_cap == "never", "never", "a deployment that users need must not run out"),
    }
    for key, (met, value, reason) in wanted.items():
        if not met:
            yield (
                f"'tunestack:production' is on and '{key}' is not '{value}': {reason}: pulumi config set {key} {value}"
            )


def _kept(settings: Settings) -> Iterator[str]:
    if not settings.production:
        return
    if not settings.protect:
        yield (
            "'tunestack:production' is on and 'protect' is not 'true': what holds data must not go with one command: "
            "pulumi config set protect true"
        )
    if not settings.alert_emails:
        yield (
            "'tunestack:production' is on and 'alertEmails' names nobody: the budget's mails must reach somebody: "
            "pulumi config set --path 'alertEmails[0]' team@example.com"
        )
    if settings.purge_on_teardown:
        yield (
            "'tunestack:production' and 'purgeOnTeardown' are both on: a teardown must stay recoverable: "
            "pulumi config set purgeOnTeardown false"
        )


def _alerts(settings: Settings) -> Iterator[str]:
    if settings.alerts and not settings.alert_emails and not settings.production:
        yield (
            "'tunestack:alerts' is on and 'alertEmails' names nobody, so no alert would reach anybody: "
            "pulumi config set --path 'alertEmails[0]' team@example.com"
        )


def _purge(settings: Settings) -> Iterator[str]:
    if settings.purge_protection and settings.purge_on_teardown and not settings.production:
        yield (
            "'tunestack:purgeProtection' and 'purgeOnTeardown' are both on, and a protected vault cannot be purged: "
            "pulumi config set purgeOnTeardown false"
        )


def _private(settings: Settings) -> Iterator[str]:
    if settings.private_network and settings.registry_sku != "Premium":
        yield (
            f"'tunestack:privateNetwork' is on and 'registrySku' is '{settings.registry_sku}', and only a Premium "
            f"container registry takes a private endpoint: pulumi config set registrySku Premium"
        )


def _shared(settings: Settings) -> Iterator[str]:
    if settings.shared_registry:
        yield (
            "'tunestack:sharedRegistry' is for stacks that use the registry, and this one makes it: "
            "pulumi config rm sharedRegistry"
        )


def _quota(settings: Settings) -> Iterator[str]:
    if not settings.gpu_quota:
        return
    size, instances = settings.gpu_size, settings.max_instances
    needed = roll_out_cores(size, instances)
    if needed > settings.gpu_quota:
        yield (
            f"'tunestack:maxInstances' is {instances}, and a roll-out runs blue and green at once: {needed} cores of "
            f"'{size}', where 'gpuQuota' is {settings.gpu_quota}; ask Azure for more, then: "
            f"pulumi config set gpuQuota {needed}"
        )
    training = settings.gpu_nodes * cores(size)
    if settings.gpu_priority == "Dedicated" and training > settings.gpu_quota:
        fits = settings.gpu_quota // cores(size)
        mend = f"pulumi config set gpuNodes {fits}"
        if not fits:
            mend = f"ask Azure for more, then: pulumi config set gpuQuota {training}"
        yield (
            f"'tunestack:gpuNodes' is {settings.gpu_nodes}, which is {training} cores of '{size}', where 'gpuQuota' "
            f"is {settings.gpu_quota}: {mend}"
        )


def _retired(settings: Settings, today: date) -> list[str]:
    found = []
    for key, size, instead in (
        ("cpuSize", settings.cpu_size, "Standard_D4ds_v5"),
        ("gpuSize", settings.gpu_size, "Standard_NC24ads_A100_v4"),
    ):
        retired = _sizes().get(size.lower(), {}).get("retired")
        if retired and retired <= today:
            found.append(
                f"'tunestack:{key}' is '{size}', which Azure retired on {retired}: pulumi config set {key} {instead}"
            )
    return found


@cache
def _sizes() -> dict[str, dict[str, Any]]:
    """The dated table that the scripts read too, as data: `infra` takes no code from there."""
    import yaml

    table = yaml.safe_load(files("tunestack").joinpath("azure_facts.yml").read_text())
    return {name.lower(): fact for name, fact in table["sizes"].items()}


_REGISTRY: tuple[Callable[[Settings], Iterator[str]], ...] = (_kept, _shared)
_ENVIRONMENT: tuple[Callable[[Settings], Iterator[str]], ...] = (
    _production,
    _kept,
    _alerts,
    _purge,
    _private,
    _quota,
)
