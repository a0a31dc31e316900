"""Drift on the real engine: what somebody changed behind Pulumi's back is found, named, and put right by `up`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.infra.live_stack import LiveStack, live_stack

LOOK = ("preview", "--refresh", "--expect-no-changes", "--diff")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    with live_stack(tmp_path_factory) as found:
        found.up()
        yield found


def account_of(stack: LiveStack) -> str:
    (name,) = stack.names("Microsoft.Storage/storageAccounts")
    group = stack.workspace.split("/providers/")[0]
    return f"{group}/providers/Microsoft.Storage/storageAccounts/{name}"


def test_without_drift_the_look_says_so(stack: LiveStack) -> None:
    stack.pulumi(*LOOK)


def test_a_tag_a_property_and_a_deleted_resource_are_named_and_put_right(stack: LiveStack) -> None:
    account, cluster = account_of(stack), f"{stack.workspace}/computes/{stack.outputs.cpu_cluster}"
    live = stack.cloud.cloud.store.get(account)
    assert live
    stack.cloud.arm(
        "PATCH",
        f"{account}?api-version=2024-01-01",
        {
            "tags": {**live["tags"], "owner": "somebody", "by-hand": "yes"},
            "properties": {"minimumTlsVersion": "TLS1_0"},
        },
    )
    stack.cloud.arm("DELETE", f"{cluster}?api-version=2025-12-01&underlyingResourceAction=Delete")

    said = stack.pulumi(*LOOK, status=1)
    for named in ("sttunestacklocal", "minimumTlsVersion", '"TLS1_0"', "by-hand", '"somebody"', "cpu-cluster"):
        assert named in said

    stack.up()
    found = stack.cloud.cloud.store.get(account)
    assert found
    assert found["tags"] == live["tags"]
    assert found["properties"]["minimumTlsVersion"] == live["properties"]["minimumTlsVersion"]
    assert stack.get(cluster)["properties"]["provisioningState"] == "Succeeded"
    stack.pulumi(*LOOK)


def test_what_scripts_own_is_no_drift(stack: LiveStack) -> None:
    """Traffic is moved by scripts, and a look at the stack must not call that a change."""
    cloud = stack.cloud.cloud
    deployment = f"{stack.endpoint}/deployments/blue"
    cloud.store.put(deployment, {"id": deployment, "name": "blue", "location": "eastus", "properties": {}})
    live = stack.get(stack.endpoint)
    stack.put(stack.endpoint, {**live, "properties": {**live["properties"], "traffic": {"blue": 100}}})
    stack.pulumi(*LOOK)
