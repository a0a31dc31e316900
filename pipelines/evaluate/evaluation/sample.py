"""The test conversations that each model answers itself, and how such a line of samples.jsonl looks."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.measuring import Measured
from evaluation.rows import Conversation, Message
from evaluation.settings import Settings


@dataclass(frozen=True)
class Sample:
    """A conversation up to its last answer, which is the reference."""

    line: int
    asked: list[Message]
    reference: str

    def record(self, place: int, models: Mapping[str, Measured]) -> dict[str, Any]:
        """With what each model answered; `place` is where this sample stands among all."""
        found = {name: model.answers[place] for name, model in models.items()}
        answers = {name: {"text": each.text, "tokens": each.tokens, "cut": each.cut} for name, each in found.items()}
        return {"line": self.line, "messages": self.asked, "reference": self.reference, "answers": answers}


def choose_sample(conversations: Sequence[Conversation], settings: Settings) -> list[Sample]:
    """Of as many clusters as are wanted and there are, one row each, the same for the same seed."""
    one_each = {conversation.cluster: conversation for conversation in reversed(conversations)}
    order = sorted(one_each.values(), key=lambda conversation: conversation.line)
    chosen = random.Random(settings.seed).sample(order, min(settings.samples, len(order)))
    return [_sample(conversation) for conversation in chosen]


def _sample(conversation: Conversation) -> Sample:
    messages = conversation.messages
    answers = (i for i, each in enumerate(messages) if each.get("role") == "assistant" and each["content"].strip())
    last = max(answers)
    return Sample(conversation.line, messages[:last], messages[last]["content"])
