"""Sources: which rows play which role, the same rows every time, and what a wrong source gets."""

from __future__ import annotations

import gzip
import json
import re

import pyarrow
import pytest
from pyarrow import parquet

from tunestack.errors import UsageError
from tunestack.recipes.recipe import Data
from tunestack.sources import local_data, sources
from tunestack.sources.sources import Source


def row(number: int, text: str = "q") -> dict:
    return {
        "messages": [{"role": "user", "content": f"{text} {number}"}, {"role": "assistant", "content": f"a {number}"}]
    }


def lines(rows: range, text: str = "q") -> bytes:
    return b"".join(json.dumps(row(number, text)).encode() + b"\n" for number in rows)


def opened(source, percent: float = 100, **more):
    return sources.open(Data(source=str(source), percent=percent, **more))


def prompts(tables, role) -> list[str]:
    return [prompt for batch in tables.batches(role) for prompt in batch.table.column("prompt").to_pylist()]


def test_a_file_is_one_pool_in_its_own_order(tmp_path):
    (tmp_path / "chats.jsonl").write_bytes(lines(range(5000)))
    with opened(tmp_path / "chats.jsonl") as tables:
        assert tables.roles == ("all",)
        assert prompts(tables, "all") == [f"q {number}" for number in range(5000)]
        assert tables.bytes_read == tables.bytes_total == (tmp_path / "chats.jsonl").stat().st_size
    with opened(tmp_path / "chats.jsonl", 1) as tables:
        assert tables.rows_expected == {"all": 50}
        assert prompts(tables, "all") == [f"q {number}" for number in range(50)]


def test_a_folder_with_train_and_test_keeps_them_and_says_what_it_leaves(tmp_path):
    for split, count in (("train", 100), ("test", 20), ("sample", 10), ("validation", 7)):
        (tmp_path / f"{split}.jsonl").write_bytes(lines(range(count), split))
    (tmp_path / "rejected.jsonl").write_text('{"reason": "no row of ours"}\n')
    (tmp_path / "data.json").write_text("{}")
    with opened(tmp_path, 10) as tables:
        assert tables.roles == ("train", "test", "sample")
        assert tables.rows_expected == {"train": 10, "test": 2, "sample": 1}
        assert prompts(tables, "test") == ["test 0", "test 1"]
        assert "also validation" in tables.notes[0]


def test_splits_of_a_recipe_name_those_of_the_source(tmp_path):
    for split in ("train_sft", "test_sft", "test_gen"):
        (tmp_path / f"{split}.jsonl").write_bytes(lines(range(10), split))
    splits = {"train": "train_sft", "test": "test_sft", "sample": "test_gen"}
    with opened(tmp_path, splits=splits) as tables:
        assert prompts(tables, "sample")[0] == "test_gen 0"
    with pytest.raises(UsageError, match=r"no split 'trian_sft'; did you mean 'train_sft'"):
        opened(tmp_path, splits={**splits, "train": "trian_sft"})


def test_a_folder_without_splits_is_one_pool_of_all_files_in_the_order_of_their_names(tmp_path):
    (tmp_path / "b.jsonl").write_bytes(lines(range(3), "b"))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines(range(3), "a")))
    (tmp_path / "inside").mkdir()
    parquet.write_table(pyarrow.Table.from_pylist([row(0, "c")]), tmp_path / "inside" / "c.parquet")
    with opened(tmp_path) as tables:
        assert prompts(tables, "all") == ["a 0", "a 1", "a 2", "b 0", "b 1", "b 2", "c 0"]
        assert [batch.place(0) for batch in tables.batches("all")][1] == f"'{tmp_path / 'b.jsonl'}' line 1"
        assert "cut by the hash" in tables.notes[0]


def test_names_that_say_train_and_test_once_are_taken_for_these(tmp_path):
    for name in ("chats_train", "chats-test"):
        (tmp_path / f"{name}.jsonl").write_bytes(lines(range(3), name))
    with opened(tmp_path) as tables:
        assert prompts(tables, "train")[0] == "chats_train 0"
        assert tables.notes == ["split 'chats_train' is taken for train, split 'chats-test' is taken for test"]


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("train.jsonl", "train"),
        ("data/train-00000-of-00003.parquet", "train"),
        ("data/train_sft-00000-of-00003-3d4cd8309148a71f.parquet", "train_sft"),
        ("train/data-00000-of-00001.arrow", "train"),
        ("train/part-0001.jsonl.gz", "train"),
        ("default/test/0000.parquet", "test"),
        ("validation_1.csv", "validation_1"),
    ],
)
def test_a_files_place_names_its_split(file, split):
    from pathlib import PurePosixPath

    assert local_data.split_of(PurePosixPath(file)) == split


