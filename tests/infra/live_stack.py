"""The project on the real engine and a local cloud, in a folder of its own: nothing is written into the checkout."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

from localcloud import environment
from localcloud.faults import Hold
from localcloud.server import Options
from tests.conftest import CACHE, HANG_SECONDS, RunningCloud, serve
from tests.infra.conftest import ROOT
from tunestack.outputs import StackOutputs, parse

VERSION = "?api-version=2025-12-01"
ML = "Microsoft.MachineLearningServices/workspaces"


@dataclass
class LiveStack:
    """A stack of the project in `folder`, and the cloud below it."""

    folder: Path
    cloud: RunningCloud
    variables: Mapping[str, str]

    def pulumi(self, *arguments: str, status: int = 0) -> str:
        """What the command says; with a `status` it must fail, and stderr is part of what it says."""
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env=dict(self.variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_SECONDS,
        )
        said = done.stdout + done.stderr
        assert (done.returncode != 0) == (status != 0), said
        return said if status else done.stdout

    def up(self, *arguments: str, status: int = 0) -> str:
        return self.pulumi("up", "--yes", "--skip-preview", *arguments, status=status)

    def destroy(self, *arguments: str, status: int = 0) -> str:
        return self.pulumi("destroy", "--yes", "--skip-preview", *arguments, status=status)

    def shell(self, line: str, status: int = 0, **variables: str) -> str:
        """A line of a page of the docs, run as it stands; all that it says."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line],
            cwd=self.folder,
            env={**self.variables, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_SECONDS,
        )
        said = done.stdout + done.stderr
        assert done.returncode == status, said
        return said

    @contextmanager
    def begun(self, command: str, gate: Hold) -> Iterator[subprocess.Popen[str]]:
        """The command at work, once one of its calls waits at the gate, as a process group like a terminal's."""
        process = subprocess.Popen(
            ["pulumi", command, "--yes", "--skip-preview", "--non-interactive"],
            cwd=self.folder,
            env=dict(self.variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            while not gate.reached.wait(0.5):
                assert process.poll() is None, process.communicate()[0]
            yield process
        finally:
            gate.release()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout:
                process.stdout.close()

    def until(self, true: Callable[[], bool]) -> None:
        """Look again and again until something is so."""

        async def look() -> None:
            while not true():
                await asyncio.sleep(0.05)

        self.cloud.call(asyncio.wait_for(look(), HANG_SECONDS))

    @cached_property
    def outputs(self) -> StackOutputs:
        return parse(json.loads(self.pulumi("stack", "output", "--json")), "the stack")

    @property
    def workspace(self) -> str:
        found = self.outputs
        return (
            f"/subscriptions/{found.subscription_id}/resourceGroups/{found.resource_group}/providers/"
            f"{ML}/{found.workspace_name}"
        )

    @property
    def endpoint(self) -> str:
        return f"{self.workspace}/onlineEndpoints/{self.outputs.endpoint_name}"

    def get(self, path: str) -> Any:
        return self.cloud.arm("GET", path + VERSION)

    def put(self, path: str, body: Any) -> Any:
        return self.cloud.arm("PUT", path + VERSION, body)

    def names(self, kind: str = "") -> list[str]:
        """Names of what is in the cloud, of one type or of all."""
        found = self.cloud.cloud.store.beneath("/subscriptions")
        return sorted(body["name"] for body in found if not kind or body.get("type", "").lower() == kind.lower())

    def ids(self) -> set[str]:
        return {body["id"].lower() for body in self.cloud.cloud.store.beneath("/subscriptions")}

    def state(self) -> Any:
        """What the engine remembers."""
        return json.loads(self.pulumi("stack", "export"))["deployment"]

    def resources(self) -> list[Any]:
        found: list[Any] = self.state().get("resources") or []
        return [one for one in found if one["type"].startswith("azure-native:")]

    def urn(self, end: str) -> str:
        """The URN of the one resource whose URN ends so."""
        (found,) = [one["urn"] for one in self.resources() if one["urn"].endswith(end)]
        return str(found)


def commands(page: str, title: str) -> list[str]:
    """The commands of one section of a page of the docs, in their order; comments are for the reader."""
    section = (ROOT / "docs" / page).read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert section, f"'docs/{page}' has no section '{title}'"
    text = "\n".join(re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


@contextmanager
def live_stack(
    factory: pytest.TempPathFactory, name: str = "local", options: Options | None = None, *, source: str = ""
) -> Iterator[LiveStack]:
    """A stack of that name, not up yet, on a local cloud of its own, with the committed stack files.

    `source` names the committed stack whose dials it takes, for the local cloud takes stacks `local…` only.
    """
    folder = factory.mktemp("project")
    for path in ROOT.glob("Pulumi*.yaml"):
        shutil.copy(path, folder)
    for linked in (".venv", "infra", "scripts", "pipelines"):
        (folder / linked).symlink_to(ROOT / linked)
    with serve(options or Options(factory.mktemp("cloud") / "state", tracking=False)) as cloud:
        inherited = {**os.environ, "HOME": str(factory.mktemp("home")), "TUNESTACK_CACHE": str(CACHE)}
        variables = environment.for_command(cloud.running, inherited)
        # as `source .venv/bin/activate` has it: the scripts run in the Python that runs the tests
        variables["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), variables["PATH"]])
        found = LiveStack(folder, cloud, variables)
        found.pulumi("stack", "init", name)
        if source:
            path = folder / f"Pulumi.{name}.yaml"
            dials = yaml.safe_load((ROOT / f"Pulumi.{source}.yaml").read_text())
            path.write_text(yaml.safe_dump({**(yaml.safe_load(path.read_text()) or {}), **dials}))
        yield found
