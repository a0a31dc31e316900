"""One local file of data: what its name says it is, whether it is that, and its bytes, decompressed, in whole lines.

A file that changes between being found and being read to its end is an error, as is text that is not UTF-8; both name
the place. What the bytes mean is left to the readers of each form.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tunestack.errors import UsageError

FORMS = ("jsonl", "json", "csv", "tsv", "parquet", "arrow")
_NAMES = {"ndjson": "jsonl", **{form: form for form in FORMS}}
COMPRESSIONS = ("gz", "bz2", "xz", "zst")
# What files of each kind begin with; text has no such sign.
_MAGIC = {
    "gz": b"\x1f\x8b",
    "bz2": b"BZh",
    "xz": b"\xfd7zXZ\x00",
    "zst": b"\x28\xb5\x2f\xfd",
    "parquet": b"PAR1",
    "zip": b"PK\x03\x04",
}
_BOMS = {b"\xef\xbb\xbf": "UTF-8", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
BLOCK = 4 * 2**20
# A line or a value longer than this is taken for a file that is not what it says, rather than read into memory.
LONGEST = 64 * 2**20


@dataclass(frozen=True)
class Block:
    """Whole lines of a file: `line` is the number of the first one, from 1; `at` is its byte in the plain text."""

    text: bytes
    line: int
    at: int


@dataclass
class DataFile:
    """A file with one of the known forms; `read` counts the bytes taken from disk, compressed where it is.

    `shown` is what it is called where a place is named: its path in quotes, or where it was fetched from.
    """

    path: Path
    form: str
    compression: str
    shown: str
    read: int = 0
    _identity: tuple[int, int, int] = field(default=(0, 0, 0), repr=False)

    @classmethod
    def of(cls, path: Path, shown: str = "") -> DataFile:
        """The file, checked by its name and by its first bytes. An empty file is an error."""
        if not path.is_file():
            raise UsageError(f"data file '{path}' does not exist")
        form, compression = kind(path)
        if not form:
            raise UsageError(
                f"data file '{path}' has an unknown suffix",
                fix=f"Known are .{', .'.join(FORMS)}, and the first four with .{', .'.join(COMPRESSIONS)} after them",
            )
        if compression and form in ("parquet", "arrow"):
            raise UsageError(
                f"data file '{path}' is a compressed .{form}, which cannot be read in parts",
                fix="Decompress it: such files are compressed inside",
            )
        try:
            with path.open("rb") as opened:
                head = opened.read(8)
                identity = _identity(opened)
        except OSError as error:
            raise UsageError(f"data file '{path}' cannot be read: {error.strerror or error}") from error
        if not head:
            raise UsageError(f"data file '{path}' is empty")
        _check_head(path, head, compression or form)
        return cls(path, form, compression, shown or f"'{path}'", 0, identity)

    @property
    def size(self) -> int:
        return self._identity[0]

    def blocks(self, size: int = 0, in_lines: bool = True) -> Iterator[Block]:
        """The text in blocks of about `size` bytes (0: some MB), in whole lines or at least in whole characters.

        A UTF-8 mark at the beginning of the file is left out.
        """
        line, at, rest, is_first = 1, 0, b"", True
        for piece in self._pieces(size or BLOCK):
            if is_first:
                piece, at = self._without_mark(piece)
                is_first = False
            if not in_lines:
                piece, rest = rest + piece, b""
            cut = piece.rfind(b"\n") + 1 if in_lines else _whole_characters(piece)
            if not cut:
                rest += piece
                if len(rest) > LONGEST:
                    raise UsageError(
                        f"{self.shown} line {line} is longer than {LONGEST // 2**20} MiB",
                        fix="One row stands in one line",
                    )
                continue
            text, rest = rest + piece[:cut], piece[cut:]
            yield Block(text, line, at)
            line += text.count(b"\n")
            at += len(text)
        if rest:
            yield Block(rest, line, at)

    def text(self, block: Block) -> str:
        """The block as text; bytes that are not UTF-8 are an error that names line and byte."""
        try:
            return block.text.decode()
        except UnicodeDecodeError as error:
            line = block.line + block.text.count(b"\n", 0, error.start)
            raise UsageError(
                f"{self.shown} line {line} is not UTF-8: byte 0x{block.text[error.start]:02X} "
                f"at byte {block.at + error.start + 1:,}{' of the plain text' if self.compression else ''}",
                fix="If some lines are in another encoding, mend those; if all of it is Latin-1, convert it with: "
                f"iconv -f LATIN1 -t UTF-8 '{self.path}'",
            ) from error

    def check_unchanged(self) -> None:
        """Raise where the file is no longer the one that was found."""
        try:
            with self.path.open("rb") as opened:
                now = _identity(opened)
        except OSError as error:
            raise UsageError(f"data file {self.shown} went away while it was read: {error.strerror}") from error
        if now != self._identity:
            raise UsageError(
                f"data file {self.shown} changed while it was read",
                fix="Let what writes it finish, and run this again",
            )

    def _pieces(self, size: int) -> Iterator[bytes]:
        self.check_unchanged()
        before = self.read
        try:
            with self.path.open("rb") as raw, _decompressed(self.compression)(raw) as plain:
                while piece := plain.read(size):
                    self.read = before + raw.tell()
                    yield piece
                    if _identity(raw) != self._identity:
                        break  # and say so below
        except (OSError, EOFError, ValueError, _lzma_error()) as error:
            said = getattr(error, "strerror", None) or error
            what = f"is not whole or not {self.compression}" if self.compression else "cannot be read"
            raise UsageError(f"data file {self.shown} {what}: {' '.join(str(said).split())}") from error
        self.check_unchanged()

    def _without_mark(self, piece: bytes) -> tuple[bytes, int]:
        for mark, name in _BOMS.items():
            if piece.startswith(mark):
                if name == "UTF-8":
                    return piece[len(mark) :], len(mark)
                raise UsageError(
                    f"{self.shown} line 1 is {name}, not UTF-8: byte 0x{piece[0]:02X} at byte 1",
                    fix=f"Convert it with: iconv -f UTF-16 -t UTF-8 '{self.path}'",
                )
        return piece, 0


def kind(path: Path | str) -> tuple[str, str]:
    """What a name says that a file is: its form and its compression, each empty where it says nothing known."""
    parts = Path(path).name.lower().split(".")[1:]
    compression = parts.pop() if parts and parts[-1] in COMPRESSIONS else ""
    return (_NAMES.get(parts[-1], "") if parts else ""), compression


def _whole_characters(text: bytes) -> int:
    """How many bytes of a text are whole characters of UTF-8; what is no UTF-8 at all counts as whole."""
    for back in range(1, min(len(text), 4) + 1):
        byte = text[-back]
        if byte & 0xC0 != 0x80:  # the first byte of a character, which says how long that is
            length = 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(text) - back if length > back else len(text)
    return len(text)


def _check_head(path: Path, head: bytes, expected: str) -> None:
    found = next((name for name, magic in _MAGIC.items() if head.startswith(magic)), "")
    if expected in _MAGIC and found != expected:
        what = f"it is {found}" if found else f"it begins with {head[:4]!r}"
        raise UsageError(f"data file '{path}' is not {_SAID.get(expected, expected)}, as its name says: {what}")
    if expected not in _MAGIC and found:
        fix = f"Name it '{path.name}.{found}'" if found in COMPRESSIONS else "Give the file the name of what it is"
        raise UsageError(f"data file '{path}' is not {expected.upper()}, as its name says: it is {found}", fix=fix)


_SAID = {"parquet": "Parquet"}


def _decompressed(compression: str) -> Callable[[IO[bytes]], Any]:
    if compression == "gz":
        import gzip

        return lambda raw: gzip.GzipFile(fileobj=raw)
    if compression == "bz2":
        import bz2

        return bz2.BZ2File
    if compression == "xz":
        import lzma

        return lzma.LZMAFile
    if compression == "zst":
        import pyarrow

        return lambda raw: pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, "r"), "zstd")
    return lambda raw: raw


def _lzma_error() -> type[Exception]:
    import lzma

    return lzma.LZMAError


def _identity(opened: IO[bytes]) -> tuple[int, int, int]:
    found = os.fstat(opened.fileno())
    return found.st_size, found.st_mtime_ns, found.st_ino
