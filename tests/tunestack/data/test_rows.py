"""Rows: what counts as the same question, and what a wrong file gets."""

from __future__ import annotations

import json

import pytest

from tunestack.data import rows
from tunestack.errors import UsageError
from tunestack.sources import row_files


@pytest.mark.parametrize("pair", [("Hi!", "hi"), ("What  is AI?", "what is ai"), ("ＡＩ", "ai")])
def test_case_punctuation_and_spacing_do_not_make_another_question(pair):
    keys = {rows.question_digest(text) for text in pair}
    assert len(keys) == 1


def test_questions_of_signs_alone_differ():
    keys = {rows.question_digest(text) for text in ("?", "!")}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsonl", '{"messages": []}\nnot json\n', "'{file}' line 2 is not JSON"),
        ("a.jsonl", '{"text": "x"}\n', "'{file}' line 1 has no 'messages': found 'text'"),
        ("a.jsonl", '{"messages": "x"}\n', "'messages' that are not JSON"),
        ("a.jsonl", '{"messages": [{"role": "user"}]}\n', "not a list of role and content"),
        ("a.jsonl", "[1]\n", "is not an object"),
        ("a.jsonl", "", "data file '{file}' is empty"),
        ("a.jsonl", "\n\n", "has no rows"),
        ("a.txt", "x", "unknown suffix"),
        ("a.parquet", "x", "is not Parquet"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path, name, text, said):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        list(row_files.read(file))
    assert said.format(file=file) in str(caught.value)


def test_a_file_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"gone\.jsonl' does not exist"):
        list(row_files.read(tmp_path / "gone.jsonl"))


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_every_form_gives_the_same_rows(tmp_path, suffix):
    import csv

    import pyarrow
    from pyarrow import parquet

    found = [
        {"messages": [{"content": f"q{n}", "role": "user"}, {"content": "a", "role": "assistant"}]} for n in (1, 2)
    ]
    file = tmp_path / f"rows.{suffix}"
    if suffix == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist(found), file)
    elif suffix == "csv":
        with file.open("w", newline="") as lines:
            writer = csv.writer(lines)
            writer.writerow(["messages"])
            writer.writerows([json.dumps(item["messages"])] for item in found)
    else:
        lines = [json.dumps(item) for item in found]
        file.write_text(f"[{','.join(lines)}]" if suffix == "json" else "\n".join(lines))
    assert [item["prompt"] for item in row_files.read(file)] == ["q1", "q2"]
