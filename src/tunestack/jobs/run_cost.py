"""What a job has cost so far: its steps' running time at the hourly price of their clusters' sizes; an estimate.

Not counted: machines that start or stand idle before the cluster scales down, storage, and rounding by the meter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tunestack.cost.prices import PriceBook
from tunestack.jobs.run_history import Run, RunHistory
from tunestack.jobs.training_progress import Dials

COMPUTE_VERSION = "2023-08-01-preview"


@dataclass(frozen=True)
class Cost:
    """Dollars of the steps whose price is known, and the computes of those whose price is not."""

    dollars: float = 0.0
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self._known + (
            f" (without '{', '.join(self.unknown)}', whose price is not known)" if self.unknown else ""
        )

    @property
    def _known(self) -> str:
        if self.unknown and not self.dollars:
            return "cost not known"
        return f"about {self.dollars:.2f} $ so far" if self.dollars >= 0.005 else "less than 0.01 $ so far"


class Costs:
    """Prices of the computes of one workspace, each asked for once."""

    def __init__(self, history: RunHistory) -> None:
        self._connection = history.connection
        self._hourly: dict[str, float | None] = {}
        self._book: PriceBook | None = None

    def of(self, steps: Sequence[Run], dials: Dials, now: datetime) -> Cost:
        """What these steps have cost until now. CloudError where a cluster cannot be read."""
        dollars, unknown = 0.0, []
        for step in steps:
            seconds = running_seconds(step, now)
            if not seconds:
                continue
            hourly = self.hourly(step.target)
            if hourly is None:
                unknown.append(step.target or "serverless")
            else:
                machines = dials.nodes if step.is_finetune else 1
                dollars += seconds / 3600 * hourly * machines
        return Cost(dollars, tuple(dict.fromkeys(unknown)))

    def hourly(self, target: str) -> float | None:
        """Dollars for an hour of one machine of a cluster; None where it is not known, as on serverless compute."""
        if target not in self._hourly:
            self._hourly[target] = self._ask(target)
        return self._hourly[target]

    def _ask(self, target: str) -> float | None:
        if not target:
            return None
        place = self._connection.workspace.path
        found = self._connection.arm.asking_once().find(f"{place}/computes/{target}", COMPUTE_VERSION)
        inner = ((found or {}).get("properties") or {}).get("properties") or {}
        if not inner.get("vmSize"):
            return None
        if self._book is None:
            self._book = PriceBook(str(self._connection.body.get("location") or ""), live=True)
        figure = self._book.size(str(inner["vmSize"]), low_priority=inner.get("vmPriority") == "LowPriority")
        return figure.dollars if figure else None


def running_seconds(step: Run, now: datetime) -> float:
    """How long a step has had a machine."""
    if step.started is None:
        return 0.0
    return max(((step.ended or now) - step.started).total_seconds(), 0.0)
