"""A role that a refusal shows to be missing: which one, the line that grants it, and patience while a new one spreads.

Azure takes minutes, at worst an hour, until a role assignment counts everywhere; right after `pulumi up` a script may
come too early.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

from tunestack.cli import note
from tunestack.jobs.watch_clock import Waiting

Result = TypeVar("Result")

# A workspace younger than this was made with roles that may not have spread yet.
SPREADING_SECONDS = 60 * 60.0
PATIENCE_SECONDS = 15 * 60.0
PAUSE_SECONDS = 15.0
_ML = "Microsoft.MachineLearningServices"
_ACTION = re.compile(r"perform action(?:\(s\))? '([^']+)'")
_LINKED = re.compile(r"does not have permission to perform action(?:\(s\))? '([^']+)'")
# The role for an action, the most exact first; operators of a stack have all that are marked.
_ROLES = (
    (f"{_ML}/workspaces/computes/", "AzureML Compute Operator", False),
    (f"{_ML}/workspaces/write", "Contributor", False),
    (f"{_ML}/workspaces/delete", "Contributor", False),
    (f"{_ML}/workspaces/", "AzureML Data Scientist", True),
    (f"{_ML}/registries/", "AzureML Registry User", True),
    ("Microsoft.ManagedIdentity/userAssignedIdentities/assign/", "Managed Identity Operator", True),
    ("Microsoft.Insights/metrics/", "Monitoring Reader", True),
    ("Microsoft.Authorization/roleAssignments/", "Role Based Access Control Administrator", False),
    ("Microsoft.Storage/", "Storage Blob Data Contributor", True),
)
_DATA = ("AuthorizationPermissionMismatch", "permission to alter this storage account", "using this permission")
OPERATORS = "pulumi config set --path 'operators[0]' User:$(az ad signed-in-user show --query id --output tsv)"


def missing(said: str) -> tuple[str, bool] | None:
    """(the role that would have allowed it, whether a stack's `operators` have it), from what the cloud said."""
    if any(word in said for word in _DATA):
        return "Storage Blob Data Contributor", True
    found = _LINKED.search(said) or _ACTION.search(said)
    if not found:
        return None
    for start, role, granted in _ROLES:
        if found[1].lower().startswith(start.lower()):
            return role, granted
    return "Reader" if found[1].lower().endswith("/read") else "Contributor", False


def fix(said: str) -> str:
    """What to do about a 403: the role by name, and the line that grants it."""
    found = missing(said)
    if found is None:
        role, granted = "AzureML Data Scientist", True
    else:
        role, granted = found
    spread = "a new role takes minutes to spread, at worst an hour"
    if granted:
        return f"Your identity lacks the role '{role}' here. Get it with: {OPERATORS} && pulumi up ({spread})"
    return f"Your identity lacks the role '{role}' here; ask the subscription's owner to assign it ({spread})"


def once_spread(
    created: str | None, act: Callable[[], Result], waiting: Waiting | None = None, patience: float = PATIENCE_SECONDS
) -> Result:
    """What `act` returns. Where it lacks a role and the workspace (`created`, ISO 8601) is young, it is tried again.

    `act` must be one that can be repeated. Raises what it raised last when patience is over, and at once in a
    workspace whose roles have long spread.
    """
    waiting = waiting or Waiting()
    began, told = waiting.now(), False
    while True:
        try:
            return act()
        except Exception as error:
            role = _lacking(error)
            if role is None or not is_young(created, waiting.now()) or waiting.now() - began >= patience:
                raise
            if not told:
                note(
                    f"refused for want of the role '{role}'; the workspace is new, and a new role takes minutes to "
                    f"spread: trying again for up to {patience / 60:g} minutes"
                )
                told = True
        waiting.pause(PAUSE_SECONDS)


def _lacking(error: BaseException) -> str | None:
    """The role that an error says is missing; None for any other error."""
    for cause in _chain(error):
        text = str(cause)
        refused = getattr(cause, "status_code", None) == 403 or getattr(cause, "status", None) == 403
        if refused or any(word in text for word in _DATA):
            found = missing(text)
            if found:
                return found[0]
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        seen.append(current)
        yield current
        inner = getattr(current, "inner_exception", None)
        if isinstance(inner, BaseException):
            yield inner
        current = current.__cause__ or current.__context__


def is_young(created: str | None, now: float) -> bool:
    """Whether roles that were made with a workspace may still be spreading at a time, in Unix seconds."""
    if not created:
        return False
    made = datetime.fromisoformat(created)
    return now - (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp() < SPREADING_SECONDS
