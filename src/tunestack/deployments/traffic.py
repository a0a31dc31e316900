"""Moving traffic between deployments in steps, each checked by real requests; what was before is kept in tags.

The weights before a shift stand in the tag `traffic_before` of every deployment, and a shift under way in the tag
`traffic_shift` of the one that it goes to: a shift that was killed is taken up where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tunestack import cli
from tunestack.deployments.endpoint import Deployment, Endpoint
from tunestack.deployments.scoring import Scorer, request
from tunestack.errors import GateSaidNo, TunestackError, UsageError
from tunestack.settings_file import mapping, validated

BEFORE, SHIFT = "traffic_before", "traffic_shift"
Weights = Mapping[str, int]


class Check(BaseModel):
    """Real requests to a slot; each must answer with text, from that slot, within `max_seconds`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    requests: int = Field(default=1, ge=1, le=100)
    prompt: str = Field(default="Hello! What can you do?", min_length=1)
    max_new_tokens: int = Field(default=16, ge=1, le=4096)
    max_seconds: float = Field(default=90, gt=0)


class CanaryPlan(BaseModel):
    """Percentages of all traffic that the new slot gets, one after the other, and the check of each step."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    steps: tuple[int, ...] = Field(min_length=1)
    check: Check = Check()

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 1 <= step <= 100 for step in steps) or list(steps) != sorted(set(steps)):
            raise ValueError("steps rise, from 1 to 100")
        return steps


def read_plan(file: Path) -> CanaryPlan:
    return validated(CanaryPlan, mapping(file, "canary plan"), f"canary plan '{file}'")


def weights_for(before: Weights, slot: str, percent: int) -> dict[str, int]:
    """All weights when `slot` gets `percent`: the others share the rest as they did before, and the sum is 100."""
    others = {name: weight for name, weight in before.items() if name != slot and weight > 0}
    rest, total = 100 - percent, sum(others.values())
    if rest and not total:
        raise UsageError(
            f"slot '{slot}' cannot have {percent} %: no other deployment has traffic to carry the other {rest} %",
            fix=f"Give it all with: scripts/shift_traffic.py --to {slot}",
        )
    exact = {name: rest * weight / total for name, weight in others.items()} if total else {}
    found = {name: int(share) for name, share in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (found[name] - exact[name], name))
    for name in by_remainder[: rest - sum(found.values())]:
        found[name] += 1
    return {**dict.fromkeys(before, 0), **found, slot: percent}


def shift(endpoint: Endpoint, scorer: Scorer, slot: str, plan: CanaryPlan) -> dict[str, int]:
    """Move traffic to a slot step by step. A failed check puts back what was before, and raises GateSaidNo."""
    deployments = endpoint.deployments()
    target = _ready(endpoint, deployments, slot)
    now = {**dict.fromkeys(deployments, 0), **endpoint.traffic()}
    resumed = SHIFT in target.tags
    before = _saved(deployments) if resumed else now
    if not resumed and now[slot] == plan.steps[-1]:
        cli.note(f"slot '{slot}' has {plan.steps[-1]} % already")
        return now
    steps = [weights_for(before, slot, percent) for percent in plan.steps]
    if resumed:
        cli.note(f"taking up the shift to '{slot}' that was stopped at {shown(now)}")
    if not resumed:
        _check(scorer, slot, plan.check)
        _save(endpoint, deployments, before, slot, plan)
    try:
        for weights in steps:
            if resumed and now.get(slot, 0) > weights[slot]:
                continue
            endpoint.set_traffic(weights)
            cli.note(f"traffic: {shown(weights)}")
            _check(scorer, slot, plan.check)
    except TunestackError as error:
        endpoint.set_traffic(before)
        _unmark(endpoint, slot)
        raise GateSaidNo(
            *error.problems, f"traffic is back at {shown(before)}", fix="See the log of the deployment"
        ) from error
    _unmark(endpoint, slot)
    return steps[-1]


def roll_back(endpoint: Endpoint, scorer: Scorer, check: Check) -> dict[str, int]:
    """Put back the weights from before the last shift; what is now becomes what was before."""
    deployments = endpoint.deployments()
    now = {**dict.fromkeys(deployments, 0), **endpoint.traffic()}
    before = _saved(deployments)
    if not any(BEFORE in found.tags for found in deployments.values()):
        raise UsageError(f"endpoint '{endpoint.name}' has no shift to roll back", fix="Name a slot with --to")
    if sum(before.values()) != 100:
        raise UsageError(
            f"before the last shift the deployments that are left had {shown(before)}, which is not 100",
            fix="Name a slot with --to",
        )
    for slot, weight in before.items():
        if weight:
            _check(scorer, slot, check)
    half_moved = [name for name, found in deployments.items() if SHIFT in found.tags]
    if not half_moved and now != before:
        for name, found in deployments.items():
            _tag(endpoint, found, {BEFORE: str(now[name])})
    if now != before:
        endpoint.set_traffic(before)
    for name in half_moved:
        _unmark(endpoint, name)
    return before


def clear(endpoint: Endpoint) -> None:
    """No traffic to anyone: what deleting the last serving deployments needs first."""
    if any(endpoint.traffic().values()):
        endpoint.set_traffic({})


def shown(weights: Weights) -> str:
    return " ".join(f"{name}={weight}" for name, weight in sorted(weights.items()))


def _ready(endpoint: Endpoint, deployments: Mapping[str, Deployment], slot: str) -> Deployment:
    target = deployments.get(slot)
    if target is None:
        there = ", ".join(sorted(deployments)) or "none"
        raise UsageError(
            f"endpoint '{endpoint.name}' has no deployment '{slot}'; deployments are: {there}",
            fix=f"Make it with: scripts/deploy_model.py --model MODEL --slot {slot}",
        )
    if target.state != "Succeeded":
        raise UsageError(
            f"deployment '{slot}' is in state '{target.state}' and cannot take traffic",
            fix=f"Run again: scripts/deploy_model.py --model MODEL --slot {slot}",
        )
    return target


def _check(scorer: Scorer, slot: str, check: Check) -> None:
    """Ask the slot itself, by header. Raises GateSaidNo when it does not answer as it should."""
    parameters = {"max_new_tokens": check.max_new_tokens, "do_sample": False}
    slowest = 0.0
    for number in range(1, check.requests + 1):
        try:
            answer = scorer.ask(request([{"role": "user", "content": check.prompt}], parameters), slot)
        except TunestackError as error:
            raise GateSaidNo(f"check {number} of slot '{slot}' failed: {error.problems[0]}") from error
        problem = _flaw(answer.text, answer.slot, answer.seconds, slot, check)
        if problem:
            raise GateSaidNo(f"check {number} of slot '{slot}' failed: {problem}")
        slowest = max(slowest, answer.seconds)
    cli.note(f"slot '{slot}' answered {check.requests} requests, the slowest in {slowest:.1f} s")


def _flaw(text: str, answered: str, seconds: float, slot: str, check: Check) -> str:
    if not text:
        return "the answer is empty"
    if answered and answered != slot:
        return f"deployment '{answered}' answered"
    return f"it took {seconds:.1f} s, more than {check.max_seconds:g} s" if seconds > check.max_seconds else ""


def _saved(deployments: Mapping[str, Deployment]) -> dict[str, int]:
    return {name: int(found.tags.get(BEFORE, "0")) for name, found in deployments.items()}


def _save(
    endpoint: Endpoint, deployments: Mapping[str, Deployment], before: Weights, slot: str, plan: CanaryPlan
) -> None:
    """Write down the weights before the shift; the mark on the target comes last, when all of them stand."""
    for name in sorted(deployments, key=lambda name: name == slot):
        mark = {SHIFT: ",".join(str(step) for step in plan.steps)} if name == slot else {}
        _tag(endpoint, deployments[name], {BEFORE: str(before[name]), **mark}, without=() if mark else (SHIFT,))


def _unmark(endpoint: Endpoint, slot: str) -> None:
    found = endpoint.deployment(slot)
    if found is not None:
        _tag(endpoint, found, {}, without=(SHIFT,))


def _tag(endpoint: Endpoint, found: Deployment, new: Mapping[str, str], without: Sequence[str] = ()) -> None:
    tags = {**{name: value for name, value in found.tags.items() if name not in without}, **new}
    if tags != found.tags:
        endpoint.set_tags(found, tags)
