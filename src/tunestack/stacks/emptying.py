"""Takes out of a workspace what scripts put into it and `pulumi destroy` does not know: traffic, deployments, jobs.

In an order in which nothing is refused and nothing hangs: each wait is bounded, and what cannot be waited for is named.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from tunestack import cli
from tunestack.arm import Arm, Json
from tunestack.errors import CloudError, EndedBadly
from tunestack.jobs.run_history import ENDED

ML_VERSION = "2023-04-01-preview"
ENDPOINT_VERSION = "2022-02-01-preview"
JOB_VERSION = "2024-01-01-preview"
AUTOSCALE_VERSION = "2022-10-01"
WORKSPACE_VERSION = "2024-10-01"
GROUP_VERSION = "2021-04-01"
_ANSWERED = ("provisioningState", "scoringUri", "swaggerUri")


@dataclass(frozen=True)
class Patience:
    """How long one deletion or the cancelling of all jobs may take, in seconds, and the clock, for tests."""

    seconds: float = 1800.0
    pause: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time


@dataclass
class Emptied:
    """What was taken out, by kind; in a dry run what would be."""

    traffic: list[str] = field(default_factory=list)
    autoscale: list[str] = field(default_factory=list)
    deployments: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    purged: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Emptying:
    """One stack's groups in a subscription, found by the tags that Pulumi puts on them."""

    def __init__(self, arm: Arm, subscription: str, stack: str, patience: Patience, *, dry_run: bool = False) -> None:
        self._arm, self._root, self._stack = arm, f"/subscriptions/{subscription}", stack
        self._patience, self._dry_run = patience, dry_run
        self.done = Emptied()

    def groups(self) -> list[str]:
        """Ids of the stack's resource groups: half-built stacks have no outputs, but their group has its tags."""
        wanted = {"project": "tunestack", "stack": self._stack}
        return [
            body["id"]
            for body in self._arm.pages(f"{self._root}/resourcegroups", GROUP_VERSION)
            if wanted.items() <= (body.get("tags") or {}).items()
        ]

    def workspaces(self) -> list[Json]:
        kind = "providers/Microsoft.MachineLearningServices/workspaces"
        return [body for group in self.groups() for body in self._arm.pages(f"{group}/{kind}", WORKSPACE_VERSION)]

    def empty(self, workspace: str) -> None:
        """Traffic to zero, then autoscale settings, deployments and running jobs of a workspace."""
        for endpoint in self._arm.pages(f"{workspace}/onlineEndpoints", ENDPOINT_VERSION):
            self._clear_traffic(endpoint)
            self._delete_autoscale(workspace, endpoint["id"])
            for found in self._arm.pages(f"{endpoint['id']}/deployments", ML_VERSION):
                name = f"{endpoint['name']}/{found['name']}"
                self.done.deployments.append(name)
                self._do(f"delete deployment '{name}'", partial(self._delete, found["id"], ML_VERSION))
        self._cancel_jobs(workspace)

    def purge(self, workspace: Json) -> None:
        """Delete a workspace for good, while the storage and the vault that its purge needs are there."""
        self.done.purged.append(workspace["name"])
        self._do(
            f"purge workspace '{workspace['name']}'",
            lambda: self._arm.delete(
                workspace["id"], WORKSPACE_VERSION, timeout=self._patience.seconds, forceToPurge="true"
            ),
        )

    def purge_vaults(self) -> None:
        """Purge the stack's soft-deleted key vaults; one under purge protection stays, and is said to."""
        for body in self._arm.pages(f"{self._root}/providers/Microsoft.KeyVault/deletedVaults", "2023-07-01"):
            properties = body.get("properties") or {}
            if (properties.get("tags") or {}).get("stack") != self._stack:
                continue
            if properties.get("purgeProtectionEnabled"):
                cli.note(
                    f"key vault '{body['name']}' goes by itself on {properties.get('scheduledPurgeDate', '')[:10]}"
                )
                continue
            self.done.purged.append(body["name"])
            self._do(
                f"purge key vault '{body['name']}'",
                partial(self._arm.post, f"{body['id']}/purge", "2023-07-01"),
            )

    def _delete(self, path: str, version: str) -> None:
        self._arm.delete(path, version, timeout=self._patience.seconds)

    def _clear_traffic(self, endpoint: Json) -> None:
        properties = endpoint["properties"]
        if not any((properties.get("traffic") or {}).values()) and not properties.get("mirrorTraffic"):
            return
        self.done.traffic.append(endpoint["name"])
        kept = {name: value for name, value in properties.items() if name not in _ANSWERED}
        body = {name: endpoint[name] for name in ("location", "tags", "kind", "sku") if endpoint.get(name)}
        identity = endpoint.get("identity") or {}
        if identity:
            users = identity.get("userAssignedIdentities")
            body["identity"] = {"type": identity["type"]} | (
                {"userAssignedIdentities": {name: {} for name in users}} if users else {}
            )
        body["properties"] = {**kept, "traffic": {}, "mirrorTraffic": {}}
        self._do(
            f"take all traffic from endpoint '{endpoint['name']}'",
            lambda: self._arm.put(endpoint["id"], ENDPOINT_VERSION, body),
        )

    def _delete_autoscale(self, workspace: str, endpoint: str) -> None:
        """Settings whose target is a deployment of the endpoint, before it goes: alone they would stay behind."""
        group = workspace.split("/providers/")[0]
        kind = "providers/Microsoft.Insights/autoscaleSettings"
        for found in self._arm.pages(f"{group}/{kind}", AUTOSCALE_VERSION):
            target = str((found.get("properties") or {}).get("targetResourceUri") or "").lower()
            if target.startswith(endpoint.lower() + "/"):
                self.done.autoscale.append(found["name"])
                self._do(
                    f"delete autoscale setting '{found['name']}'",
                    partial(self._delete, found["id"], AUTOSCALE_VERSION),
                )

    def _running(self, workspace: str) -> Iterator[str]:
        for job in self._arm.pages(f"{workspace}/jobs", JOB_VERSION):
            if job["properties"].get("status") not in ENDED:
                yield job["name"]

    def _cancel_jobs(self, workspace: str) -> None:
        names = list(self._running(workspace))
        for name in names:
            self.done.jobs.append(name)
            self._do(f"cancel job '{name}'", partial(self._cancel, f"{workspace}/jobs/{name}"))
        if not names or self._dry_run:
            return
        began = self._patience.now()
        while left := list(self._running(workspace)):
            if self._patience.now() - began > self._patience.seconds:
                self.done.problems.append(
                    f"jobs are not cancelled after {self._patience.seconds:.0f} s: {', '.join(left)}"
                )
                return
            self._patience.pause(1.0)

    def _cancel(self, job: str) -> None:
        try:
            self._arm.post(f"{job}/cancel", JOB_VERSION)
        except CloudError as error:
            # It ended between the list and this call.
            found = (self._arm.find(job, JOB_VERSION) or {}).get("properties", {})
            if error.status != 400 or found.get("status") not in ENDED:
                raise

    def _do(self, what: str, action: Callable[[], object]) -> None:
        """Do it or, in a dry run, say so. What is refused is kept: the rest of the teardown must not wait for it."""
        if self._dry_run:
            cli.note(f"would {what}")
            return
        try:
            action()
        except (CloudError, EndedBadly) as error:
            if isinstance(error, CloudError) and error.is_passing:
                raise
            found = [f"could not {what}: {problem}" for problem in error.problems]
            self.done.problems += found
            for problem in found:
                cli.note(f"warning: {problem}")
            return
        cli.note(what)
