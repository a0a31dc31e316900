"""Long-running operations end at the pace that was set, and are still there after a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from localcloud.arm import ArmError
from localcloud.operations import ManualClock, Operations, Pace
from localcloud.store import Store

RESOURCE = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.X/things/t"


@pytest.mark.parametrize("text", ["soon", "polls", "polls:x", "immediate:3", "seconds:"])
def test_a_pace_that_is_none_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match=rf"'{text}' is no pace; use 'immediate', 'polls:N' or 'seconds:N'"):
        Pace.parse(text)


def test_immediate_operations_are_over_when_they_start_and_ran_their_finisher() -> None:
    ended: list[tuple[str, ArmError | None]] = []
    operations = Operations(Store(), ManualClock())
    operations.on("thing.create", lambda resource, error: ended.append((resource, error)))
    assert operations.status(operations.start("thing.create", RESOURCE)) == "Succeeded"
    assert ended == [(RESOURCE, None)]


def test_after_n_seconds_means_on_the_given_clock() -> None:
    clock = ManualClock()
    operations = Operations(Store(), clock, Pace.parse("seconds:10"))
    operation = operations.start("thing.create", RESOURCE)
    assert operations._step(operation, polled=True)["status"] == "InProgress"  # type: ignore[index]
    asyncio.run(clock.advance(10))
    assert operations._step(operation, polled=True)["status"] == "Succeeded"  # type: ignore[index]


def test_a_held_operation_ends_only_when_it_is_finished_and_keeps_its_error() -> None:
    store = Store()
    operations = Operations(store, ManualClock())
    operation = operations.start("thing.create", RESOURCE, held=True)
    assert operations.unfinished("thing.create") == [(operation, RESOURCE)]
    operations.finish(operation, ArmError(400, "OutOfQuota", "Not enough quota."))
    operations.finish(operation)
    assert operations.status(operation) == "Failed"
    assert (store.record("operation", operation) or {})["error"]["code"] == "OutOfQuota"


def test_an_operation_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    first = Operations(Store(tmp_path / "state.db"), ManualClock(), Pace(polls=1))
    operation = first.start("thing.delete", RESOURCE)
    ended: list[str] = []
    second = Operations(Store(tmp_path / "state.db"), ManualClock())
    second.on("thing.delete", lambda resource, error: ended.append(resource))
    second._step(operation, polled=True)
    second._step(operation, polled=True)
    assert second.status(operation) == "Succeeded"
    assert ended == [RESOURCE]
