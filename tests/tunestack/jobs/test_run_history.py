"""Runs as run history tells them: what it leaves out or sends as null is unknown, and no error."""

from __future__ import annotations

from tunestack.jobs.run_history import Run


def test_a_run_of_which_little_is_told_is_a_run() -> None:
    names = ("displayName", "properties", "status", "startTimeUtc", "endTimeUtc", "error", "tags", "runType")
    found = Run.parse({"runId": "j", **dict.fromkeys(names)})
    assert (found.id, found.name, found.status, found.has_ended) == ("j", "j", "NotStarted", False)
