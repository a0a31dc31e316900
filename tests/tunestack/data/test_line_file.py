"""A file of lines holds what was written, with its hash; what fails in its thread reaches whoever writes."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest

from tunestack.data import line_file
from tunestack.data.line_file import LineFile

LINES = [memoryview(b"%d\n" % number * 50) for number in range(400)]


@pytest.mark.parametrize("at_once", [1, 7, 400])
def test_the_file_holds_the_lines_in_order_and_the_hash_is_the_files(tmp_path: Path, at_once: int) -> None:
    file = LineFile(tmp_path / "some.jsonl")
    for begin in range(0, len(LINES), at_once):
        file.write(LINES[begin : begin + at_once], at_once)
    file.write([], 0)
    file.close()
    content = (tmp_path / "some.jsonl").read_bytes()
    assert content == b"".join(LINES)
    assert file.rows >= len(LINES)
    assert file.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("at_once", [1, 40])
def test_a_full_disk_reaches_whoever_writes_and_nobody_waits_for_ever(monkeypatch, at_once: int) -> None:
    monkeypatch.setattr(line_file, "_WAITING", 10)
    file = LineFile(Path("/dev/full"))
    with pytest.raises(OSError, match="No space left") as told:
        for begin in range(0, len(LINES), at_once):
            file.write(LINES[begin : begin + at_once] * 100, at_once)
        file.close()
    assert told.value.errno == errno.ENOSPC


def test_a_fault_of_the_thread_itself_is_told_too(tmp_path: Path, monkeypatch) -> None:
    def broken(self: LineFile, lines: object) -> None:
        raise MemoryError("no memory to gather in")

    monkeypatch.setattr(LineFile, "_append", broken)
    monkeypatch.setattr(line_file, "_WAITING", 10)
    file = LineFile(tmp_path / "some.jsonl")
    with pytest.raises(MemoryError):
        file.write(LINES, len(LINES))
        file.write(LINES, len(LINES))
        file.close()
