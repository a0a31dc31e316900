"""What only creation can set, and what goes one way only: a plan that would change it is refused, preview included.

Azure ignores such a change, refuses it in the middle of an `up`, or takes it and cannot take it back. Pulumi shows
an ordinary update. A resource made anew is no change: where it holds data, `protect` stands in the way of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi import ResourceHook, ResourceHookArgs, ResourceHookBinding, ResourceHookOptions


@dataclass(frozen=True)
class Fixed:
    """A property, as the SDK's wire calls it, that a resource keeps for life.

    `reason` is what Azure does with a change, `mend` what puts the plan right. Absent means `default`. With `order`,
    values go forwards along it and never back.
    """

    path: str
    reason: str
    mend: str
    default: Any = None
    order: Sequence[Any] = ()

    def objection(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
        """What is wrong with changing one set of inputs into the other; None when nothing is."""
        old, new = self._value(before), self._value(after)
        if old == new or (self.order and self._forwards(old, new)):
            return None
        return f"'{self.path}' would change from '{shown(old)}' to '{shown(new)}': {self.reason}. " + self.mend.replace(
            "{old}", shown(old)
        )

    def _forwards(self, old: Any, new: Any) -> bool:
        if new not in self.order:
            return False
        return old not in self.order or self.order.index(old) <= self.order.index(new)

    def _value(self, inputs: Mapping[str, Any]) -> Any:
        found: Any = inputs
        for step in self.path.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
        if found is None:
            return self.default
        # Azure's ids differ in case between what is sent and what comes back; the engine's numbers are all floats.
        if isinstance(found, str) and found.startswith("/subscriptions/"):
            return found.lower()
        return int(found) if isinstance(found, float) else found


def shown(value: Any) -> str:
    """A value as the settings write it; in a preview, what is still to be made has none."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int) else "one that is still to be made"


ANEW = "For another one, make another stack"

CLOSED = (
    "the workspace's managed network cannot be opened again, and what it uses stays closed with it",
    "Keep it with: pulumi config set privateNetwork true",
)

STORAGE = (
    Fixed("publicNetworkAccess", *CLOSED, default="Enabled", order=("Enabled", "Disabled")),
    Fixed(
        "encryption.requireInfrastructureEncryption",
        "Azure sets the second encryption of a storage account when it makes it and never after",
        "Keep it as it is with: pulumi config set sensitiveData {old}",
        default=False,
    ),
)
VAULT = (
    Fixed("properties.publicNetworkAccess", *CLOSED, default="enabled", order=("enabled", "Disabled")),
    Fixed(
        "properties.enablePurgeProtection",
        "Azure never takes purge protection back",
        "Keep it with: pulumi config set purgeProtection true",
        default=False,
        order=(False, True),
    ),
    Fixed(
        "properties.softDeleteRetentionInDays",
        "Azure sets how long a deleted vault is kept when it makes it and never after",
        "Keep it with: pulumi config set vaultDays {old}",
        default=90,
    ),
)
WORKSPACE = (
    Fixed(
        "hbiWorkspace",
        "Azure ML sets it when it makes the workspace and never after",
        "Keep it as it is with: pulumi config set sensitiveData {old}",
        default=False,
    ),
    Fixed(
        "enableDataIsolation",
        "Azure ML sets it when it makes the workspace and never after",
        "Keep it as it is with: pulumi config set sensitiveData {old}",
        default=False,
    ),
    Fixed(
        "storageAccount", "a workspace keeps its storage account for life, and Azure ML ignores a change", f"{ANEW}."
    ),
    Fixed("keyVault", "a workspace keeps its key vault for life, and Azure ML ignores a change", f"{ANEW}."),
    Fixed(
        "managedNetwork.isolationMode",
        "a managed network can be closed further and never opened again",
        "Keep it with: pulumi config set privateNetwork true",
        default="Disabled",
        order=("Disabled", "AllowInternetOutbound", "AllowOnlyApprovedOutbound"),
    ),
    Fixed(
        "identity.type",
        "the kind of identity that a workspace runs as cannot be taken back",
        f"{ANEW}.",
        default="None",
    ),
)
_KINDS = {"storage": STORAGE, "vault": VAULT, "workspace": WORKSPACE}


def objections(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Every property of a `storage`, `vault` or `workspace` that the new inputs must leave as the old ones have it."""
    said = [fixed.objection(before, after) for fixed in _KINDS[kind]]
    return [line for line in said if line]


def keep(kind: str) -> ResourceHookBinding:
    """The hook that refuses the change of what is fixed for a kind of resource, in a preview as well."""

    def refuse(args: ResourceHookArgs) -> None:
        found = objections(kind, args.old_inputs or {}, args.new_inputs or {})
        if found:
            pulumi.log.error("\n".join([f"The plan for '{args.name}' is refused, and it stays as it is:", *found]))
            raise RefusedError(f"what '{args.name}' was made with cannot change")

    return ResourceHookBinding(
        before_update=[ResourceHook(f"keep-{kind}", refuse, ResourceHookOptions(on_dry_run=True))]
    )


class RefusedError(Exception):
    """A plan that would change what cannot change."""
