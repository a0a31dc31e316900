"""Losses: what a plain forward pass over everything gives, with less memory and less work."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from evaluation import chat_model, encoding, model_folder, rows, scoring
from evaluation.answer_logits import AnswerLogits, shared_beginning
from evaluation.chat_model import ChatModel
from evaluation.encoding import Encoded, Encoder
from evaluation.refusal import Refusal

from tests.pipelines.conftest import distinct_rows
from tests.tiny_model import write_rows


@pytest.fixture(scope="module")
def chat(tiny_models: dict[str, Path]) -> ChatModel:
    folder = model_folder.find(tiny_models["base"], "base_model")
    tokenizer = chat_model.load_tokenizer(folder, "base_model")
    return chat_model.load(folder, tokenizer, chat_model.limit_of(folder, tokenizer, "base_model"), "base_model")


@pytest.fixture
def encoded(chat: ChatModel, tmp_path: Path) -> dict[int, Encoded]:
    found = rows.read(write_rows(tmp_path / "rows.jsonl", distinct_rows(10)), Counter())
    return encoding.encode_all(Encoder(chat.tokenizer, chat.limit), found, Counter(), "rows")


def test_the_loss_is_that_of_a_plain_pass_over_each_row_alone(chat: ChatModel, encoded: dict[int, Encoded]) -> None:
    import torch

    found = scoring.losses(chat, encoded)
    for line, row in encoded.items():
        with torch.inference_mode():
            likely = chat.model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
        plain = -sum(float(likely[position - 1, row.ids[position]]) for position in row.answers)
        assert found[line] == pytest.approx(plain, rel=1e-4)


def test_batches_of_another_size_give_the_same_losses(
    chat: ChatModel, encoded: dict[int, Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = scoring.losses(chat, encoded)
    monkeypatch.setitem(scoring.TOKENS_IN_A_BATCH, "cpu", 1)
    assert scoring.losses(chat, encoded) == pytest.approx(together, rel=1e-4)


def test_a_shared_beginning_is_computed_once_and_changes_nothing(chat: ChatModel) -> None:
    import torch

    ids = torch.arange(5, 95).reshape(3, 30)
    ids[:, :12] = ids[:1, :12]
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    chosen[:, 20:29] = True
    assert shared_beginning(ids, chosen) == 12
    lengths = []
    watched = chat.model.get_input_embeddings().register_forward_hook(
        lambda _, given, __: lengths.append(given[0].shape)
    )
    answers = []
    for shares in (True, False):
        logits = AnswerLogits(chat.model, shares=shares)
        with torch.inference_mode():
            answers.append(logits(ids, chosen))
        logits.close()
    watched.remove()
    assert [tuple(shape) for shape in lengths] == [(1, 12), (3, 18), (3, 30)]
    assert torch.allclose(answers[0], answers[1], atol=1e-4)
    assert answers[0].shape[0] == int(chosen.sum())


def test_the_model_is_left_as_it_was(chat: ChatModel, encoded: dict[int, Encoded]) -> None:
    scoring.losses(chat, encoded)
    assert not chat.model.get_output_embeddings()._forward_pre_hooks


def test_a_full_gpu_halves_the_batch_and_says_so(
    chat: ChatModel, encoded: dict[int, Encoded], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import torch

    expected = scoring.losses(chat, encoded)
    plain = AnswerLogits.__call__

    def full(self: AnswerLogits, ids: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        if len(ids) > 2:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return plain(self, ids, chosen)

    monkeypatch.setattr(AnswerLogits, "__call__", full)
    assert scoring.losses(chat, encoded) == pytest.approx(expected, rel=1e-4)
    assert "memory is full; batches of" in capfd.readouterr().err

    def always(self: AnswerLogits, ids: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(AnswerLogits, "__call__", always)
    with pytest.raises(Refusal, match=r"take a larger GPU, or with compute\.evaluate cpu"):
        scoring.losses(chat, encoded)


def test_rows_are_batched_by_length_within_a_budget_of_tokens() -> None:
    found = {line: Encoded(tuple(range(length)), (1,), 1) for line, length in enumerate((50, 40, 40, 9, 9, 9, 9))}
    parts = list(scoring.batches(list(found), found, 100))
    assert parts == [[0, 1], [2, 3], [4, 5, 6]]
    assert list(scoring.batches([0], found, 10)) == [[0]]
