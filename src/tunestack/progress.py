"""A line on stderr that says that something goes on: elapsed time, state, and what was last heard."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


class Progress:
    """On a terminal one line that is rewritten; elsewhere a line per change, and a heartbeat every half minute."""

    def __init__(self, what: str, now: Callable[[], float] = time.time) -> None:
        self.what, self._now = what, now
        self._began = now()
        self._terminal = sys.stderr.isatty()
        self._last_state, self._last_said, self._shown = "", 0.0, False

    @property
    def elapsed(self) -> float:
        """Seconds by the wall clock: a monotonic one stands still while a laptop sleeps."""
        return self._now() - self._began

    def show(self, state: str, detail: str = "") -> None:
        minutes, seconds = divmod(int(self.elapsed), 60)
        line = f"{minutes:02d}:{seconds:02d}  {self.what}: {state}" + (f"  {detail}" if detail else "")
        if self._terminal:
            print(f"\r\x1b[K{line[:150]}", end="", file=sys.stderr, flush=True)
            self._shown = True
        elif state != self._last_state or self._now() - self._last_said >= 30:
            print(line, file=sys.stderr, flush=True)
            self._last_said = self._now()
        self._last_state = state

    def close(self) -> None:
        """Leave the line as it stands, so that what follows begins on its own."""
        if self._shown:
            print(file=sys.stderr, flush=True)
            self._shown = False
