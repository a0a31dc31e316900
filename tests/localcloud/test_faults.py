"""Armed faults, over the local cloud's own page and in its answers: refused, held, lost, ended badly."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from localcloud.arm import ArmError
from localcloud.client import CallFailed
from localcloud.cloud import SUBSCRIPTION
from tests.conftest import HANG_SECONDS, RunningCloud

GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
GROUPS = "Microsoft.Resources/resourceGroups"
REGISTRY = f"{GROUP}/providers/Microsoft.ContainerRegistry/registries/registry1"
REGISTRIES = "Microsoft.ContainerRegistry/registries"
BODY = {"location": "eastus", "sku": {"name": "Basic"}}


@pytest.fixture
def cloud(local_cloud: RunningCloud) -> RunningCloud:
    local_cloud.arm("PUT", f"{GROUP}?api-version=2024-03-01", {"location": "eastus"})
    return local_cloud


def own(cloud: RunningCloud, method: str, path: str, body: Any = None) -> Any:
    return cloud.running.call(method, "127.0.0.1", f"/localcloud/{path}", body, cloud.running.secret)


def put(cloud: RunningCloud) -> Any:
    return cloud.arm("PUT", f"{REGISTRY}?api-version=2023-07-01", BODY)


def test_a_fault_of_any_type_is_met_once_and_leaves_nothing(cloud: RunningCloud) -> None:
    fault = {"status": 409, "code": "Busy", "message": "another operation"}
    own(cloud, "PUT", f"faults/{REGISTRIES}.create", fault)
    with pytest.raises(CallFailed, match=r"\(Busy\) another operation"):
        put(cloud)
    assert cloud.cloud.store.get(REGISTRY) is None
    assert put(cloud)["name"] == "registry1"


def test_creating_and_updating_are_two_phases(cloud: RunningCloud) -> None:
    own(cloud, "PUT", f"faults/{REGISTRIES}.update", {"status": 400, "code": "No", "message": "no"})
    put(cloud)
    with pytest.raises(CallFailed, match="No"):
        put(cloud)


def test_a_lost_answer_comes_after_the_work(cloud: RunningCloud) -> None:
    own(cloud, "PUT", f"faults/{REGISTRIES}.created", {"status": 502, "code": "BadGateway", "message": "lost"})
    with pytest.raises(CallFailed, match="BadGateway"):
        put(cloud)
    assert cloud.cloud.store.get(REGISTRY)


@pytest.mark.parametrize(("phase", "is_there"), [("create", False), ("created", True)])
def test_a_held_call_waits_until_it_is_released(cloud: RunningCloud, phase: str, is_there: bool) -> None:
    own(cloud, "PUT", f"faults/{REGISTRIES}.{phase}", {"hold": True})
    gate = cloud.cloud.faults.gate(f"{REGISTRIES}.{phase}")
    assert gate
    with ThreadPoolExecutor(1) as pool:
        answer: Future[Any] = pool.submit(put, cloud)
        assert gate.reached.wait(HANG_SECONDS)
        assert own(cloud, "GET", "faults")["armed"] == {
            f"{REGISTRIES}.{phase}".lower(): {"hold": True, "reached": True}
        }
        assert bool(cloud.cloud.store.get(REGISTRY)) is is_there
        assert not answer.done()
        own(cloud, "DELETE", f"faults/{REGISTRIES}.{phase}")
        assert answer.result(HANG_SECONDS)["name"] == "registry1"
    assert own(cloud, "GET", "faults")["armed"] == {}


def test_a_deletion_that_ends_badly_leaves_the_resource_half_deleted(cloud: RunningCloud) -> None:
    put(cloud)
    cloud.cloud.faults.arm(f"{REGISTRIES}.deprovision", ArmError(409, "Conflict", "stuck"))
    cloud.arm("DELETE", f"{REGISTRY}?api-version=2023-07-01")
    assert cloud.cloud.store.get(REGISTRY)["properties"]["provisioningState"] == "Failed"
    cloud.arm("DELETE", f"{REGISTRY}?api-version=2023-07-01")
    assert cloud.cloud.store.get(REGISTRY) is None


def test_a_held_operation_ends_when_it_is_released(cloud: RunningCloud) -> None:
    gate = cloud.cloud.faults.hold(f"{GROUPS}.deprovision")
    cloud.arm("DELETE", f"{GROUP}?api-version=2024-03-01")
    assert gate.reached.is_set()
    assert gate.waiting == 1
    assert cloud.cloud.store.get(GROUP)
    cloud.cloud.faults.disarm(f"{GROUPS}.deprovision")
    assert gate.waiting == 0
    assert cloud.cloud.store.get(GROUP) is None


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("compute.create", {}, ["'status' is missing", "'code' is missing", "'message' is missing"]),
        (
            "compute.create",
            {"status": 200, "code": "", "message": 1},
            ["'status' is 200", "'code' is ''", "'message' is 1"],
        ),
        (
            "compute.create",
            {"status": "400", "code": "a", "message": "b", "times": 0},
            ["'status' is '400'", "'times' is 0"],
        ),
        ("compute.create", {"hold": True, "status": 400}, ["'status' does not go with 'hold'"]),
        ("compute.create", {"statsu": 400, "status": 400, "code": "a", "message": "b"}, ["'statsu' is not known"]),
        ("compute.creation", {"hold": True}, ["'compute.creation' does not end with one of"]),
        ("compute.create", [], ["must be a JSON object"]),
        ("compute.create", "{", ["could not be deserialized"]),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_all_that_is_wrong(
    local_cloud: RunningCloud, name: str, body: Any, said: list[str]
) -> None:
    with pytest.raises(CallFailed) as caught:
        own(local_cloud, "PUT", f"faults/{name}", body)
    assert [text for text in said if text not in str(caught.value)] == []
    assert local_cloud.cloud.faults.armed == {}


def test_only_who_has_the_secret_may_arm(local_cloud: RunningCloud) -> None:
    with pytest.raises(CallFailed, match="Unauthorized"):
        local_cloud.running.call("PUT", "127.0.0.1", "/localcloud/faults/compute.create", {"hold": True}, "wrong")
    with pytest.raises(CallFailed, match=r"'compute\.create' is armed"):
        own(local_cloud, "DELETE", "faults/compute.create")


def test_a_server_that_stops_lets_held_calls_go(cloud: RunningCloud) -> None:
    gate = cloud.cloud.faults.hold(f"{REGISTRIES}.create")
    passed: Callable[[], Any] = threading.Event().set
    thread = threading.Thread(target=lambda: (put(cloud), passed()))
    thread.start()
    assert gate.reached.wait(HANG_SECONDS)
    cloud.cloud.faults.release_all()
    thread.join(HANG_SECONDS)
    assert not thread.is_alive()
