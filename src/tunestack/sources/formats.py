"""How rows of other shapes become prompt, prompt_id and messages: which columns each format reads, and the mapping.

Whole Arrow columns are mapped where their types allow it; single rows (`from_row`) where they do not, with a reason for
each that cannot be mapped. What a conversation should look like is judged elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from tunestack.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import pyarrow

Message = tuple[str, str]  # content, role
# The columns that each format reads, by what they mean; `?` marks those that a source may lack.
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "messages": {"messages": "messages", "prompt": "prompt?", "prompt_id": "prompt_id?"},
    "ultrachat": {"messages": "messages", "prompt": "prompt?", "prompt_id": "prompt_id?"},
    "prompt_response": {
        "prompt": "prompt",
        "response": "response",
        "system": "system?",
        "prompt_id": "prompt_id?",
    },
    "sharegpt": {"conversations": "conversations", "system": "system?", "prompt_id": "prompt_id?"},
    "alpaca": {
        "instruction": "instruction",
        "input": "input?",
        "output": "output",
        "system": "system?",
        "prompt_id": "prompt_id?",
    },
}
# Who speaks and what, inside a list of turns; a recipe may name these too: `columns: {role: speaker, content: text}`.
TURNS: Mapping[str, tuple[str, str]] = {
    "messages": ("role", "content"),
    "ultrachat": ("role", "content"),
    "sharegpt": ("from", "value"),
}
# ShareGPT's names of speakers, as in its public exports and those of the tools that write it.
SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "model": "assistant",
    "system": "system",
}
HALF = "holds half a character (a lone surrogate)"
_ABSENT = object()


class Unmapped(ValueError):
    """Why one row gives no messages: one of few reasons, and behind a colon what is this row's alone."""


@dataclass(frozen=True)
class Mapped:
    """One row of ours, from one of another shape; `prompt_id` is the source's own or the prompt's sha256 in hex."""

    prompt: str
    prompt_id: str
    messages: Sequence[Message]


