"""Where rows come from: a data set on the Hugging Face hub, a local file or folder, or a package of conversations.

`open` gives the rows of each role in batches; what is checked, dropped and written is decided elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from tunestack.errors import UsageError
from tunestack.sources import data_file

_ON_HUB = re.compile(r"([\w.-]+/)?[\w.-]+")  # data sets of the hub's first days have no owner
_PAGE = re.compile(r"/datasets/([\w.-]+/[\w.-]+)")

if TYPE_CHECKING:
    from tunestack.recipes.recipe import Data
    from tunestack.sources.splits import Tables


@dataclass(frozen=True)
class Source:
    """`hub:OWNER/NAME`, `package:NAME` or a path; `version` is the one named, or that of the installed package."""

    kind: str
    place: str
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> Source:
        """A source as a recipe names it, or as a data folder recorded it with its version."""
        from tunestack.sources import corpus

        if "://" in text:
            found = _PAGE.search(text)
            raise UsageError(
                f"data source '{text}' is an address, which is not read",
                fix=f"Write hub:{found[1] if found else 'OWNER/NAME'} for a data set on the hub, or the path of a file",
            )
        kind, colon, place = text.partition(":")
        if not colon or kind not in ("hub", "package"):
            return cls("path", text)
        name, at, version = place.partition("@")
        if not name or (at and not version):
            raise UsageError(f"data source '{text}' is not of the form {kind}:NAME or {kind}:NAME@REVISION")
        if kind == "hub" and not _ON_HUB.fullmatch(name):
            raise UsageError(f"data source '{text}' is not of the form hub:OWNER/NAME or hub:OWNER/NAME@REVISION")
        if kind == "hub":
            return cls(kind, name, version)
        if name != corpus.PACKAGE:
            raise UsageError(f"data source '{text}' is an unknown package", fix=f"Known is package:{corpus.PACKAGE}")
        installed = corpus.version()
        if version not in ("", installed):
            raise UsageError(f"data source '{text}' is not installed", fix=f"Installed is {name} {installed}")
        return cls(kind, name, installed)

    @property
    def name(self) -> str:
        """The data set's name, as the registered model's name ends: `ultrachat-200k`."""
        last = Path(self.place).name if self.kind == "path" else self.place.rsplit("/", 1)[-1]
        if self.kind == "path" and data_file.kind(last)[0]:
            last = last.split(".", 1)[0]
        return re.sub(r"[^A-Za-z0-9]+", "-", last).strip("-").lower() or "data"

    def __str__(self) -> str:
        text = self.place if self.kind == "path" else f"{self.kind}:{self.place}"
        return f"{text}@{self.version}" if self.version else text


def open(data: Data) -> Tables:
    """The source of a recipe's `data`: its files found and its names checked; no row is read yet.

    Raises UsageError for what the recipe names and the source lacks, NotConfigured where the hub wants a token or its
    conditions accepted, and CloudError where it cannot be reached.
    """
    from tunestack.sources import corpus, hub_data, local_data
    from tunestack.sources.formats import Format
    from tunestack.sources.splits import Tables

    source, found = Source.parse(data.source), Format.of(data.format, data.columns)
    if source.kind == "package":
        found_in = {corpus.PACKAGE: corpus.Corpus()}
        return Tables(data, str(source), source.name, found_in, licence=_package_licence(source.place))
    if source.kind == "path":
        return Tables(data, str(source), source.name, local_data.splits(Path(source.place), found))
    there = hub_data.open_data(source.place, source.version or None, data.subset, found)
    return Tables(data, there.source, source.name, there.splits, there.notes, there.close, there.licence)


def _package_licence(name: str) -> str | None:
    """As the package's own metadata says it."""
    found = metadata.metadata(name)
    classified = [text.rsplit(" :: ", 1)[-1] for text in found.get_all("Classifier") or () if "License" in text]
    named = [text for name in ("License-Expression", "License") for text in found.get_all(name) or ()]
    said = [text for text in (*named, *classified) if text]
    return said[0] if said else None
