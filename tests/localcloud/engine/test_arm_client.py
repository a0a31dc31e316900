"""ARM requests: long operations in each of ARM's styles, retries, and where they may go."""

from __future__ import annotations

import threading

import pytest

from localcloud.engine.arm_client import (
    ArmClient,
    CancelledError,
    NotLoopbackError,
    Patience,
    RequestError,
    require_loopback,
)
from tests.localcloud.engine.conftest import PRINCIPAL
from tests.localcloud.engine.fake_arm import OBJECT_ID, FakeArm

GROUP = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg"
THING = f"{GROUP}/providers/Fake/things/thing"


@pytest.mark.parametrize("style", ["sync", "operation", "location", "body"])
@pytest.mark.parametrize("polls", [1, 3])
def test_a_put_returns_when_the_resource_is_there(
    arm: FakeArm, client: ArmClient, patience: Patience, style: str, polls: int
) -> None:
    arm.style, arm.polls = style, polls
    client.put(THING, "1", {"location": "eastus"}, patience, {})
    found = client.get(THING, "1", patience)
    assert found is not None
    assert found["properties"]["provisioningState"] == "Succeeded"


@pytest.mark.parametrize("style", ["operation", "body"])
def test_an_operation_that_ends_badly_is_an_error_after_the_request_was_accepted(
    arm: FakeArm, client: ArmClient, patience: Patience, style: str
) -> None:
    arm.style = style
    arm.fails["thing"] = {"code": "QuotaExceeded", "message": "no cores left"}
    with pytest.raises(RequestError, match="no cores left" if style == "operation" else "failed") as caught:
        client.put(THING, "1", {}, patience, {})
    assert caught.value.accepted


def test_a_refused_request_is_an_error_with_azure_s_code_message_and_details(
    arm: FakeArm, client: ArmClient, patience: Patience
) -> None:
    arm.refuse["PUT", "thing"] = [
        (400, {"error": {"code": "Bad", "message": "wrong", "details": [{"code": "D", "message": "the detail"}]}})
    ]
    with pytest.raises(RequestError, match="Bad: wrong; the detail") as caught:
        client.put(THING, "1", {}, patience, {})
    assert not caught.value.accepted
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("status", "code"), [(429, "TooMany"), (503, "Busy"), (500, "Oops"), (409, "AnotherOperationInProgress")]
)
def test_what_azure_asks_to_try_again_is_tried_again(
    arm: FakeArm, client: ArmClient, patience: Patience, status: int, code: str
) -> None:
    arm.refuse["PUT", "thing"] = [(status, {"error": {"code": code, "message": "later"}})] * 2
    client.put(THING, "1", {}, patience, {})
    assert arm.calls.count(f"PUT {THING}") == 3


def test_a_conflict_is_not_tried_again(arm: FakeArm, client: ArmClient, patience: Patience) -> None:
    arm.refuse["PUT", "thing"] = [(409, {"error": {"code": "Conflict", "message": "taken"}})]
    with pytest.raises(RequestError, match="Conflict: taken"):
        client.put(THING, "1", {}, patience, {})
    assert arm.calls == [f"PUT {THING}"]


def test_a_delete_of_what_is_not_there_is_a_success(client: ArmClient, patience: Patience) -> None:
    client.delete(THING, "1", patience)


@pytest.mark.parametrize("style", ["operation", "location"])
def test_a_delete_returns_when_the_resource_is_gone(
    arm: FakeArm, client: ArmClient, patience: Patience, style: str
) -> None:
    client.put(THING, "1", {}, patience, {})
    arm.style, arm.polls = style, 2
    client.delete(THING, "1", patience)
    assert arm.waiting["thing"] == 0


def test_a_wait_ends_when_it_is_called_off(arm: FakeArm, client: ArmClient) -> None:
    arm.style, arm.polls = "operation", 1_000_000
    called_off = Patience(threading.Event(), 20)
    called_off.cancelled.set()
    with pytest.raises(CancelledError):
        client.put(THING, "1", {}, called_off, {})


def test_a_wait_ends_when_its_time_is_over(arm: FakeArm, client: ArmClient) -> None:
    arm.style, arm.polls = "operation", 1_000_000
    with pytest.raises(RequestError, match="not finished after 0 s"):
        client.put(THING, "1", {}, Patience(threading.Event(), 0.05), {})


def test_requests_carry_azure_s_host_names(arm: FakeArm, client: ArmClient, patience: Patience) -> None:
    client.get(THING, "1", patience)
    assert arm.hosts == {"management.azure.com", "login.microsoftonline.com"}


def test_the_principal_s_object_id_comes_from_its_token(client: ArmClient) -> None:
    assert client.object_id() == OBJECT_ID


@pytest.mark.parametrize(
    "url", ["https://management.azure.com", "http://10.0.0.1:80", "http://localhost.example", "http://[::]:1"]
)
def test_only_loopback_is_talked_to(url: str) -> None:
    with pytest.raises(NotLoopbackError, match="loopback"):
        ArmClient(url, None, PRINCIPAL)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://[::1]:1", "http://localhost:1"])
def test_every_loopback_address_is_one(url: str) -> None:
    require_loopback(url)


def test_a_cloud_that_does_not_answer_is_named(patience: Patience) -> None:
    client = ArmClient("http://127.0.0.1:1", None, PRINCIPAL)
    with pytest.raises(RequestError, match="Is `localcloud up` running"):
        client.get(THING, "1", patience)
    client.close()
