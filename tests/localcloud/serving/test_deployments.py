"""A deployment's process from PUT to DELETE: what is laid out, when it counts as ready, what is left when it fails."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from localcloud import processes
from localcloud.client import CallFailed
from localcloud.server import Options
from localcloud.serving import programs
from localcloud.serving.upkeep import Upkeep
from tests.conftest import HANG_SECONDS, serve
from tests.localcloud.serving.playground import ECHO, WORKSPACE, Playground, in_flight, until

NEVER = "import threading\ndef init(): threading.Event().wait()\ndef run(raw): pass\n"
IMPATIENT = {"initialDelay": "PT1S", "period": "PT1S", "failureThreshold": 1}
SHOWS_MODEL = """
import os, pathlib
def init():
    global text
    text = next(pathlib.Path(os.environ["AZUREML_MODEL_DIR"]).rglob("weights.txt")).read_text()
def run(raw): return [text, raw, pathlib.Path(os.environ["AZUREML_MODEL_DIR"]).name]
"""


@pytest.fixture
def url(playground: Playground) -> str:
    return playground.endpoint()


def _error(playground: Playground, body: dict[str, Any], name: str = "blue") -> dict[str, Any]:
    """The error of the operation that a PUT of this deployment ends with."""
    path = f"onlineEndpoints/chat/deployments/{name}"
    playground.arm("PUT", path, body)
    playground.wait(name)
    operations = [record for _, record in playground.local.cloud.store.records("operation")]
    found: dict[str, Any] = operations[-1]
    assert (found["kind"], found["status"]) == ("deployment.write", "Failed")
    assert playground.arm("GET", path)["properties"]["provisioningState"] == "Failed"
    error: dict[str, Any] = found["error"]
    return error


def _logs(playground: Playground, name: str = "blue", **body: Any) -> str:
    return str(playground.arm("POST", f"onlineEndpoints/chat/deployments/{name}/getLogs", body)["content"])


def test_a_script_scores_with_its_model_folder(playground: Playground, url: str) -> None:
    model = playground.model("small", {"sub/weights.txt": "heavy"}, version="7")
    found = playground.deploy("blue", SHOWS_MODEL, model=model)
    assert found["properties"]["provisioningState"] == "Succeeded"
    answer = playground.score(url, {"a": 1}, deployment="blue")
    assert answer.json() == ["heavy", '{"a": 1}', "7"]
    assert answer.headers["x-ms-run-function-failed"] == "False"


@pytest.mark.parametrize("result", ["text", ["a", 1], {"b": None}, 1.5])
def test_results_of_run_are_answered_as_json(result: Any, playground: Playground, url: str) -> None:
    playground.deploy("blue", f"def init(): pass\ndef run(raw): return {result!r}\n")
    assert playground.score(url, deployment="blue").json() == result


def test_run_that_raises_is_424_and_in_the_log(playground: Playground, url: str) -> None:
    playground.deploy("blue", "def init(): pass\ndef run(raw): raise ValueError('no such thing')\n")
    answer = playground.score(url, deployment="blue")
    assert (answer.status_code, answer.headers["ms-azureml-model-error-statuscode"]) == (424, "500")
    assert "ValueError: no such thing" in _logs(playground)


def test_a_neighbour_of_the_script_is_imported_and_shadows_no_library(playground: Playground, url: str) -> None:
    body = playground.body("import near\ndef init(): pass\ndef run(raw): return near.WORD\n", by="blue")
    code = body["properties"]["codeConfiguration"]["codeId"].split("/")[-3]
    (playground.blobs / "code" / code / "near.py").write_text("WORD = 'next door'\n")
    (playground.blobs / "code" / code / "http.py").write_text("raise SystemExit('shadowed')\n")
    assert playground.put("blue", body)["properties"]["provisioningState"] == "Succeeded"
    assert playground.score(url, deployment="blue").json() == "next door"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("def init(): raise RuntimeError('no weights')\ndef run(raw): pass\n", "failed before it could serve"),
        ("def init(): pass\n", "has no function 'run()'"),
        ("import absent_library\n", "failed before it could serve"),
    ],
)
def test_a_script_that_cannot_start_fails_at_once_and_keeps_its_log(
    script: str, words: str, playground: Playground, url: str
) -> None:
    error = _error(playground, playground.body(script))
    assert error["code"] == "ResourceNotReady"
    assert "readiness probe" in error["message"]
    assert words in error["message"]
    assert words in _logs(playground)
    answer = playground.score(url, deployment="blue")
    assert (answer.status_code, "no healthy container" in answer.json()["message"]) == (424, True)


def test_a_deployment_that_never_answers_fails_when_the_probe_gives_up(playground: Playground, url: str) -> None:
    error = _error(playground, playground.body(NEVER, livenessProbe=IMPATIENT))
    assert error["code"] == "ResourceNotReady"
    assert "Liveness probe failed" in error["message"]
    assert "for 2 s" in error["message"]
    assert not playground.local.cloud.store.records("deployment-process")


def test_a_failed_update_leaves_the_old_process_serving(playground: Playground, url: str) -> None:
    playground.deploy("blue")
    _error(playground, playground.body("def init(): 1/0\ndef run(raw): pass\n"))
    assert playground.score(url, deployment="blue").json() == {"by": "blue"}
    found = playground.deploy("blue", ECHO.replace("BY", "HOME"))
    assert found["properties"]["provisioningState"] == "Succeeded"
    assert playground.score(url, deployment="blue").json() == {"by": os.environ["HOME"]}


def test_tags_and_instances_change_without_a_new_process(playground: Playground, url: str) -> None:
    body = playground.body()
    playground.put("blue", body)
    worker = playground.worker("chat", "blue")
    found = playground.put("blue", {**body, "tags": {"traffic": "90"}, "sku": {"name": "Default", "capacity": 3}})
    assert (found["tags"], found["sku"]["capacity"]) == ({"traffic": "90"}, 3)
    patched = playground.arm("PATCH", "onlineEndpoints/chat/deployments/blue", {"tags": {"a": "b"}})
    assert (patched["tags"], patched["properties"]["provisioningState"]) == ({"a": "b"}, "Succeeded")
    assert playground.worker("chat", "blue") is worker


def test_logs_are_cut_to_their_tail_and_tell_the_storage_side(playground: Playground, url: str) -> None:
    playground.deploy("blue", environmentId="azureml://registries/azureml/environments/sklearn/versions/1")
    assert "init of blue" in _logs(playground)
    assert len(_logs(playground, tail=1).splitlines()) == 1
    assert "is not built" in _logs(playground, containerType="StorageInitializer")
    with pytest.raises(CallFailed, match="'Sidecar'"):
        _logs(playground, containerType="Sidecar")


def test_an_mlflow_model_without_code_is_served_by_its_python_function(playground: Playground, url: str) -> None:
    loader = "class M:\n    def predict(self, data, params=None): return data * 2\ndef _load_pyfunc(path): return M()\n"
    described = "flavors:\n  python_function:\n    loader_module: loader\n    code: code\n    env: {}\n"
    model = playground.model("doubler", {"MLmodel": described, "code/loader.py": loader})
    found = playground.deploy("blue", None, model=model)
    assert found["properties"]["provisioningState"] == "Succeeded", _logs(playground)
    answer = playground.score(
        url, {"input_data": {"columns": ["x"], "index": [0, 1], "data": [[1], [2]]}}, deployment="blue"
    )
    assert answer.json() == [{"x": 2}, {"x": 4}]
    assert playground.score(url, {"inputs": [1]}, deployment="blue").status_code == 424
    assert '"input_data"' in _logs(playground)


def test_deleting_ends_the_process_and_what_was_on_disk(playground: Playground, url: str) -> None:
    playground.deploy("blue")
    (pid,) = [int(key) for key, _ in playground.local.cloud.store.records("deployment-process")]
    playground.arm("DELETE", "onlineEndpoints/chat/deployments/blue")
    assert not psutil.pid_exists(pid)
    assert not (playground.local.cloud.state / "deployments" / "chat" / "blue").exists()
    playground.deploy("green")
    (pid,) = [int(key) for key, _ in playground.local.cloud.store.records("deployment-process")]
    playground.arm("DELETE", "onlineEndpoints/chat")
    assert not psutil.pid_exists(pid)
    assert playground.arm("GET", "onlineEndpoints")["value"] == []


def test_a_deployment_can_be_deleted_while_it_starts(playground: Playground, url: str) -> None:
    playground.arm("PUT", "onlineEndpoints/chat/deployments/blue", playground.body(NEVER))
    until(lambda: bool(playground.local.cloud.store.records("deployment-process")))
    with pytest.raises(CallFailed, match=r"Conflict.*creating"):
        playground.arm("PUT", "onlineEndpoints/chat/deployments/blue", playground.body(NEVER))
    playground.arm("DELETE", "onlineEndpoints/chat/deployments/blue")
    assert not playground.local.cloud.store.records("deployment-process")
    put = [record for _, record in playground.local.cloud.store.records("operation")][-2]
    assert (put["status"], put["error"]["code"]) == ("Failed", "OperationCanceled")


def test_a_port_is_its_deployments_before_anything_listens_on_it(playground: Playground, url: str) -> None:
    playground.arm("PUT", "onlineEndpoints/chat/deployments/blue", playground.body(NEVER))
    until(lambda: bool(playground.local.cloud.store.records("deployment-process")))
    port = int(playground.worker("chat", "blue").address.rpartition(":")[2])
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))


def test_a_request_waits_for_a_deployment_that_is_starting(playground: Playground, url: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    script = f"def init(): open({str(tmp_path / 'go')!r}).read()\ndef run(raw): return 'at last'\n"
    body = playground.body(script, requestSettings={"requestTimeout": "PT180S"})
    playground.arm("PUT", "onlineEndpoints/chat/deployments/blue", body)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(playground.score, url, deployment="blue")
        until(lambda: in_flight(playground, "blue") == 1)
        (tmp_path / "go").write_text("go")
        assert answer.result().json() == "at last"


def test_a_request_waits_for_a_deployment_whose_files_are_still_laid_out(
    playground: Playground, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As right after the start of a server that serves its deployments again."""
    asked, prepare = threading.Event(), programs.prepare

    def late(*given: Any) -> Any:
        assert asked.wait(HANG_SECONDS)
        return prepare(*given)

    monkeypatch.setattr(programs, "prepare", late)
    body = playground.body(requestSettings={"requestTimeout": "PT180S"})
    playground.arm("PUT", "onlineEndpoints/chat/deployments/blue", body)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(playground.score, url, deployment="blue")
        until(lambda: in_flight(playground, "blue") == 1 or answer.done())
        asked.set()
        assert answer.result().json() == {"by": "blue"}


