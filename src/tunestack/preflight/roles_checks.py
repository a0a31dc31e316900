"""Check of rights: may whoever is signed in do the steps to come, from submitting to reading a canary's metrics.

Asked of Azure's own answer to "what may I do here", which knows groups, inheritance and custom roles; who hands them
out is `infra/access.py`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunestack import roles
from tunestack.preflight.preflight_live import Live
from tunestack.preflight.preflight_subject import Finding, Subject

_ML = "Microsoft.MachineLearningServices/workspaces"
_LIVE = "Microsoft.Authorization/permissions, asked now"
Place = Literal["workspace", "storage", "identity"]


@dataclass(frozen=True)
class Need:
    """A step to come, the action that it needs and where, and the built-in role that has it."""

    step: str
    place: Place
    action: str
    role: str
    is_data: bool = False


NEEDS = (
    Need(
        "upload data",
        "storage",
        "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
        "Storage Blob Data Contributor",
        True,
    ),
    Need("submit the job", "workspace", f"{_ML}/jobs/write", "AzureML Data Scientist"),
    Need("register the model", "workspace", f"{_ML}/models/versions/write", "AzureML Data Scientist"),
    Need("deploy it", "workspace", f"{_ML}/onlineEndpoints/deployments/write", "AzureML Data Scientist"),
    Need("shift traffic", "workspace", f"{_ML}/onlineEndpoints/write", "AzureML Data Scientist"),
    Need(
        "shift traffic",
        "identity",
        "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
        "Managed Identity Operator",
    ),
    Need("read a canary's metrics", "workspace", "Microsoft.Insights/metrics/read", "Monitoring Reader"),
)


def caller_roles(subject: Subject) -> Finding:
    """Every action that the steps to come need, at the place where they need it."""
    live = subject.live
    if live is None:
        steps = ", ".join(dict.fromkeys(need.step for need in NEEDS))
        return Finding("roles", "not asked", f"whether you may {steps}, only the cloud knows", "", "Run it online")
    lacking: list[Need] = []
    unread: list[str] = []
    for place, scopes in _scopes(live).items():
        wanted = [need for need in NEEDS if need.place == place]
        for scope in scopes:
            held = live.permissions(scope)
            if held is not None:
                lacking += [need for need in wanted if not allows(held, need.action, is_data=need.is_data)]
            elif place == "storage" and live.reads_blobs():
                unread.append(
                    "you may read the storage account's blobs; whether you may write them is not shown to you"
                )
            elif place == "storage":
                lacking += wanted
            else:
                unread.append(f"what you may do at '{scope.rpartition('/')[2]}' is not shown to you")
    return _said(live, list(dict.fromkeys(lacking)), unread)


def _said(live: Live, lacking: Sequence[Need], unread: Sequence[str]) -> Finding:
    if lacking:
        steps = "; ".join(
            f"you cannot {need.step} without the role '{need.role}' on the {need.place}" for need in lacking
        )
        if roles.is_young(live.connection.created, time.time()):
            wait = "The workspace is new, and a new role takes minutes to spread: run it again"
            return Finding("roles", "warning", steps, _LIVE, wait)
        return Finding("roles", "error", steps, _LIVE, f"{roles.OPERATORS} && pulumi up")
    only_storage = all("blobs" in text for text in unread)
    if unread and only_storage:
        return Finding("roles", "warning", "; ".join(unread), _LIVE, "The upload will tell; it comes before any cost")
    if unread:
        fix = "Have the role Reader on the resource group, which shows you your rights"
        return Finding("roles", "unknown", "; ".join(unread), _LIVE, fix)
    steps = ", ".join(dict.fromkeys(need.step for need in NEEDS))
    return Finding("roles", "ok", f"you may {steps}", _LIVE)


def _scopes(live: Live) -> dict[Place, tuple[str, ...]]:
    """Where each kind of action is needed; the endpoint's identities only where it has some that are assigned."""
    identity = (live.endpoint or {}).get("identity") or {}
    assigned = identity.get("userAssignedIdentities") or {}
    return {
        "storage": (live.storage,) if live.storage else (),
        "workspace": (live.connection.workspace.path,),
        "identity": tuple(assigned),
    }


def allows(permissions: Sequence[Mapping[str, Any]], action: str, *, is_data: bool = False) -> bool:
    """Whether one of these sets of permissions has the action and does not take it back."""
    granted, taken = ("dataActions", "notDataActions") if is_data else ("actions", "notActions")
    return any(
        _matches(action, one.get(granted) or ()) and not _matches(action, one.get(taken) or ()) for one in permissions
    )


def _matches(action: str, patterns: Sequence[str]) -> bool:
    """`*` stands for any text, slashes included; the case does not matter."""
    return any(re.fullmatch(re.escape(one).replace(r"\*", ".*"), action, re.IGNORECASE) for one in patterns)
