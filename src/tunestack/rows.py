"""Rows in the ultrachat_200k schema: `prompt`, `prompt_id` (sha256 hex) and `messages` of `content` and `role`."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from tunestack.errors import UsageError

Row = dict[str, Any]
# What the pipeline refuses to train on less than (its own error says the same, after a node was paid for).
MINIMUM_TRAIN_ROWS = 10
# Each ASCII code as it counts for a question: small letters, and a space for what stands between words.
_WORDS = bytes(ord(chr(code).lower()) if chr(code).isalnum() or chr(code) == "_" else 0x20 for code in range(128)) * 2


def row(raw: Any, where: str) -> Row:
    """A row from anything that has `messages`; `prompt` and `prompt_id` are made where absent."""
    if not isinstance(raw, Mapping):
        raise UsageError(f"{where} is not an object with 'messages'")
    if "messages" not in raw:
        found = ", ".join(f"'{key}'" for key in raw) or "nothing"
        raise UsageError(f"{where} has no 'messages'; found {found}", fix="Rows follow the ultrachat_200k schema")
    messages = _messages(raw["messages"], where)
    prompt = raw.get("prompt") or first_question(messages)
    return {"prompt": prompt, "prompt_id": raw.get("prompt_id") or _sha256(prompt), "messages": messages}


def first_question(messages: Iterable[Mapping[str, str]]) -> str:
    """The first user turn: what a row is sorted and split by."""
    for message in messages:
        if message["role"] == "user":
            return message["content"]
    return ""


def question_key(found: Row) -> str:
    """Hash of the first user turn without case, accents of form, punctuation and spacing: 'Hi!' is 'hi'."""
    return question_digest(first_question(found["messages"])).hex()


def question_digest(text: str) -> bytes:
    """The 32 bytes behind `question_key`, of the question itself."""
    if text.isascii():  # nine tenths of English: the same result without normalising and matching
        plain = text.encode()
        return hashlib.sha256(b" ".join(plain.translate(_WORDS).split()) or plain.lower()).digest()
    text = unicodedata.normalize("NFKC", text).casefold()
    return hashlib.sha256((" ".join(re.findall(r"\w+", text)) or text).encode("utf-8", "surrogatepass")).digest()


def bucket(key: str) -> float:
    """Where a hash falls between 0 and 100: the same on every machine, for splits by share."""
    return int(key[:13], 16) / 16**13 * 100


def dumps(item: Row) -> bytes:
    """A row as its line: the same bytes for the same row."""
    return orjson.dumps(item) + b"\n"


def _messages(value: Any, where: str) -> list[dict[str, str]]:
    if isinstance(value, str):  # a CSV column
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise UsageError(f"{where} has 'messages' that are not JSON: {error}") from error
    messages = []
    for message in value if isinstance(value, list) else [None]:
        role = message.get("role") if isinstance(message, Mapping) else None
        content = message.get("content") if isinstance(message, Mapping) else None
        if not isinstance(role, str) or not isinstance(content, str):
            raise UsageError(f"{where} has 'messages' that are not a list of role and content")
        messages.append({"content": content, "role": role})
    return messages


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
