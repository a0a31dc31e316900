"""Stack `local` on the real engine against the local cloud: what mocks cannot show."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from localcloud import environment
from localcloud.arm import envelope
from localcloud.server import Options
from tests.conftest import CACHE, RunningCloud, serve
from tests.infra.conftest import ROOT
from tunestack.outputs import StackOutputs, parse

VERSION = "?api-version=2025-12-01"


@dataclass
class Stack:
    """The project in a folder of its own, so that nothing can be written into the checkout, and the cloud below."""

    folder: Path
    cloud: RunningCloud
    variables: Mapping[str, str]

    def pulumi(self, *arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env=dict(self.variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert (done.returncode != 0) == (status != 0), said
        return said if status else done.stdout

    def up(self, *arguments: str) -> str:
        return self.pulumi("up", "--yes", "--skip-preview", *arguments)

    @cached_property
    def outputs(self) -> StackOutputs:
        return parse(json.loads(self.pulumi("stack", "output", "--json")), "the stack")

    @property
    def workspace(self) -> str:
        found = self.outputs
        return (
            f"/subscriptions/{found.subscription_id}/resourceGroups/{found.resource_group}/providers/"
            f"Microsoft.MachineLearningServices/workspaces/{found.workspace_name}"
        )

    @property
    def endpoint(self) -> str:
        return f"{self.workspace}/onlineEndpoints/{self.outputs.endpoint_name}"

    def get(self, path: str) -> Any:
        return self.cloud.arm("GET", path + VERSION)

    def roll_out(self, **traffic: int) -> None:
        """What `shift_traffic` does: the live endpoint, with other weights."""
        live = self.get(self.endpoint)
        self.cloud.arm(
            "PUT", self.endpoint + VERSION, {**live, "properties": {**live["properties"], "traffic": traffic}}
        )

    def traffic(self) -> dict[str, int]:
        found: dict[str, int] = self.get(self.endpoint)["properties"]["traffic"]
        return found


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Stack `local`, up. The tests below are one life of it, in this order; the last one takes it down."""
    folder = tmp_path_factory.mktemp("project")
    for path in ROOT.glob("Pulumi*.yaml"):
        shutil.copy(path, folder)
    for name in (".venv", "infra"):
        (folder / name).symlink_to(ROOT / name)
    with serve(Options(tmp_path_factory.mktemp("cloud") / "state", tracking=False)) as cloud:
        inherited = {**os.environ, "HOME": str(tmp_path_factory.mktemp("home")), "TUNESTACK_CACHE": str(CACHE)}
        found = Stack(folder, cloud, environment.for_command(cloud.running, inherited))
        found.pulumi("stack", "init", "local")
        found.up()
        yield found


def test_up_makes_everything_and_puts_out_exactly_what_scripts_read(stack: Stack) -> None:
    shown = json.loads(stack.pulumi("stack", "output", "--json"))
    assert set(shown) == set(StackOutputs.__dataclass_fields__)
    listed = stack.cloud.arm("GET", f"/subscriptions/{stack.outputs.subscription_id}/resources?api-version=2024-03-01")
    types = {found["type"] for found in listed["value"]}
    assert "Microsoft.MachineLearningServices/workspaces" in types
    assert stack.get(f"{stack.workspace}/computes/{stack.outputs.gpu_cluster}")["properties"]["provisioningState"] == (
        "Succeeded"
    )
    datastore = stack.get(f"{stack.workspace}/datastores/workspaceblobstore")["properties"]
    assert datastore["credentials"]["credentialsType"] == "None"


def test_up_again_changes_nothing_and_writes_no_file(stack: Stack) -> None:
    stack.up("--expect-no-changes")
    for path in ROOT.glob("Pulumi*.yaml"):
        assert (stack.folder / path.name).read_text() == path.read_text()


def test_two_roll_outs_keep_their_traffic_through_a_changed_tag(stack: Stack) -> None:
    for slot in ("blue", "green"):
        deployment = f"{stack.endpoint}/deployments/{slot}"
        cloud = stack.cloud.cloud
        cloud.store.put(deployment, envelope(deployment, {"location": "eastus"}, None, cloud.clock.now()))
    stack.roll_out(blue=100)
    stack.pulumi("config", "set", "owner", "first")
    stack.up()
    assert stack.traffic() == {"blue": 100}
    stack.roll_out(blue=10, green=90)
    stack.pulumi("config", "set", "owner", "second")
    stack.up()
    assert stack.traffic() == {"blue": 10, "green": 90}
    assert stack.get(stack.endpoint)["tags"]["owner"] == "second"


def test_another_size_replaces_the_cluster_under_its_name_and_a_bad_value_changes_nothing(stack: Stack) -> None:
    stack.pulumi("config", "set", "cpuSize", "Standard_D8ds_v5")
    assert "replaced" in stack.up()
    cluster = f"{stack.workspace}/computes/{stack.outputs.cpu_cluster}"
    assert stack.get(cluster)["properties"]["properties"]["vmSize"].upper() == "STANDARD_D8DS_V5"
    stack.pulumi("config", "set", "cpuSize", "huge")
    said = stack.pulumi("up", "--yes", "--skip-preview", status=1)
    assert "'tunestack:cpuSize' is 'huge'" in said
    assert "Traceback" not in said
    assert stack.get(cluster)["properties"]["properties"]["vmSize"].upper() == "STANDARD_D8DS_V5"
    stack.pulumi("config", "rm", "cpuSize")


def test_another_stack_refuses_to_start_on_the_local_cloud(stack: Stack) -> None:
    before = stack.cloud.cloud.store.beneath("/subscriptions")
    stack.pulumi("stack", "init", "dev")
    try:
        said = stack.pulumi("up", "--yes", "--skip-preview", status=1)
        assert "Stack 'dev' does not run on the local cloud" in said
        assert stack.cloud.cloud.store.beneath("/subscriptions") == before
    finally:
        stack.pulumi("stack", "select", "local")


def test_destroy_leaves_nothing_and_the_next_up_is_not_blocked_by_kept_names(stack: Stack) -> None:
    stack.pulumi("destroy", "--yes", "--skip-preview")
    assert stack.cloud.cloud.store.beneath("/subscriptions") == []
    stack.up()
    stack.pulumi("destroy", "--yes", "--skip-preview")
    assert stack.cloud.cloud.store.beneath("/subscriptions") == []
