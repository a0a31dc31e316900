"""What a preflight looks at, and what one check of it says. The checks themselves stand in files of their own.

A subject is complete when there is a cloud to ask and data to look at; without them some checks cannot be made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tunestack.connect import Connection
    from tunestack.cost.fine_tune_cost import Range
    from tunestack.cost.prices import PriceBook
    from tunestack.data.data_folder import DataFolder
    from tunestack.deployments.deployment_settings import Settings
    from tunestack.preflight.preflight_live import Live
    from tunestack.preflight.preflight_planned import Planned
    from tunestack.recipes.recipe import Recipe

Verdict = Literal["ok", "warning", "error", "unknown", "not asked"]
BLOCKING: tuple[Verdict, ...] = ("error", "unknown")


@dataclass(frozen=True)
class Finding:
    """What one check says: its verdict, why, who says so, and what to do about it where something is to be done.

    `not asked` is for what needs a cloud or a data folder that this preflight was not given; it is never a pass, and
    where both were given it counts as unknown. `after` names the check that must be mended first.
    """

    check: str
    verdict: Verdict
    reason: str
    source: str = ""
    fix: str = ""
    after: str = ""

    @property
    def record(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in ("check", "verdict", "reason", "source", "fix")}


def no_machines(check: str, what: str = "train") -> Finding:
    """Unknown for want of a cluster and of a dial; it only follows where the clusters themselves are at fault."""
    said = f"no dial and no cluster says which machines {what}"
    return Finding(check, "unknown", said, fix="Name the stack with --stack, or bring it up", after="clusters")


def no_settings(check: str) -> Finding:
    """Unknown for want of deployment settings."""
    said = "there are no deployment settings for this base model"
    return Finding(check, "unknown", said, fix="Name them with --deployment")


@dataclass(frozen=True)
class Machines:
    """Machines of one size that run together: a cluster at its largest, or a deployment at its largest."""

    size: str
    count: int
    is_low_priority: bool = False
    source: str = ""


@dataclass(frozen=True)
class Subject:
    """A run that is planned: recipe, data where it is prepared, how it is to be served, the stack's dials, and when.

    `dials` are those of `Pulumi.<stack>.yaml` over the project's defaults, and empty where there is no such file.
    `cloud` is None offline: then every answer is that of the dated table or of a dial.
    """

    recipe: Recipe
    dials: Mapping[str, Any] = field(default_factory=dict)
    data: DataFolder | None = None
    deployment: Settings | None = None
    stack: str = ""
    today: date = field(default_factory=date.today)
    cloud: Connection | None = None

    @property
    def is_complete(self) -> bool:
        return self.cloud is not None and self.data is not None

    @cached_property
    def live(self) -> Live | None:
        """What the cloud says, each thing asked once; None offline."""
        from tunestack.preflight.preflight_live import Live

        return Live(self.cloud) if self.cloud else None

    @cached_property
    def region(self) -> str:
        """Where it all runs: the workspace's region, offline that of the dials; empty where neither says."""
        found = self.live.region if self.live else self.dials.get("location")
        return str(found or "").replace(" ", "").lower()

    @cached_property
    def training(self) -> Machines | None:
        """The machines of the fine-tuning step; None where no cluster and no dial says."""
        return self.machines(self.recipe.compute.finetune)

    def machines(self, role: str) -> Machines | None:
        """The cluster that plays a role, when it has most nodes: the one that is there, else as the dials have it."""
        found = self.live.cluster(role) if self.live else None
        size = self.dials.get(f"{role}Size")
        if found or not size:
            return found
        low = role == "gpu" and self.dials.get("gpuPriority") == "LowPriority"
        return Machines(str(size), int(self.dials.get(f"{role}Nodes") or 1), low, f"Pulumi.{self.stack}.yaml")

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that the recipe's steps play, the fine-tuning one first."""
        compute = self.recipe.compute
        return tuple(dict.fromkeys((compute.finetune, compute.model_import, compute.preprocess, compute.evaluate)))

    @property
    def serving(self) -> Machines | None:
        """The machines of one deployment when it has most of them; None without settings."""
        if self.deployment is None:
            return None
        scale = self.deployment.autoscale
        most = scale.max if scale else self.deployment.instance_count
        return Machines(self.deployment.instance_type, most, source="deployment settings")

    @cached_property
    def prices(self) -> PriceBook:
        """Prices of the region: today's where a cloud is there to ask, else the dated table's."""
        from tunestack.cost.prices import PriceBook

        return PriceBook(self.region or "eastus", live=self.cloud is not None)

    @cached_property
    def planned(self) -> Planned:
        """What would be sent: schema, parameters, the model's shape."""
        from tunestack.preflight.preflight_planned import Planned

        return Planned(self)

    @cached_property
    def estimate(self) -> Range | str:
        """Steps, hours and dollars of one run as ranges; in words why, where something for it is not known."""
        from tunestack.cost import fine_tune_cost

        machines = self.training
        if machines is None:
            return "which machines train is not known"
        if self.planned.objections:
            return "a parameter is wrong, so that nothing can be counted from it"
        cheap = self.machines("cpu")
        gpu = self.prices.size(machines.size, low_priority=machines.is_low_priority)
        cpu = self.prices.size(cheap.size if cheap else machines.size)
        sizes = fine_tune_cost.Machines(machines.size, gpu, cpu, cheap.size if cheap else "", machines.is_low_priority)
        return fine_tune_cost.of_recipe(self.recipe, sizes, data=self.data, parameters=self.planned.sent)
