"""Which rows train, which validate and which are only copied, for each way of giving the three data inputs.

Cuts are by position, without a shuffle. All rows train only when train, validation and test are all given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localcloud.components.chat_completion.rows import Row


@dataclass(frozen=True)
class Splits:
    """The rows of one run. Test rows are never encoded or scored."""

    train: Sequence[Row]
    validation: Sequence[Row]
    test: Sequence[Row]


def split_rows(train: Sequence[Row], validation: Sequence[Row] | None, test: Sequence[Row] | None) -> Splits:
    """Cut what is missing from the end of the train rows: one fifth of them in all."""
    kept = len(train) * 80 // 100
    if validation is not None and test is not None:
        return Splits(train, validation, test)
    if validation is not None:
        return Splits(train[:kept], validation, train[kept:])
    if test is not None:
        return Splits(train[:kept], train[kept:], test)
    middle = len(train) * 90 // 100
    return Splits(train[:kept], train[kept:middle], train[middle:])
