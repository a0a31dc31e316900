"""Why a step failed and what to do: the known errors of the steps and of Azure, found in the error and the log.

The table is `causes.yml` beside this file. Who reads the log, and how it is shown, is `watch.py`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

_TRACEBACK = "Traceback (most recent call last)"
_LAST_LINES = 20


@dataclass(frozen=True)
class Cause:
    """One known error: `what` happened and how to `fix` it; `error` is its short name, `id` its anchor in the docs.

    `steps` are those that can say it (none: any), `others` those of which another cause says it.
    """

    id: str
    error: str
    what: str
    fix: str
    patterns: tuple[re.Pattern[str], ...]
    steps: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    is_weak: bool = False

    def fits(self, step: str, text: str) -> bool:
        """Whether this text of this step means the cause; a step that is not known fits every cause."""
        name = step.lower().replace(" ", "_")
        here = not self.steps or not name or any(part in name for part in self.steps)
        here = here and not any(part in name for part in self.others)
        return here and any(pattern.search(text) for pattern in self.patterns)


def explain(step: str, lines: Sequence[str], message: str) -> Cause | None:
    """The known cause behind a failed step's error message and the last lines of its log; None when it is not known.

    The message is looked at first, then the newest line of the log. `step` is the step's name. A warning that a step
    has outlived is no cause: of the log only what may be its end counts.
    """
    for weak in (False, True):
        for text in _texts(lines, message):
            for cause in causes():
                if cause.is_weak == weak and cause.fits(step, text):
                    return cause
    return None


@cache
def causes() -> tuple[Cause, ...]:
    """All of them, in the order of the table."""
    import yaml

    table: list[dict[str, Any]] = yaml.safe_load(files("tunestack.jobs").joinpath("causes.yml").read_text("utf-8"))
    return tuple(
        Cause(
            entry["id"],
            entry["error"],
            entry["what"],
            entry["fix"],
            tuple(re.compile(pattern, re.IGNORECASE) for pattern in entry["when"]),
            tuple(entry.get("where", ())),
            tuple(entry.get("elsewhere", ())),
            bool(entry.get("weak")),
        )
        for entry in table
    )


def _texts(lines: Sequence[str], message: str) -> Iterator[str]:
    """What to look at, the most telling first: a message may carry the last lines of the log behind its first."""
    first, *more = message.splitlines() or [""]
    yield first
    yield from reversed(more)
    yield from reversed(lines[_end(lines) :])


def _end(lines: Sequence[str]) -> int:
    """Where the end of a log begins: at its first traceback, else with its last lines."""
    tracebacks = (place for place, line in enumerate(lines) if _TRACEBACK in line)
    return next(tracebacks, max(len(lines) - _LAST_LINES, 0))
