"""A stack's bill put together: resources, deployments with their leases, one fine-tune, and the total over the budget.

Shown as a table on stderr, and as Markdown for the comment of a pull request.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Any

from tunestack.cost import costs
from tunestack.cost.costs import HOURS_A_MONTH, Bill, Line
from tunestack.cost.fine_tune_cost import Machines, of_recipe
from tunestack.cost.prices import PriceBook
from tunestack.deployments import deployment_settings, leases
from tunestack.recipes import recipe

COLUMNS = ("resource", "idle $/h", "busy $/h", "$/month", "")


@dataclass(frozen=True)
class Report:
    """All that a stack costs, and what it may."""

    stack: str
    region: str
    budget: int
    bill: Bill
    notes: tuple[str, ...]

    @property
    def is_over(self) -> bool:
        return self.bill.month > self.budget

    @property
    def verdict(self) -> str:
        """One sentence: the total against the budget, and what it leaves out."""
        said = f"stack '{self.stack}' costs {self.bill.month:,.2f} dollars a month of a budget of {self.budget:,}"
        unknown = ", ".join(f"'{line.name}'" for line in self.bill.unknown)
        return f"{said}, without {unknown}, whose price is unknown" if unknown else said

    @property
    def record(self) -> dict[str, Any]:
        return {
            "stack": self.stack,
            "region": self.region,
            "month": self.bill.month,
            "budget": self.budget,
            "lines": [vars(line) for line in self.bill.lines],
            "notes": list(self.notes),
        }

    def json(self) -> str:
        return dumps(self.record, indent=2)

    def rows(self) -> Iterator[tuple[str, ...]]:
        for line in self.bill.lines:
            yield (line.name, _money(line.idle, 4), _money(line.busy, 4), _money(line.month, 2), line.note)
        yield ("all", "", "", _money(self.bill.month, 2), f"of a budget of {self.budget:,}")

    def markdown(self) -> str:
        """The table of a pull request's comment."""
        rows = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in self.rows()]
        rows[-1] = rows[-1].replace("all |", "**all** |", 1)
        mark = "**Over the budget:** " if self.is_over else ""
        head = f"### Cost of stack `{self.stack}` in {self.region}\n\n{mark}{self.verdict}.\n"
        table = "\n".join(f"| {row} |" for row in [" | ".join(COLUMNS), "--- | --: | --: | --: | ---", *rows])
        notes = "".join(f"- {note}\n" for note in self.notes)
        return f"{head}\n{table}\n\n{notes}"


def deployment(file: Path, lease: str, prices: PriceBook, name: str = "") -> Line:
    """A deployment with these settings for one lease: the machines of the lease's hours, or of all the month."""
    settings = deployment_settings.read(file)
    scale = settings.autoscale
    least, most = (scale.min, scale.max) if scale else (settings.instance_count, settings.instance_count)
    return leased(name or f"deployment {file.stem}", settings.instance_type, least, most, lease, prices)


def leased(name: str, size: str, least: int, most: int, lease: str, prices: PriceBook) -> Line:
    """A deployment's line; its month ends with its lease."""
    full = costs.machines(name, "deployment", size, prices.size(size), least, most, f"lease {lease}")
    length = leases.length(lease)
    if length is None or full.idle is None:
        return full
    hours = min(length.total_seconds() / 3600, HOURS_A_MONTH)
    renewed = f"{full.note}; {full.month:,.2f} if renewed all month"
    return Line(full.name, full.kind, full.idle, full.busy, round(full.idle * hours, 2), renewed)


def live(options: argparse.Namespace, prices: PriceBook) -> list[Line]:
    """The deployments that the stack has now, each until its lease ends."""
    from tunestack import connect
    from tunestack.deployments.expiry import deployments

    connection = connect.connect(options)
    found = deployments(connection.arm, connection.workspace.path)
    return [
        leased(
            f"deployment {one.handle} (live)",
            str(one.deployment.body["properties"].get("instanceType", "")),
            one.deployment.instances,
            one.deployment.instances,
            one.deployment.tags.get(leases.LEASE, leases.NEVER),
            prices,
        )
        for one in found
    ]


def fine_tune(file: Path, settings: Sequence[str], dials: dict[str, Any], prices: PriceBook, rows: int | None) -> Line:
    """One run of a recipe with `KEY=VALUE` settings, evaluation included, counted at its dearest."""
    found = recipe.read(file, settings)
    low = dials["gpuPriority"] == "LowPriority"
    machines = Machines(
        dials["gpuSize"],
        prices.size(dials["gpuSize"], low_priority=low),
        prices.size(dials["cpuSize"]),
        dials["cpuSize"],
        low,
    )
    span = of_recipe(found, machines, rows)
    name = f"one fine-tune of {found.name}"
    if isinstance(span, str):
        hint = "" if rows else "; --rows says how many rows it trains on"
        return Line(name, "fine-tune", None, None, None, f"price unknown: {span}{hint}")
    note = f"{span.dollars[0]:,.2f} to {span.dollars[1]:,.2f}, counted at the most; {span.assumes}"
    return Line(name, "fine-tune", 0.0, machines.gpu.dollars if machines.gpu else None, span.dollars[1], note)


def put_together(stack: str, dials: dict[str, Any], bill: Bill, more: Sequence[Line], notes: Sequence[str]) -> Report:
    free = [f"{bill.free} more resources cost nothing by themselves and are left out"] if bill.free else []
    whole = Bill((*bill.lines, *more), bill.free)
    return Report(stack, dials["location"], int(dials["budget"]), whole, (*notes, *free))


def _money(value: float | None, digits: int) -> str:
    return "unknown" if value is None else f"{value:,.{digits}f}"
