"""Where a watch is shown, on stderr: one live block on a terminal, else a line per change and a heartbeat, for CI."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from tunestack.jobs.job_view import StepView, View
from tunestack.jobs.training_progress import duration

if TYPE_CHECKING:
    from rich.live import Live

HEARTBEAT_SECONDS = 60.0
_SILENCE_SECONDS = 20.0
_TABLE_COLUMNS = 76  # in fewer the table would break the names of the steps


class Screen(Protocol):
    """Shows looks at one job, and says what is worth a line of its own."""

    def show(self, view: View) -> None: ...

    def say(self, text: str) -> None: ...

    def close(self) -> None: ...


def screen(now: Callable[[], float]) -> Screen:
    """The one that fits where stderr goes; a dumb terminal cannot be drawn over."""
    can_draw = sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    return Block(now) if can_draw else Lines(now)


class Lines:
    """For a log: a line when a state changes, and one a minute that says how far it is."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._headline: tuple[str, ...] = ()
        self._said = 0.0

    def show(self, view: View) -> None:
        now = self._now()
        if view.headline != self._headline or now - self._said >= HEARTBEAT_SECONDS:
            print(line(view), file=sys.stderr, flush=True)
            self._headline, self._said = view.headline, now

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Every line stands already."""


class Block:
    """For a terminal: a table of the steps that is drawn anew; what is said stands above it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._live: Live | None = None
        self._view: View | None = None
        self._shown = 0.0

    def show(self, view: View) -> None:
        from rich.console import Console
        from rich.live import Live

        self._view, self._shown = view, self._now()
        if self._live is None:
            console = Console(file=sys.stderr, markup=False, emoji=False, highlight=False)  # names are names
            self._live = Live(console=console, get_renderable=self._render, refresh_per_second=1)
            self._live.start()
        self._live.refresh()

    def say(self, text: str) -> None:
        if self._live is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._live.console.print(text)

    def close(self) -> None:
        """Leave the block as it stands, so that what follows begins on its own."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _render(self) -> Any:
        if self._view is None or self._live is None:
            return ""
        return block(self._view, max(self._now() - self._shown, 0.0), self._live.console.width)


def block(view: View, since: float = 0.0, width: int = 100) -> Any:
    """The look as a rich renderable for so many columns; `since` is the seconds by which its times have grown."""
    from rich.console import Group
    from rich.text import Text

    title = Text(f"job {view.job}: {view.status}", style="bold")
    steps = [_grown(step, since) for step in view.steps]
    listed = [_table(steps)] if width >= _TABLE_COLUMNS else [Text(step.sentence) for step in steps]
    below = [", ".join(view.training.parts)] if view.training else []
    below.append(", ".join(_foot(view, since)))
    return Group(title, *listed, *(Text(each) for each in below if each))


def _grown(step: StepView, since: float) -> StepView:
    queued = step.queued if step.ran is not None or step.queued is None else step.queued + since
    return replace(step, queued=queued, ran=step.ran + since if step.is_active and step.ran is not None else step.ran)


def _table(steps: Sequence[StepView]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("step", "state", "in the queue", "running"):
        table.add_column(column, overflow="fold")
    for step in steps:
        times = ("" if seconds is None else duration(seconds) for seconds in (step.queued, step.ran))
        table.add_row(step.name, step.state, *times)
    return table


def line(view: View) -> str:
    """The look in one line."""
    parts = [f"{view.done} of {len(view.steps)} steps done"] if view.steps else []
    parts += [step.sentence for step in view.steps if _is_told(step)]
    parts += [", ".join(view.training.parts)] if view.training else []
    parts += [str(view.cost)] if view.cost and (view.cost.dollars or view.cost.unknown) else []
    parts += [view.note] if view.note else []
    return f"{_clock(view.elapsed)}  job {view.job}: {view.status}" + "".join(f"; {part}" for part in parts)


def _clock(elapsed: float) -> str:
    minutes, seconds = divmod(max(int(elapsed), 0), 60)
    hours = f"{minutes // 60}:" if minutes >= 60 else ""
    return f"{hours}{minutes % 60:02d}:{seconds:02d}"


def _is_told(step: StepView) -> bool:
    """Steps that are done or not yet due are counted, not told."""
    return step.state != "Completed" and (step.ran is not None or step.queued is not None)


def _foot(view: View, since: float) -> Iterator[str]:
    yield f"{duration(view.elapsed + since)} watched"
    if view.cost is not None:
        yield f"{view.cost} (an estimate)"
    if view.heard + since > _SILENCE_SECONDS:
        yield f"nothing heard for {duration(view.heard + since)}"
    else:
        yield f"heard {duration(view.heard + since)} ago"
    if view.note:
        yield view.note
