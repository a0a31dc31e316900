"""What of ours is left in a subscription, asked of every API that could know, also when the stack is gone.

Ours is what carries the tags that the stack puts on everything, lies in a resource group that does, or, without any
tag that says whose it is, has a name as the stack's. What only outlives what it belonged to is in `orphans`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tunestack import cli
from tunestack.arm import Arm, Json
from tunestack.errors import CloudError
from tunestack.jobs.run_history import ENDED
from tunestack.names import is_project_s, is_stack_s

_WORKSPACE = "microsoft.machinelearningservices/workspaces"
IDENTITY = "microsoft.managedidentity/userassignedidentities"


@dataclass(frozen=True)
class Leftover:
    """One thing that is left, and the remedy. A retained one is deleted, costs nothing, and can be restored.

    `purge` is the call that `--purge` sends: method, path and api-version; empty where there is none.
    """

    kind: str
    name: str
    remedy: str
    is_retained: bool = False
    id: str = ""
    purge: tuple[str, str, str] | tuple[()] = ()


@dataclass(frozen=True)
class Asked:
    """One API that was asked, and what it knew; `refusal` says why it could not be."""

    api: str
    found: tuple[Leftover, ...]
    refusal: str = ""


class Ours:
    """What tells our things from others': tags, groups and names. Without `tags` everything is ours."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self.tags = tags
        self.groups: list[str] = []

    def has(self, body: Json) -> bool:
        return self.is_tagged(body.get("tags") or {}, body.get("name", "")) or self.holds(body.get("id", ""))

    def is_tagged(self, tags: Mapping[str, str], name: str) -> bool:
        if "stack" in tags or "project" in tags or not self.tags:
            return self.tags.items() <= tags.items()
        return self.is_named(name)

    def holds(self, resource: str) -> bool:
        """Whether an id lies in one of our groups, also in one that is gone by now."""
        found = re.match(r"/subscriptions/[^/]+/resourcegroups/([^/]+)", resource.lower())
        if not found:
            return False
        return found[0] in self.groups or self.is_named(found[1])

    def is_named(self, name: str) -> bool:
        """Whether the name says the stack, or for all stacks the project."""
        if not self.tags:
            return True
        stack = self.tags.get("stack", "")
        return is_stack_s(name, stack) if stack else is_project_s(name)


