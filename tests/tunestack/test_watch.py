"""Waiting for a job: through lost connections, to its end, or until time runs out; the clock is the test's."""

from __future__ import annotations

import pytest

from tunestack.errors import CloudError, EndedBadly, Interrupted
from tunestack.run_history import Run
from tunestack.watch import Waiting, follow


class History:
    """Tells one state after the other; an exception among them is raised."""

    def __init__(self, *states, steps=(), lines=()):
        self.states, self._steps, self._lines = list(states), list(steps), list(lines)

    def run(self, name):
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, BaseException):
            raise state
        return Run(name, name, state)

    def steps(self, name):
        return self._steps

    def metrics(self, name):
        return {"loss": 1.5}

    def log(self, name, lines):
        return self._lines


class Time:
    def __init__(self):
        self.now, self.pauses = 0.0, []

    def pause(self, seconds):
        self.pauses.append(seconds)
        self.now += seconds


def watch(history, timeout=None):
    time = Time()
    return follow(history, "job", "attach", Waiting(timeout, time.pause, lambda: time.now)), time


def test_a_job_is_watched_to_its_end_at_intervals_of_1_to_5_seconds():
    run, time = watch(History(*["Queued"] * 5, *["Running"] * 20, "Completed"))
    assert run.status == "Completed"
    assert all(1 <= pause <= 5 for pause in time.pauses)


@pytest.mark.parametrize("status", [0, 429, 503])
def test_a_lost_connection_is_waited_out(status):
    run, _ = watch(History("Running", *[CloudError("lost", status=status)] * 3, "Running", "Completed"))
    assert run.status == "Completed"


def test_missing_metrics_do_not_hold_up_the_watch():
    history = History("Running", "Running", "Completed")
    history.metrics = lambda name: (_ for _ in ()).throw(CloudError("no tracking", status=503))
    run, time = watch(history)
    assert run.status == "Completed"
    assert len(time.pauses) == 2


def test_a_refusal_is_not_waited_out():
    with pytest.raises(CloudError, match="forbidden"):
        watch(History("Running", CloudError("forbidden", status=403)))


def test_patience_ends_after_ten_minutes():
    with pytest.raises(CloudError, match="lost"):
        watch(History(CloudError("lost", status=0)))


def test_a_failed_job_names_its_step_the_message_and_the_end_of_the_log():
    steps = [Run("a", "preprocess", "Completed"), Run("b", "finetune", "Failed", error="UserError: too few rows")]
    with pytest.raises(EndedBadly) as caught:
        watch(History("Running", "Failed", steps=steps, lines=["last line"]))
    assert "its step 'finetune' failed: UserError: too few rows" in caught.value.problems
    assert caught.value.details == ("last line",)


def test_a_cancelled_job_ended_badly():
    with pytest.raises(EndedBadly, match="ended as Canceled"):
        watch(History("Canceled"))


def test_when_time_runs_out_the_job_is_named_with_the_command_that_attaches():
    with pytest.raises(EndedBadly, match=r"'job' has not ended after 1 minutes.*attach"):
        watch(History("Running"), timeout=60)


def test_ctrl_c_leaves_the_job_running():
    with pytest.raises(Interrupted, match=r"job 'job' goes on.*attach"):
        watch(History("Running", KeyboardInterrupt()))
