"""Prepared data: no question in two splits, the same bytes every time, and nothing half-written."""

from __future__ import annotations

import json

import orjson
import pytest

from tunestack import data_folder, data_preparation, row_files, rows, sources
from tunestack.errors import UsageError
from tunestack.data_folder import SPLITS
from tunestack.sources import Source

CORPUS = Source.parse("package:chatterbot-corpus")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "corpus"
    made, changed = data_preparation.write(folder, CORPUS, 100, sources.splits(CORPUS, 100))
    assert changed
    return folder, made


def read_all(folder):
    return {split: list(row_files.read(folder / f"{split}.jsonl")) for split in SPLITS}


def test_no_question_of_the_corpus_stands_in_two_splits(corpus):
    questions = {split: {rows.question_key(row) for row in found} for split, found in read_all(corpus[0]).items()}
    for split in SPLITS:
        others = set().union(*(questions[other] for other in SPLITS if other != split))
        assert questions[split]
        assert not questions[split] & others


def test_no_conversation_of_the_corpus_stands_twice(corpus):
    messages = [orjson.dumps(row["messages"]) for found in read_all(corpus[0]).values() for row in found]
    assert len(messages) == len(set(messages)) > 800


def test_every_row_of_the_corpus_follows_the_schema(corpus):
    for found in read_all(corpus[0]).values():
        for row in found:
            assert list(row) == ["prompt", "prompt_id", "messages"]
            assert row["messages"][0] == {"content": row["prompt"], "role": "user"}
            assert row["messages"][-1]["role"] == "assistant"


def test_the_same_source_gives_the_same_bytes_and_says_that_nothing_changed(corpus):
    folder, made = corpus
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    again, changed = data_preparation.write(folder, CORPUS, 100, sources.splits(CORPUS, 100))
    assert (again, changed) == (made, False)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_part_of_the_corpus_is_the_beginning_of_each_split(corpus, tmp_path):
    data_preparation.write(tmp_path / "part", CORPUS, 25, sources.splits(CORPUS, 25))
    whole, part = read_all(corpus[0]), read_all(tmp_path / "part")
    for split in SPLITS:
        assert part[split] == whole[split][: sources.share(len(whole[split]), 25)]


@pytest.mark.parametrize(
    ("total", "rows_of_five_percent"), [(207_865, 10_393), (23_110, 1_156), (256_032, 12_802), (28_304, 1_415)]
)
def test_five_percent_of_ultrachat_are_the_rows_that_the_tutorial_takes(total, rows_of_five_percent):
    assert sources.share(total, 5) == rows_of_five_percent


def test_a_folder_with_the_four_splits_keeps_them(corpus, tmp_path):
    found = sources.splits(Source.parse(str(corpus[0])), 100)
    assert {split: list(items) for split, items in found.items()} == read_all(corpus[0])


def test_a_data_set_with_the_four_splits_is_streamed_as_from_the_hub(corpus, tmp_path, monkeypatch):
    """`datasets` takes a folder of files for a repository: the same code as for the hub, without the network."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    lines = ["---", "configs:", "- config_name: default", "  data_files:"]
    for split in SPLITS:
        lines += [f"  - split: {split}", f"    path: {split}.jsonl"]
        (tmp_path / f"{split}.jsonl").write_bytes((corpus[0] / f"{split}.jsonl").read_bytes())
    (tmp_path / "README.md").write_text("\n".join([*lines, "---", ""]))
    found = sources.splits(Source("hub", str(tmp_path)), 100)
    assert {split: list(items) for split, items in found.items()} == read_all(corpus[0])


def row(number: int) -> bytes:
    return rows.dumps(
        rows.row(
            {"messages": [{"role": "user", "content": f"question {number}"}, {"role": "assistant", "content": "a"}]}, ""
        )
    )


def pool(tmp_path, count):
    file = tmp_path / "pool.jsonl"
    file.write_bytes(b"".join(row(number) for number in range(count)))
    return Source.parse(str(file))


def test_too_few_rows_are_refused_and_nothing_is_left_behind(tmp_path):
    source = pool(tmp_path, 9)
    with pytest.raises(UsageError, match="at least 10 are needed"):
        data_preparation.write(tmp_path / "out", source, 100, sources.splits(source, 100))
    assert [entry.name for entry in tmp_path.iterdir()] == ["pool.jsonl"]


def test_a_source_that_breaks_half_way_leaves_the_old_folder_as_it_was(tmp_path):
    source = pool(tmp_path, 40)
    out = tmp_path / "out"
    data_preparation.write(out, source, 100, sources.splits(source, 100))
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    (tmp_path / "pool.jsonl").write_text('{"messages": [}\n')
    with pytest.raises(UsageError, match="line 1 is not JSON"):
        data_preparation.write(out, source, 100, sources.splits(source, 100))
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out", "pool.jsonl"]


def test_a_folder_of_something_else_is_not_overwritten(tmp_path):
    source = pool(tmp_path, 40)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("dear")
    with pytest.raises(UsageError, match="is not a folder of prepared data"):
        data_preparation.write(tmp_path / "out", source, 100, sources.splits(source, 100))
    assert (tmp_path / "out" / "thesis.txt").read_text() == "dear"


def test_a_folder_made_by_hand_is_hashed_anew(corpus, tmp_path):
    for split in SPLITS:
        (tmp_path / f"{split}.jsonl").write_bytes((corpus[0] / f"{split}.jsonl").read_bytes())
    assert data_folder.read(tmp_path).hash == corpus[1].hash
    with (tmp_path / "train.jsonl").open("ab") as lines:
        lines.write(row(1))
    changed = data_folder.read(tmp_path)
    assert changed.hash != corpus[1].hash
    assert changed.rows["train"] == corpus[1].rows["train"] + 1


def test_all_missing_files_are_reported_together(tmp_path):
    with pytest.raises(UsageError) as caught:
        data_folder.read(tmp_path)
    assert len(caught.value.problems) == 4


def test_validation_is_cut_from_train_and_a_question_stays_on_its_side(corpus, tmp_path):
    found = data_folder.cut(corpus[0], 10, tmp_path)
    cut = {name: list(row_files.read(file)) for name, file in found.items()}
    whole = read_all(corpus[0])
    assert len(cut["train"]) + len(cut["validation"]) == len(whole["train"])
    assert 0.05 < len(cut["validation"]) / len(whole["train"]) < 0.2
    keys = {name: {rows.question_key(item) for item in items} for name, items in cut.items()}
    assert not keys["train"] & keys["validation"]
    assert cut["test"] == whole["test"]


def test_a_cut_that_leaves_too_little_is_refused(tmp_path):
    (tmp_path / "train.jsonl").write_bytes(b"".join(row(number) for number in range(10)))
    with pytest.raises(UsageError, match="at least 10 and 1 are needed"):
        data_folder.cut(tmp_path, 50, tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [("hub:", "names nothing"), ("package:other", "unknown package"), ("nowhere", "does not exist")],
)
def test_a_wrong_source_is_named(text, said):
    with pytest.raises(UsageError, match=said):
        sources.splits(Source.parse(text), 100)


def test_the_manifest_has_no_time_in_it(corpus):
    assert set(json.loads((corpus[0] / "data.json").read_text())) == {
        "name",
        "source",
        "percent",
        "hash",
        "rows",
        "sha256",
    }
