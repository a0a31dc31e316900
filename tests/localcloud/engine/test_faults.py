"""Every resource type of the provider under faults, at its gRPC: refused, asked again, given up, and kept half-made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, status_pb2

from localcloud.engine import values
from localcloud.engine.table import TABLE, ResourceType
from tests.localcloud.engine.conftest import ProviderClient
from tests.localcloud.engine.fake_arm import FakeArm

GROUP = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg"
TYPES = sorted(TABLE)
PHASES = ("create", "update", "delete")
METHODS = {"create": "PUT", "update": "PUT", "delete": "DELETE"}
NAME = "thing-1"
UNKNOWN = "an answer without Azure's form"


@dataclass(frozen=True)
class Fault:
    """What ARM answers, and whether the provider asks again."""

    status: int
    code: str
    is_retried: bool = False

    @property
    def body(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": f"the words of {self.code}"}}


FAULTS = [
    Fault(400, "InvalidRequestContent"),
    Fault(401, "InvalidAuthenticationToken"),
    Fault(403, "AuthorizationFailed"),
    Fault(403, "RequestDisallowedByPolicy"),
    Fault(409, "Conflict"),
    Fault(409, "ScopeLocked"),
    Fault(409, "AnotherOperationInProgress", is_retried=True),
    Fault(429, "TooManyRequests", is_retried=True),
    Fault(500, "InternalServerError", is_retried=True),
    Fault(503, "ServiceUnavailable", is_retried=True),
    Fault(504, "GatewayTimeout", is_retried=True),
]
REFUSED = FAULTS[0]
TRIES = 4


def inputs_of(kind: ResourceType) -> dict[str, Any]:
    given: dict[str, Any] = {name: f"{name}-1" for name in kind.parameters}
    given |= {name: GROUP for name in ("scope", "resourceUri") if name in given}
    return {**given, kind.name_parameter: NAME, "location": "eastus"}


def said_by(call: Callable[[], Any]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def kept(error: Any) -> tuple[str, Mapping[str, Any]]:
    """The id and the inputs that the engine writes into its state beside the error."""
    (details,) = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
    failed = provider_pb2.ErrorResourceInitFailed()
    assert status_pb2.Status.FromString(details).details[0].Unpack(failed)
    return failed.id, values.read(failed.inputs)


def create(provider: ProviderClient, token: str, inputs: Any, timeout: float = 0) -> Any:
    urn = f"urn:pulumi:local::tiny::{token}::thing"
    request = provider_pb2.CreateRequest(
        urn=urn, type=token, name="thing", properties=values.write(inputs), timeout=timeout
    )
    return provider.stub.Create(request)


@pytest.mark.parametrize("token", TYPES)
def test_a_refused_creation_names_type_code_and_words_and_leaves_nothing(
    arm: FakeArm, provider: ProviderClient, token: str
) -> None:
    arm.refuse["PUT", NAME] = [(REFUSED.status, REFUSED.body)]
    said = str(said_by(lambda: create(provider, token, inputs_of(TABLE[token]))).details())  # type: ignore[attr-defined]
    assert "InvalidRequestContent: the words of InvalidRequestContent" in said
    assert TABLE[token].path.rpartition("/")[0].rpartition("/")[2] in said
    assert arm.resources == {}


@pytest.mark.parametrize("token", TYPES)
def test_what_was_accepted_and_failed_is_kept_and_the_next_update_repairs_it(
    arm: FakeArm, provider: ProviderClient, token: str
) -> None:
    arm.style = "operation"
    arm.fails[NAME] = {"code": "QuotaExceeded", "message": "no cores left"}
    inputs = inputs_of(TABLE[token])
    error = said_by(lambda: create(provider, token, inputs))
    assert "QuotaExceeded: no cores left" in str(error.details())  # type: ignore[attr-defined]
    resource, written = kept(error)
    assert resource.endswith(f"/{NAME}")
    assert written == inputs
    arm.fails.clear()
    provider.update(token, resource, inputs, inputs)
    assert arm.named(NAME)["properties"]["provisioningState"] == "Succeeded"


@pytest.mark.parametrize("token", ["azure-native:machinelearningservices:Workspace", "azure-native:keyvault:Vault"])
def test_what_is_not_made_in_time_is_kept(arm: FakeArm, provider: ProviderClient, token: str) -> None:
    arm.style, arm.polls = "operation", 10_000
    error = said_by(lambda: create(provider, token, inputs_of(TABLE[token]), timeout=0.2))
    assert "not finished after 0 s" in str(error.details())  # type: ignore[attr-defined]
    assert kept(error)[0].endswith(f"/{NAME}")


def test_a_wait_asked_for_by_azure_is_kept_to(arm: FakeArm, provider: ProviderClient) -> None:
    token = "azure-native:resources:ResourceGroup"
    busy = Fault(429, "TooManyRequests")
    arm.refuse["PUT", NAME] = [(429, busy.body)] * (TRIES - 1)
    create(provider, token, inputs_of(TABLE[token]))
    assert [call.split()[0] for call in arm.calls].count("PUT") == TRIES


def test_an_answer_that_is_no_json_is_shown_as_it_is(arm: FakeArm, provider: ProviderClient) -> None:
    arm.refuse["PUT", NAME] = [(400, {"message": UNKNOWN})]
    token = "azure-native:resources:ResourceGroup"
    said = said_by(lambda: create(provider, token, inputs_of(TABLE[token]))).details()  # type: ignore[attr-defined]
    assert UNKNOWN in str(said)


@pytest.mark.long
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.status}-{fault.code}")
@pytest.mark.parametrize("token", TYPES)
def test_each_type_under_each_fault_in_each_phase(
    arm: FakeArm, provider: ProviderClient, token: str, fault: Fault, phase: str
) -> None:
    inputs = inputs_of(TABLE[token])
    resource = ""
    if phase != "create":
        made = create(provider, token, inputs)
        resource = made.id
    calls: dict[str, Callable[[], Any]] = {
        "create": lambda: create(provider, token, inputs),
        "update": lambda: provider.update(token, resource, inputs, inputs),
        "delete": lambda: provider.delete(token, resource),
    }
    before = dict(arm.resources)
    answers = [(fault.status, fault.body)]
    arm.refuse[METHODS[phase], NAME] = answers * (TRIES if fault.is_retried else 1)
    error = said_by(calls[phase])
    assert f"{fault.code}: the words of {fault.code}" in str(error.details())  # type: ignore[attr-defined]
    assert arm.refuse[METHODS[phase], NAME] == []
    assert arm.resources == before
    if fault.is_retried:
        arm.refuse[METHODS[phase], NAME] = list(answers)
    calls[phase]()
    assert (NAME in arm.names()) is (phase != "delete")
