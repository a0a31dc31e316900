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


def test_a_row_of_which_only_the_space_after_its_end_is_cut_is_not_cut_before_its_end(model) -> None:
    messages = row("Hi?", "Hello.")["messages"]
    length = len(ChatTokenizer(model).encode([messages])[0].ids)
    cuts = {less: ChatTokenizer(model, limit=length - less).encode([messages])[0].is_cut for less in (0, 1, 2)}
    assert cuts == {0: False, 1: False, 2: True}


def test_what_a_row_says_does_not_reach_the_terminal_as_a_command(model) -> None:
    encoded = ChatTokenizer(model).encode([row("Hi\x1b[2J?", "He\x9bllo\r.")["messages"]])[0]
    assert encoded is not None
    assert "[[He␛llo␍.<|im_end|>" in chat_rendering.plain(encoded)
    assert "\x1b" not in chat_rendering.styled(encoded).plain


def test_where_a_row_is_cut_is_shown(model) -> None:
    encoded = ChatTokenizer(model, limit=25).encode([row("Hi?", "Hello world.")["messages"]])[0]
    assert encoded is not None
    assert encoded.is_cut
    assert "cut at 25 tokens: " in chat_rendering.plain(encoded)


def test_text_outside_ascii_is_marked_whole(model) -> None:
    encoded = ChatTokenizer(model).encode([row("Wo?", "Übergrößen 🎈.")["messages"]])[0]
    assert encoded is not None
    assert "[[Übergrößen 🎈.<|im_end|>\n]]" in chat_rendering.plain(encoded)


IM_SEP = "<|im_start|>user<|im_sep|>q<|im_end|><|im_start|>assistant<|im_sep|>[[a<|im_end|>]]"
IM_LINE = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n[[a<|im_end|>\n]]"
# In the shape of a family of models: a template, and how each of two pairs of turns is to be marked.
SHAPES = {
    "ChatML": (CHAT_TEMPLATE, IM_LINE),
    "ChatML that begins with a system text": (WITH_DEFAULT_SYSTEM, IM_LINE),
    "Phi-3, which ends a whole text with a token of its own": (
        "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
        "{% endfor %}{{ '<|assistant|>\n' if add_generation_prompt else eos_token }}",
        "<|user|>\nq<|end|>\n<|assistant|>\n[[a<|end|>\n]]",
    ),
    "Phi-4": (
        "{% for message in messages %}"
        "{{ '<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}",
        IM_SEP,
    ),
    "Phi-4 at first, which always asks for an answer": (
        "{% for message in messages %}{% if message['role'] == 'user' %}"
        "{{ '<|im_start|>user<|im_sep|>' + message['content'] + '<|im_end|><|im_start|>assistant<|im_sep|>' }}"
        "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{% endfor %}",
        IM_SEP,
    ),
    "Llama 3, whose beginning ends as its turns do": (
        "{{ bos_token }}{% for message in messages %}"
        "{{ '<|head|>' + message['role'] + '<|sep|>\n\n' + message['content'] + '<|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|head|>assistant<|sep|>\n\n' }}{% endif %}",
        "<|head|>user<|sep|>\n\nq<|end|><|head|>assistant<|sep|>\n\n[[a<|end|>]]",
    ),
    "Mistral, which never asks for an answer": (
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
        "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}"
        "{% endfor %}",
        "[INST] q [/INST][[a<|endoftext|>]]",
    ),
}


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """A tokenizer with the special tokens of several families."""
    from tokenizers import Tokenizer

    model = make_tiny_model(tmp_path_factory.mktemp("families"))
    file = model / "data" / "tokenizer" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.add_special_tokens(
        ["<|user|>", "<|assistant|>", "<|end|>", "<|im_sep|>", "<|head|>", "<|sep|>", "<|begin|>"]
    )
    tokenizer.save(str(file))
    settings = model / "data" / "tokenizer" / "tokenizer_config.json"
    known = {**json.loads(settings.read_text()), "bos_token": "<|begin|>", "eos_token": "<|endoftext|>"}

    def of(template: str) -> ChatTokenizer:
        settings.write_text(json.dumps({**known, "chat_template": template}))
        return ChatTokenizer(model, config={})

    return of


@pytest.mark.parametrize("shape", SHAPES)
def test_without_a_finetune_config_the_answers_and_nothing_else_are_marked(chat, shape) -> None:
    template, pair = SHAPES[shape]
    tokenizer = chat(template)
    encoded = tokenizer.encode([row("q", "a", "q", "a")["messages"]])[0]
    assert tokenizer.marks_from == "the chat template"
    assert pair * 2 in chat_rendering.plain(encoded).replace("<|end|>\n<|endoftext|>]]", "<|end|>\n]]")


@pytest.mark.parametrize("template", [STRICT, "{% for message in messages %}{{ message.content }}{% endfor %}", "same"])
def test_where_the_template_does_not_show_what_opens_an_answer_it_is_said_and_nothing_is_called_masked(
    chat, template, tmp_path, capsys
) -> None:
    tokenizer = chat(template)
    assert tokenizer.marks is None
    Preparation(data(), TokenCounts()).write(three(), tmp_path / "out")
    chat_rendering.show(tmp_path / "out", tokenizer, 1)
    said = capsys.readouterr().err
    assert "which tokens are trained on cannot be told" in said
    assert "masked" not in said


def test_what_a_template_marks_as_generated_is_text_as_transformers_has_it() -> None:
    text = (
        "{% for message in messages %}\n  {%- generation %}\n{{ message.content }}\n  {% endgeneration %}\n{% endfor %}"
    )
    assert Template(text, {}).rendered(row("q", "a")["messages"]) == "q\na\n"
    tools = "{% if tools is not none %}tools{% endif %}{{ [1, 'é'] | tojson(separators=(',', ':')) }}"
    assert Template(tools, {}).rendered([]) == '[1,"é"]'


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


@pytest.mark.parametrize(
    "text", ["{{ 1 / 0 }}", "{{ 'a'.index('b') }}", "{{ range(10 ** 9) | list }}", "{{ none.x.y }}"]
)
def test_whatever_a_template_raises_is_a_refusal(text) -> None:
    assert Template(text, {}).rendered(row("q", "a")["messages"]) is None


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
