"""Stack `shared`: one registry, who may use it, and the policy that makes it the only one."""

from __future__ import annotations

import json

from infra.access import Role
from tests.infra.conftest import SUBSCRIPTION, Run, stack_file
from tunestack.outputs import StackOutputs

USER = "aaaaaaaa-0000-0000-0000-00000000000a"


def test_the_registry_is_one_whose_storage_nobody_reads_without_an_identity(run: Run) -> None:
    program = run(stack_file("shared"), stack="shared")
    registry = program.one("machinelearningservices:Registry")
    (region,) = registry.inputs["regionDetails"]
    assert region["location"] == registry.inputs["location"] == "eastus"
    (storage,) = region["storageAccountDetails"]
    assert storage["systemCreatedStorageAccount"]["allowBlobPublicAccess"] is False
    assert storage["systemCreatedStorageAccount"]["storageAccountType"] == "Standard_ZRS"
    assert registry.request.protect is True


def test_operators_may_use_the_registry_and_nothing_else(run: Run) -> None:
    program = run({**stack_file("shared"), "tunestack:operators": json.dumps([f"Group:{USER}"])}, stack="shared")
    right = program.one("authorization:RoleAssignment").inputs
    assert right["scope"] == program.one("machinelearningservices:Registry").id
    assert right["roleDefinitionId"].endswith(Role.REGISTRY_USER)
    assert (right["principalId"], right["principalType"]) == (USER, "Group")


def test_only_models_of_this_registry_are_deployed_but_where_the_dial_exempts_a_group(run: Run) -> None:
    program = run({**stack_file("shared"), "tunestack:exemptGroups": '["rg-tunestack-dev"]'}, stack="shared")
    policy = program.one("authorization:PolicyAssignment").inputs
    assert policy["scope"] == f"/subscriptions/{SUBSCRIPTION}"
    assert policy["policyDefinitionId"].endswith("/19539b54-c61e-4196-9a38-67598701be90")
    name = program.one("machinelearningservices:Registry").name
    assert policy["parameters"] == {"effect": {"value": "Deny"}, "allowedRegistryName": {"value": name}}
    assert policy["notScopes"] == [f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-tunestack-dev"]


def test_its_outputs_are_none_that_a_script_would_take_for_a_workspaces(run: Run) -> None:
    outputs = run(stack_file("shared"), stack="shared").outputs
    assert set(outputs) == {"registry_name", "registry_id", "registry_group"}
    assert not set(outputs) & set(StackOutputs.__dataclass_fields__)
