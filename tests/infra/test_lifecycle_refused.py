"""What Azure refuses in the middle of a command, on the real engine: one clear error, nothing lost, and the way on.

Each refusal has a row in docs/recovery.md with the next step; the tests read the codes from there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from localcloud.arm import ArmError
from localcloud.cloud import SUBSCRIPTION
from tests.conftest import HANG_SECONDS
from tests.infra.conftest import ROOT
from tests.infra.live_stack import ML, LiveStack, commands, live_stack

ROOT_SCOPE = f"/subscriptions/{SUBSCRIPTION}"
POLICIES = f"{ROOT_SCOPE}/providers/Microsoft.Authorization/policyAssignments"
NO_PUBLIC_WORKSPACE = "/providers/Microsoft.Authorization/policyDefinitions/438c38d2-3772-465a-a9cc-7a6666a275ce"
QUOTAS = f"{ROOT_SCOPE}/providers/Microsoft.MachineLearningServices/locations/eastus"
GPU_FAMILY = "NCADSA100V4"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    with live_stack(tmp_path_factory) as found:
        yield found


def explained() -> set[str]:
    """The codes that the page has a next step for."""
    section = (ROOT / "docs" / "recovery.md").read_text().partition("\n## What Azure refuses\n")[2]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def refused(said: str, code: str, *words: str) -> None:
    """The engine's output says the code and the words once, under the resource, and the page explains the code."""
    diagnostics = said.partition("Diagnostics:")[2]
    assert code in diagnostics, said
    assert [word for word in words if word not in diagnostics] == []
    assert "Traceback" not in said
    assert code in explained()


def set_gpu_quota(stack: LiveStack, limit: int) -> None:
    quotas = stack.cloud.arm("GET", f"{QUOTAS}/quotas?api-version=2024-10-01")["value"]
    gpu = next(one for one in quotas if GPU_FAMILY in one["id"].upper())
    update = {"value": [{"id": gpu["id"], "type": gpu["type"], "limit": limit, "unit": "Count"}]}
    stack.cloud.arm("POST", f"{QUOTAS}/updateQuotas?api-version=2024-10-01", update)


# The tests below are one life of the stack, in this order.


def test_an_unknown_region_stops_the_plan_before_anything_is_made(stack: LiveStack) -> None:
    stack.pulumi("config", "set", "location", "eastus99")
    said = stack.up(status=1)
    stack.pulumi("config", "rm", "location")
    assert "'eastus99'" in said
    assert "pulumi config set location" in said
    assert "Traceback" not in said
    assert stack.names() == []


def test_a_name_that_is_taken_is_told_and_the_next_up_goes_on(stack: LiveStack) -> None:
    taken = ArmError(409, "StorageAccountAlreadyTaken", "The storage account named sttunestack is already taken.")
    stack.cloud.cloud.faults.arm("Microsoft.Storage/storageAccounts.create", taken)
    set_gpu_quota(stack, 0)
    policy = {"policyDefinitionId": NO_PUBLIC_WORKSPACE, "parameters": {"effect": {"value": "Deny"}}}
    stack.cloud.arm("PUT", f"{POLICIES}/no-public?api-version=2024-04-01", {"properties": policy})
    refused(stack.up(status=1), "StorageAccountAlreadyTaken", "sttunestacklocal")


def test_a_deny_policy_of_the_tenant_is_named_with_its_assignment(stack: LiveStack) -> None:
    refused(stack.up(status=1), "RequestDisallowedByPolicy", "no-public", "mlw-tunestack-local")
    stack.cloud.arm("DELETE", f"{POLICIES}/no-public?api-version=2024-04-01")


def test_gpu_quota_zero_in_the_region_is_told_with_the_family(stack: LiveStack) -> None:
    # The other cluster is accepted in the same `up` and cannot be made: the next test takes that up. Both are asked for
    # before either is answered, since the engine begins nothing more once something has failed.
    faults, ask = stack.cloud.cloud.faults, f"{ML}/computes.create"
    faults.arm(f"{ML}/computes.provision", ArmError(400, "AllocationFailed", "no machine is free"))
    gate = faults.hold(ask)
    with stack.begun("up", gate) as process:
        stack.until(lambda: gate.waiting == 2)
        faults.disarm(ask)
        said = process.communicate(timeout=HANG_SECONDS)[0]
    refused(said, "ClusterCoreQuotaReached", "gpu-cluster", "the limit is 0", "no machine is free")
    set_gpu_quota(stack, 100)


def test_what_was_accepted_and_failed_is_no_success_after_a_refresh_and_one_command_makes_it_again(
    stack: LiveStack,
) -> None:
    said = stack.up(status=1).partition("Diagnostics:")[2]
    assert "Azure accepted 'cpu-cluster' and could not make it: its provisioningState is 'Failed'" in said
    assert "Traceback" not in said
    (urn,) = set(re.findall(r"--replace '(.*?)'", said))
    assert urn.endswith("cpu-cluster")
    (line,) = commands("recovery.md", "A resource ended as `Failed`")
    stack.shell(line, URN=urn)
    stack.up("--expect-no-changes")


def test_a_lock_stops_destroy_and_without_it_the_same_command_completes(stack: LiveStack) -> None:
    (name,) = stack.names("Microsoft.Storage/storageAccounts")
    group = stack.workspace.split("/providers/")[0]
    lock = f"{group}/providers/Microsoft.Storage/storageAccounts/{name}/providers/Microsoft.Authorization/locks/keep"
    stack.cloud.arm("PUT", f"{lock}?api-version=2020-05-01", {"properties": {"level": "CanNotDelete"}})
    refused(stack.destroy(status=1), "ScopeLocked", "Please remove the lock and try again")
    assert stack.names("Microsoft.Storage/storageAccounts") == [name]
    stack.cloud.arm("DELETE", f"{lock}?api-version=2020-05-01")


def test_a_half_deleted_workspace_is_deleted_by_the_next_destroy(stack: LiveStack) -> None:
    vars(stack).pop("outputs", None)
    stack.up()
    stuck = ArmError(409, "Conflict", "The workspace is being deleted by another operation.")
    stack.cloud.cloud.faults.arm(f"{ML}.deprovision", stuck)
    refused(stack.destroy(status=1), "Conflict", "mlw-tunestack-local")
    (workspace,) = [body for body in stack.cloud.cloud.store.beneath("/subscriptions") if body.get("type") == ML]
    assert workspace["properties"]["provisioningState"] == "Failed"
    stack.destroy()
    assert stack.names() == []
