"""The provider through its gRPC protocol, on a fake ARM: what the engine asks, and what ARM is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, status_pb2

from localcloud.engine import values
from localcloud.engine.table import TABLE
from localcloud.engine.values import UNKNOWN, Secret
from tests.localcloud.engine import type_examples
from tests.localcloud.engine.conftest import ProviderClient
from tests.localcloud.engine.fake_arm import OBJECT_ID, FakeArm

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
FOREIGN = "11111111-1111-1111-1111-111111111111"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
ENDPOINT = "machinelearningservices:OnlineEndpoint"
ENDPOINT_ID = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/ws/onlineEndpoints/ep"

endpoint_inputs: dict[str, Any] = {
    "resourceGroupName": "rg",
    "workspaceName": "ws",
    "endpointName": "ep",
    "location": "eastus",
    "properties": {"authMode": "Key"},
}


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return str(caught.value.details())


# -- connection and configuration ------------------------------------------------------------------------------


def test_the_version_says_that_this_is_not_azure(provider: ProviderClient) -> None:
    assert provider.stub.GetPluginInfo(empty_pb2.Empty()).version == "3.29.0+local"


def test_the_client_configuration_is_the_throw_away_principal(provider: ProviderClient) -> None:
    answer = provider.stub.Invoke(provider_pb2.InvokeRequest(tok="azure-native:authorization:getClientConfig"))
    found = values.read(getattr(answer, "return"))
    assert found["subscriptionId"] == SUBSCRIPTION
    assert found["objectId"] == OBJECT_ID


def test_an_unknown_function_is_named(provider: ProviderClient) -> None:
    request = provider_pb2.InvokeRequest(tok="azure-native:web:getWebApp")
    assert "'azure-native:web:getWebApp'" in refused(lambda: provider.stub.Invoke(request))


def test_another_subscription_is_refused_in_the_configuration(provider: ProviderClient) -> None:
    assert f"not '{FOREIGN}'" in refused(lambda: provider.configure(subscriptionId=FOREIGN))
    checked = provider.stub.CheckConfig(
        provider_pb2.CheckRequest(news=values.write({"subscriptionId": Secret(FOREIGN)}))
    )
    assert [failure.property for failure in checked.failures] == ["subscriptionId"]
    provider.configure(subscriptionId=SUBSCRIPTION)


@pytest.mark.parametrize("operation", ["create", "read", "update", "delete"])
def test_an_id_in_another_subscription_is_refused_and_nothing_is_sent(
    arm: FakeArm, provider: ProviderClient, operation: str
) -> None:
    token = "authorization:RoleAssignment"
    scope = f"/subscriptions/{FOREIGN}/resourceGroups/rg"
    inputs = {
        "scope": scope,
        "roleAssignmentName": "g",
        "principalId": "p",
        "roleDefinitionId": "r",
    }
    resource = f"{scope}/providers/Microsoft.Authorization/roleAssignments/g"
    calls = {
        "create": lambda: provider.create(token, inputs),
        "read": lambda: provider.read(token, resource, inputs, inputs),
        "update": lambda: provider.update(token, resource, inputs, inputs),
        "delete": lambda: provider.delete(token, resource),
    }
    assert f"not '{FOREIGN}'" in refused(calls[operation])
    assert arm.calls == []


@pytest.mark.parametrize("operation", ["check", "create", "diff"])
def test_an_unknown_type_is_named(provider: ProviderClient, operation: str) -> None:
    token = "network:LoadBalancer"
    calls: dict[str, Callable[[], Any]] = {
        "check": lambda: provider.check(token, "v", {}),
        "create": lambda: provider.create(token, {}),
        "diff": lambda: provider.diff(token, {}, {}),
    }
    assert "'azure-native:network:LoadBalancer'" in refused(calls[operation])


def test_each_engine_has_its_own_configuration(connect: Callable[[], ProviderClient]) -> None:
    first, second = connect(), connect()
    first.configure(location="westus")
    second.configure(location="northeurope")
    assert first.check("resources:ResourceGroup", "g", {})[0]["location"] == "westus"
    assert second.check("resources:ResourceGroup", "g", {})[0]["location"] == "northeurope"


def test_calling_off_one_engine_leaves_the_others(arm: FakeArm, connect: Callable[[], ProviderClient]) -> None:
    first, second = connect(), connect()
    arm.style, arm.polls = "operation", 2
    first.stub.Cancel(empty_pb2.Empty())
    assert "called off" in refused(lambda: first.create(ENDPOINT, endpoint_inputs))
    second.create(ENDPOINT, {**endpoint_inputs, "endpointName": "other"})


# -- check and diff --------------------------------------------------------------------------------------------


def test_check_fills_in_name_region_and_version(arm: FakeArm, provider: ProviderClient) -> None:
    arm.resources[GROUP.lower()] = {"id": GROUP, "name": "rg", "location": "swedencentral"}
    inputs, failures = provider.check("managedidentity:UserAssignedIdentity", "id", {"resourceGroupName": "rg"})
    assert failures == []
    assert inputs["location"] == "swedencentral"
    assert inputs["resourceName"].startswith("id")
    assert inputs["azureApiVersion"] == "2023-01-31"
    assert inputs["__createBeforeDelete"] is True


def test_check_keeps_the_name_that_was_made_before(provider: ProviderClient) -> None:
    provider.configure(location="eastus")
    first, _ = provider.check("resources:ResourceGroup", "g", {})
    again, _ = provider.check("resources:ResourceGroup", "g", {"tags": {"a": "b"}}, first)
    assert again["resourceGroupName"] == first["resourceGroupName"]
    assert again["location"] == "eastus"


def test_check_asks_for_nothing_that_is_not_known_yet(arm: FakeArm, provider: ProviderClient) -> None:
    inputs, failures = provider.check(
        ENDPOINT,
        "ep",
        {"resourceGroupName": UNKNOWN, "workspaceName": UNKNOWN, "properties": {"authMode": UNKNOWN}},
    )
    assert failures == []
    assert "location" not in inputs
    assert arm.calls == []


def test_check_tells_every_missing_input(provider: ProviderClient) -> None:
    _, failures = provider.check("storage:StorageAccount", "data", {"location": "eastus", "sku": {}})
    assert {name for name, _ in failures} == {"resourceGroupName", "kind", "sku.name"}


def test_a_resource_group_without_region_is_told_how_to_get_one(provider: ProviderClient) -> None:
    _, failures = provider.check("resources:ResourceGroup", "g", {})
    assert [name for name, _ in failures] == ["location"]
    assert "azure-native:location" in failures[0][1]


def test_a_replacement_deletes_first_unless_the_name_was_random(provider: ProviderClient) -> None:
    old = {**endpoint_inputs, "location": "eastus"}
    new = {**endpoint_inputs, "location": "westus"}
    named = provider.diff(ENDPOINT, old, new)
    assert (list(named.replaces), named.deleteBeforeReplace) == (["location"], True)
    random = provider.diff(ENDPOINT, {**old, "__createBeforeDelete": True}, new)
    assert (list(random.replaces), random.deleteBeforeReplace) == (["location"], False)


def test_a_diff_tells_every_changed_path(provider: ProviderClient) -> None:
    answer = provider.diff(ENDPOINT, endpoint_inputs, {**endpoint_inputs, "tags": {"a": "b"}})
    assert answer.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert answer.hasDetailedDiff
    assert {path: diff.kind for path, diff in answer.detailedDiff.items()} == {"tags": provider_pb2.PropertyDiff.ADD}
    assert provider.diff(ENDPOINT, endpoint_inputs, endpoint_inputs).changes == provider_pb2.DiffResponse.DIFF_NONE


# -- create, read, update, delete ------------------------------------------------------------------------------


def test_create_looks_first_puts_waits_and_reads_back(arm: FakeArm, provider: ProviderClient) -> None:
    arm.style, arm.polls = "operation", 2
    made, outputs = provider.create(ENDPOINT, endpoint_inputs)
    assert made == ENDPOINT_ID
    assert [call.split()[0] for call in arm.calls] == ["GET", "PUT", "GET"]
    assert outputs["name"] == "ep"
    assert outputs["properties"]["provisioningState"] == "Succeeded"
    assert outputs["azureApiVersion"] == "2025-12-01"


def test_create_refuses_what_exists(arm: FakeArm, provider: ProviderClient) -> None:
    provider.create(ENDPOINT, endpoint_inputs)
    assert "cannot create already existing resource" in refused(lambda: provider.create(ENDPOINT, endpoint_inputs))
    assert [call.split()[0] for call in arm.calls].count("PUT") == 1


def test_a_preview_sends_nothing_and_knows_only_the_inputs(arm: FakeArm, provider: ProviderClient) -> None:
    made, outputs = provider.create(ENDPOINT, {**endpoint_inputs, "workspaceName": UNKNOWN}, preview=True)
    assert made == ""
    assert outputs["properties"]["authMode"] == "Key"
    assert outputs["properties"]["scoringUri"] is UNKNOWN
    assert arm.calls == []


def test_the_preview_of_an_update_knows_what_never_changes(provider: ProviderClient) -> None:
    _, state = provider.create(ENDPOINT, endpoint_inputs)
    outputs = provider.update(ENDPOINT, ENDPOINT_ID, endpoint_inputs, state, preview=True)
    assert outputs["name"] == "ep"
    assert outputs["properties"]["scoringUri"] is UNKNOWN


def test_a_resource_that_was_accepted_and_failed_is_kept_with_its_error(arm: FakeArm, provider: ProviderClient) -> None:
    arm.style = "operation"
    arm.fails["ep"] = {"code": "QuotaExceeded", "message": "no cores left"}
    with pytest.raises(grpc.RpcError) as caught:
        provider.create(ENDPOINT, endpoint_inputs)
    assert "no cores left" in str(caught.value.details())
    (details,) = [value for key, value in caught.value.trailing_metadata() if key == "grpc-status-details-bin"]
    status = status_pb2.Status.FromString(details)
    failed = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(failed)
    assert failed.id == ENDPOINT_ID
    assert values.read(failed.properties)["properties"]["provisioningState"] == "Failed"
    assert values.read(failed.inputs) == endpoint_inputs


def test_a_secret_goes_out_in_clear_and_comes_back_as_a_secret(arm: FakeArm, provider: ProviderClient) -> None:
    inputs = {**endpoint_inputs, "properties": {"authMode": "Key", "description": Secret("hidden")}}
    made, outputs = provider.create(ENDPOINT, inputs)
    assert arm.named("ep")["properties"]["description"] == "hidden"
    assert outputs["properties"]["description"] == Secret("hidden")
    _, read_inputs, read_outputs = provider.read(ENDPOINT, made, inputs, outputs)
    assert read_inputs == inputs
    assert read_outputs["properties"]["description"] == Secret("hidden")
    arm.named("ep")["properties"]["description"] = "changed"
    _, read_inputs, read_outputs = provider.read(ENDPOINT, made, inputs, outputs)
    assert read_inputs["properties"]["description"] == Secret("changed")
    assert read_outputs["properties"]["description"] == Secret("changed")


def test_a_secret_around_the_whole_of_properties_stays_around_it(arm: FakeArm, provider: ProviderClient) -> None:
    inputs = {**endpoint_inputs, "properties": Secret({"authMode": "Key"})}
    made, outputs = provider.create(ENDPOINT, inputs)
    assert arm.named("ep")["properties"]["authMode"] == "Key"
    assert isinstance(outputs["properties"], Secret)
    _, read_inputs, read_outputs = provider.read(ENDPOINT, made, inputs, outputs)
    assert isinstance(read_inputs["properties"], Secret)
    assert isinstance(read_outputs["properties"], Secret)


def test_a_read_follows_what_was_added_changed_and_removed(arm: FakeArm, provider: ProviderClient) -> None:
    inputs = {**endpoint_inputs, "tags": {"keep": "1", "change": "1", "remove": "1"}}
    made, outputs = provider.create(ENDPOINT, inputs)
    live = arm.named("ep")
    live["tags"] = {"keep": "1", "change": "2", "add": "1"}
    live["properties"]["traffic"] = {"blue": 100}
    live["properties"]["scoringUri"] = "https://only.azure/knows"
    resource, read_inputs, read_outputs = provider.read(ENDPOINT, made, inputs, outputs)
    assert resource == made
    assert read_inputs == {
        **inputs,
        "tags": {"keep": "1", "change": "2", "add": "1"},
        "properties": {"authMode": "Key", "traffic": {"blue": 100}},
    }
    assert read_outputs["properties"]["scoringUri"] == "https://only.azure/knows"


def test_a_read_of_what_is_gone_says_so(provider: ProviderClient) -> None:
    assert provider.read(ENDPOINT, ENDPOINT_ID, endpoint_inputs, {})[0] == ""


def test_an_import_gets_its_inputs_from_the_resource(provider: ProviderClient) -> None:
    made, _ = provider.create(ENDPOINT, endpoint_inputs)
    _, inputs, _ = provider.read(ENDPOINT, made, {}, {})
    assert inputs == endpoint_inputs


def test_an_import_by_the_id_of_another_type_is_refused(provider: ProviderClient) -> None:
    made, _ = provider.create(ENDPOINT, endpoint_inputs)
    said = refused(lambda: provider.read("machinelearningservices:Compute", made, {}, {}))
    assert made in said


def test_an_update_puts_the_whole_body_so_what_is_left_out_is_cleared(arm: FakeArm, provider: ProviderClient) -> None:
    made, outputs = provider.create(ENDPOINT, {**endpoint_inputs, "tags": {"a": "1"}})
    arm.named("ep")["properties"]["traffic"] = {"blue": 100}
    provider.update(ENDPOINT, made, endpoint_inputs, outputs)
    assert "tags" not in arm.named("ep")
    assert "traffic" not in arm.named("ep")["properties"]


def test_a_vault_keeps_the_access_policies_that_the_program_does_not_set(
    arm: FakeArm, provider: ProviderClient
) -> None:
    token = "keyvault:Vault"
    properties = {"sku": {"family": "A", "name": "standard"}, "tenantId": "t"}
    inputs = {"resourceGroupName": "rg", "vaultName": "kv-1", "location": "eastus", "properties": properties}
    made, outputs = provider.create(token, inputs)
    arm.named("kv-1")["properties"]["accessPolicies"] = [{"objectId": "someone"}]
    _, read_inputs, _ = provider.read(token, made, inputs, outputs)
    assert read_inputs == inputs
    provider.update(token, made, {**inputs, "tags": {"a": "b"}}, outputs)
    assert arm.named("kv-1")["properties"]["accessPolicies"] == [{"objectId": "someone"}]
    provider.update(token, made, {**inputs, "properties": {**properties, "accessPolicies": []}}, outputs)
    assert arm.named("kv-1")["properties"]["accessPolicies"] == []


def test_a_delete_waits_until_the_resource_is_gone_and_may_be_repeated(arm: FakeArm, provider: ProviderClient) -> None:
    made, _ = provider.create(ENDPOINT, endpoint_inputs)
    arm.style, arm.polls = "location", 2
    provider.delete(ENDPOINT, made)
    assert arm.resources == {}
    provider.delete(ENDPOINT, made)


def test_an_update_with_a_refusal_says_azure_s_words(arm: FakeArm, provider: ProviderClient) -> None:
    made, outputs = provider.create(ENDPOINT, endpoint_inputs)
    arm.refuse["PUT", "ep"] = [(400, {"error": {"code": "InvalidTraffic", "message": "sum is 90"}})]
    assert "InvalidTraffic: sum is 90" in refused(lambda: provider.update(ENDPOINT, made, endpoint_inputs, outputs))


EXAMPLES: dict[str, dict[str, Any]] = {
    **{example.token: example.inputs for example in type_examples.EXAMPLES},
    "resources:ResourceGroup": {},
    "machinelearningservices:OnlineDeployment": {
        "workspaceName": "ws",
        "endpointName": "ep",
        "properties": {"endpointComputeType": "Managed"},
    },
    "authorization:RoleDefinition": {
        "scope": GROUP,
        "roleName": "scorer",
        "assignableScopes": [GROUP],
        "permissions": [{"actions": ["Microsoft.MachineLearningServices/workspaces/read"]}],
    },
    "machinelearningservices:WorkspaceConnection": {
        "workspaceName": "ws",
        "properties": {"authType": "None", "category": "X", "target": "https://x"},
    },
}


@pytest.mark.parametrize("token", sorted(name.removeprefix("azure-native:") for name in TABLE))
def test_every_type_of_the_table_lives_through_its_whole_life(
    arm: FakeArm, provider: ProviderClient, token: str
) -> None:
    arm.resources[GROUP.lower()] = {"id": GROUP, "name": "rg", "location": "eastus"}
    provider.configure(location="eastus")
    given = dict(EXAMPLES[token])
    if "resourceGroupName" in TABLE[f"azure-native:{token}"].parameters[:-1]:
        given["resourceGroupName"] = "rg"
    inputs, failures = provider.check(token, "thing", given)
    assert failures == []
    made, outputs = provider.create(token, inputs)
    assert provider.read(token, made, inputs, outputs) == (made, inputs, outputs)
    assert provider.diff(token, inputs, inputs).changes == provider_pb2.DiffResponse.DIFF_NONE
    imported = provider.read(token, made, {}, {})[1]
    body = arm.bodies[-1]
    provider.update(token, made, {**inputs, **imported}, outputs)
    assert arm.bodies[-1].get("properties", {}).items() >= body.get("properties", {}).items()
    provider.delete(token, made)
    assert set(arm.resources) == {GROUP.lower()}
