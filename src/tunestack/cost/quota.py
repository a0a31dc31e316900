"""Cores that machines take from Azure ML's quota: nodes of a cluster as they are, deployments with their reserve.

Azure counts a fifth more instances of a deployment, for upgrades, except on the sizes that its list exempts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tunestack import azure_facts

LOW_PRIORITY = "lowPriorityCores"
DEDICATED = "dedicatedCores"
RESERVE_PERCENT = 120
SLOTS = 2  # a roll-out has blue and green at the same time


def granted(usages: Iterable[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """(cores in use, cores allowed) by `key` of a family, of `DEDICATED` and of `LOW_PRIORITY`, from Azure's usages.

    Rows of single workspaces and clusters repeat their family's and are left out, as are the families' low-priority
    rows, whose limit is -1: there the one regional number counts.
    """
    found = {}
    for item in usages:
        kind = str(item.get("type", "")).lower().rpartition("/usages")[0].rpartition("/")[2]
        family, cluster, priority = str(item["name"]["value"]).partition(" Cluster ")
        name = {"dedicatedcores": DEDICATED, "lowprioritycores": LOW_PRIORITY, "vmfamily": family}.get(kind)
        if name and not (kind == "vmfamily" and cluster and not priority.startswith("Dedicated")):
            found[key(name)] = (int(item["currentValue"]), int(item["limit"]))
    return found


def key(family: str) -> str:
    """A family as sizes and usages have it in common: `standardDSv2Family` is `Standard DSv2 Family` there."""
    return re.sub(r"[^a-z0-9]", "", family.lower())


def reserves(size: str) -> bool:
    """Whether a deployment on this size is counted with Azure's reserve."""
    return size.lower() not in {name.lower() for name in azure_facts.facts()["without_reserve"]}


def counted(size: str, instances: int) -> int:
    """Instances that a deployment is counted with: `ceil(1.2 * instances)`, or as many as they are."""
    return -(-instances * RESERVE_PERCENT // 100) if reserves(size) else instances


def of_deployment(size: str, instances: int, cores: int) -> int:
    """Cores of one deployment; `cores` are those of one machine."""
    return counted(size, instances) * cores


def formula(size: str, instances: int, cores: int) -> str:
    """The calculation in words, for whoever looks at '0 of 6 used, needs 8' and wonders."""
    total = of_deployment(size, instances, cores)
    return f"ceil(1.2 x {instances}) x {cores} = {total}" if reserves(size) else f"{instances} x {cores} = {total}"
