"""Nodes of compute clusters: a step waits in the queue until its cluster has one free, as on Azure.

Sizes are simulated: every node is this machine. The counts on the compute resource are those that a client sees.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from localcloud.cloud import Cloud
from localcloud.services.ml.computes import Computes
from localcloud.services.ml.sizes import Sizes


class Nodes:
    """Hands out nodes. A compute is named by its ARM id; None is serverless, which has as many as are asked for."""

    def __init__(self, cloud: Cloud, at_once: int) -> None:
        self._cloud = cloud
        self._busy: Counter[str] = Counter()
        self._freed = asyncio.Condition()
        # However many nodes the clusters have, this machine is one.
        self._machine = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def node(self, compute: str | None) -> AsyncIterator[None]:
        """One node for as long as the context lasts."""
        await self._cloud.faults.meet("job.allocate")
        if compute is not None:
            async with self._freed:
                await self._freed.wait_for(lambda: self._busy[compute.lower()] < self._limit(compute))
                self._count(compute, +1)
        try:
            await self._cloud.clock.sleep(self._cloud.pace.seconds)
            async with self._machine:
                yield
        finally:
            if compute is not None:
                async with self._freed:
                    self._count(compute, -1)
                    self._freed.notify_all()

    def is_low_priority(self, compute: str | None) -> bool:
        """Whether Azure may take this compute's nodes away in the middle of a step."""
        return compute is not None and self._scale(compute)[0].get("vmPriority") == "LowPriority"

    def gpus(self, compute: str | None) -> int | None:
        """GPUs of one node by the table of sizes; None on serverless compute."""
        size = self._scale(compute)[0].get("vmSize") if compute else None
        return self._cloud.part(Sizes, lambda: Sizes(self._cloud)).gpus(str(size)) if size else None

    def size(self, compute: str | None) -> str:
        """The simulated machine size, for the log."""
        return str(self._scale(compute)[0].get("vmSize", "serverless")) if compute else "serverless"

    def _scale(self, compute: str) -> tuple[dict[str, Any], dict[str, Any]]:
        resource = self._cloud.store.get(compute) or {}
        inner = (resource.get("properties") or {}).get("properties") or {}
        return inner, inner.get("scaleSettings") or {}

    def _limit(self, compute: str) -> int:
        inner, scale = self._scale(compute)
        return int(scale.get("maxNodeCount") or 1) if inner.get("scaleSettings") else 1

    def _count(self, compute: str, change: int) -> None:
        self._busy[compute.lower()] += change
        clusters = self._cloud.part(Computes, lambda: Computes(self._cloud))
        clusters.set_nodes(compute, self._busy[compute.lower()])

    def release_all(self) -> None:
        """After a restart nothing runs: counts that a killed server left are put right."""
        for resource in self._cloud.store.beneath("/subscriptions", "computes"):
            self._count(resource["id"], 0)
