"""The page of a plan: read from the engine's events, with the verdict first, and nothing in it that could do harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunestack.errors import CloudError, GateSaidNo, NotConfigured
from tunestack.stacks import plan

URN = "urn:pulumi:dev::tunestack::tunestack:infra:Workspace$azure-native:{}::{}"


def step(operation: str, kind: str, name: str, *members: str) -> dict[str, Any]:
    metadata = {"op": operation, "type": f"azure-native:{kind}", "urn": URN.format(kind, name), "diffs": list(members)}
    return {"resourcePreEvent": {"metadata": metadata}}


def policy(level: str, name: str, message: str, resource: str = "kv") -> dict[str, Any]:
    urn = URN.format("keyvault:Vault", resource) if resource else ""
    return {"policyEvent": {"enforcementLevel": level, "policyName": name, "message": message, "resourceUrn": urn}}


CHANGES = [
    step("same", "keyvault:Vault", "kv"),
    {"resourcePreEvent": {"metadata": {"op": "create", "type": "tunestack:infra:Workspace", "urn": "urn::workspace"}}},
    step("refresh", "keyvault:Vault", "kv"),
    step("update", "storage:StorageAccount", "st", "tags", "sku"),
    step("create", "monitor:ActionGroup", "mails", "tags"),
    *(step(part, "machinelearningservices:Compute", "cpu", "size") for part in ("create-replacement", "replace")),
    step("delete-replaced", "machinelearningservices:Compute", "cpu"),
    step("delete", "machinelearningservices:OnlineEndpoint", "chat"),
]


def test_each_change_stands_once_with_the_names_of_what_changes_and_no_value() -> None:
    found = plan.read("dev", CHANGES)
    assert found.summary == "1 to replace, 1 to create, 1 to delete, 1 to update, 1 unchanged"
    assert found.steps[0] == plan.Step("**replace**", "machinelearningservices:Compute", "cpu", ("size",))
    page = found.markdown()
    assert page.startswith("### The plan of stack `dev` may be carried out: 1 to replace")
    assert "| update | storage:StorageAccount | st | sku, tags |" in page
    assert "| create | monitor:ActionGroup | mails |  |" in page
    plan.refuse(found)


def test_a_mandatory_policy_refuses_and_an_advisory_one_only_speaks() -> None:
    advised = plan.read("dev", [policy("advisory", "keyless", "No keys.\nIt has one.\n")])
    assert advised.refusals == []
    assert "| advisory | keyless | kv | No keys: It has one. |" in advised.markdown()
    # The engine says so twice, once for the preview and once for the stack.
    refused = plan.read("dev", [policy("mandatory", "keyless", "No keys."), policy("mandatory", "keyless", "No keys.")])
    assert refused.refusals == ["policy 'keyless' refuses 'kv'"]
    assert "is refused" in refused.markdown().splitlines()[0]
    with pytest.raises(GateSaidNo, match="keyless"):
        plan.refuse(refused)
    whole = plan.read("dev", [policy("mandatory", "quota", "Too much.", resource="")])
    assert whole.refusals == ["policy 'quota' refuses 'dev'"]


def test_a_long_table_is_folded() -> None:
    page = plan.read(
        "dev", [step("create", "storage:StorageAccount", f"st{number}") for number in range(40)]
    ).markdown()
    assert "<summary>40 changes</summary>" in page
    assert "<details>" not in plan.read("dev", CHANGES).markdown()


def test_a_program_that_fails_is_no_plan_and_says_why_once() -> None:
    error = {"diagnosticEvent": {"severity": "error", "message": "error: 'gpuNodes' is '0'\n"}}
    found = plan.read("dev", [*CHANGES, error, error, {"diagnosticEvent": {"severity": "info", "message": "hello"}}])
    assert found.error == "error: 'gpuNodes' is '0'"
    assert "could not be made" in found.markdown().splitlines()[0]
    with pytest.raises(CloudError):
        plan.refuse(found)


def test_what_a_pull_request_names_can_neither_leave_its_cell_nor_call_anybody() -> None:
    evil = "a | b <!-- tunestack: plan-prod --> @everyone"
    page = plan.read("dev", [policy("advisory", "p", evil), step("create", "storage:StorageAccount", evil)]).markdown()
    assert "@everyone" not in page
    assert "<!--" not in page
    assert "a \\| b" in page


@pytest.mark.parametrize("code", [0, 5])
def test_the_cost_stands_on_the_page_also_when_it_is_over_the_budget(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulumi = "#!/bin/sh\necho '{}'\n"
    cost = f"""import sys
assert sys.argv[1:4] == ["--stack", "dev", "--plan"]
print("| $7 a month |")
print("error: $7 a month is over the budget of $5", file=sys.stderr)
sys.exit({code})
"""
    monkeypatch.setattr(plan, "COST", _program(tmp_path / "cost.py", cost))
    _program(tmp_path / "pulumi", pulumi)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = plan.make("dev")
    assert "| $7 a month |" in found.markdown()
    assert found.refusals == (["$7 a month is over the budget of $5"] if code else [])


def test_a_cost_that_is_not_known_and_an_engine_that_is_not_there_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "COST", _program(tmp_path / "cost.py", "import sys; sys.exit('error: no stack file')"))
    _program(tmp_path / "pulumi", "#!/bin/sh\necho '{}'\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(CloudError, match="no stack file"):
        plan.make("dev")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(NotConfigured, match="Put pulumi on PATH"):
        plan.make("dev")


def _program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path
