"""Bodies as ARM wants them, outputs as the SDK wants them, and the way back on a refresh."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcloud.engine import generate_shapes, shapes, translation
from localcloud.engine.shapes import shapes_of
from localcloud.engine.table import TABLE, look_up
from localcloud.engine.values import UNKNOWN

SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"


def body_of(name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    token = f"azure-native:{name}"
    return translation.request_body(look_up(token), shapes_of(token), inputs)


def test_the_shapes_in_the_repository_are_those_of_the_pinned_sdk() -> None:
    assert shapes.PATH.read_text(encoding="utf-8") == generate_shapes.render(), (
        "run `python -m localcloud.engine.generate_shapes`"
    )


@pytest.mark.parametrize("token", sorted(TABLE))
def test_every_type_of_the_table_names_inputs_that_the_sdk_has(token: str) -> None:
    kind, inputs = TABLE[token], shapes_of(token).inputs["of"]
    assert set(kind.parameters) <= set(inputs)
    assert kind.query <= set(inputs)
    assert set(kind.replaces) - {"location"} <= set(inputs)
    outputs = shapes_of(token).outputs["of"]
    assert {path.partition(".")[0] for path in kind.wire} <= set(inputs) | set(outputs)


def test_a_flat_type_keeps_its_envelope_outside_and_puts_the_rest_into_properties() -> None:
    body = body_of(
        "machinelearningservices:Workspace",
        {
            "resourceGroupName": "rg",
            "workspaceName": "ws",
            "location": "eastus",
            "tags": {"a": "b"},
            "sku": {"name": "Basic"},
            "identity": {"type": "UserAssigned", "userAssignedIdentities": ["/subscriptions/x"]},
            "keyVault": "/kv",
            "azureApiVersion": "2025-12-01",
            "__createBeforeDelete": True,
        },
    )
    assert body == {
        "location": "eastus",
        "tags": {"a": "b"},
        "sku": {"name": "Basic"},
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {"/subscriptions/x": {}}},
        "properties": {"keyVault": "/kv"},
    }


def test_a_sku_that_belongs_into_properties_goes_there() -> None:
    body = body_of("operationalinsights:Workspace", {"sku": {"name": "PerGB2018"}, "location": "eastus"})
    assert body == {"location": "eastus", "properties": {"sku": {"name": "PerGB2018"}}}


def test_a_resource_group_has_no_properties_to_send() -> None:
    assert body_of("resources:ResourceGroup", {"resourceGroupName": "rg", "location": "eastus"}) == {
        "location": "eastus"
    }


def test_names_that_differ_on_the_wire_are_translated_both_ways() -> None:
    token = "azure-native:storage:StorageAccount"
    inputs = {
        "enableHttpsTrafficOnly": True,
        "networkRuleSet": {"defaultAction": "Deny", "ipRules": [{"iPAddressOrRange": "10.0.0.1"}]},
    }
    body = body_of("storage:StorageAccount", inputs)
    assert body["properties"] == {
        "supportsHttpsTrafficOnly": True,
        "networkAcls": {"defaultAction": "Deny", "ipRules": [{"value": "10.0.0.1"}]},
    }
    outputs = translation.outputs_of(look_up(token), shapes_of(token), body)
    assert outputs["enableHttpsTrafficOnly"] is True
    assert outputs["networkRuleSet"] == inputs["networkRuleSet"]


def test_an_alert_condition_names_its_kind_as_azure_does() -> None:
    body = body_of("monitor:MetricAlert", {"criteria": {"odataType": "Microsoft.X", "allOf": [{"name": "c"}]}})
    assert body["properties"]["criteria"] == {"odata.type": "Microsoft.X", "allOf": [{"name": "c"}]}


def test_the_id_is_the_path_with_the_inputs_in_it() -> None:
    scope = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
    kind = look_up("azure-native:authorization:RoleAssignment")
    made = translation.resource_id(kind, {"scope": scope, "roleAssignmentName": "guid"}, SUBSCRIPTION)
    assert made == f"{scope}/providers/Microsoft.Authorization/roleAssignments/guid"


def test_an_import_reads_the_inputs_off_id_and_outputs() -> None:
    token = "azure-native:machinelearningservices:OnlineEndpoint"
    kind, shape = look_up(token), shapes_of(token)
    resource = translation.resource_id(
        kind, {"resourceGroupName": "rg", "workspaceName": "ws", "endpointName": "ep"}, SUBSCRIPTION
    )
    outputs = {
        "location": "eastus",
        "name": "ep",
        "type": "x",
        "identity": {"type": "SystemAssigned", "principalId": "p"},
        "properties": {"authMode": "Key", "scoringUri": "https://x", "provisioningState": "Succeeded"},
    }
    assert translation.imported_inputs(kind, shape, resource, outputs) == {
        "resourceGroupName": "rg",
        "workspaceName": "ws",
        "endpointName": "ep",
        "location": "eastus",
        "identity": {"type": "SystemAssigned"},
        "properties": {"authMode": "Key"},
    }


def test_what_only_azure_can_tell_is_unknown_in_a_preview() -> None:
    shape = shapes_of("azure-native:machinelearningservices:OnlineEndpoint")
    outputs = translation.preview(shape, {"properties": {"authMode": "Key"}, "identity": {"type": "SystemAssigned"}})
    assert outputs["properties"]["authMode"] == "Key"
    assert outputs["properties"]["scoringUri"] is UNKNOWN
    assert outputs["identity"] == {
        "type": "SystemAssigned",
        "principalId": UNKNOWN,
        "tenantId": UNKNOWN,
        "userAssignedIdentities": UNKNOWN,
    }
    assert outputs["name"] is UNKNOWN


def test_a_changed_default_is_carried_into_the_inputs_and_an_unchanged_one_is_not() -> None:
    inputs = {"properties": {"authMode": "Key"}}
    before = {"properties": {"authMode": "Key", "publicNetworkAccess": "Enabled"}}
    after = {"properties": {"authMode": "Key", "publicNetworkAccess": "Enabled", "traffic": {"blue": 100}}}
    assert translation.carry_over(inputs, before, before) == inputs
    assert translation.carry_over(inputs, before, after) == {
        "properties": {"authMode": "Key", "traffic": {"blue": 100}}
    }
    assert translation.carry_over(
        {"tags": {"a": "b", "c": "d"}}, {"tags": {"a": "b", "c": "d"}}, {"tags": {"c": "e"}}
    ) == {"tags": {"c": "e"}}
    assert translation.carry_over({"tags": {"a": "b"}}, {"tags": {"a": "b"}}, {}) == {}


def test_the_shapes_are_plain_json() -> None:
    assert json.loads(shapes.PATH.read_text(encoding="utf-8")).keys() == TABLE.keys()


def test_an_imported_scope_is_written_as_a_program_writes_it() -> None:
    group = "/subscriptions/s/resourceGroups/rg"
    token = "azure-native:consumption:Budget"
    kind, shape = look_up(token), shapes_of(token)
    found = translation.imported_inputs(kind, shape, f"{group}/providers/Microsoft.Consumption/budgets/b", {})
    assert (found["scope"], found["budgetName"]) == (group, "b")
