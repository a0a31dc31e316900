"""Waiting for a job: what is shown, what is waited out, and when waiting ends; the clock is the test's."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tunestack.errors import CloudError, EndedBadly, Interrupted, NotConfigured
from tunestack.jobs import watch as watching
from tunestack.jobs.failed_job import failure
from tunestack.jobs.run_history import Point, Run
from tunestack.jobs.watch import follow
from tunestack.jobs.watch_clock import Waiting

START = datetime(2026, 11, 21, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class History:
    """Tells one state after the other; an exception among them is raised. Steps and metrics are functions of time."""

    def __init__(self, *states: Any, steps: Any = (), lines: Any = (), metrics: Any = ()) -> None:
        self.states, self._steps, self._lines, self._metrics = list(states), steps, list(lines), metrics
        self.looks = 0
        self.connection = SimpleNamespace(
            workspace=SimpleNamespace(path="/w"),
            body={"location": "eastus"},
            arm=SimpleNamespace(asking_once=lambda: SimpleNamespace(find=self._compute)),
        )

    def _compute(self, path: str, version: str) -> Any:
        return {"properties": {"properties": {"vmSize": "Standard_NC24ads_A100_v4", "vmPriority": "Dedicated"}}}

    def job(self, name: str) -> Any:
        values = {"max_steps": {"value": "100"}, "num_train_epochs": {"value": "1"}}
        return {"properties": {"jobs": {"chat_completion_pipeline": {"inputs": values}}}}

    def run(self, name: str) -> Run:
        self.looks += 1
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, BaseException):
            raise state
        return Run(name, name, state)

    def steps(self, name: str) -> Any:
        return self._steps(self.looks) if callable(self._steps) else list(self._steps)

    def latest(self, name: str) -> Any:
        return {name: points[-1] for name, points in self._points().items() if points}

    def metric(self, run: str, name: str) -> Any:
        return self._points()[name]

    def _points(self) -> Any:
        return self._metrics(self.looks) if callable(self._metrics) else dict(self._metrics)

    def logs(self, name: str, lines: int) -> Any:
        return [self._lines[-lines:]]

    def asking_once(self) -> Any:
        return self


class Time:
    """A clock that only pauses move; `sleeps` maps a pause's number to seconds that the machine sleeps in it."""

    def __init__(self, **sleeps: float) -> None:
        self.now, self.pauses = START.timestamp(), []
        self._sleeps = sleeps

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds + self._sleeps.get(f"at{len(self.pauses)}", 0)


@pytest.fixture(autouse=True)
def _no_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dated table's price, without asking the network."""
    from tunestack.cost import prices
    from tunestack.jobs import run_cost

    monkeypatch.setattr(run_cost, "PriceBook", lambda region, live: prices.PriceBook(region, live=False))


def watch(history: Any, timeout: float | None = None, time: Time | None = None, **more: Any) -> tuple[Run, Time]:
    time = time or Time()
    more = {"chance": lambda: 0.0, **more}
    return follow(history, "job", "attach", Waiting(timeout, time.pause, lambda: time.now, **more)), time


# -- trouble on the way ------------------------------------------------------------------------------------------------


def test_a_job_is_watched_to_its_end_at_intervals_of_1_to_5_seconds() -> None:
    run, time = watch(History(*["Queued"] * 5, *["Running"] * 20, "Completed"))
    assert run.status == "Completed"
    assert all(1 <= pause <= 5 for pause in time.pauses)


