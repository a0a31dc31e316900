"""Rows of JSON files: one value per line, one array, or values one after the other; never the whole file in memory.

A line that is not JSON is a bad row; an array that breaks is an error, because nothing after the break can be trusted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson

from tunestack.errors import UsageError
from tunestack.sources.batches import Bad
from tunestack.sources.chunks import BYTES, ROWS, Chunk
from tunestack.sources.data_file import LONGEST, Block, DataFile

_SPACE = " \t\r\n"
_SHOWN = 2000


def lines(file: DataFile) -> Iterator[Chunk]:
    """One value per line; empty lines are none."""
    where = f"{file.shown} line"
    for block in file.blocks():
        yield from _of_block(file, where, block)


def values(file: DataFile) -> Iterator[Chunk]:
    """What a `.json` file holds: an array of rows, one row, or lines, as many data sets call them too."""
    before = file.read
    first = next(file.blocks(in_lines=False), None)
    text = file.text(first).lstrip() if first else ""
    file.read = before
    if text.startswith("[") and not _is_row_of_lines(text):
        return _items(file, "item")
    return lines(file) if _is_row_of_lines(text) else _items(file, "value")


def _is_row_of_lines(text: str) -> bool:
    """Whether the first line is a whole JSON object."""
    try:
        return isinstance(orjson.loads(text.split("\n", 1)[0]), dict)
    except orjson.JSONDecodeError:
        return False


def _of_block(file: DataFile, where: str, block: Block) -> Iterator[Chunk]:
    numbers: list[int] = []
    found: list[Any] = []
    bad: list[Bad] = []
    checked = False
    for number, line in enumerate(block.text.split(b"\n"), block.line):
        if not line or line.isspace():
            continue
        try:
            found.append(orjson.loads(line))
            numbers.append(number)
        except orjson.JSONDecodeError as error:
            if not checked:
                file.text(block)  # an encoding fault has a message of its own
                checked = True
            said = str(error).split(": line ")[0]
            bad.append(Bad(f"{where} {number}", f"is not JSON: {said}", line[:_SHOWN].decode(errors="replace")))
        if len(numbers) + len(bad) == ROWS:
            yield Chunk(where, numbers, found, None, bad)
            numbers, found, bad = [], [], []
    if numbers or bad:
        yield Chunk(where, numbers, found, None, bad)


def _items(file: DataFile, unit: str) -> Iterator[Chunk]:
    where = f"{file.shown} {unit}"
    numbers: list[int] = []
    found: list[Any] = []
    before = file.read
    for number, value in enumerate(_decoded(file, is_array=unit == "item"), 1):
        numbers.append(number)
        found.append(value)
        if len(numbers) == ROWS or file.read - before > BYTES:
            yield Chunk(where, numbers, found)
            numbers, found, before = [], [], file.read
    if numbers:
        yield Chunk(where, numbers, found)


class _Text:
    """The text of a file from a place on: `buffer` grows by blocks at its end and is cut at its beginning."""

    def __init__(self, file: DataFile) -> None:
        self.file, self.buffer, self.at, self.line = file, "", 0, 1
        self._blocks = file.blocks(2**20, in_lines=False)

    def more(self) -> bool:
        block = next(self._blocks, None)
        if block is None:
            return False
        self.line += self.buffer.count("\n", 0, self.at)
        self.buffer, self.at = self.buffer[self.at :] + self.file.text(block), 0
        return True

    def next_sign(self) -> str:
        """The next character that is not space; empty at the end of the file."""
        while True:
            while self.at < len(self.buffer) and self.buffer[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self.more():
                return ""

    def fault(self, said: str, at: int | None = None) -> UsageError:
        line = self.line + self.buffer.count("\n", 0, self.at if at is None else at)
        return UsageError(f"{self.file.shown} line {line} is not JSON: {said}")


def _decoded(file: DataFile, is_array: bool) -> Iterator[Any]:
    """Values one by one: those of the array, or those that stand one after the other."""
    text, decoder = _Text(file), json.JSONDecoder()
    if is_array:
        text.next_sign()
        text.at += 1
        if text.next_sign() == "]":
            text.at += 1
            is_array = False
    while sign := text.next_sign():
        yield _value(text, decoder)
        if not is_array:
            continue
        sign = text.next_sign()
        text.at += 1
        if sign == "]":
            if text.next_sign():
                raise text.fault("something follows the array")
            return
        if sign != ",":
            text.at -= 1
            raise text.fault(f"expected ',' or ']', found '{sign}'" if sign else "the array does not end")
    if is_array:
        raise text.fault("the array does not end")


def _value(text: _Text, decoder: json.JSONDecoder) -> Any:
    while True:
        try:
            value, end = decoder.raw_decode(text.buffer, text.at)
        except json.JSONDecodeError as error:
            # Cut off by the end of the buffer, or wrong: only more text can tell, twice as much each time.
            wanted = 2 * (len(text.buffer) - text.at)
            if wanted > 2 * LONGEST:
                raise text.fault(f"a value is longer than {LONGEST // 2**20} MiB; rows stand in an array") from error
            if not text.more():
                raise text.fault(error.msg, min(error.pos, len(text.buffer))) from error
            while len(text.buffer) < wanted and text.more():
                pass
            continue
        except RecursionError as error:
            raise text.fault("it is nested too deeply") from error
        # A number at the end of the buffer may go on; objects and arrays end themselves.
        if end == len(text.buffer) and not isinstance(value, (dict, list, str)) and text.more():
            continue
        text.at = end
        return value
