"""The weighted choice: exact in every window, and the same every time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localcloud.serving.balance import Balance


def test_ten_percent_is_one_in_ten_and_not_the_first() -> None:
    balance = Balance()
    picked = [balance.pick("e", {"blue": 90, "green": 10}) for _ in range(30)]
    for start in (0, 10, 20):
        assert picked[start : start + 10].count("green") == 1
    assert picked[0] == "blue"


@given(st.integers(0, 100), st.integers(0, 100))
def test_a_hundred_requests_are_split_exactly(first: int, second: int) -> None:
    weights = {"a": first, "b": second}
    balance, total = Balance(), first + second
    picked = [balance.pick("e", weights) for _ in range(total)]
    assert (picked.count("a"), picked.count("b")) == (first, second)


def test_no_weight_above_zero_is_nobody() -> None:
    assert Balance().pick("e", {"blue": 0}) is None
    assert Balance().pick("e", {}) is None


def test_new_weights_begin_anew_and_endpoints_do_not_share_a_turn() -> None:
    balance = Balance()
    balance.pick("e", {"blue": 50, "green": 50})
    assert balance.pick("other", {"blue": 50, "green": 50}) == "blue"
    assert balance.pick("e", {"green": 100}) == "green"
    assert balance.pick("e", {"blue": 50, "green": 50}) == "blue"


def test_a_share_of_the_requests_is_spread_evenly() -> None:
    balance = Balance()
    turns = [balance.is_turn("e", 25) for _ in range(40)]
    assert [sum(turns[start : start + 4]) for start in range(0, 40, 4)] == [1] * 10
