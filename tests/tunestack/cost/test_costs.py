"""A stack's bill: every resource priced, nothing unknown for free, and a plan read as the engine writes it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tunestack.cost import costs, stack_plan
from tunestack.cost.prices import PriceBook
from tunestack.cost.stack_plan import Item
from tunestack.errors import UsageError

ROOT = Path(__file__).parents[3]
A100 = "Standard_NC24ads_A100_v4"


def book() -> PriceBook:
    return PriceBook("eastus", live=False)


def cluster(size: str, least: int = 0, most: int = 2, priority: str = "Dedicated") -> Item:
    scale = {"minNodeCount": least, "maxNodeCount": most}
    properties = {"vmSize": size, "vmPriority": priority, "scaleSettings": scale}
    return Item("machinelearningservices:Compute", "gpu", {"properties": {"properties": properties}})


def line(item: Item) -> costs.Line:
    (found,) = costs.bill([item], book()).lines
    return found


def test_a_cluster_costs_nothing_idle_and_all_its_machines_when_busy() -> None:
    found = line(cluster(A100))
    assert (found.idle, found.busy, found.month) == (0.0, 7.346, 0.0)
    kept_warm = line(cluster(A100, least=1))
    assert kept_warm.month == pytest.approx(3.673 * 730, abs=0.01)


def test_low_priority_machines_are_billed_as_such() -> None:
    low = line(cluster(A100, priority="LowPriority"))
    full = line(cluster(A100))
    assert low.busy is not None
    assert full.busy is not None
    assert low.busy < full.busy / 2
    assert "low priority; rough" in low.note


@pytest.mark.parametrize(
    "item",
    [
        Item("containerservice:ManagedCluster", "new"),
        cluster("Standard_Unheard_of"),
        cluster("Standard_NC6s_v3"),
        Item("storage:StorageAccount", "fast", {"sku": {"name": "Premium_LRS"}}),
        Item("storage:StorageAccount", "without"),
        Item("containerregistry:Registry", "images", {"sku": {"name": "Classic"}}),
    ],
)
def test_what_nobody_can_price_is_unknown_and_never_free(item) -> None:
    found = costs.bill([item], book())
    (unknown,) = found.unknown
    assert (unknown.idle, unknown.busy, unknown.month) == (None, None, None)
    assert "price unknown" in unknown.note


@pytest.mark.parametrize(("sku", "month"), [("Basic", 5.08), ("Standard", 20.29), ("Premium", 50.70)])
def test_a_container_registry_is_billed_by_the_day(sku, month) -> None:
    found = line(Item("containerregistry:Registry", "r", {"sku": {"name": sku}}))
    assert found.month == pytest.approx(month, abs=0.01)


def test_logs_that_are_kept_longer_cost_more_and_the_first_month_nothing() -> None:
    months = [
        line(Item("operationalinsights:Workspace", "l", {"retentionInDays": days})).month for days in (30, 31, 90)
    ]
    assert months[0] == months[1]
    assert months[2] is not None
    assert months[1] is not None
    assert months[2] > months[1]


def test_what_is_billed_by_use_says_what_use_is_assumed() -> None:
    for item in (
        Item("storage:StorageAccount", "s", {"sku": {"name": "Standard_GZRS"}}),
        Item("keyvault:Vault", "v"),
        Item("operationalinsights:Workspace", "l"),
    ):
        assert "by use; assumes" in line(item).note


def managed(**network: object) -> Item:
    return Item("machinelearningservices:Workspace", "w", {"managedNetwork": network})


def rule(kind: str) -> Item:
    return Item("machinelearningservices:ManagedNetworkSettingsRule", "rule", {"properties": {"type": kind}})


def test_the_first_outbound_rule_by_name_starts_one_firewall_however_many_follow() -> None:
    closed = managed(isolationMode="AllowOnlyApprovedOutbound")
    without = costs.bill([closed, rule("ServiceTag")], book())
    by_name = costs.bill([closed, rule("FQDN"), rule("FQDN")], book())
    inside = costs.bill(
        [managed(isolationMode="AllowOnlyApprovedOutbound", outboundRules={"pypi": {"type": "FQDN"}})], book()
    )
    assert by_name.month - without.month == pytest.approx(912.5)
    assert inside.month == by_name.month
    basic = costs.bill([managed(isolationMode="AllowOnlyApprovedOutbound", firewallSku="Basic"), rule("FQDN")], book())
    assert basic.month < by_name.month


def test_an_open_workspace_has_neither_firewall_nor_private_endpoints() -> None:
    assert costs.bill([Item("machinelearningservices:Workspace", "w"), rule("FQDN")], book()).lines == ()


def test_a_registry_for_promotion_costs_what_azure_makes_for_it() -> None:
    names = [one.name for one in costs.bill([Item("machinelearningservices:Registry", "r")], book()).lines]
    assert names == ["images of r", "models of r"]


# -- the plan


def test_a_plan_is_read_with_versions_deletions_and_what_is_no_azure_resource_left_out() -> None:
    def step(op: str, token: str, name: str) -> dict[str, object]:
        urn = f"urn:pulumi:dev::tunestack::{token}::{name}"
        return {"op": op, "urn": urn, "newState": {"type": token, "inputs": {"sku": {"name": "Basic"}}}}

    steps = [
        step("create", "pulumi:pulumi:Stack", "tunestack-dev"),
        step("create", "tunestack:infra:Workspace", "workspace"),
        step("same", "azure-native:containerregistry/v20230701:Registry", "one"),
        step("delete", "azure-native:storage:StorageAccount", "gone"),
        step("replace", "azure-native:keyvault:Vault", "two"),
        step("create-replacement", "azure-native:keyvault:Vault", "two"),
        {"op": "delete", "urn": "urn:pulumi:dev::tunestack::azure-native:storage:StorageAccount::x", "oldState": {}},
    ]
    found = stack_plan.from_preview(json.dumps({"steps": steps}))
    assert [(item.kind, item.name) for item in found] == [
        *(("containerregistry:Registry", "one"), ("keyvault:Vault", "two"))
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "no",
        b"\xff\xfe",
        '{"steps": 3}',
        '{"steps": [1]}',
        '{"steps": [{"op": "create", "newState": {"type": "azure-native:storage:StorageAccount"}}]}',
        '{"steps": [{"op": "create", "urn": "a", "newState": {"type": "azure-native:a:B", "inputs": 3}}]}',
    ],
)
def test_a_file_that_is_no_plan_is_refused(text) -> None:
    with pytest.raises(UsageError, match="not the JSON of `pulumi preview --json`"):
        stack_plan.from_preview(text)


def test_an_unknown_stack_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"there is no stack file 'Pulumi\.prd\.yaml'; did you mean 'prod'"):
        stack_plan.dials(ROOT, "prd")


@pytest.mark.parametrize(
    ("dial", "said"),
    [
        ("gpuSzie: x", "has an unknown dial 'gpuSzie'; did you mean 'gpuSize'"),
        ("gpuQuota: many", "dial 'gpuQuota' cannot be 'many': it is of type integer"),
        ("alerts: maybe", "dial 'alerts' cannot be 'maybe': it is of type boolean"),
        ("endpoints: chat", "dial 'endpoints' cannot be 'chat': it is of type array"),
    ],
)
def test_a_dial_that_cannot_be_is_refused(tmp_path, dial, said) -> None:
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    (tmp_path / "Pulumi.mine.yaml").write_text(f"config:\n  tunestack:{dial}\n  other:thing: 1\n")
    with pytest.raises(UsageError, match=said):
        stack_plan.dials(tmp_path, "mine")


def test_dials_that_pulumi_wrote_as_text_have_their_types(tmp_path) -> None:
    shutil.copy(ROOT / "Pulumi.yaml", tmp_path)
    (tmp_path / "Pulumi.mine.yaml").write_text('config:\n  tunestack:gpuNodes: "3"\n  tunestack:alerts: "false"\n')
    found = stack_plan.dials(tmp_path, "mine")
    assert (found["gpuNodes"], found["alerts"]) == (3, False)


def test_a_stacks_dials_are_its_own_over_the_projects() -> None:
    found = stack_plan.dials(ROOT, "dev")
    assert found["cpuSize"] == "Standard_D4ds_v5"
    assert found["owner"] == "your-team"
