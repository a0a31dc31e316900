"""A file of lines, written and hashed in a thread of its own while the next lines are being made."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from queue import SimpleQueue

# Bytes that may wait to be written, after which the writer is waited for.
_WAITING = 16 * 2**20


class LineFile:
    """`rows` are the lines written; `sha256`, that of the file's bytes, holds after `close`, where it is `hashed`."""

    def __init__(self, file: Path, *, hashed: bool = True) -> None:
        self.rows = 0
        self._file = file.open("wb")
        self._gathered = BytesIO()
        self._hashed, self._digest = hashed, hashlib.sha256()
        self._pieces: SimpleQueue[Sequence[memoryview] | None] = SimpleQueue()
        self._waiting, self._drained = 0, threading.Condition()
        self._failed: Exception | None = None
        self._writer = threading.Thread(target=self._run, name=f"write {file.name}", daemon=True)
        self._writer.start()

    def write(self, lines: Sequence[memoryview], rows: int) -> None:
        """Append lines with their ends, `rows` in all. What failed to be written is raised here or by `close`."""
        if not lines:
            return
        if self._failed:
            raise self._failed
        self.rows += rows
        with self._drained:
            self._drained.wait_for(lambda: self._waiting < _WAITING)
            self._waiting += sum(map(len, lines))
        self._pieces.put(lines)

    def _run(self) -> None:
        while (lines := self._pieces.get()) is not None:
            try:
                if not self._failed:
                    self._append(lines)
            except Exception as error:  # a thread that ended would leave `write` waiting for ever
                self._failed = error
            with self._drained:
                self._waiting -= sum(map(len, lines))
                self._drained.notify()

    def _append(self, lines: Sequence[memoryview]) -> None:
        if len(lines) == 1:
            self._put(lines[0])
            return
        # Gathered first: for each line of its own the threads would fight for the interpreter's lock twice.
        self._gathered.seek(0)
        self._gathered.writelines(lines)
        with self._gathered.getbuffer() as whole, whole[: self._gathered.tell()] as text:
            self._put(text)

    def _put(self, text: memoryview) -> None:
        self._file.write(text)
        if self._hashed:
            self._digest.update(text)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def close(self) -> None:
        self._pieces.put(None)
        self._writer.join()
        try:
            self._file.close()
        except OSError as error:
            self._failed = self._failed or error
        if self._failed:
            raise self._failed
