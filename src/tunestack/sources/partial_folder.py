"""Where what was fetched waits for the end of a run, or for the run that goes on with it."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cached_property
from pathlib import Path
from typing import IO

from tunestack.errors import CloudError


class PartialFolder:
    """Where ranges wait for the end of a run, or for the run that goes on with them; one run at a time has it."""

    def __init__(self, name: str, commit: str) -> None:
        root = Path(os.environ.get("TUNESTACK_CACHE") or _user_cache() / "tunestack") / "downloads"
        self.path = root / f"{name.replace('/', '--')}@{commit}"
        self._lock: IO[str] | None = None

    @cached_property
    def opened(self) -> Path:
        import fcntl

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / "lock").open("w")
        except OSError as error:
            raise CloudError(
                f"'{self.path}' cannot be made: {error.strerror}", fix="Set TUNESTACK_CACHE to a folder elsewhere"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another run reads the same commit: this one keeps to itself
            lock.close()
            self.path = Path(tempfile.mkdtemp(prefix=f"{self.path.name}.", dir=self.path.parent))
            return self.path
        self._lock = lock
        return self.path

    def close(self, is_done: bool) -> None:
        """Let go of the folder, and delete it where all is done or where no other run would find it."""
        is_own = self._lock is None
        if (is_done or is_own) and "opened" in self.__dict__:
            shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
