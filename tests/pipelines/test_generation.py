"""Answers of a model: the same in a batch as alone, ended where the template ends an answer, counted as they are."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from evaluation import chat_model, generation, model_folder
from evaluation.chat_model import ChatModel
from evaluation.generation import Answer
from evaluation.refusal import Refusal


@pytest.fixture(scope="module")
def chat(tiny_models: dict[str, Path]) -> ChatModel:
    folder = model_folder.find(tiny_models["base"], "base_model")
    return chat_model.load(folder, chat_model.load_tokenizer(folder, "base_model"), 512, "base_model")


def _without_roles(tokenizer: Any) -> Any:
    """As Phi-3's: the token that ends an answer is special in the tokenizer's file, and no role names it."""
    found = copy.deepcopy(tokenizer)
    found.eos_token = found.pad_token = "<|endoftext|>"
    assert "<|im_end|>" not in found.all_special_tokens
    return found


QUESTIONS = ["<|im_start|>user\nHi<|im_end|>\n", "<|im_start|>user\nWhat is a much longer question?<|im_end|>\n"]


def test_a_batch_answers_as_each_question_alone(chat: ChatModel) -> None:
    together = generation.answers(chat, QUESTIONS, 8)
    alone = [answer for question in QUESTIONS for answer in generation.answers(chat, [question], 8)]
    assert together == alone
    assert all(answer.tokens == 8 and answer.cut for answer in together)


def test_an_answer_ends_with_the_templates_own_token(chat: ChatModel) -> None:
    end = chat.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert generation.stop_tokens(chat) == [end]
    silent = chat_model.ChatModel("tuned", chat.model, _without_roles(chat.tokenizer), chat.limit)
    assert end in generation.stop_tokens(silent)
    letters = chat.tokenizer("ab", add_special_tokens=False)["input_ids"]
    found = generation._answer(chat, [*letters, end, *letters], {end})
    assert found == Answer("ab", 2, False)


def test_a_question_gets_half_of_the_context_however_long_answers_may_be(
    chat: ChatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def watched(model: ChatModel, questions: list[str], most: int) -> list[Answer]:
        asked.append(most)
        return []

    monkeypatch.setattr(generation, "_generate", lambda *given: watched(*given) or [Answer("", 0, False)] * 2)
    generation.answers(chat, QUESTIONS, 100_000)
    generation.answers(chat, QUESTIONS, 200)
    assert asked == [256, 200]


def test_a_full_gpu_answers_fewer_at_once(
    chat: ChatModel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import torch

    plain = generation._generate
    sizes = []

    def full(model: ChatModel, questions: list[str], most: int) -> list[Answer]:
        sizes.append(len(questions))
        if len(questions) > limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return plain(model, questions, most)

    limit = 1
    monkeypatch.setattr(generation, "_generate", full)
    assert len(generation.answers(chat, QUESTIONS, 4)) == 2
    assert sizes == [2, 1, 1]
    assert "1 answers at once" in capfd.readouterr().err
    limit = 0
    with pytest.raises(Refusal, match="max_new_tokens"):
        generation.answers(chat, QUESTIONS, 4)


def test_statistics_count_what_is_empty_cut_and_repeated() -> None:
    found = generation.statistics([Answer("", 0, False), Answer("a b c d a b c d", 10, True)])
    assert found == {"rows": 2, "mean_tokens": 5, "empty": 0.5, "cut": 0.5, "repetition": pytest.approx(0.1)}
    assert generation.repetition("one two three") == 0
    assert generation.repetition("go on " * 50) > 0.9
