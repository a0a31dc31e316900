"""The bill from the engine's own plan, before the first `up`, at the prices that the price API answers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.infra.live_stack import LiveStack, live_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    with live_stack(tmp_path_factory) as found:
        yield found


def test_the_plan_comes_to_what_the_dials_come_to_and_nothing_is_made(stack: LiveStack) -> None:
    record = json.loads(stack.shell("scripts/cost.py --stack local --json 2>/dev/null"))
    source, *notes = record["notes"]
    assert source == "resources are those of `pulumi preview`"
    assert [note for note in notes if "cost nothing by themselves" not in note] == []
    assert [line for line in record["lines"] if line["month"] is None] == []
    assert stack.resources() == []
    table = float(stack.shell("scripts/cost.py --stack local --offline 2>/dev/null"))
    assert record["month"] == pytest.approx(table, abs=0.05)


def test_a_stack_that_was_never_made_is_billed_by_its_dials(stack: LiveStack) -> None:
    said = stack.shell("scripts/cost.py --stack dev")
    assert "the dials in Pulumi.dev.yaml ask for: there is no plan, as" in said
    assert "azure_facts.yml" not in said
