"""Requests, latencies and status codes of every deployment by minute, as Azure Monitor counts them.

Kept in memory for a day: a local cloud that is started again begins anew.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

KEPT = timedelta(days=1)


@dataclass(frozen=True)
class Dimensions:
    """What a request is counted under. `model_status` is the container's own code, 0 when it was not reached."""

    deployment: str
    status: int
    model_status: int


@dataclass
class Tally:
    """Requests of one minute. `latencies` counts by milliseconds, rounded to two digits, which bounds it."""

    requests: int = 0
    seconds: float = 0.0
    received: int = 0
    latencies: Counter[float] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        self.requests += other.requests
        self.seconds += other.seconds
        self.received += other.received
        self.latencies.update(other.latencies)

    def percentile(self, percent: float) -> float:
        """The latency in ms that so many percent of the requests do not exceed; 0 without requests."""
        wanted = math.ceil(self.requests * percent / 100)
        for latency in sorted(self.latencies):
            wanted -= self.latencies[latency]
            if wanted <= 0:
                return latency
        return 0.0


class Metrics:
    """Counts by endpoint and minute. `now` is the cloud's clock."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._minutes: dict[str, dict[datetime, dict[Dimensions, Tally]]] = {}

    def record(self, endpoint_id: str, dimensions: Dimensions, seconds: float, received: int) -> None:
        """One request that was answered after `seconds`; `received` is its body's size."""
        minute = self._now().astimezone(UTC).replace(second=0, microsecond=0)
        minutes = self._minutes.setdefault(endpoint_id.lower(), {})
        if minute not in minutes:
            for old in [kept for kept in minutes if kept < minute - KEPT]:
                del minutes[old]
            minutes[minute] = {}
        tally = minutes[minute].setdefault(dimensions, Tally())
        milliseconds = seconds * 1000
        tally.add(Tally(1, seconds, received, Counter({_two_digits(milliseconds): 1})))

    def between(self, endpoint_id: str, start: datetime, end: datetime) -> Iterator[tuple[datetime, Dimensions, Tally]]:
        """What was counted in the minutes that begin in [start, end)."""
        for minute, tallies in sorted(self._minutes.get(endpoint_id.lower(), {}).items()):
            if start <= minute < end:
                for dimensions, tally in tallies.items():
                    yield minute, dimensions, tally

    def forget(self, endpoint_id: str) -> None:
        self._minutes.pop(endpoint_id.lower(), None)


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")
