"""One pass over the rows of a source: each is checked, and then written into its split or rejected with the reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from tunestack.data import row_checks, row_lines
from tunestack.data.ahead import ahead
from tunestack.data.data_folder import SPLITS
from tunestack.data.line_file import LineFile
from tunestack.data.rejects import Rejects
from tunestack.data.row_checks import Checked
from tunestack.data.row_filter import RowFilter
from tunestack.data.row_lines import Lines
from tunestack.data.row_statistics import RowStatistics
from tunestack.data.token_counts import TokenCounts
from tunestack.sources.batches import POOL, Batch, Role, SourceTables

# The test split is read first: what stands in it is not trained on.
_ORDER: tuple[Role, ...] = (POOL, "test", "sample", "train")

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
        for role in (role for role in _ORDER if role in tables.roles):
            for seen in ahead(partial(_see, answered=role != "sample"), tables.batches(role)):
                self._batch(role, seen)
                self.read += seen.batch.rows
                step(seen.batch.rows)

    def _batch(self, role: Role, seen: _Seen) -> None:
        where = "train" if role == POOL else str(role)
        for bad in seen.batch.bad:
            self.rejects.add(where, bad.place, bad.reason, bad.raw)
        good = []
        for index, reason in enumerate(seen.checked.reasons):
            if reason is None:
                good.append(index)
            else:
                self.rejects.add(where, seen.batch.place(index), reason, bytes(seen.lines[index]))
        self._sort(role, seen, good)

    def _sort(self, role: Role, seen: _Seen, good: Sequence[int]) -> None:
        """Rows that are good in themselves, to their splits; `good` are their indexes in the batch."""
        lines, checked = seen.lines, seen.checked
        asked = [checked.questions[index] for index in good]
        decided = self.chosen.decide(role, asked, [lines.conversation(index) for index in good])
        wanted = [at for at, reason in enumerate(decided.reasons) if reason is None]
        too_long = self.tokens.too_long({at: lines[good[at]] for at in wanted})
        kept: dict[str, list[int]] = {split: [] for split in SPLITS}
        for at, (split, reason) in enumerate(zip(decided.splits, decided.reasons, strict=True)):
            reason = reason or too_long.get(at)
            if reason is None:
                kept[split].append(at)
            else:
                self.rejects.add(split, seen.batch.place(good[at]), reason, bytes(lines[good[at]]))
        self.chosen.remember(decided, kept["test"])
        for split, chosen in kept.items():
            self._keep(split, seen, [good[at] for at in chosen])

    def _keep(self, split: str, seen: _Seen, indexes: Sequence[int]) -> None:
        lines, checked = seen.lines, seen.checked
        self.files[split].write(lines.runs(indexes), len(indexes))
        self.tokens.offer(split, (lines[index] for index in indexes))
        turns = [checked.turns[index] for index in indexes]
        self.statistics.add(split, [checked.sizes[index] for index in indexes], turns)
        for index in indexes if checked.leaks else ():
            for kind in checked.leaks.get(index, ()):
                self.statistics.leaked(kind, seen.batch.place(index))


@dataclass(frozen=True)
class _Seen:
    """A batch with its rows as lines, and what is wrong in them."""

    batch: Batch
    lines: Lines
    checked: Checked


def _see(batch: Batch, *, answered: bool) -> _Seen:
    return _Seen(batch, row_lines.of_table(batch.table), row_checks.check(batch.table, answered=answered))
