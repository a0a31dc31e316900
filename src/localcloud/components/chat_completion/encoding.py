"""Turns conversations into token ids and labels: only what an assistant says carries a label.

Rows without a conversation, and rows that were cut before the first answer, are dropped and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from localcloud.components.chat_completion.chat_tokenizer import ChatTokenizer, Message
from localcloud.components.chat_completion.finetune_config import FinetuneConfig
from localcloud.components.chat_completion.program import UserError
from localcloud.components.chat_completion.rows import Row

IGNORED = -100  # the label that torch's cross entropy leaves out


@dataclass(frozen=True)
class EncodedRow:
    """One conversation as numbers, and as the text that they stand for."""

    text: str
    input_ids: list[int]
    labels: list[int]

    @property
    def answer_tokens(self) -> int:
        return sum(label != IGNORED for label in self.labels)

    def padded(self, length: int, pad: int) -> dict[str, list[int]]:
        """The row as it stands in `train.jsonl`, filled up to a length (0: not at all)."""
        missing = max(0, length - len(self.input_ids))
        return {
            "input_ids": self.input_ids + [pad] * missing,
            "attention_mask": [1] * len(self.input_ids) + [0] * missing,
            "labels": self.labels + [IGNORED] * missing,
        }


@dataclass
class Encoder:
    """Encodes rows by one model's rules; `dropped` counts what was left out, by reason."""

    tokenizer: ChatTokenizer
    config: FinetuneConfig
    maximum: int
    dropped: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        response, instruction = self.config.response_template, self.config.instruction_template
        if not response or not instruction:
            raise UserError(
                "Chat special tokens are not set in the finetune config: 'chat_special_tokens' with "
                "'response_template' and 'instruction_template' are needed. Give them in finetune_config_path."
            )
        self._response = self.tokenizer.encode(response)
        self._instruction = self.tokenizer.encode(instruction)

    def encode(self, rows: Iterable[Row]) -> list[EncodedRow]:
        return [encoded for row in rows if (encoded := self.encode_row(row)) is not None]

    def encode_row(self, row: Row) -> EncodedRow | None:
        messages = row.get("messages")
        if not messages:
            self.dropped["without messages"] += 1
            return None
        if not isinstance(messages, list):
            kind = "text" if isinstance(messages, str) else f"'{messages}'"
            raise UserError(
                f"The column 'messages' holds {kind}, not a list of messages: give the data as jsonl, json or parquet."
            )
        if len(messages) == 1:
            self.dropped["with a single message"] += 1
            return None
        text = self._render(messages, row.get("tools"))
        ids = self.tokenizer.encode(text)[: self.maximum]
        labels = answer_labels(ids, self._response, self._instruction)
        if all(label == IGNORED for label in labels):
            self.dropped["cut before the first answer"] += 1
            return None
        return EncodedRow(text, ids, labels)

    def _render(self, messages: Sequence[Message], tools: Any) -> str:
        try:
            cleaned = [{key: value for key, value in message.items() if value is not None} for message in messages]
            if not self.config.system_role_supported:
                cleaned = without_system_role(cleaned)
            return self.tokenizer.render(cleaned, tools)
        except UserError:
            raise
        except Exception as error:  # a template is a program
            raise UserError(
                f"Failure while applying the chat template: {error}. The row's messages are '{_short(messages)}'; each "
                "needs 'role' and 'content', in an order that the model's template accepts."
            ) from None


def answer_labels(ids: Sequence[int], response: Sequence[int], instruction: Sequence[int]) -> list[int]:
    """Labels: the token itself from after each `response` sequence to the next `instruction` sequence, else -100."""
    labels = [IGNORED] * len(ids)
    answering, index = False, 0
    while index < len(ids):
        if _stands_at(ids, index, response):
            answering, index = True, index + len(response)
        elif _stands_at(ids, index, instruction):
            answering, index = False, index + len(instruction)
        else:
            if answering:
                labels[index] = ids[index]
            index += 1
    return labels


def without_system_role(messages: list[Message]) -> list[Message]:
    """For models whose template knows no system role: its text goes before the first user's."""
    systems = [index for index, message in enumerate(messages) if message["role"] == "system"]
    if not systems:
        return messages
    user = next((index for index, message in enumerate(messages) if message["role"] == "user"), None)
    if systems != [0] or user is None:
        raise UserError("The model knows no system role: one system message is possible, first, before a user's turn.")
    first = {**messages[user], "content": f"{messages[0]['content']}\n{messages[user]['content']}"}
    return [*messages[1:user], first, *messages[user + 1 :]]


def _stands_at(ids: Sequence[int], index: int, wanted: Sequence[int]) -> bool:
    return bool(wanted) and list(ids[index : index + len(wanted)]) == list(wanted)


def _short(messages: Any) -> str:
    text = str(messages)
    return text if len(text) <= 120 else text[:117] + "..."
