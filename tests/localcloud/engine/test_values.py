"""Property values: what goes out comes back, and secrets stay secret."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.engine import values
from localcloud.engine.values import UNKNOWN, Secret, UnsupportedValueError

leaves = st.one_of(
    st.booleans(),
    st.integers(min_value=-(2**50), max_value=2**50),
    st.text(max_size=20).filter(lambda text: text not in values.UNKNOWN_STRINGS),
    st.just(UNKNOWN),
)
names = st.text(min_size=1, max_size=8).filter(lambda text: text != values.SIGNATURE)
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3), inner.map(Secret)),
    max_leaves=12,
)


@given(st.dictionaries(names, trees, max_size=4))
def test_a_value_read_back_from_the_wire_is_the_value_written(tree: dict[str, Any]) -> None:
    assert values.read(values.write(tree)) == tree


@given(st.dictionaries(names, trees, max_size=4))
def test_a_plain_value_holds_no_secret(tree: dict[str, Any]) -> None:
    assert not values.holds_secret(values.plain(tree))


@given(st.dictionaries(names, trees, max_size=4))
def test_marking_a_plain_value_like_its_original_keeps_every_secret(tree: dict[str, Any]) -> None:
    marked = values.mark_secrets(values.plain(tree), tree)
    assert values.holds_secret(marked) == values.holds_secret(tree)
    assert values.plain(marked) == values.plain(tree)


def test_a_null_is_left_out_and_a_whole_number_is_an_int() -> None:
    read = values.read(values.write({"gone": None, "count": 3.0, "half": 0.5}))
    assert read == {"count": 3, "half": 0.5}
    assert isinstance(read["count"], int)


def test_a_secret_whose_form_changed_hides_the_whole() -> None:
    assert values.mark_secrets({"a": 1}, [Secret("k")]) == Secret({"a": 1})


def test_an_asset_is_refused() -> None:
    asset = {values.SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "text": "x"}
    with pytest.raises(UnsupportedValueError, match="assets"):
        values.read(values.write({"source": asset}))
