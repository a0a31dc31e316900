"""A file of lines, written and hashed in a thread of its own while the next lines are being made."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

# Pieces that may wait to be written: some MB, after which the writer is waited for.
_WAITING = 4


class LineFile:
    """`rows` are the lines written; `sha256`, that of the file's bytes, holds after `close`, where it is `hashed`."""

    def __init__(self, file: Path, *, hashed: bool = True) -> None:
        self.rows = 0
        self._hashed = hashed
        self._file = file.open("wb", buffering=2**20)
        self._digest = hashlib.sha256()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="lines")
        self._pieces: deque[Future[None]] = deque()

    def write(self, lines: Sequence[bytes]) -> None:
        """Append lines, each with its newline. What failed to be written is raised here or by `close`."""
        if not lines:
            return
        self.rows += len(lines)
        self._pieces.append(self._writer.submit(self._put, b"".join(lines)))
        while self._pieces and (len(self._pieces) > _WAITING or self._pieces[0].done()):
            self._pieces.popleft().result()

    def _put(self, content: bytes) -> None:
        self._file.write(content)
        if self._hashed:
            self._digest.update(content)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def close(self) -> None:
        try:
            self._writer.shutdown()
            for piece in self._pieces:
                piece.result()
        finally:
            self._file.close()
