"""The real engine with our provider and language host, on a fake ARM: a whole life of a small stack."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from localcloud.cloud import Addresses
from localcloud.engine import environment, find
from localcloud.engine.host import Serving
from tests.conftest import HANG_SECONDS
from tests.localcloud.engine.fake_arm import FakeArm

PROJECT = """\
name: tiny
runtime:
  name: python
  options:
    toolchain: uv
    virtualenv: {virtualenv}
options:
  refresh: always
"""
PROGRAM = """\
import os
import pulumi
from pulumi_azure_native import machinelearningservices as ml
from pulumi_azure_native import resources

tag = pulumi.Config().get("tag") or "first"
print("in the environment of", os.environ["THE_CALLER"])
group = resources.ResourceGroup("group", location="East US")
endpoint = ml.OnlineEndpoint(
    "ep",
    resource_group_name=group.name,
    workspace_name="ws",
    tags={"a.b": tag},
    properties=ml.OnlineEndpointPropertiesArgs(
        auth_mode="Key", description=pulumi.Output.secret("in-the-state-encrypted")
    ),
    opts=pulumi.ResourceOptions(ignore_changes=["properties.traffic", "properties.mirrorTraffic"]),
)
pulumi.export("endpoint", endpoint.name)
"""
POLICY = """\
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import analyzer_pb2 as a, analyzer_pb2_grpc, plugin_pb2

class Pack(analyzer_pb2_grpc.AnalyzerServicer):
    def Handshake(self, request, context):
        return a.AnalyzerHandshakeResponse()
    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version="1.0.0")
    def GetAnalyzerInfo(self, request, context):
        policy = a.PolicyInfo(name="no-group", enforcementLevel=a.MANDATORY)
        return a.AnalyzerInfo(name="pack", version="1.0.0", policies=[policy])
    def Configure(self, request, context):
        return empty_pb2.Empty()
    def ConfigureStack(self, request, context):
        return a.AnalyzerStackConfigureResponse()
    def Analyze(self, request, context):
        found = []
        if request.type == "azure-native:resources:ResourceGroup":
            found = [a.AnalyzeDiagnostic(policyName="no-group", policyPackName="pack", policyPackVersion="1.0.0",
                                         message="no groups here", enforcementLevel=a.MANDATORY, urn=request.urn)]
        return a.AnalyzeResponse(diagnostics=found)
    def Remediate(self, request, context):
        return a.RemediateResponse()
    def AnalyzeStack(self, request, context):
        return a.AnalyzeResponse()

server = grpc.server(ThreadPoolExecutor(4))
analyzer_pb2_grpc.add_AnalyzerServicer_to_server(Pack(), server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""

Pulumi = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text(PROJECT.format(virtualenv=sys.prefix))
    (folder / "__main__.py").write_text(PROGRAM)
    return folder


@pytest.fixture
def variables(engine_side: Serving, tmp_path: Path) -> dict[str, str]:
    assert find() is not None, "no Pulumi engine: run `make setup`"
    addresses = Addresses(provider=engine_side.provider, language=engine_side.language)
    running = SimpleNamespace(state=tmp_path / "state", secret="local", addresses=addresses)
    return {**os.environ, **environment(running), "THE_CALLER": "this test", "PULUMI_STACK": "local"}


@pytest.fixture
def pulumi(project: Path, variables: dict[str, str]) -> Pulumi:
    def run(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["pulumi", *words, "--non-interactive"],
            cwd=project,
            env=variables,
            capture_output=True,
            text=True,
            timeout=HANG_SECONDS,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    subprocess.run(
        ["pulumi", "stack", "init", "local"],
        cwd=project,
        env={name: value for name, value in variables.items() if name != "PULUMI_STACK"},
        check=True,
        capture_output=True,
        timeout=HANG_SECONDS,
    )
    return run


def test_a_stack_is_made_left_alone_changed_and_destroyed(
    arm: FakeArm, pulumi: Pulumi, project: Path, tmp_path: Path
) -> None:
    arm.style = "operation"
    up = ("up", "--yes", "--skip-preview")
    first = pulumi(*up)
    assert "in the environment of this test" in first.stdout
    assert "3.29.0+local: the local cloud answers, not Azure" in first.stdout
    assert "+ 3 created" in first.stdout
    endpoint = json.loads(pulumi("stack", "output", "--json").stdout)["endpoint"]
    assert arm.named(endpoint)["location"] == "East US"
    assert arm.named(endpoint)["properties"]["description"] == "in-the-state-encrypted"

    assert "3 unchanged" in pulumi(*up).stdout

    # traffic is moved behind Pulumi's back, then a tag changes, twice: the weights stay
    for number, weights in enumerate([{"blue": 100}, {"blue": 10, "green": 90}]):
        arm.named(endpoint)["properties"]["traffic"] = weights
        pulumi("config", "set", "tag", f"changed-{number}")
        assert "~ 1 updated" in pulumi(*up).stdout
        assert arm.named(endpoint)["tags"] == {"a.b": f"changed-{number}"}
        assert arm.named(endpoint)["properties"]["traffic"] == weights

    arm.named(endpoint)["tags"]["by-hand"] = "yes"
    refreshed = pulumi("refresh", "--yes", "--skip-preview", "--diff")
    assert "by-hand" in refreshed.stdout
    arm.resources = {key: body for key, body in arm.resources.items() if not key.endswith(endpoint.lower())}
    assert "- 1 deleted" in pulumi("refresh", "--yes", "--skip-preview").stdout

    kept = [
        path.read_text(errors="ignore") for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ".json"
    ]
    assert kept
    assert not any("in-the-state-encrypted" in text for text in kept)

    assert "deleted" in pulumi("destroy", "--yes", "--skip-preview").stdout
    assert arm.resources == {}
    assert not (Path(os.environ["HOME"]) / ".pulumi").exists()


def test_a_mandatory_policy_stops_a_preview_quietly(pulumi: Pulumi, project: Path, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "PulumiPolicy.yaml").write_text(
        f"runtime:\n  name: python\n  options:\n    virtualenv: {sys.prefix}\nversion: 1.0.0\n"
    )
    (pack / "__main__.py").write_text(POLICY)
    done = pulumi("preview", "--policy-pack", str(pack), status=1)
    assert "no groups here" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "KeyboardInterrupt" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("def wrong():\n    raise ValueError('broken here')\n\n\nwrong()\n", "ValueError: broken here"),
        ("import pulumi\n\npulumi.Config().require('size')\n", "Missing required configuration variable 'tiny:size'"),
        ("raise SystemExit(\"stack 'local' is not for this\")\n", "error: stack 'local' is not for this"),
        ("def (:\n", "SyntaxError"),
    ],
)
def test_an_error_of_the_program_is_shown_once_and_without_our_frames(
    pulumi: Pulumi, project: Path, program: str, said: str
) -> None:
    (project / "__main__.py").write_text(program)
    done = pulumi("preview", status=1)
    shown = done.stdout.partition("Diagnostics:")[2] + done.stderr
    assert shown.count(said) == 1
    assert "localcloud" not in shown
    assert "unhandled error" not in shown


