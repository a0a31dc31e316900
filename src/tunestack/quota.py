"""Cores that machines take from Azure ML's quota: nodes of a cluster as they are, deployments with their reserve.

Azure counts a fifth more instances of a deployment, for upgrades, except on the sizes that its list exempts.
"""

from __future__ import annotations

from tunestack import azure_facts

LOW_PRIORITY = "lowPriorityCores"
RESERVE_PERCENT = 120


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
