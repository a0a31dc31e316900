"""What of ours is left in a subscription, asked of every API that could know, also when the stack is gone.

Ours is what carries the tags that the stack puts on everything, or lies in a resource group that does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tunestack import cli
from tunestack.arm import Arm, Json
from tunestack.errors import CloudError

_WORKSPACE = "microsoft.machinelearningservices/workspaces"
_RUNNING = ("NotStarted", "Queued", "Preparing", "Provisioning", "Starting", "Running", "Finalizing")


@dataclass(frozen=True)
class Leftover:
    """One thing that is left, and the remedy. A retained one is deleted, costs nothing, and can be restored."""

    kind: str
    name: str
    remedy: str
    is_retained: bool = False
    id: str = ""


@dataclass(frozen=True)
class Asked:
    """One API that was asked, and what it knew; `refusal` says why it could not be."""

    api: str
    found: tuple[Leftover, ...]
    refusal: str = ""


class Sweep:
    """The questions to one subscription. `tags` are those that mark what is ours; none marks everything."""

    def __init__(self, arm: Arm, subscription: str, tags: Mapping[str, str]) -> None:
        self._arm, self._root, self._tags = arm, f"/subscriptions/{subscription}", tags
        self._groups: list[str] = []
        self._workspaces: list[str] = []

    def ask(self) -> list[Asked]:
        """Every question in order; a refused one is recorded as such, never as nothing found."""
        return [
            self._one("resource groups", self._resource_groups),
            self._one("resources", self._resources),
            self._one("endpoints, deployments and running jobs of the workspaces that are left", self._in_workspaces),
            self._one("soft-deleted key vaults", self._vaults),
            self._one("soft-deleted Log Analytics workspaces", self._log_workspaces),
        ]

    def purge(self, found: Leftover) -> None:
        """Give up a soft-deleted vault for good."""
        self._arm.post(f"{found.id}/purge", "2023-07-01")

    def _one(self, api: str, question: Callable[[], Iterator[Leftover]]) -> Asked:
        try:
            return Asked(api, tuple(question()))
        except CloudError as error:
            if error.is_passing:
                raise
            return Asked(api, (), error.problems[0])

    def _resource_groups(self) -> Iterator[Leftover]:
        for body in self._arm.pages(f"{self._root}/resourcegroups", "2021-04-01"):
            if self._is_ours(body):
                self._groups.append(body["id"].lower())
                yield Leftover("resource group", body["name"], "pulumi destroy")

    def _resources(self) -> Iterator[Leftover]:
        for body in self._arm.pages(f"{self._root}/resources", "2021-04-01"):
            where = body["id"].lower()
            if self._is_ours(body) or any(where.startswith(group + "/") for group in self._groups):
                if body["type"].lower() == _WORKSPACE:
                    self._workspaces.append(body["id"])
                yield Leftover(body["type"], body["name"], "pulumi destroy")

    def _in_workspaces(self) -> Iterator[Leftover]:
        for workspace in self._workspaces:
            for endpoint in self._arm.pages(f"{workspace}/onlineEndpoints", "2022-02-01-preview"):
                for found in self._arm.pages(f"{endpoint['id']}/deployments", "2023-04-01-preview"):
                    name = f"{endpoint['name']}/{found['name']}"
                    yield Leftover("deployment", name, f"scripts/deploy_model.py --delete {found['name']}")
            for job in self._arm.pages(f"{workspace}/jobs", "2024-01-01-preview"):
                if job["properties"].get("status") in _RUNNING:
                    yield Leftover("running job", job["name"], f"az ml job cancel --name {job['name']}")

    def _vaults(self) -> Iterator[Leftover]:
        for body in self._arm.pages(f"{self._root}/providers/Microsoft.KeyVault/deletedVaults", "2023-07-01"):
            if self._is_ours(body.get("properties", {})):
                until = body["properties"].get("scheduledPurgeDate", "")[:10]
                remedy = "nothing" if body["properties"].get("purgeProtectionEnabled") else "sweep.py --purge"
                yield Leftover(
                    "soft-deleted key vault", body["name"], f"{remedy}; gone by itself on {until}", True, body["id"]
                )

    def _log_workspaces(self) -> Iterator[Leftover]:
        path = f"{self._root}/providers/Microsoft.OperationalInsights/deletedWorkspaces"
        for body in self._arm.pages(path, "2022-10-01"):
            if self._is_ours(body):
                yield Leftover("soft-deleted Log Analytics workspace", body["name"], "gone by itself in 14 days", True)

    def _is_ours(self, body: Json) -> bool:
        tags = body.get("tags") or {}
        return all(tags.get(name) == value for name, value in self._tags.items())


def tell(asked: list[Asked]) -> None:
    """One line per API, and why soft-deleted workspaces are not among them."""
    for one in asked:
        said = f"could not be asked: {one.refusal}" if one.refusal else f"{len(one.found)} left"
        cli.note(f"{one.api}: {said}")
    cli.note("soft-deleted Azure ML workspaces: no public API lists them; see the portal under 'Recently deleted'")
