"""Runs as run history tells them: what it leaves out or sends as null is unknown, and no error."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, IncompleteReadError

from tunestack.arm import Arm
from tunestack.errors import CloudError, NotConfigured
from tunestack.jobs.run_history import Run, RunHistory, log_lines


def test_a_run_of_which_little_is_told_is_a_run() -> None:
    names = ("displayName", "properties", "status", "startTimeUtc", "endTimeUtc", "error", "tags", "runType")
    found = Run.parse({"runId": "j", **dict.fromkeys(names)})
    assert (found.id, found.name, found.status, found.has_ended) == ("j", "j", "NotStarted", False)


def test_a_log_is_read_as_it_stood_in_the_end() -> None:
    bar = "".join(f"\r{percent}%|" for percent in range(100))
    assert log_lines(f"a\r\n{bar}\n\n\x1b[31mTraceback\x1b[0m\nb") == ["a", "99%|", "Traceback", "b"]


def test_of_several_logs_the_runs_own_comes_first_and_those_of_its_other_processes_follow() -> None:
    names = ("logs/azureml/executionlogs.txt", "user_logs/std_log_process_1.txt", "user_logs/std_log_process_0.txt")
    fetched: list[str] = []

    def text(url: str) -> str:
        fetched.append(url)
        return f"{url}\n" * 3

    arm = SimpleNamespace(get=lambda path: {"logFiles": {name: f"url of {name}" for name in names}}, text=text)
    history = RunHistory.__new__(RunHistory)
    history._arm, history._workspace, history._host = arm, "/w", "h"  # type: ignore[assignment]
    found = list(history.logs("run", 2))
    assert fetched == [f"url of {names[2]}", f"url of {names[1]}"]
    assert found == [[each] * 2 for each in fetched]


@pytest.mark.parametrize("value", [{}, {"value": None}, {"value": "NaN"}])
def test_a_metric_without_a_figure_is_no_number(value: dict[str, Any]) -> None:
    metric = {"key": "loss", "step": 3, "timestamp": 1000, **value}
    answer = {"run": {"data": {"metrics": [metric]}}}
    history = RunHistory.__new__(RunHistory)
    history._arm, history._workspace, history._host = SimpleNamespace(get=lambda *_, **__: answer), "/w", "h"  # type: ignore[assignment]
    found = history.latest("run")["loss"]
    assert (found.step, found.time, found.value != found.value) == (3, 1.0, True)


@pytest.fixture
def cut_off() -> Iterator[str]:
    """The address of a server that ends each answer in the middle."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"half")

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/log.txt"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_answer_that_is_cut_off_in_the_middle_passes(cut_off: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    arm = Arm(SimpleNamespace(get_token=None)).asking_once()  # type: ignore[arg-type]
    with pytest.raises(CloudError) as caught:
        arm.text(cut_off)
    assert caught.value.is_passing

    def cut(*_: Any, **__: Any) -> Any:
        raise IncompleteReadError("Connection broken")

    monkeypatch.setattr(arm._client, "send_request", cut)
    with pytest.raises(CloudError) as caught:
        arm.get("/subscriptions")
    assert caught.value.is_passing


def test_a_store_that_nothing_answers_at_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    arm = Arm(SimpleNamespace(get_token=None)).asking_once()  # type: ignore[arg-type]
    with pytest.raises(CloudError, match="cannot be reached"):
        arm.text("http://127.0.0.1:9/log.txt")


def test_a_credential_that_fails_is_an_error_of_ours() -> None:
    def expired(*_: Any, **__: Any) -> Any:
        raise ClientAuthenticationError("the refresh token has expired")

    arm = Arm(SimpleNamespace(get_token=expired)).asking_once()  # type: ignore[arg-type]
    with pytest.raises(NotConfigured, match=r"the refresh token has expired.*az login"):
        arm.get("/subscriptions")
