"""One model held against the test rows, the general questions and the sample: encoded first, then scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluation import chat_model, encoding, generation, scoring
from evaluation.encoding import Encoded, Encoder
from evaluation.generation import Answer
from evaluation.model_folder import ModelFolder
from evaluation.rows import Conversation, Message


@dataclass
class Sheet:
    """Rows of one file as a model sees them, and what they cost it: nats by line number."""

    encoded: dict[int, Encoded]
    losses: dict[int, float] = field(default_factory=dict)


@dataclass
class Measured:
    """All that is known of one model; `skipped` and `unasked` count rows and questions that it could not take.

    In tokens: rows are cut at `limit`; `context` is what the model takes, for answers of its own.
    """

    name: str
    folder: ModelFolder
    tokenizer: Any
    limit: int
    context: int
    encoder: Encoder
    test: Sheet
    questions: Sheet
    skipped: Counter[str]
    unasked: Counter[str]
    answers: list[Answer] = field(default_factory=list)


def read_all(
    folders: Mapping[str, ModelFolder],
    test: Sequence[Conversation],
    questions: Sequence[Conversation],
    max_seq_length: int,
) -> dict[str, Measured]:
    """Every model's tokens of every row, cut where any of these models would. No weights are loaded yet."""
    tokenizers = {name: chat_model.load_tokenizer(folder, _what(name)) for name, folder in folders.items()}
    contexts = {name: chat_model.limit_of(folder, tokenizers[name], _what(name)) for name, folder in folders.items()}
    limit = min([*contexts.values(), *([max_seq_length] if max_seq_length > 0 else [])])
    found = {}
    for name, folder in folders.items():
        encoder = Encoder(
            tokenizers[name],
            limit,
            encoding.markers_of(folder.settings),
            str(folder.settings.get("system_role_supported", "true")).lower() != "false",
        )
        skipped: Counter[str] = Counter()
        unasked: Counter[str] = Counter()
        found[name] = Measured(
            name,
            folder,
            tokenizers[name],
            limit,
            contexts[name],
            encoder,
            test=Sheet(encoding.encode_all(encoder, test, skipped, f"{_what(name)}: the test file")),
            questions=Sheet(encoding.encode_all(encoder, questions, unasked, f"{_what(name)}: the regression file")),
            skipped=skipped,
            unasked=unasked,
        )
    return found


def measure(model: Measured, sample: Sequence[Sequence[Message]], max_new_tokens: int) -> None:
    """Load the weights, score both sheets, answer the sample's conversations, and give the memory back."""
    chat = chat_model.load(model.folder, model.tokenizer, model.context, _what(model.name))
    try:
        for sheet in (model.test, model.questions):
            sheet.losses = scoring.losses(chat, sheet.encoded)
        asked = [model.encoder.question(messages) for messages in sample]
        model.answers = generation.answers(chat, asked, max_new_tokens)
    finally:
        chat.unload()


def _what(name: str) -> str:
    return f"{name}_model"
