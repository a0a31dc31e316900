"""A registry's model as the registry answers it: what its tags and its metadata say of sizes, dates and the task.

Which of it stands against a run is for the checks.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

Json = Mapping[str, Any]
_DATE = re.compile(r"(?:finetune|inference)(deprecation|retirement)(?:date)?")


@dataclass(frozen=True)
class RegistryModel:
    """Its `properties`, raw."""

    properties: Json

    @property
    def tags(self) -> Json:
        """Tags, and over them what has moved out of the tags: `systemMetadata.supportedComputes`."""
        supported = self._metadata.get("supportedComputes")
        moved = {
            f"{purpose}_compute_allow_list": sizes
            for purpose in ("finetune", "inference")
            for key, sizes in (supported.items() if isinstance(supported, dict) else ())
            if purpose in str(key).lower() and isinstance(sizes, list)
        }
        return {**(self.properties.get("tags") or {}), **moved}

    @property
    def lifecycle(self) -> dict[str, Any]:
        """`archived`, and `deprecated` and `retired`, the earliest dates of each in its tags and its metadata."""
        found: dict[str, Any] = {"archived": bool(self.properties.get("isArchived"))}
        metadata = self._metadata
        inner = (one for one in metadata.values() if isinstance(one, dict))
        for said in (self.properties.get("tags") or {}, metadata, *inner):
            for key, value in said.items():
                what = _DATE.fullmatch(re.sub("[_-]", "", str(key).lower()))
                day = _day(value) if what else None
                if what and day:
                    word = {"deprecation": "deprecated", "retirement": "retired"}[what[1]]
                    found[word] = min(day, found.get(word, day))
        return found

    @property
    def is_chat(self) -> bool:
        """Whether anything of it, its flavors first, names the task."""
        return "chat-completion" in str(self.properties).lower()

    @property
    def _metadata(self) -> dict[str, Any]:
        """`systemMetadata`, of which each value travels as it is or as JSON or Python text."""
        found = self.properties.get("systemMetadata")
        return {key: _opened(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _opened(value: Any) -> Any:
    """What a text of JSON or Python says; any other value as it is."""
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value)
        except (ValueError, SyntaxError):
            continue
    return value


def _day(value: object) -> date | None:
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        return None
