"""Rows that were left out: each with its place, its reason and its content in one file, counted by reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import IO, Any

import orjson

from tunestack.data.row_filter import COMPARED

EXAMPLES = 3
_SHOWN = 120


class Rejects:
    """Writes `{"split","place","reason","row"}` lines; keeps counts and the first examples by reason.

    What differs from row to row stands behind a reason's colon and is not counted by: reasons are few.
    """

    def __init__(self, file: Path) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[dict[str, str]]] = {}
        self._file: IO[bytes] = file.open("wb")

    def add(self, split: str, place: str, reason: str, row: bytes | Any) -> None:
        """Leave a row out; `row` is its line, or what stood in the source where no row could be made of it."""
        raw = orjson.Fragment(row.rstrip(b"\n")) if isinstance(row, bytes) else row
        line = {"split": split, "place": place, "reason": reason, "row": raw}
        content = orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS)
        self._file.write(content + b"\n")
        kind = reason.partition(":")[0]
        self.counts[kind] += 1
        found = self.examples.setdefault(kind, [])
        if len(found) < EXAMPLES:
            found.append({"place": place, "text": shortened(row)})

    @property
    def wrong(self) -> int:
        """Rows left out for a fault of their own, not for standing twice."""
        return sum(count for reason, count in self.counts.items() if reason not in COMPARED)

    @property
    def record(self) -> list[dict[str, Any]]:
        """Reasons with their counts and examples, the most frequent first."""
        ordered = sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0]))
        return [{"reason": reason, "rows": count, "examples": self.examples[reason]} for reason, count in ordered]

    def close(self) -> None:
        self._file.close()


def shortened(row: bytes | Any) -> str:
    """The beginning of a row, on one line."""
    text = " ".join(str(orjson.loads(row)["prompt"] if isinstance(row, bytes) else row).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
