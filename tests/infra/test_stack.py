"""One life of stack `local` on the real engine against the local cloud: what mocks cannot show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from localcloud.arm import envelope
from tests.infra.conftest import ROOT
from tests.infra.live_stack import ML, LiveStack, live_stack
from tunestack.outputs import StackOutputs

# Every order of the three stands in it somewhere: roll-out, refresh, `up` with a changed tag.
ROLL_OUT, REFRESH, TAG = "1", "2", "3"
EVERY_ORDER = "123121321"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """Stack `local`, up. The tests below are one life of it, in this order; the last one takes it down."""
    with live_stack(tmp_path_factory) as found:
        found.up()
        yield found


def roll_out(stack: LiveStack, traffic: dict[str, int]) -> None:
    """What `shift_traffic` does: the live endpoint, with other weights."""
    live = stack.get(stack.endpoint)
    stack.put(stack.endpoint, {**live, "properties": {**live["properties"], "traffic": traffic}})


def test_up_makes_everything_and_puts_out_exactly_what_scripts_read(stack: LiveStack) -> None:
    shown = json.loads(stack.pulumi("stack", "output", "--json"))
    assert set(shown) == set(StackOutputs.__dataclass_fields__)
    listed = stack.cloud.arm("GET", f"/subscriptions/{stack.outputs.subscription_id}/resources?api-version=2024-03-01")
    types = {found["type"] for found in listed["value"]}
    assert ML in types
    assert stack.get(f"{stack.workspace}/computes/{stack.outputs.gpu_cluster}")["properties"]["provisioningState"] == (
        "Succeeded"
    )
    datastore = stack.get(f"{stack.workspace}/datastores/workspaceblobstore")["properties"]
    assert datastore["credentials"]["credentialsType"] == "None"


def test_up_again_changes_nothing_and_writes_no_file(stack: LiveStack) -> None:
    stack.up("--expect-no-changes")
    for path in ROOT.glob("Pulumi*.yaml"):
        assert (stack.folder / path.name).read_text() == path.read_text()


def test_traffic_survives_every_order_of_roll_out_refresh_and_changed_tag(stack: LiveStack) -> None:
    cloud, traffic = stack.cloud.cloud, {"blue": 100}
    for slot in ("blue", "green"):
        deployment = f"{stack.endpoint}/deployments/{slot}"
        cloud.store.put(deployment, envelope(deployment, {"location": "eastus"}, None, cloud.clock.now()))
    roll_out(stack, traffic)
    for number, step in enumerate(EVERY_ORDER):
        if step == ROLL_OUT:
            traffic = {"blue": 10 * (number + 1), "green": 100 - 10 * (number + 1)}
            roll_out(stack, traffic)
        elif step == REFRESH:
            stack.pulumi("refresh", "--yes", "--skip-preview")
        else:
            stack.pulumi("config", "set", "owner", f"owner-{number}")
            stack.up()
            assert stack.get(stack.endpoint)["tags"]["owner"] == f"owner-{number}"
        assert stack.get(stack.endpoint)["properties"]["traffic"] == traffic, EVERY_ORDER[: number + 1]


def test_another_size_or_priority_replaces_the_cluster_under_its_name_and_a_bad_value_changes_nothing(
    stack: LiveStack,
) -> None:
    stack.pulumi("config", "set", "cpuSize", "Standard_D8ds_v5")
    stack.pulumi("config", "set", "gpuPriority", "LowPriority")
    assert "2 replaced" in stack.up()
    cpu, gpu = (f"{stack.workspace}/computes/{name}" for name in (stack.outputs.cpu_cluster, stack.outputs.gpu_cluster))
    assert stack.get(cpu)["properties"]["properties"]["vmSize"].upper() == "STANDARD_D8DS_V5"
    assert stack.get(gpu)["properties"]["properties"]["vmPriority"] == "LowPriority"
    stack.pulumi("config", "set", "cpuSize", "huge")
    said = stack.up(status=1)
    assert "'tunestack:cpuSize' is 'huge'" in said
    assert "Traceback" not in said
    assert stack.get(cpu)["properties"]["properties"]["vmSize"].upper() == "STANDARD_D8DS_V5"
    stack.pulumi("config", "rm", "cpuSize")
    stack.pulumi("config", "rm", "gpuPriority")


def test_a_plan_that_would_replace_what_holds_data_fails(stack: LiveStack) -> None:
    stack.pulumi("config", "set", "protect", "true")
    stack.up()
    before = stack.ids()
    stack.pulumi("config", "set", "location", "westus2")
    said = stack.pulumi("preview", status=1)
    refused = set(
        re.findall(r'unable to replace resource "\S+::(\S+)"\s+as it is currently marked for protection', said)
    )
    assert {"mlw-tunestack-local", "kv-tunestack-loc", "sttunestacklocal"} <= refused, said
    assert stack.ids() == before
    stack.pulumi("config", "rm", "location")
    stack.pulumi("config", "rm", "protect")
    stack.up()


def test_another_stack_refuses_to_start_on_the_local_cloud(stack: LiveStack) -> None:
    before = stack.ids()
    stack.pulumi("stack", "init", "dev")
    try:
        said = stack.up(status=1)
        assert "Stack 'dev' does not run on the local cloud" in said
        assert stack.ids() == before
    finally:
        stack.pulumi("stack", "select", "local")


def test_destroy_leaves_nothing_and_the_next_up_is_not_blocked_by_what_is_soft_deleted(stack: LiveStack) -> None:
    stack.destroy()
    assert stack.names() == []
    kept = {name for name in ("deleted-vault", "deleted-workspace") if stack.cloud.cloud.store.records(name)}
    assert kept == {"deleted-vault", "deleted-workspace"}
    stack.up()
    stack.destroy()
    assert stack.names() == []
