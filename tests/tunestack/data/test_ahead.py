"""Results come in the order of the items, little is kept waiting, and a failure comes at its place."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.conftest import HANG_SECONDS
from tunestack.data.ahead import ahead


def test_results_come_in_the_order_of_the_items_however_long_each_takes() -> None:
    second_is_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(HANG_SECONDS)
        if item == 1:
            second_is_done.set()
        return item * item

    assert list(ahead(work, range(20))) == [item * item for item in range(20)]


def test_only_a_few_items_are_taken_before_their_results_are_wanted() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = ahead(abs, items())
    assert next(results) == 0
    assert len(taken) <= 4
    results.close()


def test_a_failure_is_raised_at_its_place() -> None:
    def work(item: int) -> float:
        return 1 / (item - 2)

    results = ahead(work, range(5))
    assert [next(results), next(results)] == [-0.5, -1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)
