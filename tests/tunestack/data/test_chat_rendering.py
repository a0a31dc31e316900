"""What is trained on: the pipeline's own rule, shown on the text, with what is masked, cut or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localcloud.components.chat_completion.chat_tokenizer import ChatTokenizer as PipelineTokenizer
from localcloud.components.chat_completion.encoding import IGNORED, Encoder
from localcloud.components.chat_completion.finetune_config import FinetuneConfig
from tests.tiny_model import CHAT_TEMPLATE, make_tiny_model
from tests.tunestack.conversations import data, row, three
from tunestack.data import chat_rendering
from tunestack.data.chat_template import Template
from tunestack.data.chat_tokenizer import ChatTokenizer, trained
from tunestack.data.data_preparation import Preparation
from tunestack.data.token_counts import TokenCounts
from tunestack.errors import UsageError

PHI = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
LLAMA2 = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + '</s>' }}{% endif %}{% endfor %}"
)
WITH_DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    + CHAT_TEMPLATE
)
STRICT = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{{ message['content'] }}{% endfor %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("texts", [("q", "a"), ("q", "a", "r", "b"), ("q" * 40, "a")])
@pytest.mark.parametrize("limit", [-1, 100, 60, 20])
def test_the_tokens_marked_are_those_that_the_pipeline_trains_on(model, texts, limit) -> None:
    tokenizer = ChatTokenizer(model, "tiny", limit=limit)
    pipeline = PipelineTokenizer(model / "data" / "tokenizer")
    encoder = Encoder(pipeline, FinetuneConfig.load(model), limit if limit > 0 else pipeline.maximum_length)
    encoded, theirs = tokenizer.encode([row(*texts)["messages"]])[0], encoder.encode_row(row(*texts))
    assert encoded is not None
    if theirs is None:
        assert encoded.answer_tokens == 0
        assert encoder.dropped["cut before the first answer"] == 1
        return
    assert encoded.text == theirs.text
    assert list(encoded.ids[: tokenizer.limit]) == theirs.input_ids
    assert list(encoded.trained[: tokenizer.limit]) == [label != IGNORED for label in theirs.labels]


def test_the_limit_is_the_tokenizers_unless_the_recipe_asks_for_less(tmp_path) -> None:
    model = make_tiny_model(tmp_path, length=300)
    assert [ChatTokenizer(model, limit=limit).limit for limit in (-1, 100, 4000)] == [300, 100, 300]
    settings = tmp_path / "data" / "tokenizer" / "tokenizer_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "model_max_length": 1e30}))
    assert ChatTokenizer(model).limit == 512


def test_plain_text_has_brackets_around_what_is_trained_on(model) -> None:
    encoded = ChatTokenizer(model).encode([row("Hi?", "Hello.", "And?", "Bye.")["messages"]])[0]
    assert encoded is not None
    assert chat_rendering.plain(encoded) == (
        "<|im_start|>user\nHi?<|im_end|>\n<|im_start|>assistant\n[[Hello.<|im_end|>\n]]"
        "<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n[[Bye.<|im_end|>\n]]"
    )
    assert "".join(piece for _, piece in chat_rendering.spans(encoded)) == encoded.text
    styled = chat_rendering.styled(encoded)
    assert styled.plain == encoded.text
    assert any(span.style == "bold green" for span in styled.spans)


def test_where_a_row_is_cut_is_shown(model) -> None:
    encoded = ChatTokenizer(model, limit=25).encode([row("Hi?", "Hello world.")["messages"]])[0]
    assert encoded is not None
    assert encoded.is_cut
    assert "cut at 25 tokens: " in chat_rendering.plain(encoded)


def test_text_outside_ascii_is_marked_whole(model) -> None:
    encoded = ChatTokenizer(model).encode([row("Wo?", "Übergrößen 🎈.")["messages"]])[0]
    assert encoded is not None
    assert "[[Übergrößen 🎈.<|im_end|>\n]]" in chat_rendering.plain(encoded)


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        (CHAT_TEMPLATE, ("<|im_start|>assistant\n", "<|im_start|>user\n")),
        (WITH_DEFAULT_SYSTEM, ("<|im_start|>assistant\n", "<|im_start|>user\n")),
        (PHI, ("<|assistant|>\n", "<|user|>\n")),
        (LLAMA2, None),
        (STRICT, None),
    ],
)
def test_without_a_finetune_config_the_marks_are_read_off_the_template(text, marks) -> None:
    assert Template(text, {}).marks() == marks


def test_a_finetune_config_beats_the_template_and_both_versions_are_read(model) -> None:
    tokens = {"chat_special_tokens": {"response_template": "<A>", "instruction_template": "<Q>"}}
    flat, nested = tokens, {"version": "2", "task_specific_config": {"ChatCompletion": tokens}}
    for config in (flat, nested):
        found = ChatTokenizer(model, config=config)
        assert (found.marks, found.marks_from) == (("<A>", "<Q>"), "finetune_config.json")
    assert ChatTokenizer(model, config={}).marks_from == "the chat template"


def test_a_model_without_system_role_gets_its_text_before_the_first_question(model) -> None:
    tokenizer = ChatTokenizer(model, config={"system_role_supported": "false"})
    conversation = row("Be brief.", "Hi?", "Hello.", roles=("system", "user", "assistant"))["messages"]
    assert tokenizer.template.rendered(conversation) == (
        "<|im_start|>user\nBe brief.\nHi?<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
    )


def test_a_row_that_the_template_refuses_is_none_and_its_neighbours_are_not(model, tmp_path) -> None:
    tokenizer = ChatTokenizer(model)
    tokenizer.template = Template(STRICT, {})
    with_system = row("s", "q", "a", roles=("system", "user", "assistant"))["messages"]
    found = tokenizer.encode([row("q", "a")["messages"], with_system, row("q", "b")["messages"]])
    assert [encoded.text if encoded else None for encoded in found] == ["qa", None, "qb"]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([1, 2, 5, 6, 9, 8, 5], [0, 0, 1, 1, 0, 0, 0]),
        ([1, 2, 5, 1, 2, 6], [0, 0, 1, 0, 0, 1]),
        ([9, 8, 1, 5], [0, 0, 0, 0]),
        ([1, 2], [0, 0]),
        ([], []),
    ],
)
def test_what_follows_a_response_up_to_the_next_instruction_is_trained_on(ids, expected) -> None:
    assert trained(ids, [1, 2], [9, 8]) == [bool(flag) for flag in expected]


def test_a_folder_without_tokenizer_and_a_tokenizer_without_template_are_named(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"holds no tokenizer\.json"):
        ChatTokenizer(tmp_path)
    model = make_tiny_model(tmp_path)
    settings = model / "data" / "tokenizer" / "tokenizer_config.json"
    settings.write_text("{}")
    with pytest.raises(UsageError, match="has no chat template: it belongs to no chat model"):
        ChatTokenizer(model)
    (model / "data" / "tokenizer" / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match=r"tokenizer\.json' cannot be read"):
        ChatTokenizer(model)


def test_rows_are_shown_with_facts_and_without_a_tokenizer_it_is_said(model, tmp_path, capsys) -> None:
    Preparation(data(), TokenCounts()).write(three(), Path(tmp_path / "out"))
    chat_rendering.show(tmp_path / "out", ChatTokenizer(model, limit=20), 2)
    said = capsys.readouterr().err
    assert "between [[ and ]]; the marks come from finetune_config.json" in said
    assert said.count("wholly masked, the pipeline drops it") == 2
    chat_rendering.show(tmp_path / "out", None, 1)
    said = capsys.readouterr().err
    assert "cannot be shown without the model's tokenizer" in said
    assert "user: question" in said
