"""The bill of the committed stacks: what the dials alone say is what the program's own plan says, for each of them."""

from __future__ import annotations

import pytest

from tests.infra.conftest import ROOT, Run, stack_file
from tunestack.cost import costs, stack_plan
from tunestack.cost.prices import PriceBook
from tunestack.cost.stack_plan import Item

STACKS = sorted(path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml"))


def bills(run: Run, stack: str) -> tuple[costs.Bill, costs.Bill]:
    local = {"subscription": "00000000-0000-0000-0000-000000000000"} if stack == "local" else {}
    program = run(stack_file(stack), stack=stack, **local)
    made = [
        Item(stack_plan.kind_of(found.token), found.name, found.inputs)
        for found in program.resources
        if stack_plan.is_azure(found.token)
    ]
    prices = PriceBook("eastus", live=False)
    dialled = stack_plan.from_dials(stack_plan.dials(ROOT, stack), stack)
    return costs.bill(made, prices), costs.bill(dialled, prices)


@pytest.mark.parametrize("stack", STACKS)
def test_dials_and_plan_come_to_the_same_bill(run: Run, stack: str) -> None:
    planned, dialled = bills(run, stack)
    assert dialled.month == planned.month
    assert sorted((one.kind, one.busy) for one in dialled.lines) == sorted(
        (one.kind, one.busy) for one in planned.lines
    )


@pytest.mark.parametrize("stack", STACKS)
def test_every_resource_of_a_committed_stack_has_a_price_or_is_known_to_be_free(run: Run, stack: str) -> None:
    planned, _ = bills(run, stack)
    assert [one.kind for one in planned.unknown] == []


@pytest.mark.parametrize("stack", STACKS)
def test_a_committed_stack_stays_below_its_own_budget(run: Run, stack: str) -> None:
    planned, _ = bills(run, stack)
    assert 0 < planned.month < stack_plan.dials(ROOT, stack)["budget"]


@pytest.mark.parametrize("stack", STACKS)
def test_the_page_on_cost_has_the_sum_and_the_budget_of_every_stack(stack: str) -> None:
    dials = stack_plan.dials(ROOT, stack)
    month = costs.bill(stack_plan.from_dials(dials, stack), PriceBook("eastus", live=False)).month
    page = (ROOT / "docs" / "cost.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{stack}` |")]
    assert f"| {month:.2f} |" in row
    assert row.endswith(f"| {dials['budget']:,} |")
