"""Attempts on one test split: who counts, and what luck they allow."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tunestack.jobs import attempts


def connection(*jobs: tuple[str, str]) -> Any:
    """A workspace whose jobs have these states and hashes of their test splits; asked for all that have the tag."""

    def pages(path: str, version: str, tag: str, listViewType: str) -> list[dict[str, Any]]:
        # Archived jobs too: who puts a bad attempt out of sight has still made it.
        assert (path, tag, listViewType) == ("/w/jobs", "test_hash", "All")
        return [
            {"name": str(number), "properties": {"status": status, "tags": {"test_hash": found}}}
            for number, (status, found) in enumerate(jobs)
        ]

    return SimpleNamespace(workspace=SimpleNamespace(path="/w"), arm=SimpleNamespace(pages=pages))


@pytest.mark.parametrize(
    ("jobs", "number"),
    [
        ((), 1),
        ((("Completed", "a"), ("Completed", "a")), 3),
        ((("Completed", "b"),), 1),
        ((("Running", "a"), ("Queued", "a")), 3),
        ((("Failed", "a"), ("Canceled", "a"), ("NotResponding", "a")), 1),
    ],
)
def test_jobs_that_saw_this_split_count_and_those_without_a_verdict_do_not(jobs, number):
    assert attempts.next_attempt(connection(*jobs), "a") == number


@pytest.mark.parametrize(("attempt", "chance"), [(1, 0.05), (3, 0.142625), (5, 0.2262190625)])
def test_the_chance_of_one_false_pass_grows_with_every_try(attempt, chance):
    assert attempts.chance(attempt) == pytest.approx(chance)


def test_the_chance_is_said_in_words():
    assert attempts.sentence(1) == ("attempt 1 on this test split: a worthless model would pass by chance with 5 %")
    assert "attempt 3 on this test split: a worthless model would pass by chance with 14 %" in attempts.sentence(3)
    assert "with 23 %" in attempts.sentence(5)
    assert "with 64 %" in attempts.sentence(20)
    assert attempts.sentence(2).endswith("a test split that nobody has looked at brings it back to 5 %")
