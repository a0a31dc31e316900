"""What a request needs: from its method and path to the action of Azure's access control and the scope it is asked at.

Actions follow Resource Manager's rule: the type's segments and `read`, `write`, `delete` or `<name>/action`. Azure ML's
data plane has no such rule; its few calls are named one by one.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

ML = "Microsoft.MachineLearningServices"
_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}
# Answered to whoever has a token, as is what belongs to no subscription: which subscriptions there are, and how an
# operation goes whose id nobody else knows.
_OPEN = re.compile(
    r"/subscriptions|/subscriptions/[^/]+/providers/[^/]+/locations/[^/]+/(operationResults|operationsStatus)/[^/]+",
    re.IGNORECASE,
)
_WORKSPACE = re.compile(r"(?P<plane>/.*?)?(?P<id>/subscriptions/.+?/workspaces/[^/]+)(?P<rest>/.*)?", re.IGNORECASE)
_REGISTRY = re.compile(r".*?(?P<id>/subscriptions/.+?/registries/[^/]+)(?P<rest>/.*)?", re.IGNORECASE)
# Calls of MLflow's and of run history's that read although they are POSTs.
_READING = re.compile(r"/(search[^/]*|get-[^/]*|list|rundata)/?$")


@dataclass(frozen=True)
class Need:
    """An action and the id of the resource that it is asked for; `of_list` when that is the place of a list."""

    action: str
    scope: str
    of_list: bool = False


@functools.lru_cache(maxsize=8192)
def of_arm(method: str, path: str) -> Need | None:
    """For a call to Resource Manager; None where a token is enough."""
    path = path.rstrip("/")
    if _OPEN.fullmatch(path) or not path.lower().startswith("/subscriptions/"):
        return None
    head, provider, tail = _split(path)
    if not tail:
        return _of_groups(method, head, provider)
    verb, of_list = _VERBS.get(method, "write"), False
    if method == "POST" and len(tail) % 2 == 1:
        verb = f"{tail.pop()}/action"
    elif len(tail) % 2 == 1:
        of_list = verb == "read" and tail[-1].lower() != "permissions"  # they are of the caller, not of what lies below
    # A list is asked for at what holds it: its last segment is a type without a name.
    named = tail[: len(tail) // 2 * 2]
    scope = f"{head}/providers/{provider}/{'/'.join(named)}" if named else head or "/"
    if provider.lower() == ML.lower() and len(tail) > 2 and tail[0].lower() == "registries":
        return Need(f"{ML}/registries/assets/{verb if method in _VERBS else 'write'}", scope)
    return Need("/".join([provider, *tail[0::2], verb]), scope, of_list)


def _split(path: str) -> tuple[str, str, list[str]]:
    """What stands before the last `/providers/`, the provider, and the segments after it."""
    at = path.lower().rfind("/providers/")
    if at < 0:
        return path, "", []
    provider, *tail = path[at + len("/providers/") :].split("/")
    return path[:at], provider, tail


def _of_groups(method: str, head: str, provider: str) -> Need:
    """Subscriptions, resource groups, and lists of what is in them."""
    segments = head.strip("/").split("/")
    verb = _VERBS.get(method, "action")
    subscription = "/".join(["", *segments[:2]])
    if provider:
        return Need(f"Microsoft.Resources/subscriptions/providers/{verb}", subscription)
    types = "/".join(segments[0::2])
    types = re.sub("resourcegroups", "resourceGroups", types, flags=re.IGNORECASE)
    of_list = len(segments) % 2 == 1
    scope = "/".join(["", *segments[: -1 if of_list else None]])
    return Need(f"Microsoft.Resources/{types}/{verb}", scope, of_list and verb == "read")


@functools.lru_cache(maxsize=8192)
def of_data_plane(method: str, path: str) -> Need | None:
    """For a call to `*.api.azureml.ms`; None for addresses and for what belongs to no workspace or registry."""
    reads = method in ("GET", "HEAD") or bool(_READING.search(path))
    registry = _REGISTRY.fullmatch(path)
    if registry:
        reads = method in ("GET", "HEAD") or bool(_READING.search(path))
        verb = "read" if reads else "delete" if method == "DELETE" else "write"
        return Need(f"{ML}/registries/assets/{verb}", registry["id"])
    found = _WORKSPACE.fullmatch(path)
    if not found:
        return None
    plane, rest = (found["plane"] or "").lower(), (found["rest"] or "").lower()
    if plane.startswith("/data/"):
        types, reads = "data/versions", reads or rest.endswith("batchgetresolveduris")
    elif "registered-models" in rest or "model-versions" in rest:
        types = "models"
    else:
        types = "experiments/runs"
    return Need(f"{ML}/workspaces/{types}/{'read' if reads else 'write'}", found["id"])