def test_a_resource_that_failed_after_it_was_accepted_is_repaired_by_the_next_up(
    arm: FakeArm, pulumi: Pulumi, project: Path
) -> None:
    # a refresh forgets the failure, here as with the official provider: Azure's answer to a GET is no error
    (project / "Pulumi.yaml").write_text(PROJECT.format(virtualenv=sys.prefix).partition("options:\n  refresh")[0])
    arm.style = "operation"
    arm.fails["rg-1"] = {"code": "QuotaExceeded", "message": "no cores left"}
    (project / "__main__.py").write_text(
        "import pulumi\n\n"
        "inputs = {'resourceGroupName': 'rg-1', 'location': 'eastus'}\n"
        "pulumi.CustomResource('azure-native:resources:ResourceGroup', 'group', inputs)\n"
    )
    assert "QuotaExceeded: no cores left" in pulumi("up", "--yes", "--skip-preview", status=1).stdout
    assert arm.named("rg-1")["properties"]["provisioningState"] == "Failed"
    arm.fails.clear()
    assert "~ 1 updated" in pulumi("up", "--yes", "--skip-preview").stdout
    assert arm.named("rg-1")["properties"]["provisioningState"] == "Succeeded"
    assert "2 unchanged" in pulumi("up", "--yes", "--skip-preview").stdout


def test_a_python_without_pulumi_is_named(pulumi: Pulumi, project: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "empty")], check=True)
    (project / "Pulumi.yaml").write_text(PROJECT.format(virtualenv=tmp_path / "empty"))
    done = pulumi("preview", status=1)
    assert f"'{tmp_path / 'empty' / 'bin' / 'python'}' has no 'pulumi'" in done.stdout


def test_an_interrupt_ends_the_program_quietly(pulumi: Pulumi, project: Path, variables: dict[str, str]) -> None:
    (project / "__main__.py").write_text("import signal\n\nprint('it runs')\nsignal.pause()\n")
    update = subprocess.Popen(
        ["pulumi", "up", "--yes", "--skip-preview", "--non-interactive"],
        cwd=project,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert update.stdout is not None
    for line in update.stdout:
        if "it runs" in line:
            break
    os.killpg(update.pid, signal.SIGINT)
    shown = update.stdout.read()
    assert update.wait(timeout=HANG_SECONDS) != 0
    assert "Traceback" not in shown
    left: list[Any] = [one for one in psutil.Process().children(recursive=True) if "program.py" in " ".join(_line(one))]
    assert psutil.wait_procs(left, timeout=HANG_SECONDS)[1] == []


def _line(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []
