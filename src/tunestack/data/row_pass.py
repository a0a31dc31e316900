"""One pass over the rows of a source: each is checked, and then written into its split or rejected with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tunestack.data import row_checks, row_lines
from tunestack.data.data_folder import SPLITS
from tunestack.data.line_file import LineFile
from tunestack.data.rejects import Rejects
from tunestack.data.row_checks import Checked
from tunestack.data.row_filter import RowFilter
from tunestack.data.row_lines import Lines
from tunestack.data.row_statistics import RowStatistics
from tunestack.data.token_counts import TokenCounts
from tunestack.sources.batches import POOL, Batch, Role, SourceTables

if TYPE_CHECKING:
    import pyarrow

# The test split is read first: what stands in it is not trained on.
_ORDER: tuple[Role, ...] = (POOL, "test", "sample", "train")
# Parts of batches that are checked ahead, in threads, while one is written, and the rows of a part: small enough that
# their objects stay in the processor's cache, large enough that the checks' fixed costs do not count.
_AHEAD, _PART = 2, 256

Step = Callable[[int], None]  # is told how many rows of the source were dealt with


@dataclass
class RowPass:
    """`read` counts rows of the source, good and bad; the rest is what was found on the way."""

    chosen: RowFilter
    tokens: TokenCounts
    files: Mapping[str, LineFile]
    rejects: Rejects
    statistics: RowStatistics = field(default_factory=RowStatistics)
    read: int = 0

    def run(self, tables: SourceTables, step: Step) -> None:
        with ThreadPoolExecutor(_AHEAD, thread_name_prefix="checks") as pool:
            for role in (role for role in _ORDER if role in tables.roles):
                for part in _ahead(pool, tables.batches(role), answered=role != "sample"):
                    self._part(role, part)
                    self.read += part.rows
                    step(part.rows)

    def _part(self, role: Role, part: _Part) -> None:
        where = "train" if role == POOL else str(role)
        for bad in part.bad:
            self.rejects.add(where, bad.place, bad.reason, bad.raw)
        found = row_lines.of_table(part.table)
        good = list(range(part.table.num_rows))
        if not part.checked.is_clean:
            good = [index for index, reason in enumerate(part.checked.reasons) if reason is None]
            for index, reason in enumerate(part.checked.reasons):
                if reason is not None:
                    self.rejects.add(where, part.place(index), reason, bytes(found.whole[index]))
        self._sort(role, part, good, found)

    def _sort(self, role: Role, part: _Part, good: Sequence[int], found: Lines) -> None:
        """Rows that are good in themselves, to their splits; `good` are their indexes in the part."""
        lines = [found.whole[index] for index in good]
        asked = [part.checked.questions[index] for index in good]
        decided = self.chosen.decide(role, asked, [found.conversations[index] for index in good])
        too_long = self.tokens.too_long(lines, [reason is None for reason in decided.reasons])
        kept: dict[str, list[int]] = {split: [] for split in SPLITS}
        for at, (split, reason) in enumerate(zip(decided.splits, decided.reasons, strict=True)):
            reason = reason or too_long.get(at)
            if reason is None:
                kept[split].append(at)
            else:
                self.rejects.add(split, part.place(good[at]), reason, bytes(lines[at]))
        self.chosen.remember(decided, kept["test"])
        for split, chosen in kept.items():
            kept_lines, checked = [lines[at] for at in chosen], part.checked
            self.files[split].write(kept_lines)
            self.tokens.offer(split, kept_lines)
            indexes = [good[at] for at in chosen]
            turns = [checked.turns[index] for index in indexes]
            self.statistics.add(split, [checked.sizes[index] for index in indexes], turns)
            for index in indexes if checked.leaks else ():
                for kind in checked.leaks.get(index, ()):
                    self.statistics.leaked(kind, part.place(index))


@dataclass(frozen=True)
class _Part:
    """Rows `begin` and following of a batch, with what is wrong in them."""

    batch: Batch
    begin: int
    table: pyarrow.RecordBatch
    checked: Checked

    @property
    def bad(self) -> Sequence[Any]:
        """The batch's rows that could not be mapped, with its first part."""
        return () if self.begin else self.batch.bad

    @property
    def rows(self) -> int:
        return int(self.table.num_rows) + len(self.bad)

    def place(self, index: int) -> str:
        return self.batch.place(self.begin + index)


def _ahead(pool: ThreadPoolExecutor, batches: Iterator[Batch], *, answered: bool) -> Iterator[_Part]:
    """Parts of batches, in their order; some are checked while one is dealt with."""
    waiting: list[tuple[Batch, int, pyarrow.RecordBatch, Future[Checked]]] = []

    def first() -> _Part:
        batch, begin, table, checked = waiting.pop(0)
        return _Part(batch, begin, table, checked.result())

    for batch in batches:
        for begin in range(0, max(batch.table.num_rows, 1), _PART):
            table = batch.table.slice(begin, _PART)
            waiting.append((batch, begin, table, pool.submit(row_checks.check, table, answered=answered)))
            if len(waiting) > _AHEAD:
                yield first()
    while waiting:
        yield first()
