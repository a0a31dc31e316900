"""Check of money: the upper end of what one run may cost, against the recipe's budget and the stack's of a month."""

from __future__ import annotations

from tunestack.preflight import cost_checks
from tunestack.preflight.preflight_subject import Finding, Subject


def budget(subject: Subject) -> Finding:
    """An estimate is a range, and its upper end is what counts; without an estimate nothing is known."""
    found, own, month = subject.estimate, subject.recipe.budget, subject.dials.get("budget")
    allowed = [(float(own), "the recipe's budget")] if own else []
    allowed += [(float(month), "the stack's budget of a month")] if month else []
    source = "; ".join(dict.fromkeys(subject.prices.notes)) or "retail prices, asked now"
    if not allowed:
        fix = "Write one into the recipe: budget: DOLLARS, or --set budget=DOLLARS"
        return Finding(
            "budget", "warning", "neither recipe nor stack has a budget, so nothing is too dear", source, fix
        )
    if isinstance(found, str):
        verdict, said = cost_checks.run(subject).verdict, f"what a run costs is not known: {found}"
        return Finding("budget", verdict, said, source, "See run-cost", "run-cost")
    low, high = found.dollars
    said = f"one run costs {low:,.2f} to {high:,.2f} dollars"
    over = [f"{what} is {dollars:,.10g}" for dollars, what in allowed if high > dollars]
    if over:
        fix = "Train on less (data.percent, training.max_steps), on another size, or raise it: --set budget=DOLLARS"
        return Finding("budget", "error", f"{said}, and {' and '.join(over)}", source, fix)
    return Finding(
        "budget", "ok", f"{said}; " + ", ".join(f"{what} is {dollars:,.10g}" for dollars, what in allowed), source
    )
