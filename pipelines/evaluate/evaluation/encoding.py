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
    """Token ids of a conversation and the positions of its answer tokens; `bytes` is the size of these as UTF-8."""

    ids: tuple[int, ...]
    answers: tuple[int, ...]
    bytes: int
    cut: bool = False

    def same_tokens(self, other: Encoded) -> bool:
        return self.ids == other.ids and self.answers == other.answers


@dataclass
class Encoder:
    """One model's tokenizer and template. `markers`: where an answer begins and where a question does.

    Without `system_supported` a system prompt goes in front of the first question, as the training had it.
    """

    tokenizer: Any
    limit: int
    markers: tuple[str, str] | None = None
    system_supported: bool = True

    def __post_init__(self) -> None:
        self._ends = tuple(special_tokens(self.tokenizer))

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
        is_cut = len(ids) > self.limit
        last = offsets[kept[-1]][1] if is_cut else len(text)
        size = sum(len(text[start : min(end, last)].encode()) for start, end in spans if start < last)
        return Encoded(tuple(ids[: self.limit]), kept, size, is_cut)

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
        ends = [behind.find(token) + len(token) for token in self._ends if token in behind]
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

        found = messages if self.system_supported else without_system(messages)
        cleaned = [{key: value for key, value in message.items() if value is not None} for message in found]
        try:
            return str(self.tokenizer.apply_chat_template(cleaned, tokenize=False, add_generation_prompt=asks))
        except (TemplateError, KeyError, TypeError, ValueError, IndexError):
            raise TemplateRefusal("that the chat template refuses") from None


class TemplateRefusal(Exception):
    """Why one row cannot be rendered."""


def special_tokens(tokenizer: Any) -> dict[str, int]:
    """Texts and ids of all; those that no role names too, as Phi-3's `<|end|>`: `all_special_tokens` has named ones."""
    named = dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
    return {**named, **{str(token): place for place, token in tokenizer.added_tokens_decoder.items() if token.special}}


def without_system(messages: Sequence[Message]) -> list[Message]:
    """The text of a system prompt in front of the first question; untouched where there is neither."""
    place = next((place for place, each in enumerate(messages) if each.get("role") == "user"), None)
    if place is None or messages[0].get("role") != "system":
        return list(messages)
    asked = {**messages[place], "content": f"{messages[0]['content']}\n{messages[place]['content']}"}
    return [*messages[1:place], asked, *messages[place + 1 :]]


def markers_of(settings: dict[str, Any]) -> tuple[str, str] | None:
    """`chat_special_tokens` of a finetune_config.json, where both are there."""
    found = settings.get("chat_special_tokens")
    if not isinstance(found, dict):
        return None
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
