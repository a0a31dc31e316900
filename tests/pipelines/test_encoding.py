"""Answer tokens, found by whatever template a model has; a row that cannot be used says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from evaluation import chat_model, model_folder
from evaluation.encoding import Encoded, Encoder, markers_of
from evaluation.rows import Conversation

TALK = [
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "First."},
    {"role": "user", "content": "Two?"},
    {"role": "assistant", "content": "Sécond!"},
]
# Phi-3's way: the end of the text stands behind the last answer only.
WITH_END = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% else %}{{ '<|endoftext|>' }}{% endif %}"
)
# Some reasoning models' way: earlier answers are written otherwise than the last one.
CHANGING = (
    "{% for m in messages %}{{ m['role'] + ': ' }}{% if m['role'] == 'assistant' and not loop.last %}"
    "{{ '(short) ' }}{% endif %}{{ m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
STRICT = "{% if messages[0]['role'] != 'system' %}{{ raise_exception('a system message is needed') }}{% endif %}"


@pytest.fixture
def tokenizer(tiny_models: dict[str, Path]) -> Any:
    folder = model_folder.find(tiny_models["base"], "base_model")
    return chat_model.load_tokenizer(folder, "base_model")


def _encode(encoder: Encoder, messages: list[dict[str, str]] = TALK) -> Encoded:
    found = encoder.encode(Conversation(1, messages, "c"))
    assert isinstance(found, Encoded), found
    return found


def _answers(tokenizer: Any, found: Encoded) -> str:
    return str(tokenizer.decode([found.ids[position] for position in found.answers]))


@pytest.mark.parametrize("template", [None, WITH_END])
def test_each_answer_counts_with_the_token_that_ends_it(tokenizer: Any, template: str | None) -> None:
    tokenizer.chat_template = template or tokenizer.chat_template
    found = _encode(Encoder(tokenizer, 512))
    expected = "First.<|im_end|>Sécond!<|im_end|>"
    assert _answers(tokenizer, found) == expected
    assert found.bytes == len(expected.encode())
    assert not found.cut


def test_where_the_template_hides_answers_the_markers_of_the_model_find_them(tokenizer: Any) -> None:
    tokenizer.chat_template = CHANGING
    encoder = Encoder(tokenizer, 512, ("assistant: ", "user: "))
    assert _answers(tokenizer, _encode(encoder)) == "(short) First.Sécond!"
    without = Encoder(tokenizer, 512).encode(Conversation(1, TALK, "c"))
    assert without == "whose answers the chat template does not show"


def test_an_end_that_only_the_tokenizers_file_calls_special_ends_an_answer(tokenizer: Any) -> None:
    """Phi-3's way: no role (eos, pad …) names the token that ends an answer, and the text goes on behind it."""
    tokenizer.chat_template = WITH_END
    tokenizer.eos_token = tokenizer.pad_token = "<|endoftext|>"
    assert "<|im_end|>" not in tokenizer.all_special_tokens
    assert _answers(tokenizer, _encode(Encoder(tokenizer, 512))) == "First.<|im_end|>Sécond!<|im_end|>"


def test_a_model_without_a_system_role_reads_it_in_front_of_the_first_question(tokenizer: Any) -> None:
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}" + tokenizer.chat_template
    )
    talk = [{"role": "system", "content": "Be brief."}, *TALK]
    assert Encoder(tokenizer, 512).encode(Conversation(1, talk, "c")) == "that the chat template refuses"
    encoder = Encoder(tokenizer, 512, system_supported=False)
    found = _encode(encoder, talk)
    assert "user\nBe brief.\nOne?<|im_end|>" in tokenizer.decode(found.ids)
    assert _answers(tokenizer, found) == "First.<|im_end|>Sécond!<|im_end|>"


def test_rows_that_cannot_be_used_say_why(tokenizer: Any) -> None:
    assert Encoder(tokenizer, 12).encode(Conversation(1, TALK, "c")) == "cut before the first answer"
    tokenizer.chat_template = STRICT
    assert Encoder(tokenizer, 512).encode(Conversation(1, TALK, "c")) == "that the chat template refuses"


def test_a_cut_row_keeps_the_answers_in_front_of_the_cut(tokenizer: Any) -> None:
    whole = _encode(Encoder(tokenizer, 512))
    limit = whole.answers[-1] - 3
    found = _encode(Encoder(tokenizer, limit))
    assert found.cut
    assert len(found.ids) == limit
    assert set(found.answers) < set(whole.answers)
    assert found.bytes == len(_answers(tokenizer, found).encode()) < whole.bytes


def test_markers_come_from_the_models_own_settings() -> None:
    tokens = {"response_template": "<a>", "instruction_template": "<u>"}
    assert markers_of({"chat_special_tokens": tokens}) == ("<a>", "<u>")
    assert markers_of({"chat_special_tokens": {"response_template": "<a>"}}) is None
    assert markers_of({}) is None
    assert markers_of({"chat_special_tokens": "<a>"}) is None
