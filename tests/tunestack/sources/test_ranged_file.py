"""A file fetched in ranges: it reads as the whole one, fetches nothing twice, and survives being cut off anywhere."""

from __future__ import annotations

import os
import random

from hypothesis import given, settings
from hypothesis import strategies as some

from tunestack.sources.ranged_file import RangedFile

CONTENT = random.Random(1).randbytes(1000)
PLACES = some.lists(some.tuples(some.integers(0, 999), some.integers(0, 300)), max_size=12)


def opened(folder, fetched: list[tuple[int, int]]) -> RangedFile:
    def fetch(start: int, end: int) -> bytes:
        fetched.append((start, end))
        return CONTENT[start:end]

    return RangedFile(folder / "file", len(CONTENT), fetch)


def read(file: RangedFile, places) -> None:
    for at, count in places:
        file.seek(at)
        assert file.read(count) == CONTENT[at : at + count]


@settings(max_examples=50)
@given(PLACES, PLACES)
def test_every_read_is_that_of_the_whole_file_and_nothing_is_fetched_twice(tmp_path_factory, places, later):
    folder = tmp_path_factory.mktemp("ranged")
    fetched: list[tuple[int, int]] = []
    first = opened(folder, fetched)
    read(first, places)
    first.close()
    again = opened(folder, fetched)  # as the next run does
    read(again, places)
    read(again, later)
    again.close()
    bytes_fetched = [at for start, end in fetched for at in range(start, end)]
    assert len(bytes_fetched) == len(set(bytes_fetched)) == first.fetched + again.fetched
    assert set(bytes_fetched) == {
        at for start, count in places + later for at in range(start, min(start + count, 1000))
    }


@settings(max_examples=50)
@given(PLACES, some.integers(0, 200), PLACES)
def test_a_journal_that_was_cut_off_anywhere_never_gives_bytes_that_are_not_here(tmp_path_factory, places, cut, later):
    folder = tmp_path_factory.mktemp("ranged")
    first = opened(folder, [])
    read(first, places)
    first.close()
    journal = folder / "file.ranges"
    said = journal.read_bytes() if journal.exists() else b""
    journal.write_bytes(said[: max(len(said) - cut, 0)])
    again = opened(folder, [])
    read(again, later)
    again.close()
    last = opened(folder, [])
    read(last, [*places, *later])
    last.close()


def test_a_file_of_another_size_is_begun_anew(tmp_path):
    first = opened(tmp_path, [])
    read(first, [(0, 1000)])
    first.close()
    other = RangedFile(tmp_path / "file", 10, lambda start, end: bytes(end - start))
    assert other.read() == bytes(10)
    assert other.fetched == 10
    other.close()


def test_a_piece_that_the_disk_takes_in_parts_is_whole_for_the_next_run(tmp_path, monkeypatch):
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, content, at: write(file, bytes(content)[:100], at))
    first = opened(tmp_path, [])
    read(first, [(0, 1000)])
    first.close()
    fetched: list[tuple[int, int]] = []
    again = opened(tmp_path, fetched)
    read(again, [(0, 1000)])
    again.close()
    assert not fetched


def test_what_is_wanted_no_more_is_not_fetched_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("tunestack.sources.ranged_file.PIECE", 64)
    fetched: list[tuple[int, int]] = []
    file = opened(tmp_path, fetched)
    file.need([(0, 1000)], lambda: len(fetched) < 3)
    file.close()
    assert len(fetched) == 3


def test_no_request_asks_for_more_than_a_piece(tmp_path, monkeypatch):
    monkeypatch.setattr("tunestack.sources.ranged_file.PIECE", 64)
    fetched: list[tuple[int, int]] = []
    file = opened(tmp_path, fetched)
    read(file, [(3, 997)])
    file.close()
    assert max(end - start for start, end in fetched) == 64
    assert len(fetched) == 16