def test_what_datasets_saved_to_disk_is_read(tmp_path):
    import datasets

    made = datasets.DatasetDict(
        {split: datasets.Dataset.from_list([row(number, split) for number in range(30)]) for split in ("train", "test")}
    )
    made.save_to_disk(str(tmp_path / "saved"))
    with opened(tmp_path / "saved", 50) as tables:
        assert tables.roles == ("train", "test")
        assert prompts(tables, "test") == [f"test {number}" for number in range(15)]


@pytest.mark.parametrize("sampling", ["head", "row_groups", "rows"])
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_the_same_seed_gives_the_same_rows_in_the_same_order(tmp_path, sampling, form):
    file = tmp_path / f"chats.{form}"
    if form == "jsonl":
        file.write_bytes(lines(range(1000)))
        if sampling == "row_groups":
            with pytest.raises(UsageError, match=r"'row_groups' needs Parquet.*Use sampling: head or rows"):
                prompts(opened(file, 10, sampling=sampling), "all")
            return
    else:
        table = pyarrow.Table.from_pylist([row(number) for number in range(1000)])
        parquet.write_table(table, file, row_group_size=20)
    found = {}
    for seed in (1, 1, 2):
        with opened(file, 10, sampling=sampling, seed=seed) as tables:
            rows = [int(prompt.split()[1]) for prompt in prompts(tables, "all")]
            places = [batch.place(index) for batch in tables.batches("all") for index in range(batch.table.num_rows)]
        assert [int(re.search(r"\d+$", place)[0]) - 1 for place in places] == rows
        assert rows == sorted(rows)
        assert len(rows) == tables.rows_expected["all"] == 100
        assert found.setdefault(seed, rows) == rows
    assert (found[1] == found[2]) == (sampling == "head")


def test_bad_rows_are_counted_with_the_good_ones_and_keep_their_places(tmp_path):
    file = tmp_path / "chats.jsonl"
    file.write_bytes(lines(range(3)) + b'{"messages": 7}\nno json\n' + lines(range(3, 6)))
    with opened(file) as tables:
        (batch,) = tables.batches("all")
    assert [batch.place(index) for index in range(6)] == [f"'{file}' line {number}" for number in (1, 2, 3, 6, 7, 8)]
    assert {bad.place: bad.reason.split(":")[0] for bad in batch.bad} == {
        f"'{file}' line 4": "has 'messages' that are not a list of role and content",
        f"'{file}' line 5": "is not JSON",
    }
    with opened(file, 50) as tables:  # 4 of 8 rows
        (batch,) = tables.batches("all")
        assert (batch.table.num_rows, len(batch.bad)) == (3, 1)


