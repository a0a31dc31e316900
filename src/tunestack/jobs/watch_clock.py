"""Time as a watcher counts it: by the wall clock, with the hours that a laptop slept taken out of every budget.

The wall clock, since a monotonic one stands still in sleep on some systems and runs on in others. A jump is what a
pause or a look took longer than it can have taken.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from tunestack.errors import EndedBadly
from tunestack.jobs.training_progress import duration

# A look asks a few times, each answered or given up within a minute.
_LONGEST_LOOK = 600.0
_LONGEST_OVERSLEEP = 60.0


@dataclass(frozen=True)
class Waiting:
    """How to wait, in seconds; None for as long as it takes. `pause`, `now` and `chance` (0 to 1) are for tests.

    `timeout` is for the time that something runs; `queue_timeout` for the time in the queue, as long as `timeout`
    where it is None.
    """

    timeout: float | None = None
    pause: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    queue_timeout: float | None = None
    chance: Callable[[], float] = random.random

    @classmethod
    def of(cls, options: argparse.Namespace) -> Waiting:
        """What `--timeout` and `--queue-timeout` ask for, which are minutes."""
        limits = (getattr(options, name, None) for name in ("timeout", "queue_timeout"))
        running, queued = (minutes * 60 if minutes else None for minutes in limits)
        return cls(running, queue_timeout=queued)


class Clock:
    """Counts what has been waited, in the queue and running, without the jumps."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._marked = waiting.now()
        self.queued = self.running = self.awake = 0.0

    def looked(self, *, in_queue: bool) -> float:
        """Count the time since the last mark for the state that was seen; how long a jump in it was, else 0."""
        return self._count(0.0, _LONGEST_LOOK, in_queue)

    def pause(self, seconds: float, *, in_queue: bool) -> float:
        """Pause, and count it; how long a jump in it was, else 0."""
        self._waiting.pause(seconds)
        return self._count(seconds, seconds + _LONGEST_OVERSLEEP, in_queue)

    def _count(self, expected: float, longest: float, in_queue: bool) -> float:
        now = self._waiting.now()
        passed, self._marked = now - self._marked, now
        counted = passed if 0 <= passed <= longest else expected
        if in_queue:
            self.queued += counted
        else:
            self.running += counted
        self.awake += counted
        return passed - counted

    def check(self, job: str, attach: str) -> None:
        """EndedBadly when a budget is used up; the job itself is left alone."""
        waiting = self._waiting
        in_queue = waiting.queue_timeout if waiting.queue_timeout is not None else waiting.timeout
        for limit, spent, how in (
            (waiting.timeout, self.running, "not ended after {} of running"),
            (in_queue, self.queued, "not started after {} in the queue"),
        ):
            if limit is not None and spent > limit:
                raise EndedBadly(
                    f"job '{job}' has {how.format(duration(limit))}; it goes on", fix=f"Watch it again with: {attach}"
                )
