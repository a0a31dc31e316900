"""A file elsewhere of which only some ranges are here: a sparse file on disk and a journal of what it holds.

What a killed run fetched is there for the next one. A read outside of what is here fetches it first, so that nobody
ever sees the zeros between.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable
from pathlib import Path

from tunestack.errors import CloudError

# No request asks for more: it is what one holds in memory, and what one loses when the connection breaks.
PIECE = 8 * 2**20


class RangedFile:
    """Reads like a file opened for bytes; `fetched` counts the bytes that came over the network in this run."""

    mode = "rb"

    def __init__(self, path: Path, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self.path, self.size, self.fetched = path, size, 0
        self._fetch, self._at, self._lock = fetch, 0, threading.Lock()
        self._here: list[tuple[int, int]] = []
        self._journal = path.with_name(path.name + ".ranges")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size == size:
                self._load()
            else:
                self._journal.unlink(missing_ok=True)
                with path.open("wb") as made:
                    made.truncate(size)
            self._file = os.open(path, os.O_RDWR)
        except OSError as error:
            raise self._unwritable(error) from error
        self.closed = False

    def need(self, ranges: Iterable[tuple[int, int]], is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Fetch what of these ranges is not here, in pieces; each piece is kept as it comes, the last one wanted."""
        for start, end in ranges:
            for gap_start, gap_end in self._gaps(start, min(end, self.size)):
                for at in range(gap_start, gap_end, PIECE):
                    if not is_wanted():
                        return
                    self._keep(at, min(at + PIECE, gap_end))

    def forget(self) -> None:
        """What is here is not what it should be: the next run fetches it anew."""
        self._journal.unlink(missing_ok=True)

    def read(self, count: int = -1) -> bytes:
        end = self.size if count is None or count < 0 else min(self._at + count, self.size)
        self.need([(self._at, end)])
        found = os.pread(self._file, max(end - self._at, 0), self._at)
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        if not self.closed:
            os.close(self._file)
            self.closed = True

    def _gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        with self._lock:
            gaps, at = [], start
            for here_start, here_end in self._here[max(bisect_right(self._here, (start, 0)) - 1, 0) :]:
                if here_start >= end:
                    break
                if here_end <= at:
                    continue
                if here_start > at:
                    gaps.append((at, here_start))
                at = max(at, here_end)
            if at < end:
                gaps.append((at, end))
            return gaps

    def _keep(self, start: int, end: int) -> None:
        content = self._fetch(start, end)
        try:
            self._write(content, start)
            with self._journal.open("a") as journal:
                journal.write(f"{start} {end}\n")
        except OSError as error:
            raise self._unwritable(error) from error
        with self._lock:
            self.fetched += end - start
            self._add(start, end)

    def _write(self, content: bytes, at: int) -> None:
        """All of it: when the disk becomes full, the system writes the beginning and calls that no error."""
        left = memoryview(content)
        while left:
            written = os.pwrite(self._file, left, at)
            left, at = left[written:], at + written

    def _unwritable(self, error: OSError) -> CloudError:
        return CloudError(
            f"'{self.path.parent}' cannot be written: {error.strerror}",
            fix="Make room there, or set TUNESTACK_CACHE to a folder elsewhere; run this again, and it goes on",
        )

    def _load(self) -> None:
        """What the journal says; a last line that was cut off says nothing."""
        if not self._journal.exists():
            return
        for line in self._journal.read_text().splitlines(keepends=True):
            numbers = line.split()
            if line.endswith("\n") and len(numbers) == 2 and all(number.isdigit() for number in numbers):
                start, end = int(numbers[0]), int(numbers[1])
                if start < end <= self.size:
                    self._add(start, end)

    def _add(self, start: int, end: int) -> None:
        """Remember a range, joined with those that it touches."""
        touching = [(low, high) for low, high in self._here if low <= end and high >= start]
        for item in touching:
            self._here.remove(item)
        insort(
            self._here,
            (min([start, *(low for low, _ in touching)]), max([end, *(high for _, high in touching)])),
        )
