"""What a model answers itself: greedy, in one batch, with statistics of length and repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.chat_model import ChatModel
from evaluation.encoding import special_tokens
from evaluation.refusal import Refusal
from evaluation.scoring import say

_WORDS = 4  # a phrase of four words that comes again within one answer is hardly ever meant


@dataclass(frozen=True)
class Answer:
    """One answer: its text, its length in tokens, and whether the limit cut it."""

    text: str
    tokens: int
    cut: bool


def answers(chat: ChatModel, questions: Sequence[str], most: int) -> list[Answer]:
    """An answer of at most `most` tokens to each rendered question; the question gets half of the context at least.

    A batch too large for the GPU is halved.
    """
    import torch

    most = min(most, chat.limit // 2)
    found: list[Answer] = []
    size = len(questions)
    while len(found) < len(questions):
        part = questions[len(found) : len(found) + size]
        try:
            found += _generate(chat, part, most)
        except torch.cuda.OutOfMemoryError:
            if len(part) == 1:
                raise Refusal(
                    f"{chat.name}: the GPU's memory is full with one answer of {most} tokens: "
                    "set a smaller max_new_tokens or take a larger GPU."
                ) from None
            torch.cuda.empty_cache()
            size = max(1, len(part) // 2)
            say(f"{chat.name}: the GPU's memory is full; {size} answers at once from here on.")
    return found


def statistics(found: Sequence[Answer]) -> dict[str, Any]:
    """Over all answers; `empty`, `cut` and `repetition` are shares between 0 and 1."""
    count = max(1, len(found))
    return {
        "rows": len(found),
        "mean_tokens": sum(answer.tokens for answer in found) / count,
        "empty": sum(not answer.text.strip() for answer in found) / count,
        "cut": sum(answer.cut for answer in found) / count,
        "repetition": sum(repetition(answer.text) for answer in found) / count,
    }


def repetition(text: str) -> float:
    """The share of an answer's phrases of four words that stood in it before; 0 for answers too short to have two."""
    words = text.split()
    phrases = [tuple(words[index : index + _WORDS]) for index in range(len(words) - _WORDS + 1)]
    return 1 - len(set(phrases)) / len(phrases) if phrases else 0.0


def stop_tokens(chat: ChatModel) -> list[int]:
    """Whatever ends an answer: the configured ends, and the special tokens that the template puts behind an answer."""
    configured = getattr(chat.model.generation_config, "eos_token_id", None)
    found = set(configured if isinstance(configured, (list, tuple)) else [configured])
    found.add(chat.tokenizer.eos_token_id)
    marker = "\u241e"  # a sign that no template writes
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": marker}]
    text = str(chat.tokenizer.apply_chat_template(messages, tokenize=False))
    behind = chat.tokenizer(text.rpartition(marker)[2], add_special_tokens=False)["input_ids"]
    found.update(token for token in behind[:1] if token in special_tokens(chat.tokenizer).values())
    return sorted(token for token in found if token is not None)


def _generate(chat: ChatModel, questions: Sequence[str], most: int) -> list[Answer]:
    import torch

    room = chat.limit - most
    rows = [chat.tokenizer(text, add_special_tokens=False)["input_ids"][-room:] for text in questions]
    length = max(len(row) for row in rows)
    stops = stop_tokens(chat)
    pad = chat.tokenizer.pad_token_id if chat.tokenizer.pad_token_id is not None else (stops[0] if stops else 0)
    ids = torch.full((len(rows), length), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, length - len(row) :] = torch.tensor(row)
        mask[place, length - len(row) :] = 1
    with torch.inference_mode():
        made = chat.model.generate(
            input_ids=ids.to(chat.device),
            attention_mask=mask.to(chat.device),
            max_new_tokens=most,
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=stops or None,
            pad_token_id=pad,
        )
    return [_answer(chat, row[length:].tolist(), set(stops)) for row in made]


def _answer(chat: ChatModel, tokens: list[int], stops: set[int]) -> Answer:
    end = next((index for index, token in enumerate(tokens) if token in stops), None)
    kept = tokens if end is None else tokens[:end]
    return Answer(chat.tokenizer.decode(kept, skip_special_tokens=True).strip(), len(kept), end is None)
