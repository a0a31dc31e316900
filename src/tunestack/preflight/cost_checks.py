"""Checks of what a run and a deployment cost: whether it can be told at all, and the ranges with what they assume."""

from __future__ import annotations

from typing import Any

from tunestack.cost import costs, fine_tune_cost
from tunestack.deployments import leases
from tunestack.preflight import memory_checks
from tunestack.preflight.preflight_subject import Finding, Subject


def run(subject: Subject) -> Finding:
    """Steps, hours and dollars of one run, evaluation included. The budget is a check of its own."""
    check, found = "run-cost", subject.estimate
    if isinstance(found, str):
        if subject.data is None and found == fine_tune_cost.unprepared(subject.recipe):
            return Finding(check, "not asked", found, _source(subject), "Name the prepared data with --data FOLDER")
        if subject.planned.objections or subject.planned.shape is None:
            after = "parameters" if subject.planned.objections else "training-memory"
            return Finding(check, "unknown", found, _source(subject), f"See {after}", after)
        fix = "Add what is missing to azure_facts.yml"
        return Finding(check, "unknown", found, _source(subject), fix, "training-size")
    return Finding(check, "ok", f"{found.text}; {found.assumes}", _source(subject))


def deployment(subject: Subject) -> Finding:
    """Dollars of a deployment per hour and per lease, against what the stack may cost in a month."""
    check, found = "serving-cost", of_deployment(subject)
    if isinstance(found, str):
        return Finding(check, "unknown", found, _source(subject), "Take a size that has a price", "serving-size")
    said = f"{found['dollars_per_hour']:,.2f} dollars an hour, "
    if found["lease"] == leases.NEVER:
        said += f"{found['dollars_per_month']:,.2f} a month"
    else:
        said += f"{found['dollars_per_lease']:,.2f} for a lease of {found['lease']}, "
        said += f"{found['dollars_per_month']:,.2f} where it is renewed all month"
    month = subject.dials.get("budget")
    if month and found["dollars_per_lease"] > float(month):
        fix = "Take a shorter lease (deploy_model.py --lease), a cheaper size, or raise the stack's budget"
        return Finding(check, "warning", f"{said}; the stack's budget of a month is {month:,}", _source(subject), fix)
    if found["lease"] == leases.NEVER:
        return Finding(check, "warning", f"{said}; nothing ends it", _source(subject), "Set the stack's leaseCap")
    return Finding(check, "ok", said, _source(subject))


def of_deployment(subject: Subject) -> dict[str, Any] | str:
    """Dollars of the deployment's machines per hour, per lease and per month; in words what is not known."""
    machines = subject.serving
    if machines is None:
        return "there are no deployment settings for this base model"
    price = subject.prices.size(machines.size)
    if price is None:
        return f"the price of '{machines.size}' is not known"
    lease = str(subject.dials.get("leaseCap") or leases.NEVER)
    length = leases.length(lease)
    hour = price.dollars * machines.count
    hours = costs.HOURS_A_MONTH if length is None else min(length.total_seconds() / 3600, costs.HOURS_A_MONTH)
    return {
        "size": machines.size,
        "machines": machines.count,
        "dollars_per_hour": round(hour, 2),
        "lease": lease,
        "dollars_per_lease": round(hour * hours, 2),
        "dollars_per_month": round(hour * costs.HOURS_A_MONTH, 2),
    }


def record(subject: Subject) -> dict[str, Any]:
    """Everything that is estimated: the run with its parts, or why not, the deployment, and memory term by term."""
    found, served = subject.estimate, of_deployment(subject)
    run_record = {"unknown": found} if isinstance(found, str) else {**found.record, "assumes": found.assumes}
    return {
        "run": run_record,
        "deployment": {"unknown": served} if isinstance(served, str) else served,
        "memory": {name: {**one.record, "text": one.formula} for name, one in memory_checks.estimates(subject).items()},
        "budget": subject.recipe.budget,
        "prices": list(subject.prices.notes),
    }


def _source(subject: Subject) -> str:
    return "; ".join(dict.fromkeys(subject.prices.notes)) or "retail prices, asked now"
