"""Preprocessing: which rows go where, what carries a label, what is dropped, and what each bad input is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.components.chat_completion.chat_tokenizer import ChatTokenizer
from localcloud.components.chat_completion.encoding import IGNORED, Encoder, answer_labels, without_system_role
from localcloud.components.chat_completion.finetune_config import FinetuneConfig
from localcloud.components.chat_completion.preprocess import DataInputs, main, preprocess
from localcloud.components.chat_completion.program import UserError
from localcloud.components.chat_completion.rows import load_rows
from localcloud.components.chat_completion.splits import split_rows
from tests.tiny_model import make_rows, write_rows

Rows = list[dict[str, Any]]


def encoded(folder: Path, split: str = "train") -> Rows:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]


def run_on(rows: Rows, imported: Path, tmp_path: Path, **dials: Any) -> Path:
    """Preprocess these rows as train, validation and test, so that all of them train."""
    path = write_rows(tmp_path / "rows.jsonl", rows)
    preprocess(DataInputs(path, path, path), imported, tmp_path / "out", **dials)
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("validation", "test", "sizes"),
    [(False, False, (80, 10, 10)), (False, True, (80, 20, 5)), (True, False, (80, 7, 20)), (True, True, (100, 7, 5))],
)
def test_the_split_table(validation: bool, test: bool, sizes: tuple[int, int, int]) -> None:
    train = [{"n": number} for number in range(100)]
    splits = split_rows(train, [{}] * 7 if validation else None, [{}] * 5 if test else None)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == sizes
    assert splits.train[0] == {"n": 0}, "cut by position, not shuffled"


def test_what_preprocess_writes(imported: Path, tmp_path: Path) -> None:
    out = run_on(make_rows(12), imported, tmp_path)
    assert set(encoded(out)[0]) == {"input_ids", "attention_mask", "labels"}
    for name in ("raw_data/test.jsonl", "chat_templated_raw_data/validation.jsonl", "preprocess_args.json",
                 "azureml_mlflow_inference_params.json", "config.json", "tokenizer.json"):  # fmt: skip
        assert (out / name).is_file(), name
    assert not (out / "test.jsonl").exists(), "test rows are never encoded"


def test_only_the_assistant_s_words_carry_a_label(imported: Path, tmp_path: Path) -> None:
    out = run_on(make_rows(12), imported, tmp_path)
    tokenizer = ChatTokenizer(out)
    kept = [label for label in encoded(out)[3]["labels"] if label != IGNORED]
    assert tokenizer.backend.decode(kept, skip_special_tokens=False) == "It is 4.<|im_end|>\n"


def test_all_assistant_turns_count_and_the_user_s_between_them_do_not(imported: Path) -> None:
    tokenizer = ChatTokenizer(imported / "tiny-chat")
    encoder = Encoder(tokenizer, FinetuneConfig.load(imported), 512)
    turns = [("system", "S"), ("user", "a"), ("assistant", "B"), ("user", "c"), ("assistant", "D")]
    row = encoder.encode_row({"messages": [{"role": role, "content": text} for role, text in turns]})
    assert row is not None
    kept = [label for label in row.labels if label != IGNORED]
    assert tokenizer.backend.decode(kept, skip_special_tokens=False) == "B<|im_end|>\nD<|im_end|>\n"


@given(st.lists(st.integers(0, 3), max_size=30))
def test_a_label_is_its_own_token_or_ignored(ids: list[int]) -> None:
    labels = answer_labels(ids, [1, 2], [1, 3])
    assert len(labels) == len(ids)
    assert all(label in (IGNORED, token) for label, token in zip(labels, ids, strict=True))


def test_pad_equal_to_eos_gets_a_token_of_its_own(imported: Path, tmp_path: Path) -> None:
    before = ChatTokenizer(imported / "tiny-chat")
    after = ChatTokenizer(run_on(make_rows(12), imported, tmp_path))
    assert after.special["pad_token"] == "<pad>"
    assert after.token_id("pad_token") == before.backend.get_vocab_size()


def test_padding_to_the_maximum_carries_no_label(imported: Path, tmp_path: Path) -> None:
    rows = encoded(run_on(make_rows(12), imported, tmp_path, max_seq_length=100, pad=True))
    assert {len(row["input_ids"]) for row in rows} == {100}
    assert all(row["labels"][-1] == IGNORED and row["attention_mask"][-1] == 0 for row in rows)


@pytest.mark.parametrize(("asked", "got"), [(-1, 512), (60, 60), (9999, 512)])
def test_the_length_is_the_smaller_of_the_asked_and_the_tokenizer_s(
    imported: Path, tmp_path: Path, asked: int, got: int
) -> None:
    out = run_on(make_rows(12), imported, tmp_path, max_seq_length=asked)
    assert json.loads((out / "preprocess_args.json").read_text())["max_seq_length"] == got


def test_a_tokenizer_without_a_limit_means_512(imported: Path, tmp_path: Path) -> None:
    settings = imported / "tiny-chat" / "tokenizer_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "model_max_length": 1e30}))
    assert ChatTokenizer(imported / "tiny-chat").maximum_length == 512


def test_dropped_rows_are_counted_in_the_log(
    imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = make_rows(12)
    lone: Rows = [{"messages": [{"role": "user", "content": "alone"}]}, {"messages": None}, {"messages": []}]
    out = run_on([*rows[:6], *lone, *rows[6:]], imported, tmp_path)
    assert len(encoded(out)) == 12
    said = capsys.readouterr().out
    assert "Dropped 2 rows with a single message." in said  # once in train, once in validation
    assert "Dropped 4 rows without messages." in said


def test_null_valued_keys_of_a_message_are_gone_before_the_template(imported: Path) -> None:
    encoder = Encoder(ChatTokenizer(imported / "tiny-chat"), FinetuneConfig.load(imported), 512)
    messages = make_rows(1)[0]["messages"]
    bare = encoder.encode_row({"messages": messages})
    assert encoder.encode_row({"messages": [{**each, "name": None} for each in messages]}) == bare


def test_a_model_without_a_system_role_gets_its_text_before_the_first_user_s() -> None:
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "a"}]
    assert without_system_role(messages) == [{"role": "user", "content": "S\na"}]
    with pytest.raises(UserError, match="one system message is possible"):
        without_system_role([messages[1], messages[0]])


def test_version_2_of_finetune_config_keeps_settings_under_the_task() -> None:
    tokens = {"chat_special_tokens": {"response_template": "A", "instruction_template": "U"}}
    read = FinetuneConfig.of({"version": "2", "task_specific_config": {"ChatCompletion": tokens}})
    assert (read.response_template, read.instruction_template) == ("A", "U")


@pytest.mark.parametrize("form", ["json", "csv", "tsv", "parquet"])
def test_every_file_form_is_read(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{form}"
    rows = [{"messages": "x", "n": "1"}, {"messages": "y", "n": "2"}]
    if form == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif form == "json":
        path.write_text(json.dumps(rows))
    else:
        separator = "," if form == "csv" else "\t"
        path.write_text(
            separator.join(["messages", "n"]) + "\n" + "".join(f"{r['messages']}{separator}{r['n']}\n" for r in rows)
        )
    assert load_rows(path) == rows


def test_an_mltable_folder_wins_over_the_file(imported: Path, tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.mkdir()
    write_rows(table / "a.jsonl", make_rows(15))
    (table / "MLTable").write_text(
        "paths:\n  - file: ./a.jsonl\ntransformations:\n  - read_json_lines:\n      encoding: utf8\n"
    )
    path = write_rows(tmp_path / "rows.jsonl", make_rows(12))
    preprocess(DataInputs(path, path, path, train_mltable_path=table), imported, tmp_path / "out")
    assert len(encoded(tmp_path / "out")) == 15


def test_token_counts_become_properties_of_the_pipeline(imported: Path, tmp_path: Path) -> None:
    out = run_on(make_rows(12), imported, tmp_path)
    rows = encoded(out)
    assert json.loads((out / "run_properties.json").read_text())["root"] == {
        "__azureml_ft_training_tokens": str(sum(len(row["input_ids"]) for row in rows)),
        "__azureml_ft_assistant_tokens": str(sum(label != IGNORED for row in rows for label in row["labels"])),
    }


def _bad(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("d.txt", "x", "'d.txt' has the extension '.txt'; one of .jsonl, .json, .csv, .tsv, .parquet is needed"),
        ("d.jsonl", '{"messages": []}\nnope\n', "loading 'd.jsonl': line 2 is not JSON"),
        ("d.jsonl", "[1]\n", "line 1 is not a JSON object"),
        ("d.jsonl", '{"text": "a"}\n', r"has the columns \['text'\]; the column 'messages' is expected"),
        ("d.parquet", "x", "Error while loading 'd.parquet'"),
        ("d.jsonl", "", "No examples are left after preprocessing 0 train rows"),
        ("d.jsonl", '{"messages": 5}\n' * 20, "holds '5', not a list of messages"),
        ("d.csv", "messages\n" + "hello\n" * 20, "holds text, not a list of messages"),
        ("d.jsonl", json.dumps({"messages": [{"role": "user"}, {"content": "x"}]}) + "\n", "chat template"),
        (
            "d.jsonl",
            "".join(json.dumps(row) + "\n" for row in make_rows(9)),
            "is 9 after preprocessing; the minimum is 10",
        ),
    ],
)
def test_bad_data_is_one_clear_user_error(imported: Path, tmp_path: Path, name: str, text: str, message: str) -> None:
    path = _bad(tmp_path, name, text)
    with pytest.raises(UserError, match=message):
        preprocess(DataInputs(path, path, path), imported, tmp_path / "out")
    assert not (tmp_path / "out").exists(), "nothing is half-done"


def test_rows_cut_before_the_first_answer_ask_for_a_greater_length(imported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No assistant token is left in any of 24 rows cut at 5 tokens. Raise max_seq"):
        run_on(make_rows(12), imported, tmp_path, max_seq_length=5)


def test_missing_chat_tokens_and_missing_train_data_are_user_errors(
    imported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model_selector_output", str(imported), "--output_dir", str(tmp_path / "out")]
    assert main([*arguments, "--train_file_path", str(tmp_path / "absent.jsonl")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "UserError: No training data: train_file_path or train_mltable_path is needed."
    (imported / "finetune_config.json").write_text("{}")
    with pytest.raises(UserError, match="Chat special tokens are not set in the finetune config"):
        run_on(make_rows(12), imported, tmp_path)


def test_a_tokenizer_without_eos_is_a_user_error(imported: Path, tmp_path: Path) -> None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        file = imported / "tiny-chat" / name
        file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "eos_token"}))
    with pytest.raises(UserError, match="has no eos_token; set it"):
        run_on(make_rows(12), imported, tmp_path)


def test_what_a_template_marks_as_generated_is_text_as_transformers_has_it(imported: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(imported / "tiny-chat", tmp_path / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    text = (
        "{% for message in messages %}\n  {%- generation %}\n{{ message.content }}\n  {% endgeneration %}\n{% endfor %}"
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": text}))
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    assert ChatTokenizer(folder).render([{"role": "user", "content": "q"}] * 2) == "q\nq\n"


def test_token_ids_are_those_of_transformers(imported: Path) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(imported / "tiny-chat")
    ours = ChatTokenizer(imported / "tiny-chat")
    for row in make_rows(5):
        for prompt in (False, True):
            wanted = theirs.apply_chat_template(row["messages"], add_generation_prompt=prompt, return_dict=True)
            assert ours.encode(ours.render(row["messages"], add_generation_prompt=prompt)) == wanted["input_ids"]
