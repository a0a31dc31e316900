"""Deployments whose lease is over: warned, and at the next look after the grace taken out of traffic and deleted.

Model and settings stay (`kept`). Deployments are found by tag in every workspace of ours, also without a stack.
Nothing here waits: whoever calls it every hour is the clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tunestack import cli
from tunestack.arm import Arm
from tunestack.connect import Connection, Workspace
from tunestack.deployments import autoscale, kept, leases, traffic
from tunestack.deployments.endpoint import DEPLOYMENT_VERSION, ENDPOINT_VERSION, Deployment, Endpoint
from tunestack.deployments.leases import LEASE, NEVER, STATE, UNTIL, WARNED, Lease, instant
from tunestack.errors import CloudError, GateSaidNo
from tunestack.models import lineage

_WORKSPACE = "microsoft.machinelearningservices/workspaces"


@dataclass(frozen=True)
class Placed:
    """A deployment and where it is."""

    workspace: Workspace
    endpoint: str
    deployment: Deployment

    @property
    def handle(self) -> str:
        return f"{self.endpoint}/{self.deployment.name}"

    @property
    def extend(self) -> str:
        """The command that keeps it."""
        tags = self.deployment.tags
        model, slot = tags.get("model", "MODEL"), self.deployment.name
        line = f"scripts/deploy_model.py --endpoint {self.endpoint} --model {model} --slot {slot} --lease TIME"
        return line + lineage.again(tags)


@dataclass
class Outcome:
    """What one look did, and what could not be judged."""

    deleted: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def deployments(arm: Arm, workspace: str) -> Iterator[Placed]:
    """Every deployment of a workspace, by the workspace's path."""
    parts = workspace.strip("/").split("/")
    place = Workspace(parts[1], parts[3], parts[7])
    for endpoint in arm.pages(f"{workspace}/onlineEndpoints", ENDPOINT_VERSION):
        for body in arm.pages(f"{workspace}/onlineEndpoints/{endpoint['name']}/deployments", DEPLOYMENT_VERSION):
            yield Placed(place, endpoint["name"], Deployment.parse(body))


def workspaces(arm: Arm, subscription: str, tags: Mapping[str, str]) -> list[str]:
    """Workspaces with these tags, or in a resource group that has them."""
    root = f"/subscriptions/{subscription}"
    ours = [body["id"].lower() for body in arm.pages(f"{root}/resourcegroups", "2021-04-01") if _has(body, tags)]
    return [
        body["id"]
        for body in arm.pages(f"{root}/resources", "2021-04-01")
        if body["type"].lower() == _WORKSPACE
        and (_has(body, tags) or any(body["id"].lower().startswith(f"{group}/") for group in ours))
    ]


def sweep(arm: Arm, subscription: str, tags: Mapping[str, str], moment: datetime, grace: timedelta) -> Outcome:
    """One look at all leases. What one workspace refuses does not keep the others from being looked at."""
    outcome = Outcome()
    for workspace in workspaces(arm, subscription, tags):
        try:
            found = list(deployments(arm, workspace))
        except CloudError as error:
            outcome.problems += error.problems
            continue
        for endpoint in dict.fromkeys(one.endpoint for one in found):
            there = [one for one in found if one.endpoint == endpoint]
            over = [one for one in there if _is_over(one, moment, grace, outcome)]
            for one in over:
                if one.deployment.tags.get(STATE) != "warned":
                    _warn(arm, one, moment, grace, outcome)
            due = [one for one in over if one.deployment.tags.get(STATE) == "warned"]
            _end(arm, due, moment, outcome)
    return outcome


def _is_over(one: Placed, moment: datetime, grace: timedelta, outcome: Outcome) -> bool:
    """Whether there is something to do: a lease that is over, and, where it was warned of, a grace that is over."""
    try:
        lease = Lease.read(one.deployment.tags)
    except ValueError as error:
        outcome.problems.append(f"deployment '{one.handle}': {error}; write it again with: {one.extend}")
        return False
    if lease.until is None:
        if lease.text != NEVER:
            cli.note(f"deployment '{one.handle}' has no lease, and its bill no end; give it one with: {one.extend}")
        return False
    if lease.until > moment:
        cli.note(f"deployment '{one.handle}' has a lease of {lease.text}, until {instant(lease.until)}")
        return False
    if one.deployment.is_pending:
        cli.note(f"deployment '{one.handle}' is {one.deployment.state.lower()}, and is looked at the next time")
        return False
    if lease.warned is not None and lease.warned + grace > moment:
        cli.note(f"deployment '{one.handle}' was warned, and goes at {instant(lease.warned + grace)}")
        return False
    return True


