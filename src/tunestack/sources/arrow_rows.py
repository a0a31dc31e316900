"""Rows of Parquet files and of the Arrow files that `datasets` saves: the columns asked for, a batch at a time."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tunestack.errors import UsageError
from tunestack.sources.batches import Bad
from tunestack.sources.chunks import BYTES, ROWS, Chunk
from tunestack.sources.data_file import DataFile
from tunestack.sources.ranged_file import RangedFile

NOT_UTF8 = "holds text that is not UTF-8"
_BUFFER = 2**20
Wanted = Callable[[Sequence[str], str], Sequence[str]]


def parquet(file: DataFile, wanted: Wanted, groups: Iterable[int] | None = None) -> Iterator[Chunk]:
    """The rows of a Parquet file, or of some of its row groups; `wanted` picks from the columns that it has."""
    with _opened(file, "Parquet") as opened:
        columns = list(wanted(opened.schema_arrow.names, file.shown))
        for group in range(opened.metadata.num_row_groups) if groups is None else groups:
            yield from of_parquet(opened, f"{file.shown} row", columns, [group])
            file.read += sum(end - start for start, end in ranges(opened.metadata.row_group(group), columns))
        file.check_unchanged()


def of_parquet(
    opened: Any, where: str, columns: list[str], groups: Iterable[int] | None, wanted: int = ROWS
) -> Iterator[Chunk]:
    """The rows of an opened Parquet file, numbered by their place in the whole file, at most `wanted` in a chunk."""
    chosen = range(opened.metadata.num_row_groups) if groups is None else groups
    begins = [1]
    for group in range(opened.metadata.num_row_groups):
        begins.append(begins[-1] + opened.metadata.row_group(group).num_rows)
    for group in chosen:
        at = begins[group]
        rows = min(_rows(begins[group + 1] - at, opened.metadata.row_group(group).total_byte_size), max(wanted, 1))
        for batch in opened.iter_batches(batch_size=rows, row_groups=[group], columns=columns, use_threads=False):
            yield _decoded(Chunk(where, range(at, at + batch.num_rows)), batch)
            at += batch.num_rows


def open_parquet(content: RangedFile, where: str) -> Any:
    """A Parquet file of which only the footer is fetched, and of what lies before it at most a four hundredth."""
    import pyarrow
    from pyarrow import parquet as pq

    try:
        # pyarrow itself takes the last 64 KiB, which of a small file may be most.
        content.need([(content.size - max(content.size // 400, 8), content.size)])
        content.seek(content.size - 8)
        length, sign = struct.unpack("<I4s", content.read(8))
        if sign != b"PAR1" or length + 12 > content.size:
            raise pyarrow.ArrowInvalid(f"it ends with {sign!r}")
        content.seek(content.size - 8 - length)
        footer = pq.read_metadata(pyarrow.BufferReader(b"PAR1" + content.read(length + 8)))
        # Read in pieces as it is decoded: of a row group that is needed in part, little more than that is asked for.
        largest = max((footer.row_group(group).total_byte_size for group in range(footer.num_row_groups)), default=0)
        piece = min(max(largest // 256, 2**15), 2**22)
        return pq.ParquetFile(pyarrow.PythonFile(content, "r"), metadata=footer, pre_buffer=False, buffer_size=piece)
    except (pyarrow.ArrowException, struct.error) as error:
        raise UsageError(f"{where} is not Parquet: {' '.join(str(error).split())[:200]}") from error


def ranges(group: Any, columns: Sequence[str], rows: int | None = None) -> list[tuple[int, int]]:
    """Where the rows, or the first ones, of some columns of a row group lie, as start and end; neighbours are one.

    Of a part of the rows it is their share of the bytes: about right, what is missing is fetched when it is read.
    """
    found: list[tuple[int, int]] = []
    for index in range(group.num_columns):
        chunk = group.column(index)
        if not any(chunk.path_in_schema == name or chunk.path_in_schema.startswith(f"{name}.") for name in columns):
            continue
        start = chunk.data_page_offset
        if chunk.has_dictionary_page and chunk.dictionary_page_offset:
            start = min(start, chunk.dictionary_page_offset)
        size = chunk.total_compressed_size
        found.append((start, start + (size if rows is None else size * rows // max(group.num_rows, 1))))
    joined: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def group_sizes(file: DataFile) -> list[int]:
    """Rows in each row group of a Parquet file."""
    with _opened(file, "Parquet") as opened:
        found = opened.metadata
        return [found.row_group(group).num_rows for group in range(found.num_row_groups)]


def arrow(file: DataFile, wanted: Wanted) -> Iterator[Chunk]:
    """The rows of an Arrow file, in the form of streams or of files."""
    with _opened(file, "Arrow") as opened:
        columns = list(wanted(opened.schema.names, file.shown))
        at = 1
        for batch in _batches(opened):
            rows = _rows(batch.num_rows, batch.nbytes)
            for start in range(0, batch.num_rows, rows):
                part = batch.slice(start, rows).select(columns)
                yield _decoded(Chunk(f"{file.shown} row", range(at, at + part.num_rows)), part)
                at += part.num_rows
        file.read += file.size
        file.check_unchanged()


def arrow_rows(file: DataFile) -> int:
    """Rows of an Arrow file."""
    with _opened(file, "Arrow") as opened:
        return sum(batch.num_rows for batch in _batches(opened))


def _decoded(rows: Chunk, table: Any) -> Chunk:
    """The rows of a table whose text is UTF-8, which Arrow does not look at when it reads; the others are bad ones."""
    if _is_utf8(table):
        return replace(rows, table=table)
    good = [index for index in range(len(rows.numbers)) if _is_utf8(table.take([index]))]
    numbers = [rows.numbers[index] for index in good]
    bad = [Bad(f"{rows.where} {number}", NOT_UTF8, "") for number in sorted(set(rows.numbers) - set(numbers))]
    return Chunk(rows.where, numbers, (), table.take(good), bad)


def _is_utf8(table: Any) -> bool:
    import pyarrow

    try:
        table.validate(full=True)
    except pyarrow.ArrowInvalid:
        return False
    return True


def _rows(rows: int, size: int) -> int:
    """How many of some rows of a size in bytes make a batch."""
    return max(min(ROWS, rows, BYTES * rows // max(size, 1)), 1)


def _batches(opened: Any) -> Iterator[Any]:
    if hasattr(opened, "num_record_batches"):
        return (opened.get_batch(index) for index in range(opened.num_record_batches))
    return iter(opened)


@contextmanager
def _opened(file: DataFile, what: str) -> Iterator[Any]:
    import pyarrow
    from pyarrow import ipc
    from pyarrow import parquet as pq

    file.check_unchanged()
    try:
        # Not mapped into memory: a file that becomes shorter would end the process without a word (SIGBUS).
        with pyarrow.OSFile(str(file.path)) as content:
            if what == "Parquet":
                # Column chunks are read as they are decoded, so that a large row group is not held whole.
                yield pq.ParquetFile(content, pre_buffer=False, buffer_size=_BUFFER)
            else:
                is_file = content.read(6) == b"ARROW1"
                content.seek(0)
                yield ipc.open_file(content) if is_file else ipc.open_stream(content)
    except (pyarrow.ArrowException, OSError) as error:
        file.check_unchanged()
        raise UsageError(f"{file.shown} is not {what}: {' '.join(str(error).split())[:200]}") from error
