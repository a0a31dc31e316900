"""The command line of the local cloud, as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from localcloud import __main__, environment
from tests.conftest import HANG_SECONDS, RunningCloud


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOCALCLOUD_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "localcloud", *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )


def test_run_starts_a_server_for_the_while_and_passes_the_status_on(state: Path) -> None:
    program = (
        "import os, sys; print(os.environ['HTTPS_PROXY'], os.environ.get('AZURE_CLIENT_CERTIFICATE_PATH')); sys.exit(7)"
    )
    done = run(
        "run", "--", sys.executable, "-c", program, AZURE_CLIENT_CERTIFICATE_PATH="/real", https_proxy="http://x"
    )
    assert done.returncode == 7, done.stderr
    assert done.stdout.startswith("http://127.0.0.1:")
    assert done.stdout.endswith(" None\n")
    assert not (state / "server.json").exists()


def test_ctrl_c_before_mlflow_answers_ends_the_server_without_a_traceback(state: Path) -> None:
    command = [sys.executable, "-m", "localcloud", "up"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as server:
        assert server.stderr
        for line in server.stderr:
            if "MLflow page" in line:
                break
        server.send_signal(signal.SIGINT)
        assert [line for line in server.stderr if "MLflow answers" not in line] == []  # it may be quicker than this


def test_a_server_that_does_not_stop_is_killed_and_the_commands_status_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(__main__, "STOP_SECONDS", 0.1)
    deaf = ["bash", "-c", "trap '' TERM; echo deaf; read"]
    with subprocess.Popen(deaf, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout
        assert server.stdout.readline() == b"deaf\n"
        __main__._end(server)
        assert server.returncode == -signal.SIGKILL


def test_a_command_that_does_not_exist_is_named(state: Path) -> None:
    done = run("run", "--", "no-such-command")
    assert done.returncode == 127
    assert done.stderr == "error: 'no-such-command' cannot be run: No such file or directory\n"


def test_a_server_that_cannot_start_says_why_in_one_line(tmp_path: Path, local_cloud: RunningCloud) -> None:
    port = str(local_cloud.cloud.addresses.tls)
    done = run("run", "--port", port, "--", "true", LOCALCLOUD_STATE=str(tmp_path / "other"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: Port {port} on 127.0.0.1 cannot be used: Address already in use.")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [["env"], ["workspace", "dev"]])
def test_without_a_server_the_command_to_start_one_is_named(
    words: list[str], state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert __main__.main(words) == 3
    error = capsys.readouterr().err
    assert error == f"error: No local cloud runs on the state folder '{state}'. Start one with: localcloud up\n"


def test_a_pace_that_is_none_is_wrong_usage(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["up", "--pace", "soon"]) == 2
    assert "'soon' is no pace" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["web", "99999", "-1"])
def test_a_port_that_is_none_is_wrong_usage(port: str, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        __main__.main(["up", "--port", port])
    assert f"'{port}' is no port" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["up"], ["run", "--", "true"]])
def test_a_state_folder_that_cannot_be_made_is_named(
    words: list[str], state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state.touch()
    assert __main__.main(words) == 1
    assert f"'{state}' cannot be made: File exists" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["x", "my ws", "_ws", "a" * 34])
def test_a_workspace_whose_name_azure_does_not_take_is_wrong_usage(
    name: str, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        __main__.main(["workspace", name])
    assert f"'{name}' is no name of a workspace" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["dev", "my_ws-1"])
def test_a_workspace_is_made_and_its_configuration_written(
    name: str, local_cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCALCLOUD_STATE", str(local_cloud.cloud.state))
    assert __main__.main(["workspace", name]) == 0
    assert json.loads((tmp_path / "config.json").read_text())["workspace_name"] == name


def test_reset_empties_only_a_state_folder(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["reset", "--yes"]) == 0
    state.mkdir()
    (state / "mine.txt").write_text("precious")
    assert __main__.main(["reset", "--yes"]) == 2
    assert (state / "mine.txt").read_text() == "precious"
    (state / "server.lock").touch()
    assert __main__.main(["reset", "--yes"]) == 0
    assert not state.exists()


def test_reset_without_anybody_to_ask_removes_nothing(state: Path) -> None:
    state.mkdir()
    (state / "server.lock").touch()
    done = subprocess.run(
        [sys.executable, "-m", "localcloud", "reset"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 1
    assert done.stderr.endswith("nothing was removed; without a terminal, say --yes.\n")
    assert "Traceback" not in done.stderr
    assert (state / "server.lock").exists()


def test_reset_leaves_the_state_of_a_running_server(
    local_cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCALCLOUD_STATE", str(local_cloud.cloud.state))
    assert __main__.main(["reset", "--yes"]) == 1
    assert "stop it first" in capsys.readouterr().err
    assert (local_cloud.cloud.state / "state.db").exists()


def test_a_commands_environment_holds_nothing_that_points_to_azure(local_cloud: RunningCloud) -> None:
    inherited = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "AZURE_CLIENT_ID": "real",
        "AZURE_CONFIG_DIR": "real",
        "ARM_USE_OIDC": "true",
        "PULUMI_ACCESS_TOKEN": "real",
        "https_proxy": "http://corporate:3128",
        "CURL_CA_BUNDLE": "/corporate.pem",
        "KEPT": "yes",
    }
    made = environment.for_command(local_cloud.running, inherited)
    assert made["KEPT"] == "yes"
    assert "real" not in made.values()
    assert not {"AZURE_CONFIG_DIR", "ARM_USE_OIDC", "PULUMI_ACCESS_TOKEN", "https_proxy", "CURL_CA_BUNDLE"} & set(made)
    assert made["no_proxy"] == made["NO_PROXY"] == "127.0.0.1,localhost"
