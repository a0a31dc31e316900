"""`teardown` and `adopt` where they must not go on: no word, no engine, refusals, jobs that do not end, bad files."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from localcloud.arm import ArmError, envelope
from tests.scripts.conftest import Script, Stack
from tunestack import confirmation, connect
from tunestack.arm import Arm
from tunestack.errors import UsageError
from tunestack.stacks.emptying import Emptying, Patience

ML = "Microsoft.MachineLearningServices/workspaces"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"


def emptying(seconds: float = 60, *, dry_run: bool = False) -> Emptying:
    """The stack `test`, with a clock that goes on by a second for each pause."""
    moments = [0.0]

    def pause(for_seconds: float) -> None:
        moments[0] += for_seconds

    return Emptying(
        Arm(connect.credential()), SUBSCRIPTION, "test", Patience(seconds, pause, lambda: moments[0]), dry_run=dry_run
    )


def deploy(stack: Stack, slot: str) -> str:
    deployment = f"{stack.workspace}/onlineEndpoints/test-chat/deployments/{slot}"
    cloud = stack.cloud.cloud
    body = {"location": "eastus", "tags": {}, "properties": {"provisioningState": "Succeeded"}}
    cloud.store.put(deployment, envelope(deployment, body, None, cloud.clock.now()))
    return deployment


def test_a_deployment_that_cannot_be_deleted_is_named_and_the_others_go(stack: Stack) -> None:
    kept, gone = deploy(stack, "blue"), deploy(stack, "green")
    fault = ArmError(409, "Conflict", "it is busy")
    stack.cloud.cloud.faults.arm(f"{ML}/onlineEndpoints/deployments.delete", fault)
    one = emptying()
    one.empty(stack.workspace)
    (problem,) = one.done.problems
    assert "could not delete deployment 'test-chat/blue'" in problem
    assert "it is busy" in problem
    assert stack.cloud.cloud.store.get(kept)
    assert stack.cloud.cloud.store.get(gone) is None
    stack.cloud.cloud.store.delete(kept)


def test_a_job_that_does_not_end_is_not_waited_for_for_ever(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    one = emptying(seconds=5)
    monkeypatch.setattr(one, "_running", lambda workspace: iter(["stuck"]))
    monkeypatch.setattr(one, "_cancel", lambda job: None)
    one.empty(stack.workspace)
    assert one.done.problems == ["jobs are not cancelled after 5 s: stuck"]


def test_a_deletion_that_does_not_end_is_given_up(stack: Stack) -> None:
    deployment = deploy(stack, "slow")
    name = f"{ML}/onlineEndpoints/deployments.deprovision"
    stack.cloud.cloud.faults.hold(name)
    one = emptying(seconds=0.1)
    one.empty(stack.workspace)
    stack.cloud.cloud.faults.disarm(name)
    assert "is not deleted after 0 s; it goes on" in one.done.problems[0]
    assert stack.cloud.cloud.store.get(deployment) is None


def test_only_the_stack_of_that_name_is_touched(stack: Stack) -> None:
    one = emptying()
    assert [body["name"] for body in one.workspaces()] == ["test"]
    other = Emptying(Arm(connect.credential()), SUBSCRIPTION, "tes", Patience())
    assert other.workspaces() == []


@pytest.mark.parametrize(
    ("production", "typed", "fits"),
    [
        (True, "prod\n", True),
        (True, "yes\n", False),
        (True, "\n", False),
        (False, "yes\n", True),
        (False, "n\n", False),
    ],
)
def test_on_a_terminal_the_word_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, production: bool, typed: str, fits: bool
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            return typed

    monkeypatch.setattr("sys.stdin", Terminal())
    if fits:
        confirmation.require("prod", None, production=production, yes=False)
        return
    with pytest.raises(UsageError, match="nothing was done"):
        confirmation.require("prod", None, production=production, yes=False)


def test_without_an_engine_nothing_is_done(script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "'pulumi' does not run" in script("teardown", "--stack", "test", "--yes").failed(3)


def test_what_the_engine_says_is_shown_when_it_cannot_read_the_stack(
    script: Script, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = tmp_path / "pulumi"
    engine.write_text("#!/bin/sh\necho 'error: passphrase must be set' >&2\nexit 255\n")
    engine.chmod(engine.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    ended = script("teardown", "--stack", "test", "--yes")
    assert "ended with 255" in ended.failed(3)
    assert "passphrase must be set" in ended.err


@pytest.mark.parametrize("text", ["", "[]", "{}", "{"])
def test_a_file_that_is_no_import_file_is_left_as_it_is(script: Script, tmp_path: Path, text: str) -> None:
    file = tmp_path / "import.json"
    file.write_text(text)
    said = script("adopt", "--stack", "test", "--file", file).failed(2)
    assert "is not an import file" in said
    assert "pulumi preview --import-file" in said
    assert file.read_text() == text


def test_ids_are_filled_in_for_what_is_there_and_the_rest_is_left_out(
    stack: Stack, script: Script, tmp_path: Path
) -> None:
    file = tmp_path / "import.json"
    entries = [
        {"type": "tunestack:infra:Clusters", "name": "clusters", "component": True},
        {"type": "azure-native:machinelearningservices:Compute", "name": "cpu", "id": "<PLACEHOLDER>"},
        {"type": "azure-native:machinelearningservices:Compute", "name": "fpga", "id": "<PLACEHOLDER>"},
        {"type": "azure-native:keyvault:Vault", "name": "aVault", "logicalName": "testkv", "id": "<PLACEHOLDER>"},
    ]
    file.write_text(json.dumps({"nameTable": {"a": "b"}, "resources": entries}))
    before = file.read_text()
    script("adopt", "--stack", "test", "--file", file, "--dry-run")
    assert file.read_text() == before
    ended = script("adopt", "--stack", "test", "--file", file)
    assert ended.handle == str(file)
    assert "'fpga' is not in the cloud" in ended.err
    found = json.loads(file.read_text())
    assert found["nameTable"] == {"a": "b"}
    ids = {one["name"]: one.get("id", "") for one in found["resources"]}
    assert ids.keys() == {"clusters", "cpu", "aVault"}
    assert ids["cpu"] == f"{stack.workspace}/computes/cpu"
    assert ids["aVault"].endswith("/vaults/testkv")


def test_two_resources_of_one_name_are_a_question_for_people(stack: Stack, script: Script, tmp_path: Path) -> None:
    group = stack.workspace.split("/providers/")[0]
    for digits in ("0000aaaa", "1111bbbb"):
        identity = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/robot{digits}"
        stack.cloud.arm("PUT", f"{identity}?api-version=2023-01-31", {"location": "eastus"})
    file = tmp_path / "import.json"
    entry = {"type": "azure-native:managedidentity:UserAssignedIdentity", "name": "robot", "id": "<PLACEHOLDER>"}
    file.write_text(json.dumps({"resources": [entry]}))
    assert "'robot' is in the cloud more than once" in script("adopt", "--stack", "test", "--file", file).failed(5)
