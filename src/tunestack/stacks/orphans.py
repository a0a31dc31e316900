"""What outlives the thing that it belonged to: role assignments, autoscale settings, budgets, alerts, credentials.

Each question yields leftovers of ours only; who is told apart how, stands with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from tunestack.errors import CloudError
from tunestack.names import is_project_s

if TYPE_CHECKING:
    from tunestack.stacks.leftovers import Leftover, Sweep

ROLES_VERSION, AUTOSCALE_VERSION, BUDGETS_VERSION = "2022-04-01", "2022-10-01", "2024-08-01"
ALERTS_VERSION, CREDENTIALS_VERSION = "2018-03-01", "2023-01-31"
GRAPH = "https://graph.microsoft.com"
_MOST_IDS = 1000
_KEPT_CONTAINERS = "microsoft.machinelearningservices/workspaces"


class Orphans:
    """The questions of one sweep, asked after those for groups and resources, which know what is there."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep, self._arm, self._root, self._ours = sweep, sweep.arm, sweep.root, sweep.ours

    def questions(self) -> Sequence[tuple[str, Callable[[], Iterator[Leftover]]]]:
        return [
            (
                "role assignments of deleted identities (Microsoft.Authorization/roleAssignments, "
                "Microsoft Graph directoryObjects/getByIds)",
                self._assignments,
            ),
            ("autoscale settings without a target (Microsoft.Insights/autoscaleSettings)", self._autoscale),
            ("budgets (Microsoft.Consumption/budgets)", self._budgets),
            ("alerts without a target (Microsoft.Insights/metricAlerts)", self._alerts),
            (
                "federated credentials of identities that are left "
                "(Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials)",
                self._credentials,
            ),
        ]

    def _assignments(self) -> Iterator[Leftover]:
        """Whose an assignment was cannot be told once its principal is gone: those at a scope of any of our stacks."""
        path = f"{self._root}/providers/Microsoft.Authorization/roleAssignments"
        of_services = [
            body
            for body in self._arm.pages(path, ROLES_VERSION)
            if body["properties"].get("principalType") in ("ServicePrincipal", "Unknown")
            and self._is_project_s(body["properties"]["scope"])
        ]
        unknown = {body["properties"]["principalId"] for body in of_services} - self._managed()
        gone = unknown - self._in_directory(sorted(unknown))
        for body in of_services:
            if body["properties"]["principalId"] in gone:
                name = f"{body['name']} on {body['properties']['scope'].rpartition('/')[2]}"
                yield self._leftover("role assignment of a deleted identity", name, body["id"], ROLES_VERSION)

    def _is_project_s(self, scope: str) -> bool:
        return self._ours.holds(scope) or any(is_project_s(part) for part in scope.split("/"))

    def _managed(self) -> set[str]:
        path = f"{self._root}/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
        found = {body["properties"].get("principalId") for body in self._arm.pages(path, CREDENTIALS_VERSION)}
        for body in self._arm.pages(f"{self._root}/resources", "2021-04-01"):
            found.add((body.get("identity") or {}).get("principalId"))
        return {one for one in found if one}

    def _in_directory(self, ids: Sequence[str]) -> set[str]:
        """Those that Microsoft Graph knows; an identity that may not ask it makes the whole question a refused one."""
        found: set[str] = set()
        for at in range(0, len(ids), _MOST_IDS):
            if self._sweep.graph is None:
                raise CloudError("no access to Microsoft Graph")
            body = {"ids": list(ids[at : at + _MOST_IDS])}
            answer = self._sweep.graph.post(f"{GRAPH}/v1.0/directoryObjects/getByIds", body=body)
            found |= {one["id"] for one in answer.get("value", [])}
        return found

    def _autoscale(self) -> Iterator[Leftover]:
        """Ours by tags or name, or because the target was one of ours."""
        path = f"{self._root}/providers/Microsoft.Insights/autoscaleSettings"
        for body in self._arm.pages(path, AUTOSCALE_VERSION):
            target = str((body.get("properties") or {}).get("targetResourceUri") or "")
            if (self._ours.has(body) or self._ours.holds(target)) and not self._exists(target):
                yield self._leftover("autoscale setting without a target", body["name"], body["id"], AUTOSCALE_VERSION)

    def _budgets(self) -> Iterator[Leftover]:
        """Budgets carry no tags: ours by their name in the subscription, where only one without its group is purged."""
        path = "providers/Microsoft.Consumption/budgets"
        for body in self._arm.pages(f"{self._root}/{path}", BUDGETS_VERSION):
            at_root = body["id"].lower().startswith(f"{self._root}/{path}/".lower())
            if at_root and self._ours.is_named(body["name"]):
                alone = bool(self._ours.tags) and not self._ours.groups
                yield self._leftover("budget", body["name"], body["id"], BUDGETS_VERSION, purges=alone)
        for group in self._ours.groups:
            for body in self._arm.pages(f"{group}/{path}", BUDGETS_VERSION):
                if body["id"].lower().startswith(f"{group}/{path}/".lower()):
                    yield self._leftover("budget", body["name"], body["id"], BUDGETS_VERSION, purges=False)

    def _alerts(self) -> Iterator[Leftover]:
        """Alerts that lie outside our groups and watch what was in one."""
        path = f"{self._root}/providers/Microsoft.Insights/metricAlerts"
        for body in self._arm.pages(path, ALERTS_VERSION):
            scopes = [str(scope) for scope in (body.get("properties") or {}).get("scopes") or []]
            ours = [scope for scope in scopes if self._ours.holds(scope)]
            if ours and not self._ours.holds(body["id"]) and not any(self._exists(scope) for scope in ours):
                yield self._leftover("alert without a target", body["name"], body["id"], ALERTS_VERSION)

    def _credentials(self) -> Iterator[Leftover]:
        for identity in self._sweep.identities:
            for body in self._arm.pages(f"{identity}/federatedIdentityCredentials", CREDENTIALS_VERSION):
                subject = (body.get("properties") or {}).get("subject", "")
                yield self._leftover(
                    "federated credential", f"{body['name']} ({subject})", body["id"], CREDENTIALS_VERSION, purges=False
                )

    def _exists(self, target: str) -> bool:
        version = "2023-04-01-preview" if _KEPT_CONTAINERS in target.lower() else "2021-04-01"
        return bool(target) and self._arm.find(target, version) is not None

    def _leftover(self, kind: str, name: str, resource: str, version: str, *, purges: bool = True) -> Leftover:
        """What is not alone goes with what it belongs to, and `--purge` must not take it from a living stack."""
        from tunestack.stacks.leftovers import Leftover

        if not purges:
            return Leftover(kind, name, "pulumi destroy", id=resource)
        return Leftover(kind, name, "sweep.py --purge", id=resource, purge=("DELETE", resource, version))