def _warn(arm: Arm, one: Placed, moment: datetime, grace: timedelta, outcome: Outcome) -> None:
    marked = {**one.deployment.tags, STATE: "warned", WARNED: instant(moment)}
    try:
        _endpoint(arm, one).set_tags(one.deployment, marked)
    except CloudError as error:
        outcome.problems += error.problems
        return
    outcome.warned.append(one.handle)
    cli.note(
        f"warning: the lease of deployment '{one.handle}' ended at {one.deployment.tags[UNTIL]}; it is deleted by the "
        f"first sweep after {instant(moment + grace)}, unless it is kept with: {one.extend}"
    )


def _end(arm: Arm, due: Sequence[Placed], moment: datetime, outcome: Outcome) -> None:
    """Keep, take out of traffic, delete: killed in between, the next look does the rest."""
    if not due:
        return
    endpoint = _endpoint(arm, due[0])
    try:
        for one in due:
            cli.note(f"kept '{one.handle}' as {kept.save(_connection(arm, one), one.deployment, moment)}")
        _take_off(endpoint, [one.deployment.name for one in due])
        for one in due:
            autoscale.delete(_connection(arm, one), one.deployment)
            endpoint.delete(one.deployment.name)
            outcome.deleted.append(one.handle)
            lease = one.deployment.tags.get(LEASE, "")
            cli.note(
                f"deleted deployment '{one.handle}', whose lease of {lease} ended at {one.deployment.tags[UNTIL]}; "
                "where quota and capacity, now free for others, can be had again, this brings it back: "
                f"scripts/deploy_model.py --endpoint {one.endpoint} --restore {one.deployment.name}"
            )
    except CloudError as error:
        outcome.problems += error.problems


def _take_off(endpoint: Endpoint, slots: Sequence[str]) -> None:
    """No traffic for these. The others take it over as they shared it; Azure wants a sum of 100 or none at all."""
    weights = endpoint.traffic()
    copied = [slot for slot in slots if endpoint.mirrored().get(slot)]
    if copied:
        endpoint.set_traffic(weights, unmirrored=copied)
        cli.note(f"no copy of the traffic goes to {', '.join(copied)} any more")
    if not any(weights.get(slot) for slot in slots):
        return
    if not any(weight for name, weight in weights.items() if name not in slots):
        traffic.clear(endpoint)
        cli.note(f"no deployment of '{endpoint.name}' serves any more; traffic is cleared")
        return
    for slot in slots:
        weights = traffic.weights_for(weights, slot, 0)
    endpoint.set_traffic(weights)
    cli.note(f"traffic of '{endpoint.name}': {traffic.shown(weights)}")


def _connection(arm: Arm, one: Placed) -> Connection:
    return Connection(one.workspace, endpoint=one.endpoint, arm=arm)


def _endpoint(arm: Arm, one: Placed) -> Endpoint:
    return Endpoint(_connection(arm, one))


def _has(body: Mapping[str, object], tags: Mapping[str, str]) -> bool:
    found = body.get("tags") or {}
    return isinstance(found, Mapping) and all(found.get(name) == value for name, value in tags.items())


def run(arm: Arm, subscription: str, tags: Mapping[str, str], grace: str) -> cli.Result:
    """One look, now. The handles of what was deleted; GateSaidNo where something could not be judged or done."""
    outcome = sweep(arm, subscription, tags, leases.now(), leases.duration(grace, "grace"))
    if outcome.problems:
        raise GateSaidNo(*outcome.problems)
    record = {"deleted": outcome.deleted, "warned": outcome.warned}
    return cli.Result(" ".join(outcome.deleted) or "nothing expired", record)