class Sweep:
    """The questions to one subscription. `tags` are those that mark what is ours; none marks everything."""

    def __init__(self, arm: Arm, subscription: str, tags: Mapping[str, str], graph: Arm | None = None) -> None:
        self.arm, self.root, self.ours, self.graph = arm, f"/subscriptions/{subscription}", Ours(tags), graph
        self._workspaces: list[str] = []
        self.identities: list[str] = []

    def ask(self) -> list[Asked]:
        """Every question in order; a refused one is recorded as such, never as nothing found."""
        from tunestack.stacks.orphans import Orphans

        return [
            self._one("resource groups (Microsoft.Resources/resourceGroups)", self._resource_groups),
            self._one("resources (Microsoft.Resources/resources)", self._resources),
            self._one(
                "deployments and running jobs (Microsoft.MachineLearningServices/workspaces)", self._in_workspaces
            ),
            self._one("soft-deleted key vaults (Microsoft.KeyVault/deletedVaults)", self._vaults),
            self._one(
                "soft-deleted Log Analytics (Microsoft.OperationalInsights/deletedWorkspaces)", self._log_workspaces
            ),
            *(self._one(api, question) for api, question in Orphans(self).questions()),
        ]

    def purged(self, found: Leftover) -> bool:
        """Give up for good what the leftover's own call gives up; false where it has none or it was refused."""
        if not found.purge:
            return False
        method, path, version = found.purge
        try:
            if method == "POST":
                self.arm.post(path, version)
            else:
                self.arm.delete(path, version)
        except CloudError as error:
            cli.note(f"could not purge '{found.name}': {error.problems[0]}")
            return False
        cli.note(f"purged '{found.name}'")
        return True

    def _one(self, api: str, question: Callable[[], Iterator[Leftover]]) -> Asked:
        found: list[Leftover] = []
        try:
            found.extend(question())
        except CloudError as error:
            if error.is_passing:
                raise
            return Asked(api, tuple(found), error.problems[0])
        return Asked(api, tuple(found))

    def _resource_groups(self) -> Iterator[Leftover]:
        others: set[str] = set()
        for body in self.arm.pages(f"{self.root}/resourcegroups", "2021-04-01"):
            tags = body.get("tags") or {}
            if self.ours.has(body):
                self.ours.groups.append(body["id"].lower())
                yield Leftover("resource group", body["name"], "pulumi destroy", id=body["id"])
            elif "stack" in tags and tags.get("project") == self.ours.tags.get("project"):
                others.add(f"'{tags['stack']}'")
        if others and not self.ours.groups:  # a misspelt name would pass for a proof
            cli.note(
                f"no group is of stack '{self.ours.tags['stack']}'; there are groups of {', '.join(sorted(others))}"
            )

    def _resources(self) -> Iterator[Leftover]:
        for body in self.arm.pages(f"{self.root}/resources", "2021-04-01"):
            if self.ours.has(body):
                if body["type"].lower() == _WORKSPACE:
                    self._workspaces.append(body["id"])
                if body["type"].lower() == IDENTITY:
                    self.identities.append(body["id"])
                yield Leftover(body["type"], body["name"], "pulumi destroy", id=body["id"])

    def _in_workspaces(self) -> Iterator[Leftover]:
        for workspace in self._workspaces:
            for endpoint in self.arm.pages(f"{workspace}/onlineEndpoints", "2022-02-01-preview"):
                for found in self.arm.pages(f"{endpoint['id']}/deployments", "2023-04-01-preview"):
                    name = f"{endpoint['name']}/{found['name']}"
                    remedy = f"scripts/deploy_model.py --endpoint {endpoint['name']} --delete {found['name']}"
                    yield Leftover("deployment", name, remedy, id=found["id"])
            for job in self.arm.pages(f"{workspace}/jobs", "2024-01-01-preview"):
                if job["properties"].get("status") not in ENDED:
                    yield Leftover("running job", job["name"], f"az ml job cancel --name {job['name']}")

    def _vaults(self) -> Iterator[Leftover]:
        for body in self.arm.pages(f"{self.root}/providers/Microsoft.KeyVault/deletedVaults", "2023-07-01"):
            properties = body.get("properties") or {}
            if self.ours.is_tagged(properties.get("tags") or {}, body["name"]):
                until = properties.get("scheduledPurgeDate", "")[:10]
                kept = bool(properties.get("purgeProtectionEnabled"))
                remedy = f"{'nothing' if kept else 'sweep.py --purge'}; gone by itself on {until}"
                call = () if kept else ("POST", f"{body['id']}/purge", "2023-07-01")
                yield Leftover("soft-deleted key vault", body["name"], remedy, True, body["id"], call)

    def _log_workspaces(self) -> Iterator[Leftover]:
        path = f"{self.root}/providers/Microsoft.OperationalInsights/deletedWorkspaces"
        for body in self.arm.pages(path, "2022-10-01"):
            if self.ours.is_tagged(body.get("tags") or {}, body["name"]):
                yield Leftover("soft-deleted Log Analytics workspace", body["name"], "gone by itself in 14 days", True)


def tell(asked: list[Asked]) -> None:
    """One line per API, and why soft-deleted workspaces are not among them."""
    for one in asked:
        said = f"could not be asked: {one.refusal}" if one.refusal else f"{len(one.found)} left"
        cli.note(f"{one.api}: {said}")
    cli.note(
        "soft-deleted Azure ML workspaces: not asked, as no public API lists them; they cost nothing and go by "
        "themselves in 14 days. The portal shows them under 'Recently deleted'"
    )