@pytest.mark.parametrize("status", [0, 408, 429, 500, 502, 503, 504])
def test_a_lost_connection_is_waited_out_and_said(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = watch(History("Running", *[CloudError("lost it", status=status)] * 3, "Running", "Completed"))
    assert run.status == "Completed"
    said = capsys.readouterr().err
    assert "out of reach, trying again: lost it" in said
    assert "job 'job' is in reach again" in said


def test_the_cloud_is_left_alone_for_as_long_as_it_asks(capsys: pytest.CaptureFixture[str]) -> None:
    busy = CloudError("too many requests", status=429)
    busy.retry_after = 42
    _, time = watch(History("Running", busy, "Running", "Completed"))
    assert 42 in time.pauses
    assert sum(pause > 5 for pause in time.pauses) == 1
    assert "asks for 42 s of peace" in capsys.readouterr().err


def test_who_was_turned_away_together_comes_back_at_different_times() -> None:
    busy = CloudError("too many requests", status=429)
    busy.retry_after = 40
    _, time = watch(History("Running", busy, "Running", "Completed"), chance=lambda: 0.5)
    assert max(time.pauses) == 45


def test_a_credential_that_worked_may_fail_for_a_while_and_one_that_never_did_may_not() -> None:
    lost = NotConfigured("no credential was accepted")
    run, _ = watch(History("Running", lost, lost, "Completed"))
    assert run.status == "Completed"
    with pytest.raises(NotConfigured):
        watch(History(lost))


def test_what_is_only_shown_does_not_hold_up_the_watch() -> None:
    def refused(look: int) -> Any:
        raise CloudError("no tracking", status=503)

    run, time = watch(History("Running", "Running", "Completed", steps=refused, metrics=refused))
    assert run.status == "Completed"
    assert len(time.pauses) == 2


def test_what_is_only_shown_is_asked_for_again_no_sooner_than_the_cloud_wants() -> None:
    def throttled(look: int) -> Any:
        busy = CloudError("too many requests", status=429)
        busy.retry_after = 40
        raise busy

    _, time = watch(History("Running", "Running", "Completed", metrics=throttled))
    assert time.pauses == [40, 40]


def test_a_credential_that_stays_away_is_said_with_the_way_back(capsys: pytest.CaptureFixture[str]) -> None:
    lost = NotConfigured("no credential was accepted", fix="Log in with: az login")
    with pytest.raises(NotConfigured, match=r"out of reach for 10 min; it goes on.*az login; then watch it .*attach"):
        watch(History("Running", lost))
    assert "trying again: no credential was accepted. Log in with: az login" in capsys.readouterr().err


@pytest.mark.parametrize("status", [400, 403, 404, 501])
def test_a_refusal_is_not_waited_out(status: int) -> None:
    refused = CloudError("forbidden", fix="Ask for the role", status=status)
    with pytest.raises(CloudError, match=r"forbidden. Ask for the role; then watch it again with: attach"):
        watch(History("Running", refused))


def test_patience_ends_after_ten_minutes_and_the_job_goes_on() -> None:
    with pytest.raises(CloudError, match=r"out of reach for 10 min; it goes on: lost.*attach") as caught:
        watch(History("Running", CloudError("lost", status=0)))
    assert caught.value.status == 0


def test_ctrl_c_leaves_the_job_running() -> None:
    with pytest.raises(Interrupted, match=r"job 'job' goes on.*attach"):
        watch(History("Running", KeyboardInterrupt()))


# -- time --------------------------------------------------------------------------------------------------------------


def test_when_time_runs_out_the_job_is_named_with_the_command_that_attaches() -> None:
    with pytest.raises(EndedBadly, match=r"'job' has not ended after 1 min 00 s of running.*attach"):
        watch(History("Running"), timeout=60)


def test_time_in_the_queue_and_time_running_have_budgets_of_their_own() -> None:
    queued, running = ["Queued"] * 30, ["Running"] * 10
    run, time = watch(History(*queued, *running, "Completed"), timeout=60, queue_timeout=3600)
    assert run.status == "Completed"
    assert sum(time.pauses) > 120
    with pytest.raises(EndedBadly, match=r"'job' has not started after 30 s in the queue.*attach"):
        watch(History("Queued"), timeout=3600, queue_timeout=30)
    with pytest.raises(EndedBadly, match="has not started after 1 min 00 s in the queue"):
        watch(History("Queued"), timeout=60)


def test_a_pipeline_whose_steps_stand_in_the_queue_uses_up_the_queues_budget() -> None:
    steps = [Run("a", "import", "Completed"), Run("b", "finetune", "Queued"), Run("c", "convert", "NotStarted")]
    with pytest.raises(EndedBadly, match="has not started after 1 min 00 s in the queue"):
        watch(History("Running", steps=steps), queue_timeout=60)


def test_a_laptop_that_slept_says_so_and_no_budget_counts_it(capsys: pytest.CaptureFixture[str]) -> None:
    history = History(*["Running"] * 6, "Completed")
    run, _ = watch(history, timeout=60, time=Time(at3=8 * 3600))
    assert run.status == "Completed"
    assert "this machine slept for 8 h 00 min (or its clock was set); the job went on" in capsys.readouterr().err


def test_sleep_during_an_outage_does_not_use_up_patience() -> None:
    lost = CloudError("lost", status=0)
    run, _ = watch(History("Running", lost, lost, lost, "Completed"), time=Time(at2=3600, at3=3600))
    assert run.status == "Completed"


def test_a_clock_that_is_set_back_neither_ends_nor_prolongs_a_budget() -> None:
    with pytest.raises(EndedBadly, match="of running"):
        watch(History("Running"), timeout=30, time=Time(at2=-7200))


# -- what is shown -----------------------------------------------------------------------------------------------------

DONE = Run("a", "preprocess", "Completed", at(-100), at(-40), created=at(-110), target="cpu")
TUNE = Run("b", "finetune", "Running", at(-30), created=at(-110), target="gpu", node="finetune")
LATER = Run("c", "convert", "NotStarted", created=at(-110))


def metrics(look: int) -> dict[str, list[Point]]:
    """One logged step of 10 every 5 seconds."""
    last = 10 * (look + 1)
    losses = [Point(step, 3 - step / 100, START.timestamp() + step / 2) for step in range(10, last + 1, 10)]
    return {"loss": losses, "epoch": [Point(last, last / 50, 0)], "eval_loss": [Point(0, 3.2, 0)]}


def test_a_line_says_step_loss_rate_time_left_queue_and_running_time_and_cost(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watch(History("Running", "Completed", steps=[DONE, TUNE, LATER], metrics=metrics))
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("00:00  job job: Running; 1 of 3 steps done; finetune Running (30 s, 10 s in the queue)")
    assert "step 20 of 100, loss 2.800, eval_loss 3.200, 2 steps/s, about 40 s of it left" in first
    assert "about 0.09 $ so far" in first, "90 s of a machine at 3.673 $ an hour"
    assert "convert" not in first


def test_a_log_gets_a_line_per_change_and_a_heartbeat_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    _, time = watch(History(*["Running"] * 60, "Completed", steps=[DONE, TUNE], metrics=metrics))
    lines = capsys.readouterr().err.splitlines()
    assert 240 < sum(time.pauses) < 300
    assert len(lines) == 1 + 4 + 1
    assert [line[:5] for line in lines[:3]] == ["00:00", "01:00", "02:00"]


def test_a_preempted_step_stands_in_the_queue_again_and_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    def steps(look: int) -> list[Run]:
        return [DONE, replace(TUNE, status="Queued" if look in (3, 4) else "Running")]

    watch(History(*["Running"] * 6, "Completed", steps=steps))
    said = capsys.readouterr().err
    assert said.count("step 'finetune' was preempted: it stands in the queue again") == 1
    assert "finetune preempted, in the queue again" in said


def restarted(look: int) -> dict[str, list[Point]]:
    """Up to step 60, and from the fourth look on again from step 10: the service's last point is still that of 60."""
    first = [Point(step, 3 - step / 100, START.timestamp() + step / 2) for step in range(10, 61, 10)]
    again = {
        step: Point(step, 3 - step / 100, START.timestamp() + 100 + step) for step in range(10, 10 * (look - 2), 10)
    }
    return {"loss": [again.get(point.step, point) for point in first], "epoch": [Point(60, 1.2, 0)]}


def test_a_step_that_starts_over_is_shown_where_it_stands_now(capsys: pytest.CaptureFixture[str]) -> None:
    def steps(look: int) -> list[Run]:
        return [DONE, replace(TUNE, status="Queued" if look == 3 else "Running")]

    history = History(*["Running"] * 6, "Completed", steps=steps, metrics=restarted)
    watch(history, time=Time(**{f"at{pause}": 60.0 for pause in range(1, 7)}))
    shown = re.findall(r"; step (\d+) of 100, loss ([\d.]+)(?:, ([\d.]+) steps/s)?", capsys.readouterr().err)
    assert shown[0] == ("60", "2.400", "2"), shown
    assert shown[-1] == ("40", "2.600", "1"), "from the points of the second start alone"


def test_a_step_that_went_on_from_a_checkpoint_stands_there_before_it_logs_anything() -> None:
    from tunestack.jobs.training_progress import RESUMED, Dials, read

    losses = restarted(0)["loss"]
    latest = {"loss": losses[-1], RESUMED: Point(0, 50.0, START.timestamp() + 100)}
    training = read(latest, losses, Dials(100), {})
    assert training
    assert (training.step, training.is_behind) == (50, True)
    unknown = read({**latest, RESUMED: replace(latest[RESUMED], value=float("nan"))}, losses, Dials(100), {})
    assert unknown
    assert (unknown.step, unknown.is_behind) == (losses[-1].step, False), "a figure that is none ends no watch"


def test_no_time_is_left_of_a_fine_tune_that_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    over = replace(TUNE, status="Completed", ended=at(-5))
    watch(History("Running", "Completed", steps=[DONE, over, replace(LATER, status="Running")], metrics=metrics))
    said = capsys.readouterr().err
    assert "step 20 of 100, loss 2.800" in said
    assert "left" not in said
    assert "steps/s" not in said


def test_a_loss_that_is_logged_without_its_step_is_shown_anew(capsys: pytest.CaptureFixture[str]) -> None:
    def unstepped(look: int) -> dict[str, list[Point]]:
        return {"loss": [Point(0, 3.0 - look, START.timestamp() + look)]}

    watch(History("Running", "Finalizing", "Completed", steps=[TUNE], metrics=unstepped))
    assert re.findall("loss ([-.0-9]+)", capsys.readouterr().err) == ["2.000", "1.000", "0.000"]


def test_tokens_a_second_are_said_where_the_pipeline_knows_its_tokens() -> None:
    from tunestack.jobs.training_progress import TOKENS, Dials, read

    points = metrics(1)
    latest = {name: found[-1] for name, found in points.items()}
    training = read(latest, points["loss"], Dials(epochs=3), {TOKENS: "5000"})
    assert training
    assert training.total == 150, "three epochs of 50 steps"
    assert training.tokens_per_second == pytest.approx(200), "100 tokens a step, 2 steps a second"
    assert training.left == pytest.approx(65)


@pytest.mark.parametrize(
    ("latest", "losses"),
    [({}, []), ({"loss": Point(0, 1.0)}, [Point(0, 1.0)]), ({"eval_loss": Point(0, 1.0)}, [])],
    ids=["nothing", "one point", "evaluation only"],
)
def test_what_is_not_known_yet_is_left_out(latest: Any, losses: Any) -> None:
    from tunestack.jobs.training_progress import Dials, read

    training = read(latest, losses, Dials(), {})
    assert (training is None) == (not latest)
    if training:
        assert (training.total, training.steps_per_second, training.left) == (None, None, None)


def test_time_in_the_queue_begins_when_the_steps_before_have_ended() -> None:
    from tunestack.jobs.job_view import queue_seconds

    assert queue_seconds(DONE, [DONE, TUNE, LATER], START) == 10
    assert queue_seconds(TUNE, [DONE, TUNE, LATER], START) == 10
    assert queue_seconds(LATER, [DONE, TUNE, LATER], START) is None


def test_the_block_on_a_terminal_shows_every_step_with_its_times() -> None:
    from rich.console import Console

    from tunestack.jobs.job_view import View, step_views
    from tunestack.jobs.run_cost import Cost
    from tunestack.jobs.training_progress import Training
    from tunestack.jobs.watch_screen import block

    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    training = Training(20, 100, 2.8, None, 2.0, None, 40)
    view = View("job", "Running", 75, step_views([DONE, TUNE, LATER], START), training, Cost(0.5, ("serverless",)))
    console.print(block(view, since=5))
    shown = console.export_text()
    assert "finetune" in shown
    assert "35 s" in shown
    assert re.search(r"convert +waits", shown)
    assert "step 20 of 100, loss 2.800, 2 steps/s, about 40 s of it left" in shown
    assert "1 min 20 s watched, about 0.50 $ so far (without 'serverless', whose price is not known)" in shown
    assert "heard 5 s ago" in shown


def test_a_narrow_terminal_gets_a_line_a_step_with_whole_names() -> None:
    from rich.console import Console

    from tunestack.jobs.job_view import View, step_views
    from tunestack.jobs.watch_screen import block

    steps = [replace(TUNE, name="chat_completion_finetune [v2]"), replace(LATER, name="ft_nlp_model_converter")]
    view = View("job", "Running", 75, step_views(steps, START))
    for width in (76, 60):
        console = Console(width=width, record=True, markup=False, file=open("/dev/null", "w"))  # noqa: SIM115
        console.print(block(view, width=width))
        shown = console.export_text()
        assert "chat_completion_finetune [v2] " in shown
        assert "ft_nlp_model_converter " in shown
        assert ("Running (30 s" in shown) == (width == 60)


def test_a_terminal_that_cannot_be_drawn_over_gets_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    watch(History("Running", "Completed"))
    assert capsys.readouterr().err.startswith("00:00  job job: Running; 0 of 1")


def test_a_terminal_gets_one_block_and_what_is_said_stands_above_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    watch(History("Running", CloudError("lost", status=0), "Completed", steps=[DONE, TUNE]))
    shown = capsys.readouterr().err
    assert "job job: Completed" in shown
    assert "job 'job' is in reach again" in shown


# -- how it ended ------------------------------------------------------------------------------------------------------

FAILED = Run("b", "chat_completion_finetune", "Failed", error="learning_rate must be above 0, not '0'.\nLast lines: x")


def test_a_failed_job_names_its_step_the_message_the_cause_the_fix_and_the_end_of_the_log() -> None:
    steps = [Run("a", "preprocess", "Completed"), FAILED]
    with pytest.raises(EndedBadly) as caught:
        watch(History("Running", "Failed", steps=steps, lines=[f"line {number}" for number in range(30)]))
    assert caught.value.problems == (
        "job 'job' ended as Failed",
        "its step 'chat_completion_finetune' failed: learning_rate must be above 0, not '0'.",
        "the cause is known: the learning rate is not above zero",
    )
    assert "--set training.learning_rate" in caught.value.fix
    assert "--again" in caught.value.fix
    assert caught.value.details == tuple(f"line {number}" for number in range(10, 30))


def test_an_unknown_error_shows_the_log_and_says_that_its_cause_is_not_known() -> None:
    history = History("Failed", steps=[replace(FAILED, error="something new")], lines=["what the step said"])
    found = failure(history, Run("job", "job", "Failed"))
    assert found.problems[-1] == "the cause is not known; the log is above"
    assert found.details == ("what the step said",)


def test_a_log_that_cannot_be_read_does_not_hide_the_failure() -> None:
    history = History("Failed", steps=[FAILED])
    history.logs = lambda name, lines: (_ for _ in ()).throw(CloudError("forbidden", status=403))  # type: ignore[method-assign]
    found = failure(history, Run("job", "job", "Failed"))
    assert "its log cannot be read: forbidden" in found.problems
    assert found.problems[-1] == "the cause is known: the learning rate is not above zero"


def test_one_refusal_after_the_end_does_not_hide_the_failure() -> None:
    """The watch asks once and comes back; what explains a failure is asked for with the retries of the client."""
    history = History("Failed", steps=[FAILED], lines=["what the step said"])

    class Once(History):
        def steps(self, name: str) -> Any:
            raise CloudError("not now", status=503)

        logs = steps  # type: ignore[assignment]

    history.asking_once = lambda: Once("Failed")  # type: ignore[method-assign]
    with pytest.raises(EndedBadly, match="its step 'chat_completion_finetune' failed") as caught:
        watch(history)
    assert caught.value.details == ("what the step said",)


def test_steps_that_cannot_be_read_do_not_hide_the_failure() -> None:
    history = History("Failed")
    history.steps = lambda name: (_ for _ in ()).throw(CloudError("not now", status=503))  # type: ignore[method-assign]
    found = failure(history, Run("job", "job", "Failed", error="GPU has not enough memory"))
    assert found.problems[0] == "job 'job' ended as Failed: GPU has not enough memory"
    assert "its steps cannot be read: not now" in found.problems
    assert found.problems[-1].startswith("the cause is known")


def test_the_cause_is_found_in_the_log_of_the_process_that_had_it() -> None:
    history = History("Failed", steps=[replace(FAILED, error="status code 1")])
    other = ["Traceback (most recent call last):", "torch.OutOfMemoryError: CUDA out of memory."]
    first = ["Traceback (most recent call last):", "torch.distributed.DistBackendError: NCCL error"]
    history.logs = lambda name, lines: [first, ["nothing"], other]  # type: ignore[method-assign]
    found = failure(history, Run("job", "job", "Failed"))
    assert "do not fit into the GPU's memory" in found.problems[-1]
    assert found.details == tuple(other)


def test_a_job_that_does_not_respond_may_still_cost_and_is_not_bought_again() -> None:
    found = failure(History("NotResponding", steps=[TUNE]), Run("job", "job", "NotResponding"))
    assert "--attach job, or end it with --cancel job" in found.fix
    assert "--again" not in found.fix


def test_a_cancelled_job_ended_badly_and_no_cause_is_looked_for() -> None:
    with pytest.raises(EndedBadly, match="ended as Canceled") as caught:
        watch(History("Canceled", lines=["CUDA out of memory"]))
    assert len(caught.value.problems) == 1


def test_the_watch_asks_nothing_of_prices_before_a_step_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "Costs", None)
    run, _ = watch(History("Queued", "Completed", steps=[LATER]))
    assert run.status == "Completed"
