"""How many tokens the rows have: counted with the model's tokenizer, in full or on a sample, or estimated, and said so.

A sample is drawn by hash, so that the same rows give the same figures; an estimate never drops a row.
"""

from __future__ import annotations

import heapq
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from tunestack.data.row_statistics import RowStatistics

if TYPE_CHECKING:
    from tunestack.data.chat_tokenizer import ChatTokenizer

# What English text has with vocabularies of 32,000 to 200,000 entries is 3.5 to 5; the lower end counts as a warning.
BYTES_PER_TOKEN = 4.0
_REFUSED = "refused by the chat template"
_TOO_LONG = "too long"
_BINS = [0, *(2**power for power in range(4, 18))]


@dataclass
class TokenCounts:
    """`maximum` is `data.max_tokens` of the recipe; `tokenizer` is None where the model's cannot be had.

    Of train `sample_bytes` are kept to be counted: all of a small data set, a few hundred rows of a large one.
    """

    tokenizer: ChatTokenizer | None = None
    maximum: int | None = None
    sample_bytes: int = 2 * 2**20
    estimated_too_long: int = 0
    _sample: list[tuple[int, int, bytes]] = field(default_factory=list)
    _sampled: int = 0
    _bytes: int = 0
    _evicted: bool = False

    @property
    def name(self) -> str:
        """The tokenizer's, empty where there is none."""
        return self.tokenizer.name if self.tokenizer else ""

    def too_long(self, lines: Mapping[int, memoryview]) -> dict[int, str]:
        """Which of the rows to leave out, with the reason; none by an estimate."""
        if self.maximum is None:
            return {}
        rows = {index: orjson.loads(line)["messages"] for index, line in lines.items()}
        if self.tokenizer is None:
            sizes = (sum(len(message["content"].encode()) for message in messages) for messages in rows.values())
            self.estimated_too_long += sum(size / BYTES_PER_TOKEN > self.maximum for size in sizes)
            return {}
        texts = {index: self.tokenizer.template.rendered(messages) for index, messages in rows.items()}
        found = {index: _REFUSED for index, text in texts.items() if text is None}
        # No token is shorter than a byte, but for one that some tokenizers put in front.
        long = {i: text for i, text in texts.items() if text is not None and len(text.encode()) >= self.maximum}
        lengths = self.tokenizer.lengths(list(long.values()))
        return found | {i: _TOO_LONG for i, length in zip(long, lengths, strict=True) if length > self.maximum}

    def offer(self, split: str, lines: Iterable[memoryview]) -> None:
        """Rows that were kept; some of train are remembered."""
        if split != "train" or self.tokenizer is None:
            return
        for line in lines:
            self._sampled += 1
            # A copy: a view would keep the lines around it as well.
            heapq.heappush(self._sample, (-zlib.crc32(line), self._sampled, bytes(line)))
            self._bytes += len(line)
            while self._bytes > self.sample_bytes and len(self._sample) > 1:
                self._bytes -= len(heapq.heappop(self._sample)[2])
                self._evicted = True

    def record(self, statistics: RowStatistics) -> tuple[dict[str, Any], dict[str, Any]]:
        """The card's `tokens` and `lengths`."""
        if self.tokenizer is None:
            return self._estimated(statistics)
        rows = [orjson.loads(line)["messages"] for _, _, line in sorted(self._sample, key=lambda kept: kept[1])]
        tokenized = self.tokenizer.encode(rows)
        pairs = [(row, encoded) for row, encoded in zip(rows, tokenized, strict=True) if encoded is not None]
        found = [encoded for _, encoded in pairs]
        sizes = sum(len(message["content"].encode()) for row, _ in pairs for message in row)
        tokens = sum(len(encoded.ids) for encoded in found)
        factor = tokens / sizes if sizes and tokens else 1 / BYTES_PER_TOKEN
        trained = statistics.lengths["train"]
        is_marked = self.tokenizer.marks is not None
        share = sum(encoded.answer_tokens for encoded in found) / max(tokens, 1)
        counted: dict[str, Any] = {
            split: round(lengths.total * factor) for split, lengths in statistics.lengths.items() if split != "train"
        }
        whole = tokens if not self._evicted else round(trained.total * factor)
        lengths = Counter(len(encoded.ids) for encoded in found) if not self._evicted else trained.scaled(factor)
        return {
            "train": whole,
            **counted,
            "trained_on": round(whole * share) if is_marked else None,
            "exact": not self._evicted,
            "how": _how(self._evicted, len(rows), trained.rows),
            "tokenizer": self.tokenizer.name,
            "limit": self.tokenizer.limit,
            "sampled_rows": len(rows),
            "cut_rows": sum(encoded.is_cut for encoded in found),
            "masked_rows": sum(not encoded.answer_tokens for encoded in found) if is_marked else None,
            "refused_rows": len(tokenized) - len(found),
        }, _lengths(lengths, exact=not self._evicted)

    def _estimated(self, statistics: RowStatistics) -> tuple[dict[str, Any], dict[str, Any]]:
        counted = {split: round(found.total / BYTES_PER_TOKEN) for split, found in statistics.lengths.items()}
        record: dict[str, Any] = {
            **counted,
            "exact": False,
            "how": f"estimated: {BYTES_PER_TOKEN:g} bytes of text a token, no tokenizer was at hand",
            "tokenizer": None,
            "limit": None,
        }
        if self.maximum is not None:
            record["maybe_too_long_rows"] = self.estimated_too_long
        return record, _lengths(statistics.lengths["train"].scaled(1 / BYTES_PER_TOKEN), exact=False)


def _how(is_sampled: bool, sampled: int, rows: int) -> str:
    if not is_sampled:
        return f"counted: all {rows:,} rows of train; the other splits follow by their bytes"
    return f"from a sample: {sampled:,} of {rows:,} rows of train were counted; the rest follows by its bytes"


def _lengths(found: Counter[int], *, exact: bool) -> dict[str, Any]:
    """Tokens per row of train: a histogram by powers of two, and quantiles."""
    total, ordered = sum(found.values()), sorted(found)
    bins = [
        {"from": low, "below": high, "rows": sum(found[size] for size in ordered if low <= size < high)}
        for low, high in zip(_BINS, [*_BINS[1:], 2**40], strict=True)
    ]
    last = max((index for index, part in enumerate(bins) if part["rows"]), default=0)
    first = min((index for index, part in enumerate(bins) if part["rows"]), default=0)
    return {
        "unit": "tokens",
        "exact": exact,
        "mean": round(sum(size * rows for size, rows in found.items()) / total, 1) if total else 0,
        "median": _quantile(found, 0.5),
        "p95": _quantile(found, 0.95),
        "longest": ordered[-1] if ordered else 0,
        "histogram": bins[first : last + 1],
    }


def _quantile(found: Counter[int], share: float) -> int:
    left = share * sum(found.values())
    for size in sorted(found):
        left -= found[size]
        if left <= 0:
            return size
    return 0
