"""Teardown on the real engine, from any state: half-built, full of what scripts made, protected; then the proof."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from localcloud.arm import ArmError, envelope
from tests.infra.live_stack import ML, LiveStack, commands, live_stack
from tunestack.jobs.run_history import ENDED

QUOTA = ArmError(400, "ClusterCoreQuotaReached", "Operation results in exceeding quota limits of Core.")
ENVIRONMENT = "azureml://registries/azureml/environments/acft-hf-nlp-gpu/versions/112"
PROFILE = {"name": "one", "capacity": {"minimum": "1", "maximum": "1", "default": "1"}, "rules": []}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    with live_stack(tmp_path_factory) as found:
        yield found


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """The committed prod stack, up, under a name that the local cloud takes."""
    with live_stack(tmp_path_factory, "local-prod", source="prod") as found:
        found.up()
        yield found


def fill(stack: LiveStack) -> str:
    """What scripts make: two deployments with all the traffic, an autoscale setting, a running job; the job's name."""
    cloud = stack.cloud.cloud
    for slot in ("blue", "green"):
        deployment = f"{stack.endpoint}/deployments/{slot}"
        body = {"location": "eastus", "tags": {}, "properties": {"provisioningState": "Succeeded"}}
        cloud.store.put(deployment, envelope(deployment, body, None, cloud.clock.now()))
    live = stack.get(stack.endpoint)
    live["properties"]["traffic"] = {"blue": 90, "green": 10}
    stack.put(stack.endpoint, live)
    group = stack.workspace.split("/providers/")[0]
    target = {"profiles": [PROFILE], "targetResourceUri": f"{stack.endpoint}/deployments/blue", "enabled": True}
    setting = f"{group}/providers/Microsoft.Insights/autoscaleSettings/blue?api-version=2022-10-01"
    stack.cloud.arm("PUT", setting, {"location": "eastus", "properties": target})
    job = {
        "jobType": "Command",
        "command": "python -c 'import signal; signal.pause()'",
        "environmentId": ENVIRONMENT,
        "computeId": f"{stack.workspace}/computes/{stack.outputs.cpu_cluster}",
    }
    stack.put(f"{stack.workspace}/jobs/for-ever", {"properties": job})
    waiting = threading.Event()
    while (status := stack.get(f"{stack.workspace}/jobs/for-ever")["properties"]["status"]) != "Running":
        assert status not in ENDED
        waiting.wait(0.1)
    return "for-ever"


def up_without_quota(stack: LiveStack) -> str:
    """What `up` says; it may have asked for one cluster or for both when it heard of the refusal."""
    stack.cloud.cloud.faults.arm(f"{ML}/computes.create", QUOTA, times=2)
    said = stack.up(status=1)
    stack.cloud.cloud.faults.disarm(f"{ML}/computes.create")
    return said


def test_a_half_built_stack_without_outputs_is_taken_down(stack: LiveStack) -> None:
    said = up_without_quota(stack)
    assert "ClusterCoreQuotaReached: Operation results in exceeding quota limits" in said
    assert stack.names(ML)
    _, teardown, sweep = commands("teardown.md", "A stack to try things on")
    assert "purge workspace 'mlw-" in stack.shell(teardown, STACK="local")
    assert stack.names() == []
    assert "nothing left" in stack.shell(sweep, STACK="local")


def test_a_quota_error_in_the_middle_of_up_and_the_next_up_completes(stack: LiveStack) -> None:
    up_without_quota(stack)
    stack.up()
    assert stack.outputs.gpu_cluster


def test_a_dry_run_says_what_it_would_do_and_does_nothing(stack: LiveStack) -> None:
    fill(stack)
    before = stack.ids()
    dry_run, *_ = commands("teardown.md", "A stack to try things on")
    said = stack.shell(dry_run, STACK="local")
    for what in (
        f"take all traffic from endpoint '{stack.outputs.endpoint_name}'",
        "delete autoscale setting 'blue'",
        f"delete deployment '{stack.outputs.endpoint_name}/green'",
        "cancel job 'for-ever'",
        f"purge workspace '{stack.outputs.workspace_name}'",
        "run pulumi destroy",
    ):
        assert f"would {what}" in said
    assert stack.ids() == before


def test_deployments_and_a_running_job_go_before_the_workspace_and_nothing_is_left(stack: LiveStack) -> None:
    vault = next(name for name in stack.names("Microsoft.KeyVault/vaults"))
    said = stack.shell("scripts/teardown.py --stack local --yes")
    steps = ["take all traffic", "delete autoscale", "delete deployment", "cancel job", "purge workspace"]
    found = [said.index(step) for step in [*steps, "Destroying", f"purge key vault '{vault}'"]]
    assert found == sorted(found)
    assert stack.names() == []
    record = json.loads(stack.shell("scripts/sweep.py --stack local --json 2>/dev/null"))
    assert vault not in record["retained"]
    workspaces = [key for key, _ in stack.cloud.cloud.store.records("deleted-workspace")]
    assert workspaces == []


def test_plain_destroy_takes_deployments_and_a_running_job_with_it(stack: LiveStack) -> None:
    vars(stack).pop("outputs", None)
    stack.up()
    fill(stack)
    stack.destroy()
    assert [name for name in stack.names() if name != "blue"] == []
    # An autoscale setting of the scripts stands in the group, which goes with all that is in it.
    assert stack.names() == []


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "taking down a production stack needs a word, and nobody can be asked here: nothing was done"),
        ("--yes", "Give --confirm local-prod"),
        ("--confirm local", "--confirm is 'local', and the stack is 'local-prod': nothing was done"),
    ],
)
def test_a_production_stack_needs_its_name(production: LiveStack, flags: str, said: str) -> None:
    before = production.ids()
    assert said in production.shell(f"scripts/teardown.py --stack local-prod {flags}", status=2)
    assert production.ids() == before


def test_what_is_protected_is_not_destroyed_by_one_command(production: LiveStack) -> None:
    workspace = production.names(ML)
    assert "protected" in production.destroy(status=1)
    assert production.names(ML) == workspace


def test_a_stack_that_does_not_exist_is_named(production: LiveStack) -> None:
    said = production.shell("scripts/teardown.py --stack local-prd --confirm local-prd", status=2)
    assert "there is no stack 'local-prd'; did you mean 'local-prod'?" in said


# Last: it takes the stack away.
def test_with_its_name_a_production_stack_goes_and_azure_retains_what_is_under_purge_protection(
    production: LiveStack,
) -> None:
    (vault,) = production.names("Microsoft.KeyVault/vaults")
    teardown, sweep = commands("teardown.md", "A production stack")
    production.shell(teardown, STACK="local-prod")
    assert production.names() == []
    (purge,) = commands("teardown.md", "The proof that nothing is left")
    for line in (sweep, purge):
        said = production.shell(line, STACK="local-prod")
        assert "nothing left" in said
        assert vault in said
