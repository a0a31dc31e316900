"""Conversations as token ids, with the places of what the assistant says: found by the chat template itself.

A template is rendered once for the whole conversation and once up to each answer; where the shorter text is no
beginning of the longer one, the markers of finetune_config.json find the answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.refusal import Refusal
from evaluation.rows import Conversation, Message


@dataclass(frozen=True)
class Encoded:
    """Token ids of a conversation and the positions of its answer tokens; `bytes` is the answers' size as UTF-8."""

    ids: tuple[int, ...]
    answers: tuple[int, ...]
    bytes: int
    cut: bool = False

    def same_tokens(self, other: Encoded) -> bool:
        return self.ids == other.ids and self.answers == other.answers


@dataclass
class Encoder:
    """One model's tokenizer and template. `markers`: where an answer begins and where a question does."""

    tokenizer: Any
    limit: int
    markers: tuple[str, str] | None = None

    def encode(self, conversation: Conversation) -> Encoded | str:
        """The conversation as numbers, or why it cannot be used."""
        try:
            text, spans = self._answers(conversation.messages)
        except TemplateRefusal as error:
            return str(error)
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = found["input_ids"], found["offset_mapping"]
        # the first token of all is predicted from nothing
        answers = [index for index, place in enumerate(offsets) if index and _inside(place, spans)]
        kept = tuple(index for index in answers if index < self.limit)
        if not answers:
            return "without answer tokens"
        if not kept:
            return "cut before the first answer"
        size = sum(len(text[start:end].encode("utf-8", "surrogatepass")) for start, end in spans)
        return Encoded(tuple(ids[: self.limit]), kept, size, len(ids) > self.limit)

    def question(self, messages: Sequence[Message]) -> str:
        """The text that asks for an answer."""
        return self._render(messages, asks=True)

    def _answers(self, messages: Sequence[Message]) -> tuple[str, list[tuple[int, int]]]:
        """The whole text, and the spans (characters) of what the assistant says with the token that ends it."""
        text = self._render(messages)
        spans = []
        for index, message in enumerate(messages):
            if message.get("role") != "assistant" or not message["content"].strip():
                continue
            before = self._render(messages[:index], asks=True)
            upto = _shared_beginning(text, self._render(messages[: index + 1]))
            if not text.startswith(before) or len(upto) <= len(before):
                return text, self._marked(text)
            spans.append((len(before), len(before) + self._length(upto[len(before) :], message["content"].strip())))
        return text, spans

    def _length(self, rendered: str, content: str) -> int:
        """Characters of an answer with the special token that ends it; what stands behind that, no model has to say."""
        written = max(0, rendered.find(content)) + len(content)
        behind = rendered[written:]
        ends = [behind.find(token) + len(token) for token in self.tokenizer.all_special_tokens if token in behind]
        return written + min(ends) if ends else len(rendered.rstrip())

    def _marked(self, text: str) -> list[tuple[int, int]]:
        if self.markers is None:
            raise TemplateRefusal("whose answers the chat template does not show")
        response, instruction = self.markers
        spans, place = [], text.find(response)
        while place >= 0:
            start = place + len(response)
            end = text.find(instruction, start)
            spans.append((start, start + self._length(text[start : end if end >= 0 else len(text)], "")))
            place = text.find(response, end) if end >= 0 else -1
        return spans

    def _render(self, messages: Sequence[Message], *, asks: bool = False) -> str:
        from jinja2 import TemplateError

        cleaned = [{key: value for key, value in message.items() if value is not None} for message in messages]
        try:
            return str(self.tokenizer.apply_chat_template(cleaned, tokenize=False, add_generation_prompt=asks))
        except (TemplateError, KeyError, TypeError, ValueError, IndexError):
            raise TemplateRefusal("that the chat template refuses") from None


class TemplateRefusal(Exception):
    """Why one row cannot be rendered."""


def markers_of(settings: dict[str, Any]) -> tuple[str, str] | None:
    """`chat_special_tokens` of a finetune_config.json, where both are there."""
    found = settings.get("chat_special_tokens") or {}
    response, instruction = found.get("response_template"), found.get("instruction_template")
    return (str(response), str(instruction)) if response and instruction else None


def encode_all(
    encoder: Encoder, conversations: Sequence[Conversation], skipped: Counter[str], what: str
) -> dict[int, Encoded]:
    """By line number; rows that cannot be used are counted. Refusal when none can."""
    found = {}
    for conversation in conversations:
        encoded = encoder.encode(conversation)
        if isinstance(encoded, str):
            skipped[encoded] += 1
        else:
            found[conversation.line] = encoded
    if not found:
        why = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        raise Refusal(f"{what} has no row that can be measured: {why}.")
    return found


def _shared_beginning(one: str, other: str) -> str:
    length = next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None)
    return one[: min(len(one), len(other)) if length is None else length]


def _inside(place: tuple[int, int], spans: Sequence[tuple[int, int]]) -> bool:
    start, end = place
    return any(first <= start and end <= last and start < end for first, last in spans)
