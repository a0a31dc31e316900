"""Interrupted in the middle, on the real engine: Ctrl-C, kill -9, and what docs/recovery.md says to do then."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import HANG_SECONDS
from tests.infra.live_stack import ML, LiveStack, commands, live_stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    with live_stack(tmp_path_factory) as found:
        yield found


@pytest.fixture(autouse=True)
def _no_faults_left(stack: LiveStack) -> Iterator[None]:
    yield
    stack.cloud.cloud.faults.release_all()


def lines(title: str) -> list[str]:
    return commands("recovery.md", title)


def interrupt(stack: LiveStack, command: str, fault: str) -> str:
    """One Ctrl-C while the operation is waited for; what the engine said until it ended by itself."""
    gate = stack.cloud.cloud.faults.hold(fault)
    with stack.begun(command, gate) as process:
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=HANG_SECONDS)[0]
        assert process.returncode != 0
    stack.cloud.cloud.faults.disarm(fault)
    return said


def kill(stack: LiveStack, command: str, fault: str) -> None:
    """kill -9 while a call is on its way."""
    gate = stack.cloud.cloud.faults.hold(fault)
    with stack.begun(command, gate) as process:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    stack.cloud.cloud.faults.disarm(fault)


def checkpoint(stack: LiveStack) -> Path:
    return stack.cloud.running.state / "pulumi" / ".pulumi" / "stacks" / "tunestack" / "local.json"


# The tests below are one life of the stack, in this order.


def test_after_one_interrupt_in_the_middle_of_up_the_same_command_completes(stack: LiveStack) -> None:
    said = interrupt(stack, "up", f"{ML}/computes.provision")
    assert "called off while the cloud goes on with it: run the same command again" in said
    assert "Traceback" not in said
    assert stack.state().get("pending_operations") in (None, [])
    (line,) = lines("After one Ctrl-C")
    stack.shell(line)
    stack.up("--expect-no-changes")


def test_after_one_interrupt_in_the_middle_of_destroy_the_same_command_completes(stack: LiveStack) -> None:
    interrupt(stack, "destroy", f"{ML}.deprovision")
    assert stack.resources()
    stack.destroy()
    assert stack.names() == []


def test_after_a_kill_the_page_brings_back_what_was_made_without_the_state_knowing(stack: LiveStack) -> None:
    kill(stack, "up", f"{ML}/computes.created")
    locked = stack.up(status=1)
    assert "currently locked" in locked
    made = stack.ids()
    unlock, show, forget, plan, fill_in, adopt, complete = lines("After kill -9, or a second Ctrl-C")
    stack.shell(unlock)
    assert re.search(r"creating .*-cluster", stack.shell(show))
    stack.shell(forget)
    existing = re.findall(r"cannot create already existing resource '(.*/computes/(.*?))'", stack.up(status=1))
    resource, name = existing[0]
    (one,) = lines("One resource by hand")
    kind = "azure-native:machinelearningservices:Compute"
    (parent,) = [found["urn"] for found in stack.state()["resources"] if found["type"] == "tunestack:infra:Clusters"]
    stack.shell(one, TYPE=kind, NAME=name, ID=resource, PARENT=parent)
    stack.shell(plan)
    stack.shell(fill_in, STACK="local")
    stack.shell(adopt)
    stack.shell(complete)
    assert made <= stack.ids()


def test_a_cut_attribute_file_beside_the_state_is_removed_and_nothing_is_lost(stack: LiveStack) -> None:
    before = stack.state()["resources"]
    state = checkpoint(stack)
    assert not list(state.parent.glob("*.attrs"))
    state.with_name(f"{state.name}.attrs").touch()
    plain = stack.variables["PULUMI_BACKEND_URL"].partition("?")[0]
    assert "failed to load checkpoint: EOF" in stack.shell(
        "! pulumi stack export --stack local", PULUMI_BACKEND_URL=plain
    )
    (mend,) = lines("The state cannot be read")
    stack.shell(mend, STACK="local", STATE=str(stack.cloud.running.state / "pulumi"))
    read = json.loads(stack.shell("pulumi stack export --stack local 2>/dev/null", PULUMI_BACKEND_URL=plain))
    assert read["deployment"]["resources"] == before


def test_destroy_after_a_kill_leaves_nothing(stack: LiveStack) -> None:
    kill(stack, "destroy", f"{ML}/computes.delete")
    unlock, destroy = lines("To give up instead")
    stack.shell(unlock)
    stack.shell(destroy)
    assert stack.names() == []


@pytest.mark.long
def test_the_lost_state_of_a_private_production_stack_is_written_anew(tmp_path_factory: pytest.TempPathFactory) -> None:
    with live_stack(tmp_path_factory, "local-prod", source="prod") as stack:
        stack.up()
        before = stack.ids()
        lose_the_state(stack)
        for line in lines("No copy of the state"):
            stack.shell(line, STACK="local-prod")
        assert stack.ids() == before


def lose_the_state(stack: LiveStack) -> None:
    shutil.rmtree(stack.cloud.running.state / "pulumi" / ".pulumi")


def test_a_lost_state_is_taken_from_a_copy_or_written_anew_from_what_is_in_the_cloud(stack: LiveStack) -> None:
    stack.up()
    before, known = stack.ids(), stack.state()["resources"]
    stack.pulumi("stack", "export", "--file", "copy.json")
    lose_the_state(stack)
    for line in lines("The state of the stack is lost"):
        stack.shell(line, STACK="local", COPY="copy.json")
    assert stack.state()["resources"] == known
    lose_the_state(stack)
    for line in lines("No copy of the state"):
        stack.shell(line, STACK="local")
    assert stack.ids() == before
    stack.destroy()
    assert stack.names() == []
