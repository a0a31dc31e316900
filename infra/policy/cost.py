"""Rules for money: a budget that tells somebody, and no machine size that Azure gives no longer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

from infra.policy.compute import COMPUTE
from infra.policy.endpoint import ENDPOINT
from infra.policy.rule import UNKNOWN, Resource, Rule, StackRule, members, of
from infra.policy.sources import azure_ml, learn

BUDGET = "consumption:Budget"
MADE_IN = "infra/guardrails.py"
COST_PAGE = azure_ml("concept-plan-manage-cost", "plan to manage costs for Azure Machine Learning")


def has_budget(stack: Sequence[Resource]) -> Iterator[tuple[str, Resource | None]]:
    """Asked of a stack that makes something which costs by the hour."""
    if of(stack, COMPUTE, ENDPOINT) and not of(stack, BUDGET):
        yield "no budget belongs to the stack", None


def budget_tells(budget: Resource) -> Iterator[str]:
    amount = budget.get("amount")
    if isinstance(amount, int | float) and amount <= 0:
        yield f"'amount' is {amount:g}"
    given = budget.get("notifications")
    if given is UNKNOWN:
        return
    on = [one for one in map(members, members(given).values()) if one.get("enabled") is True]
    if not on:
        yield "no notification is switched on"
    for one in on:
        if not any(one.get(path) for path in ("contactEmails", "contactRoles", "contactGroups")):
            yield f"the notification at {one.get('threshold')} percent reaches nobody"
    if on and not any(str(one.get("thresholdType")).casefold() == "forecasted" for one in on):
        yield "no notification looks ahead: none has the threshold type 'Forecasted'"


@cache
def retired_sizes() -> Mapping[str, date]:
    """The day each size ends, by its name in lower case; the list is the one that the scripts use too."""
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    facts = yaml.load(files("tunestack").joinpath("azure_facts.yml").read_text("utf-8"), loader)
    return {name.casefold(): fact["retired"] for name, fact in facts["sizes"].items() if "retired" in fact}


def size_is_given(compute: Resource, days_ahead: float) -> Iterator[str]:
    size = compute.get("properties.properties.vmSize")
    ends = retired_sizes().get(size.casefold()) if isinstance(size, str) else None
    today = date.today()
    if ends and ends <= today:
        yield f"'{size}' was retired on {ends.isoformat()}"
    elif ends and ends <= today + timedelta(days=days_ahead):
        yield f"'{size}' retires on {ends.isoformat()}"


def priority_is_decided(compute: Resource) -> Iterator[str]:
    priority = compute.get("properties.properties.vmPriority")
    if compute.get("properties.computeType") == "AmlCompute" and priority is None:
        yield "'vmPriority' is not set: LowPriority costs a fraction, Dedicated is not taken away"


RULES: tuple[Rule | StackRule, ...] = (
    StackRule(
        "budget-exists",
        "A stack with clusters or endpoints has a budget",
        "a consumption.Budget for its resource group; here: pulumi config set budget 200",
        (COST_PAGE,),
        (COMPUTE, ENDPOINT),
        has_budget,
        (MADE_IN, "Budget("),
    ),
    Rule(
        "budget-tells-someone",
        "A budget warns somebody, before the money is spent too",
        "notifications with contact_emails or contact_roles, one of threshold_type 'Forecasted'",
        (COST_PAGE,),
        (BUDGET,),
        budget_tells,
        (MADE_IN, "notifications="),
    ),
    Rule(
        "compute-size-not-retired",
        "Clusters have no machine size that Azure has retired or retires within 90 days",
        "a vm_size with a successor; here: pulumi config set gpuSize Standard_NC24ads_A100_v4",
        (
            learn(
                "azure-compute-docs",
                "virtual-machines/sizes/retirement/retired-sizes-list",
                "retired Azure VM sizes",
            ),
        ),
        (COMPUTE,),
        size_is_given,
        ("infra/clusters.py", "vm_size="),
        {"days_ahead": 90},
    ),
    Rule(
        "compute-priority-decided",
        "Whether a cluster takes dedicated or low-priority machines is decided, not left out",
        "vm_priority='Dedicated' or 'LowPriority'; here: pulumi config set gpuPriority LowPriority",
        (azure_ml("how-to-manage-optimize-cost", "manage and optimize costs"),),
        (COMPUTE,),
        priority_is_decided,
        ("infra/clusters.py", "vm_priority="),
    ),
)