def test_everything_is_served_again_after_kill_9(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    program = (
        "import sys, threading\nfrom pathlib import Path\nfrom localcloud.server import Options\n"
        "from tests.conftest import serve\nfrom tests.localcloud.serving.playground import Playground\n"
        "with serve(Options(Path(sys.argv[1]), engine=False, tracking=False)) as local:\n"
        "    p = Playground(local)\n    p.endpoint()\n    p.deploy('blue')\n    p.endpoint(traffic={'blue': 100})\n"
        "    print('ready', flush=True)\n    threading.Event().wait()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(state)], stdout=subprocess.PIPE, cwd=_root()) as killed:
        assert killed.stdout
        assert killed.stdout.readline() == b"ready\n"
        store = _store(state)
        (served,) = [psutil.Process(int(pid)) for pid, _ in store.records("deployment-process")]
        store.close()
        killed.send_signal(signal.SIGKILL)
    # It ends by itself, before any server starts again.
    served.wait(HANG_SECONDS)
    with serve(Options(state, engine=False, tracking=False)) as local:
        playground = Playground(local)
        upkeep = local.cloud.part(Upkeep, lambda: Upkeep(local.cloud))
        local.call(upkeep.wait(f"{WORKSPACE}/onlineEndpoints/chat/deployments/blue"))
        assert playground.arm("GET", "onlineEndpoints/chat/deployments/blue")["properties"]["provisioningState"] == (
            "Succeeded"
        )
        for name, value in local.environment.items():
            monkeypatch.setenv(name, value)
        url = playground.arm("GET", "onlineEndpoints/chat")["properties"]["scoringUri"]
        assert playground.score(url).json() == {"by": "blue"}
        playground.close()


def test_what_a_killed_server_left_running_is_swept(tmp_path: Path) -> None:
    with serve(Options(tmp_path / "state", engine=False, tracking=False)):
        pass
    program = [sys.executable, "-c", "import threading; threading.Event().wait()"]
    with subprocess.Popen(program, start_new_session=True) as left:
        store = _store(tmp_path / "state")
        store.put_record("deployment-process", str(left.pid), {"start": processes.started_at(left.pid)})
        store.put_record("deployment-process", str(os.getpid()), {"start": 1.0})
        store.close()
        with serve(Options(tmp_path / "state", engine=False, tracking=False)) as local:
            left.wait(HANG_SECONDS)
            assert not local.cloud.store.records("deployment-process")


def _root() -> Path:
    return Path(__file__).parents[3]


def _store(state: Path) -> Any:
    from localcloud.store import Store

    return Store(state / "state.db")