def test_a_file_of_which_no_row_can_be_read_is_an_error_and_not_a_pile_of_rejects(tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_bytes(b'{"prompt": "q", "response": "a"}\n' * 50)
    with pytest.raises(UsageError, match=r"line 1 has no 'messages': found 'prompt', 'response'.*data\.format"):
        list(opened(file).batches("all"))
    with opened(file, format="prompt_response") as tables:
        assert prompts(tables, "all") == ["q"] * 50


def test_one_row_that_cannot_be_read_is_not_a_file_of_another_format(tmp_path):
    for number in range(30):
        turns = row(number) if number != 7 else {"messages": 7}
        (tmp_path / f"chat-{number}.json").write_text(json.dumps(turns))
    with opened(tmp_path) as tables:
        batches = list(tables.batches("all"))
        assert sum(batch.rows for batch in batches) == 30
        assert sum(len(batch.bad) for batch in batches) == 1
        assert "and 18 more are read as one" in tables.notes[0]


@pytest.mark.parametrize("sampling", ["head", "rows"])
def test_a_share_of_a_pool_is_that_of_all_its_files_however_small_each_is(tmp_path, sampling):
    for number in range(60):
        (tmp_path / f"chat-{number:02}.jsonl").write_bytes(lines(range(number, number + 1)))
    with opened(tmp_path, 5, sampling=sampling) as tables:
        assert tables.rows_expected == {"all": 3}
        assert len(prompts(tables, "all")) == 3


def test_a_column_that_is_missing_is_named_with_those_that_are_there(tmp_path):
    file = tmp_path / "pairs.parquet"
    parquet.write_table(pyarrow.table({"promt": ["q"], "response": ["a"]}), file)
    with pytest.raises(UsageError, match=r"no column 'prompt'.*did you mean 'promt'.*'promt', 'response'"):
        list(opened(file, format="prompt_response").batches("all"))
    with opened(file, format="prompt_response", columns={"prompt": "promt"}) as tables:
        assert prompts(tables, "all") == ["q"]


def test_the_corpus_is_a_pool_of_conversations_with_their_places():
    with opened("package:chatterbot-corpus", 5) as tables:
        assert re.fullmatch(r"package:chatterbot-corpus@[\d.]+", tables.source)
        (batch,) = tables.batches("all")
        assert batch.place(0) == "package:chatterbot-corpus ai.yml conversation 1"
        assert batch.rows == tables.rows_expected["all"]
    with opened(tables.source, 5) as again:
        assert next(again.batches("all")).table.equals(batch.table)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hub:", "not of the form hub:NAME"),
        ("hub:someone/chats@", "not of the form hub:NAME"),
        ("hub:not a name", "not of the form hub:OWNER/NAME"),
        ("hub:a--b/c", "is no name of a data set on the hub"),
        ("package:other", "unknown package"),
        ("package:chatterbot-corpus@0.0.1", "is not installed. Installed is chatterbot-corpus"),
        ("nowhere", "does not exist. Write hub:OWNER/NAME"),
        (
            "https://huggingface.co/datasets/a/b/tree/main",
            "'https://huggingface.co/datasets/a/b/tree/main' is an address",
        ),
        ("https://huggingface.co/datasets/a/b/tree/main", "Write hub:a/b for"),
        ("/dev/null", "'/dev/null' is neither a file nor a folder"),
        ("{tmp}", "holds no data file"),
    ],
)
def test_a_wrong_source_is_named(tmp_path, text, said):
    with pytest.raises(UsageError) as caught:
        opened(text.format(tmp=tmp_path))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hub:HuggingFaceH4/ultrachat_200k", "ultrachat-200k"),
        ("hub:HuggingFaceH4/ultrachat_200k@8049631c405ae6576f93f445c6b8166f76f5505a", "ultrachat-200k"),
        ("my/Chats 2026.jsonl.gz", "chats-2026"),
        ("my/folder.v2", "folder-v2"),
    ],
)
def test_a_source_is_named_as_its_last_part(text, name):
    assert Source.parse(text).name == name


def test_what_turns_hold_beside_role_and_content_is_said_to_be_left_out(tmp_path):
    file = tmp_path / "tools.jsonl"
    turns = [{"role": "user", "content": "q", "name": None}, {"role": "assistant", "content": "a", "tool_calls": [{}]}]
    file.write_text(json.dumps({"messages": turns}) + "\n")
    with opened(file) as tables:
        assert prompts(tables, "all") == ["q"]
        assert tables.notes == ["turns of split 'tools.jsonl' also hold tool_calls, which is not read"]


def test_a_split_without_rows_gives_no_batch(tmp_path):
    schema = pyarrow.Table.from_pylist([row(0)]).schema
    with parquet.ParquetWriter(tmp_path / "empty.parquet", schema) as writer:
        writer.write_table(schema.empty_table())
    with opened(tmp_path / "empty.parquet") as tables:
        assert list(tables.batches("all")) == []
        assert tables.rows_expected == {"all": 0}


def test_only_files_that_are_read_have_to_be_right(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_bytes(lines(range(3), split))
    (tmp_path / "sample.jsonl").write_bytes(b"")
    (tmp_path / "old.parquet").write_bytes(b"something")
    with opened(tmp_path) as tables:
        assert tables.roles == ("train", "test")
    (tmp_path / "test.jsonl").write_bytes(b"")
    with pytest.raises(UsageError, match=r"test\.jsonl' is empty"):
        opened(tmp_path)
