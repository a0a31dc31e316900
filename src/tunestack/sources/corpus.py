"""The conversations of the package `chatterbot-corpus`, as a source: they come with set-up, and need no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from tunestack.errors import UsageError
from tunestack.sources.chunks import ROWS, Chunk
from tunestack.sources.sampling import Part

PACKAGE = "chatterbot-corpus"
_FOLDER = "chatterbot_corpus/data/english"


class Corpus:
    """The English conversations, files in the order of their names; one that nobody answers is none."""

    name = PACKAGE

    def __init__(self) -> None:
        self.read = 0

    @property
    def size(self) -> int:
        return sum(file.stat().st_size for file in _folder().glob("*.yml"))

    def sizes(self) -> Sequence[int] | None:
        return None

    def count(self) -> int:
        before = self.read
        rows = sum(chunk.rows for chunk in self.chunks(None))
        self.read = before
        return rows

    def chunks(self, parts: Sequence[Part] | None) -> Iterator[Chunk]:
        for file in sorted(_folder().glob("*.yml")):
            text = file.read_text(encoding="utf-8")
            self.read += len(text.encode())
            found = [_messages(turns) for turns in yaml.load(text, _loader())["conversations"]]
            numbers = [number for number, messages in enumerate(found, 1) if messages]
            where = f"package:{PACKAGE} {file.name} conversation"
            for start in range(0, len(numbers), ROWS):
                some = numbers[start : start + ROWS]
                yield Chunk(where, some, [{"messages": found[number - 1]} for number in some])


def version() -> str:
    """The version that is installed."""
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise UsageError(f"package '{PACKAGE}' is not installed", fix="Install it with: make setup") from error


def _folder() -> Path:
    version()
    return Path(str(metadata.distribution(PACKAGE).locate_file(_FOLDER)))


def _messages(turns: Sequence[Any]) -> list[dict[str, str]]:
    """Alternating turns, the user's first; a last question that nobody answers is dropped."""
    texts = [str(turn).strip() for turn in turns]
    texts = texts[: len(texts) - len(texts) % 2]
    if not texts or not all(texts):
        return []
    roles = ("user", "assistant")
    return [{"content": text, "role": roles[index % 2]} for index, text in enumerate(texts)]


def _loader() -> Any:
    """The C parser where PyYAML has it: ten times faster."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