@dataclass(frozen=True)
class Format:
    """A format with the columns that a recipe names for it. A column may be a path: `a.b` is `b` inside `a`."""

    name: str
    paths: Mapping[str, str]
    optional: frozenset[str]
    role: str = ""
    content: str = ""

    @classmethod
    def of(cls, name: str, columns: Mapping[str, str]) -> Format:
        """The format with a recipe's `columns`; a key that the format does not have is an error."""
        if name not in COLUMNS:
            raise UsageError(f"data.format '{name}' is unknown{did_you_mean(name, COLUMNS)}")
        known, turns = COLUMNS[name], TURNS.get(name, ("", ""))
        keys = [*known, *(("role", "content") if turns[0] else ())]
        problems = [
            f"data.columns has a key '{key}' that format '{name}' does not read{did_you_mean(key, keys)}"
            for key in columns
            if key not in keys
        ]
        if problems:
            raise UsageError(*problems)
        paths = {key: columns.get(key, column.rstrip("?")) for key, column in known.items()}
        # A column that a recipe names has to be there, optional or not.
        optional = frozenset(key for key, column in known.items() if column.endswith("?") and key not in columns)
        return cls(name, paths, optional, columns.get("role", turns[0]), columns.get("content", turns[1]))

    def needed(self, found: Iterable[str], where: str) -> list[str]:
        """The columns to read, of those that a source has at its top level; one that it lacks is an error."""
        known = list(found)
        problems, needed = [], []
        for key, path in self.paths.items():
            top = _top(path, known)
            if top is not None:
                needed.append(top)
            elif key not in self.optional:
                problems.append(
                    f"{where} has no column '{path}', which format '{self.name}' reads as its {key}"
                    f"{_suggestion(path, known)}"
                )
        if problems:
            columns = ", ".join(f"'{name}'" for name in known) or "none"
            raise UsageError(
                *problems, fix=f"Its columns are {columns}. Name them in the recipe's data.columns, or another format"
            )
        return list(dict.fromkeys(needed))

    def unread(self, raw: Any) -> list[str]:
        """Keys of a row's turns that no message of ours can hold, such as `tool_calls`."""
        if not self.role or not isinstance(raw, dict):
            return []
        turns = _value(raw, self.paths["conversations" if self.name == "sharegpt" else "messages"])
        found = [turn for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
        return sorted(
            {str(key) for turn in found for key, value in turn.items() if value not in (None, "", [])}
            - {
                self.role,
                self.content,
            }
        )

    def from_row(self, raw: Any) -> Mapped:
        """One row; raises Unmapped with the reason. Nothing is repaired: what is wrong stays visible."""
        if not isinstance(raw, dict):
            raise Unmapped("is not an object with columns")
        values = {key: _value(raw, path) for key, path in self.paths.items()}
        for key, value in values.items():
            if value is _ABSENT and key not in self.optional:
                raise Unmapped(f"has no '{self.paths[key]}': found {_names(raw)}")
        messages = self._messages(values)
        given = values.get("prompt") if self.role else None
        prompt = given if isinstance(given, str) and given else first_question(messages)
        own = values["prompt_id"]
        try:
            return Mapped(prompt, own if isinstance(own, str) and own else _sha256(prompt), messages)
        except UnicodeEncodeError as error:
            raise Unmapped(HALF) from error

    def _messages(self, values: Mapping[str, Any]) -> list[Message]:
        if self.name in ("messages", "ultrachat"):
            return self._turns(values["messages"], "messages", None)
        if self.name == "sharegpt":
            return [*self._system(values), *self._turns(values["conversations"], "conversations", SPEAKERS)]
        if self.name == "alpaca":
            extra = self._text(values, "input")
            question = self._text(values, "instruction") + (f"\n\n{extra}" if extra else "")
            return [*self._system(values), (question, "user"), (self._text(values, "output"), "assistant")]
        return [
            *self._system(values),
            (self._text(values, "prompt"), "user"),
            (self._text(values, "response"), "assistant"),
        ]

    def _turns(self, value: Any, key: str, speakers: Mapping[str, str] | None) -> list[Message]:
        path = self.paths[key]
        if isinstance(value, str):  # a CSV column
            try:
                value = orjson.loads(value)
            except orjson.JSONDecodeError as error:
                raise Unmapped(f"has '{path}' that are not JSON: {error}") from error
        if isinstance(value, dict):
            value = self._unfolded(value)
        if not isinstance(value, list):
            raise Unmapped(f"has '{path}' that are not a list of {self.role} and {self.content}")
        if speakers is None:
            try:  # nearly all rows: nothing is wrong
                found = [(turn[self.content], turn[self.role]) for turn in value]
            except (KeyError, TypeError):
                found = []
            if found and all(type(content) is str is type(role) for content, role in found):
                return found
        turns: list[Message] = []
        for number, turn in enumerate(value, 1):
            if isinstance(turn, str) and self.name == "ultrachat":  # the older release: texts, the user's first
                turns.append((turn, "assistant" if number % 2 == 0 else "user"))
                continue
            role = turn.get(self.role) if isinstance(turn, dict) else None
            content = turn.get(self.content) if isinstance(turn, dict) else None
            if not isinstance(role, str) or not isinstance(content, str):
                raise Unmapped(
                    f"has '{path}' that are not a list of {self.role} and {self.content}: "
                    f"turn {number} {self._lacking(turn)}"
                )
            if speakers is not None and role not in speakers:
                raise Unmapped(f"has a turn by an unknown speaker in '{path}': '{role}'{did_you_mean(role, speakers)}")
            turns.append((content, role if speakers is None else speakers[role]))
        return turns

    def _unfolded(self, value: Mapping[str, Any]) -> Any:
        """A list of each kind, as older `datasets` stored a list of objects, as one list of objects."""
        roles, contents = value.get(self.role), value.get(self.content)
        if not isinstance(roles, list) or not isinstance(contents, list) or len(roles) != len(contents):
            return None
        return [{self.role: role, self.content: content} for role, content in zip(roles, contents, strict=True)]

    def _lacking(self, turn: Any) -> str:
        if not isinstance(turn, dict):
            return f"is {_shown(turn)}"
        return "has no text in " + " and ".join(
            f"'{key}'" for key in (self.role, self.content) if not isinstance(turn.get(key), str)
        )

    def _system(self, values: Mapping[str, Any]) -> list[Message]:
        text = self._text(values, "system")
        return [(text, "system")] if text else []

    def _text(self, values: Mapping[str, Any], key: str) -> str:
        value = values[key]
        if isinstance(value, str):
            return value
        if value is _ABSENT or (value is None and key in ("system", "input")):
            return ""
        raise Unmapped(f"has '{self.paths[key]}' that is not text: {_shown(value)}")


def first_question(messages: Iterable[Message]) -> str:
    """The first user turn; empty where nobody asks."""
    return next((content for content, role in messages if role == "user"), "")


def table(rows: Sequence[Mapped]) -> pyarrow.RecordBatch:
    """Rows in the schema of `batches`."""
    import pyarrow

    from tunestack.sources.batches import schema

    offsets, total = [0], 0
    for row in rows:
        total += len(row.messages)
        offsets.append(total)
    contents = pyarrow.array([message[0] for row in rows for message in row.messages], pyarrow.string())
    roles = pyarrow.array([message[1] for row in rows for message in row.messages], pyarrow.string())
    turns = pyarrow.StructArray.from_arrays([contents, roles], ["content", "role"])
    return pyarrow.RecordBatch.from_arrays(
        [
            pyarrow.array([row.prompt for row in rows], pyarrow.string()),
            pyarrow.array([row.prompt_id for row in rows], pyarrow.string()),
            pyarrow.ListArray.from_arrays(pyarrow.array(offsets, pyarrow.int32()), turns),
        ],
        schema=schema(),
    )


def _top(path: str, known: Sequence[str]) -> str | None:
    """The top-level column that a path begins in: a column whose name has a dot wins over a path."""
    if path in known:
        return path
    first = path.split(".", 1)[0]
    return first if "." in path and first in known else None


def _value(raw: Mapping[str, Any], path: str) -> Any:
    if path in raw:
        return raw[path]
    value: Any = raw
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def _suggestion(path: str, known: Sequence[str]) -> str:
    found = did_you_mean(path, known)
    return found if found.startswith("; did") else ""


def _names(raw: Mapping[str, Any]) -> str:
    return ", ".join(f"'{key}'" for key in list(raw)[:12]) or "nothing"


def _shown(value: Any) -> str:
    text = " ".join(str(value).split())
    return f"'{text[:60]}…'" if len(text) > 60 else f"'{text}'"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
