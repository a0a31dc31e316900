"""Conversations of a JSON-lines file: read, checked one by one, and put into clusters that share a first question."""

from __future__ import annotations

import hashlib
import json
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.refusal import Refusal

Message = dict[str, Any]
_BETWEEN_WORDS = re.compile(r"[\W_]+")
_HALF = re.compile("[\ud800-\udfff]")  # of a character, as JSON can write it and no tokenizer takes it


@dataclass(frozen=True)
class Conversation:
    """One row: where it stands (`line`, from 1), its messages, and the cluster that it belongs to."""

    line: int
    messages: list[Message]
    cluster: str
    category: str = ""


def read(path: Path, skipped: Counter[str]) -> list[Conversation]:
    """All usable rows; the others are counted in `skipped` by reason. Refusal when the file is none or no row is left.

    A line that is no JSON is an error and no skipped row: such a file was damaged after it had been prepared.
    """
    if not path.is_file():
        raise Refusal(f"There is no file '{path}'.")
    found = []
    try:
        for number, line in _lines(path):
            reason, conversation = _conversation(path, number, line)
            if conversation is None:
                skipped[reason] += 1
            else:
                found.append(conversation)
    except UnicodeDecodeError as error:
        raise Refusal(f"'{path.name}' is not UTF-8: {error.reason}. Prepare the data again.") from None
    if not found:
        why = ", ".join(f"{count} {reason}" for reason, count in skipped.items()) or "it is empty"
        raise Refusal(f"The file '{path.name}' has no conversation to measure: {why}. Prepare the data again.")
    return found


def choose(conversations: list[Conversation], most: int, seed: int) -> list[Conversation]:
    """At most this many rows: clusters in an order that the seed decides, the last one perhaps not whole."""
    if len(conversations) <= most:
        return conversations
    order = sorted({conversation.cluster for conversation in conversations})
    random.Random(seed).shuffle(order)
    place = {cluster: index for index, cluster in enumerate(order)}
    chosen = sorted(conversations, key=lambda conversation: (place[conversation.cluster], conversation.line))[:most]
    return sorted(chosen, key=lambda conversation: conversation.line)


def cluster_of(messages: list[Message], prompt: str = "") -> str:
    """The first question without case, punctuation and width of spaces, as a hash; without a question, the prompt."""
    first = next((str(message["content"]) for message in messages if message.get("role") == "user"), prompt)
    words = _BETWEEN_WORDS.sub(" ", unicodedata.normalize("NFKC", first).casefold()).strip()
    return hashlib.sha256((words or first).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, line


def _conversation(path: Path, number: int, line: str) -> tuple[str, Conversation | None]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"Line {number} of '{path.name}' is not JSON: {error}. Prepare the data again.") from None
    if not isinstance(row, dict) or not isinstance(row.get("messages"), list) or not row["messages"]:
        return "without messages", None
    messages = row["messages"]
    if not all(isinstance(each, dict) and _is_text(each.get("content")) for each in messages):
        return "with a message that is no text", None
    if not any(each.get("role") == "assistant" and each["content"].strip() for each in messages):
        return "without an answer of the assistant", None
    prompt = str(row.get("prompt") or "")
    return "", Conversation(number, messages, cluster_of(messages, prompt), str(row.get("category") or ""))


def _is_text(content: Any) -> bool:
    return isinstance(content, str) and not _HALF.search(content)
