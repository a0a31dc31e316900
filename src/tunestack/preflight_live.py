"""What a preflight asks of the cloud, each thing once: the region, clusters, sizes, quota, the base model, rights.

Only reads. An answer that cannot be had raises what the connection raises; whoever asks says then that it is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from tunestack.connect import Connection
from tunestack.preflight_subject import Machines

VERSION = "2023-08-01-preview"
PROVIDER = "Microsoft.MachineLearningServices"


class Live:
    """The workspace's region and what it offers."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._clusters: dict[str, Machines | None] = {}

    @property
    def region(self) -> str:
        return str(self.connection.body.get("location") or "").replace(" ", "").lower()

    def cluster(self, role: str) -> Machines | None:
        """The cluster of a role when it has most nodes; None where there is none."""
        if role not in self._clusters:
            self._clusters[role] = self._asked_cluster(role)
        return self._clusters[role]

    def _asked_cluster(self, role: str) -> Machines | None:
        place = self.connection.workspace
        name = {"cpu": place.cpu_cluster, "gpu": place.gpu_cluster}[role]
        body = self.connection.arm.find(f"{place.path}/computes/{name}", VERSION) if name else None
        own = (body or {}).get("properties", {}).get("properties") or {}
        if not own.get("vmSize"):
            return None
        count = int((own.get("scaleSettings") or {}).get("maxNodeCount") or 1)
        return Machines(str(own["vmSize"]), count, own.get("vmPriority") == "LowPriority", f"cluster '{name}'")

    @cached_property
    def sizes(self) -> Mapping[str, Mapping[str, Any]]:
        """The sizes that the region offers, by name in lower case."""
        listed = self.connection.arm.get(f"{self._location}/vmSizes", VERSION).get("value", [])
        return {str(size["name"]).lower(): size for size in listed}

    @cached_property
    def quota(self) -> Mapping[str, tuple[int, int]]:
        """(cores in use, cores allowed) per family of the region, by name in lower case."""
        found = self.connection.arm.pages(f"{self._location}/usages", VERSION)
        return {str(item["name"]["value"]).lower(): (int(item["currentValue"]), int(item["limit"])) for item in found}

    @property
    def _location(self) -> str:
        return (
            f"/subscriptions/{self.connection.workspace.subscription_id}/providers/{PROVIDER}/locations/{self.region}"
        )
