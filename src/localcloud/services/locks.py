"""Management locks: at any scope, over that scope and all beneath it.

`CanNotDelete` refuses deletes, `ReadOnly` also writes and actions. Locks are of the control plane: data in a locked
storage account can be changed. Simulated after the page lock-resources of Resource Manager's documentation;
tests/conformance/azure/test_simulations.py::test_a_lock_refuses_the_delete settles it on Azure.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.routing import Route

from localcloud.arm import ArmError
from localcloud.cloud import Cloud
from localcloud.services.tracked import ANY_SCOPE, TrackedResources, TrackedType
from localcloud.store import Body

LOCKS = "Microsoft.Authorization/locks"
LEVELS = ("CanNotDelete", "ReadOnly")


def routes(cloud: Cloud) -> list[Route]:
    return [*TrackedResources(cloud, _TYPE).routes()]


# -- the guard -------------------------------------------------------------------------------------------------


def refuse_locked(cloud: Cloud, request: Request) -> None:
    """`ScopeLocked` when a lock over what the call changes forbids it; a delete is also stopped by locks beneath."""
    method, path = request.method, request.url.path.rstrip("/")
    if method in ("GET", "HEAD") or f"/providers/{LOCKS.lower()}" in path.lower():
        return
    deletes = method == "DELETE"
    scope, held = path.lower(), []
    for lock in cloud.store.beneath("/subscriptions", LOCKS):
        at = _scope(lock)
        over = scope == at.lower() or scope.startswith(at.lower() + "/")
        beneath = deletes and at.lower().startswith(scope + "/")
        if (over or beneath) and (deletes or lock["properties"]["level"] == "ReadOnly"):
            held.append(at)
    if held:
        raise ArmError(
            409,
            "ScopeLocked",
            f"The scope '{path}' cannot perform {'delete' if deletes else 'write'} operation because following "
            f"scope(s) are locked: '{','.join(held)}'. Please remove the lock and try again.",
        )


# -- model -----------------------------------------------------------------------------------------------------


def _scope(lock: Body) -> str:
    found: str = lock["id"][: lock["id"].lower().rindex(f"/providers/{LOCKS.lower()}")]
    return found


def _check(cloud: Cloud, wanted: str, body: Body, old: Body | None) -> None:
    level = body["properties"]["level"]
    if level not in LEVELS:
        raise ArmError(400, "InvalidLockLevel", f"The lock level '{level}' is not one of {', '.join(LEVELS)}.")


_TYPE = TrackedType(
    LOCKS,
    r"[^<>%&\\?/]{1,90}",
    under=ANY_SCOPE,
    home="none",
    waits=False,
    required=("properties.level",),
    members=("level", "notes", "owners"),
    check=_check,
)
