"""Leases: what a time is, what a stack allows, and what the tags say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tunestack.deployments import leases
from tunestack.deployments.leases import Lease
from tunestack.errors import UsageError

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "length"),
    [("30m", timedelta(minutes=30)), ("8h", timedelta(hours=8)), ("3d", timedelta(days=3)), ("never", None)],
)
def test_a_lease_is_minutes_hours_days_or_never(text, length) -> None:
    assert leases.length(text) == length


@pytest.mark.parametrize("text", ["", "8", "8 h", "h", "-1h", "1.5h", "8w", "Never", "999999h", "٣h"])
def test_what_is_no_time_is_refused_with_an_example(text) -> None:
    with pytest.raises(UsageError) as refused:
        leases.length(text)
    assert f"lease '{text}' is no time span" in str(refused.value)
    assert "3d, or never" in refused.value.fix


def test_without_a_flag_the_lease_is_the_longest_that_the_stack_allows() -> None:
    assert leases.chosen(None, "24h") == "24h"
    assert leases.chosen(None, "never") == "never"
    assert leases.chosen("1d", "24h") == "1d"


@pytest.mark.parametrize(("asked", "mend"), [("25h", "25h"), ("2d", "48h"), ("never", "never"), ("1441m", "25h")])
def test_a_lease_above_the_cap_is_refused_with_both_ways_out(asked, mend) -> None:
    with pytest.raises(UsageError) as refused:
        leases.chosen(asked, "24h")
    assert f"lease '{asked}' is longer than the stack allows, which is 24h" in str(refused.value)
    assert f"pulumi config set leaseCap {mend}" in refused.value.fix


def test_where_no_stack_says_how_long_the_user_must() -> None:
    with pytest.raises(UsageError) as refused:
        leases.chosen(None, "")
    assert "--lease" in refused.value.fix
    assert leases.chosen("9d", "") == "9d"


def test_a_lease_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="ends before it begins"):
        leases.chosen("0h", "24h")


def test_tags_say_when_a_lease_ends_and_nothing_where_it_does_not() -> None:
    assert leases.tags("8h", NOON) == {"lease": "8h", "lease-until": "2026-11-21T20:00:00Z"}
    assert leases.tags("never", NOON) == {"lease": "never"}


THIS_CENTURY = some.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31), timezones=some.just(UTC))


@given(some.integers(min_value=0, max_value=99_999), some.sampled_from("mhd"), THIS_CENTURY)
def test_what_tags_say_is_what_was_written(count, unit, start) -> None:
    lease, start = f"{count}{unit}", start.replace(microsecond=0)
    read = Lease.read(leases.tags(lease, start))
    assert (read.text, read.until, read.warned) == (lease, start + (leases.length(lease) or timedelta()), None)


@pytest.mark.parametrize("until", ["tomorrow", "", "2026-11-21T20:00:00", "20:00"])
def test_a_tag_that_is_no_instant_is_named_and_never_taken_for_a_lease(until) -> None:
    with pytest.raises(ValueError, match="tag 'lease-until' is"):
        Lease.read({"lease": "8h", "lease-until": until})
