"""Sampling: as many rows as `datasets` takes, one choice for one seed, every row as likely, and none twice."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tunestack.sources import sampling
from tunestack.sources.batches import Bad
from tunestack.sources.chunks import Chunk

SIZES = some.lists(some.integers(0, 9), max_size=12)


def chunks(total: int, size: int = 7) -> list[Chunk]:
    """Every fifth row is bad."""
    found = []
    for start in range(1, total + 1, size):
        numbers = range(start, min(start + size, total + 1))
        good = [number for number in numbers if number % 5]
        bad = [Bad(f"here line {number}", "bad", None) for number in numbers if number % 5 == 0]
        found.append(Chunk("here line", good, good, None, bad))
    return found


def numbers(found) -> list[int]:
    return sorted(
        number for chunk in found for number in [*chunk.numbers, *(int(bad.place.split()[-1]) for bad in chunk.bad)]
    )


@pytest.mark.parametrize(
    ("total", "rows"), [(207_865, 10_393), (23_110, 1_156), (256_032, 12_802), (28_304, 1_415), (3, 1), (0, 0)]
)
def test_five_percent_are_the_rows_that_the_walk_through_takes(total, rows):
    assert sampling.share(total, 5) == rows


@given(some.integers(1, 2000), some.floats(0.1, 100))
def test_a_share_is_what_datasets_makes_of_the_same_slice_and_never_nothing(total, percent):
    from datasets.arrow_reader import ReadInstruction

    whole = round(percent)
    if whole:
        instruction = ReadInstruction("train", from_=0, to=whole, unit="%", rounding="closest")
        (absolute,) = instruction.to_absolute({"train": total})
        assert abs(sampling.share(total, whole) - max(absolute.to, 1)) <= (1 if (total * whole) % 100 == 50 else 0)
    assert 1 <= sampling.share(total, percent) <= total


@given(SIZES, some.integers(0, 60))
def test_the_head_has_the_rows_asked_for_and_leaves_no_gap(sizes, rows):
    parts = sampling.head(sizes, rows)
    assert sum(part.rows for part in parts) == min(rows, sum(sizes))
    assert all(part.rows == sizes[part.group] for part in parts[:-1])
    assert [part.group for part in parts] == [at for at, size in enumerate(sizes) if size][: len(parts)]


@given(SIZES, some.integers(0, 60), some.text(max_size=3))
def test_seeded_row_groups_have_the_rows_asked_for_and_one_choice_per_seed(sizes, rows, seed):
    parts = sampling.seeded_groups(sizes, rows, seed)
    assert parts == sampling.seeded_groups(sizes, rows, seed)
    assert sum(part.rows for part in parts) == min(rows, sum(sizes))
    assert all(part.rows <= sizes[part.group] for part in parts)
    groups = [part.group for part in parts]
    assert groups == sorted(set(groups))


@given(some.integers(0, 60), some.integers(0, 70))
def test_the_first_rows_are_those_of_the_file_bad_ones_included(total, rows):
    assert numbers(sampling.first(iter(chunks(total)), rows)) == list(range(1, min(total, rows) + 1))


@given(some.integers(0, 60), some.integers(0, 60), some.text(max_size=3))
def test_single_rows_are_exactly_as_many_as_asked_for_and_the_same_for_a_seed(total, rows, seed):
    found = numbers(sampling.single(iter(chunks(total)), total, min(rows, total), seed))
    assert len(found) == len(set(found)) == min(rows, total)
    assert found == numbers(sampling.single(iter(chunks(total)), total, min(rows, total), seed))


def test_every_row_is_as_likely_as_every_other():
    drawn = Counter(
        number for seed in range(2000) for number in numbers(sampling.single(iter(chunks(20)), 20, 5, str(seed)))
    )
    assert len(drawn) == 20
    assert all(420 < count < 580 for count in drawn.values())  # 500 expected, 19.4 the standard deviation


def test_the_choice_of_a_seed_is_the_one_of_last_year():
    """Whoever changes how rows are drawn changes what every recipe with a seed means."""
    assert numbers(sampling.single(iter(chunks(20)), 20, 5, "42 train")) == [2, 3, 7, 14, 18]
    assert [part.group for part in sampling.seeded_groups([10] * 20, 45, "42 train")] == [2, 10, 12, 13, 19]
