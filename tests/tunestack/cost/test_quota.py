"""Quota: Azure's own rows are read for what they are, and a deployment is counted with its reserve."""

from __future__ import annotations

import pytest

from tunestack.cost import quota

ML = "Microsoft.MachineLearningServices"
FAMILY = "Standard NCASv3_T4 Family Cluster Dedicated vCPUs"


def row(kind: str, name: str, used: int, limit: int) -> dict[str, object]:
    return {"type": f"{ML}/{kind}/usages", "name": {"value": name}, "currentValue": used, "limit": limit}


def test_rows_are_taken_as_the_rest_contract_has_them() -> None:
    found = quota.granted(
        [
            row("totalCores", "Clusters", 7, 100),
            row("dedicatedCores", "Total Cluster Dedicated Regional vCPUs", 14, 24),
            row("vmFamily", FAMILY, 4, 8),
            row("workspaces", FAMILY, 2, 4),
            row("workspaces/computes", FAMILY, 2, 4),
            row("lowPriorityCores", "Total Cluster LowPriority Regional vCPUs", 18, 50),
            row("vmFamily", FAMILY.replace("Dedicated", "LowPriority"), 0, -1),
        ]
    )
    assert found == {
        quota.key(quota.DEDICATED): (14, 24),
        quota.key("standardNCASv3_T4Family"): (4, 8),
        quota.key(quota.LOW_PRIORITY): (18, 50),
    }


@pytest.mark.parametrize(
    ("size", "instances", "cores", "counted"),
    [
        ("Standard_D4s_v3", 1, 4, 8),
        ("Standard_D4s_v3", 5, 4, 24),
        ("Standard_D4s_v3", 10, 4, 48),
        ("STANDARD_nc24ads_a100_v4", 2, 24, 48),
        ("Standard_NC4as_T4_v3", 3, 4, 16),
    ],
)
def test_a_fifth_is_kept_in_reserve_except_where_azure_exempts_the_size(
    size: str, instances: int, cores: int, counted: int
) -> None:
    assert quota.of_deployment(size, instances, cores) == counted
    assert str(counted) in quota.formula(size, instances, cores)
