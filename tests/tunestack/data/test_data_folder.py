"""Prepared data: no question in two splits, the same bytes every time, the old folder or the new one, never half."""

from __future__ import annotations

import gzip
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from tests.tunestack.conversations import Made, data, read, row, rows, three
from tunestack.data import atomic_folder, data_folder
from tunestack.data import rows as row_rules
from tunestack.data.data_folder import SPLITS
from tunestack.data.data_preparation import Preparation
from tunestack.data.token_counts import TokenCounts
from tunestack.errors import TunestackError, UsageError
from tunestack.recipes.recipe import Data
from tunestack.sources import arrow_rows, json_rows, sources
from tunestack.sources.batches import Bad

FILES = {"train.jsonl", "validation.jsonl", "test.jsonl", "sample.jsonl"}
FILES |= {"rejected.jsonl", "card.json", "card.md", "data.json"}


def prepare(folder, tables, **changes):
    return Preparation(data(**changes), TokenCounts()).write(tables, folder)


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "corpus"
    asked = Data(source="package:chatterbot-corpus", percent=100)
    with sources.open(asked) as tables:
        made, changed = Preparation(asked, TokenCounts()).write(tables, folder)
    assert changed
    return folder, made


def test_no_question_of_the_corpus_stands_in_two_splits_and_no_conversation_twice(corpus) -> None:
    questions = {
        split: {row_rules.question_digest(item["messages"][0]["content"]) for item in read(corpus[0], split)}
        for split in SPLITS
    }
    messages = [json.dumps(item["messages"]) for split in SPLITS for item in read(corpus[0], split)]
    for split in SPLITS:
        others = set().union(*(questions[other] for other in SPLITS if other != split))
        assert questions[split]
        assert not questions[split] & others
    assert len(messages) == len(set(messages)) > 800


def test_every_row_of_the_corpus_follows_the_schema(corpus) -> None:
    for split in SPLITS:
        for item in read(corpus[0], split):
            assert list(item) == ["prompt", "prompt_id", "messages"]
            assert item["messages"][0] == {"content": item["prompt"], "role": "user"}
            assert item["messages"][-1]["role"] == "assistant"


def test_the_folder_says_what_it_is(corpus) -> None:
    found = data_folder.read(corpus[0])
    assert found == corpus[1]
    assert {file.name for file in corpus[0].iterdir()} == FILES
    assert found.rows == {split: len(read(corpus[0], split)) for split in SPLITS}
    assert found.test_hash == found.sha256["test"]
    assert found.settings["source"] == "package:chatterbot-corpus"
    assert found.card["hash"] == found.hash
    assert data_folder.file(corpus[0], "train").is_file()


def test_the_same_source_gives_the_same_bytes_and_says_that_nothing_changed(tmp_path) -> None:
    made, changed = prepare(tmp_path / "one", three())
    assert changed
    again, changed = prepare(tmp_path / "one", three())
    assert (again, changed) == (made, False)
    prepare(tmp_path / "two", three())
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_rows_give_the_same_bytes_whatever_file_holds_them_and_however_many_are_read_at_once(
    tmp_path, monkeypatch
) -> None:
    found = [{"messages": row(f"q {n % 190}\n{'é' * n}", "a", "r", "b" * n)["messages"]} for n in range(200)]
    table = pyarrow.Table.from_pylist(found)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(item) + "\n" for item in found))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress("\r\n".join(map(json.dumps, found)).encode("utf-8-sig")))
    (tmp_path / "c.json").write_text(json.dumps(found, indent=1, ensure_ascii=False), encoding="utf-8")
    parquet.write_table(table, tmp_path / "d.parquet", row_group_size=7)
    parquet.write_table(table, tmp_path / "e.parquet")
    hashes = set()
    for size in (1000, 13):
        for module in (json_rows, arrow_rows):
            monkeypatch.setattr(module, "ROWS", size)
        for file in sorted(tmp_path.glob("?.*")):
            asked = data(source=str(file))
            with sources.open(asked) as tables:
                hashes.add(Preparation(asked, TokenCounts()).write(tables, tmp_path / "out")[0].hash)
    assert len(hashes) == 1


def test_a_file_changed_by_hand_is_written_anew(tmp_path) -> None:
    prepare(tmp_path / "out", three())
    before = content(tmp_path / "out")
    (tmp_path / "out" / "train.jsonl").write_text("spoiled\n")
    assert prepare(tmp_path / "out", three())[1]
    assert content(tmp_path / "out") == before


def test_validation_is_cut_from_train_and_a_question_stays_on_its_side(tmp_path) -> None:
    prepare(tmp_path / "few", three(200), validation_percent=20)
    prepare(tmp_path / "many", three(400), validation_percent=20)
    few, many = (
        {split: {item["prompt"] for item in read(tmp_path / folder, split)} for split in SPLITS}
        for folder in ("few", "many")
    )
    assert 20 < len(few["validation"]) < 60
    assert few["validation"] < many["validation"]
    assert few["train"] < many["train"]
    assert few["test"] == many["test"] == {f"test {number}" for number in range(20)}


def test_what_stands_twice_or_in_the_test_split_is_left_out_with_its_place(tmp_path) -> None:
    tables = three()
    twice, leaked = tables.found["train"][0], row("TEST  3!", "another answer")
    prepare(tmp_path / "out", Made({**tables.found, "train": [*tables.found["train"], twice, leaked]}))
    rejected = read(tmp_path / "out", "rejected")
    assert [(item["place"], item["reason"]) for item in rejected] == [
        ("made train row 61", "stands twice"),
        ("made train row 62", "question stands in test"),
    ]
    assert rejected[1]["row"] == leaked
    prompts = [item["prompt"] for split in ("train", "validation") for item in read(tmp_path / "out", split)]
    assert sorted(prompts) == sorted(f"question {number}" for number in range(60))


def test_bad_rows_go_to_the_reject_file_with_their_reasons(tmp_path) -> None:
    tables = three(100)
    wrong = [row("q", ""), row("only a question")]
    tables = Made({**tables.found, "train": [*tables.found["train"], *wrong]}, [Bad("made row 0", "is no object", [1])])
    prepare(tmp_path / "out", Made({"train": tables.found["train"], "test": rows(20, "test")}, tables.bad))
    found = {item["reason"]: item for item in read(tmp_path / "out", "rejected")}
    assert found["is no object"] == {"split": "train", "place": "made row 0", "reason": "is no object", "row": [1]}
    assert found["empty content"]["row"] == wrong[0]
    assert found["no assistant turn"]["place"] == "made train row 102"
    card = data_folder.read(tmp_path / "out").card["rejected"]
    assert (card["rows"], card["percent"]) == (3, round(300 / 123, 2))


def test_too_many_bad_rows_are_an_error_and_the_reject_file_is_kept_and_named(tmp_path) -> None:
    prepare(tmp_path / "out", three())
    before = content(tmp_path / "out")
    spoiled = Made({**three().found, "train": [*rows(60), *(row(f"q{number}", " ") for number in range(40))]})
    with pytest.raises(UsageError, match=r"40 of 125 rows .* 32.0 %, and 5 % are allowed: 40 empty content") as caught:
        prepare(tmp_path / "out", spoiled)
    kept = tmp_path / "out.rejected.jsonl"
    assert str(kept) in caught.value.fix
    assert len(kept.read_text().splitlines()) == 40
    assert content(tmp_path / "out") == before
    prepare(tmp_path / "out", spoiled, max_rejected_percent=40)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["out"]


def test_duplicates_are_not_held_against_a_source(tmp_path) -> None:
    tables = three()
    prepare(tmp_path / "out", Made({**tables.found, "train": [*tables.found["train"]] * 5}), max_rejected_percent=0)
    assert data_folder.read(tmp_path / "out").card["rejected"]["reasons"][0]["rows"] == 240


def test_too_few_rows_are_refused_and_nothing_is_left_behind(tmp_path) -> None:
    with pytest.raises(UsageError, match="at least 10, 1 and 1 are needed"):
        prepare(tmp_path / "out", three(9))
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_breaks_half_way_leaves_the_old_folder_as_it_was(tmp_path) -> None:
    prepare(tmp_path / "out", three())
    before = content(tmp_path / "out")
    tables = three(100)
    tables.breaks_after = 60
    with pytest.raises(OSError, match="Input/output"):
        prepare(tmp_path / "out", tables)
    assert content(tmp_path / "out") == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_a_place_that_cannot_be_written_is_named_as_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UsageError, match=r"file/out' cannot be written: file exists\. Write elsewhere with --output$"),
        atomic_folder.fresh(tmp_path / "file" / "out"),
    ):
        pass


def test_a_full_disk_is_one_clear_error_and_nothing_is_left_behind(tmp_path) -> None:
    prepare(tmp_path / "out", three())
    before = content(tmp_path / "out")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        with pytest.raises(TunestackError, match=r"out' cannot be written: file too large; nothing was kept") as caught:
            prepare(tmp_path / "out", Made({**three().found, "train": rows(300, size=50)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.code == 1
    assert content(tmp_path / "out") == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from tests.tunestack.conversations import data, three
    from tunestack.data import atomic_folder
    from tunestack.data.data_preparation import Preparation
    from tunestack.data.token_counts import TokenCounts
    def stop(*_): os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[2] == "pass":
        step = stop
    else:
        step = lambda rows: None
        atomic_folder._exchanged = stop
    Preparation(data(), TokenCounts(), step).write(three(90), Path(sys.argv[1]))
    """
)


@pytest.mark.parametrize("moment", ["pass", "exchange"])
def test_killed_in_the_middle_the_old_folder_is_whole_and_the_next_run_cleans_up(tmp_path, moment) -> None:
    prepare(tmp_path / "out", three())
    before = content(tmp_path / "out")
    ended = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "out", moment], cwd=Path(__file__).parents[3])
    assert ended.returncode == -signal.SIGKILL
    assert content(tmp_path / "out") == before
    assert len(list(tmp_path.iterdir())) == 2
    assert prepare(tmp_path / "out", three(90))[1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


def test_where_folders_cannot_be_exchanged_the_old_one_is_back_after_a_kill_between(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(atomic_folder, "_exchanged", lambda one, other: False)
    prepare(tmp_path / "out", three())
    assert prepare(tmp_path / "out", three(90))[1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    before = content(tmp_path / "out")
    os.rename(tmp_path / "out", tmp_path / ".out.preparing-x.old")
    with pytest.raises(UsageError, match="at least 10"):
        prepare(tmp_path / "out", three(9))
    assert content(tmp_path / "out") == before


def test_a_fresh_folder_that_another_process_holds_is_left_alone(tmp_path) -> None:
    with atomic_folder.fresh(tmp_path / "out") as first, atomic_folder.fresh(tmp_path / "out") as second:
        assert first.is_dir()
        assert first != second


def test_a_hidden_folder_of_someone_else_is_no_leftover(tmp_path) -> None:
    (tmp_path / ".out.old").mkdir()
    (tmp_path / ".out.git").mkdir()
    prepare(tmp_path / "out", three())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".out.git", ".out.old", "out"]


def test_a_link_to_a_folder_stays_one_and_what_it_stands_for_is_written(tmp_path) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "large disk")
    assert prepare(tmp_path / "out", three())[1]
    assert not prepare(tmp_path / "out", three())[1]
    assert (tmp_path / "out").is_symlink()
    assert {file.name for file in (tmp_path / "large disk").iterdir()} == FILES
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["large disk", "out"]


def test_an_error_names_the_most_frequent_reasons_and_counts_the_others(tmp_path) -> None:
    bad = [Bad(f"made row {number}", f"reason {number}", 0) for number in range(30)]
    with pytest.raises(UsageError, match=r"2 reason 0, .*, 50 for 25 other reasons\. The rows with their reasons"):
        prepare(tmp_path / "out", Made(three().found, bad))


def test_a_folder_of_something_else_is_not_overwritten(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("dear")
    with pytest.raises(UsageError, match="is not a folder of prepared data"):
        prepare(tmp_path / "out", three())
    assert (tmp_path / "out" / "thesis.txt").read_text() == "dear"


def test_rows_that_someone_else_put_there_are_not_overwritten(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "train.jsonl").write_text("dear\n")
    with pytest.raises(UsageError, match="is not a folder of prepared data"):
        prepare(tmp_path / "out", three())
    assert (tmp_path / "out" / "train.jsonl").read_text() == "dear\n"


def test_a_folder_is_not_written_from_itself_nor_under_the_feet_of_who_runs_it(tmp_path, monkeypatch) -> None:
    prepare(tmp_path / "out", three())
    for source in ("out", "out/train.jsonl"):
        with pytest.raises(UsageError, match=r"cannot be written from '.*', which it holds"):
            prepare(tmp_path / "out", three(), source=str(tmp_path / source))
    monkeypatch.chdir(tmp_path / "out")
    with pytest.raises(UsageError, match=r"'\.' is the folder that this runs in"):
        prepare(Path("."), three())


def test_a_folder_made_by_hand_is_hashed_anew(corpus, tmp_path) -> None:
    for split in SPLITS:
        data_folder.file(tmp_path, split).write_bytes(data_folder.file(corpus[0], split).read_bytes())
    assert data_folder.read(tmp_path).hash == corpus[1].hash
    with data_folder.file(tmp_path, "train").open("ab") as lines:
        lines.write(json.dumps(row("q", "a")).encode() + b"\n")
    changed = data_folder.read(tmp_path)
    assert changed.hash != corpus[1].hash
    assert changed.test_hash == corpus[1].test_hash
    assert changed.rows["train"] == corpus[1].rows["train"] + 1


@pytest.mark.parametrize(
    "change", [{"hash": "0" * 64}, {"test_hash": "0" * 64}, {"rows": 5}, {"rows": {"train": "many"}}, {"sha256": None}]
)
def test_a_manifest_that_was_changed_by_hand_vouches_for_nothing(corpus, tmp_path, change) -> None:
    copied = shutil.copytree(corpus[0], tmp_path / "data")
    told = json.loads((copied / "data.json").read_text())
    (copied / "data.json").write_text(json.dumps({**told, **change}))
    found = data_folder.read(copied)
    assert (found.hash, found.test_hash) == (corpus[1].hash, corpus[1].test_hash)
    assert found.rows == corpus[1].rows


def test_a_folder_without_questions_to_ask_is_whole(corpus, tmp_path) -> None:
    for split in data_folder.NEEDED:
        data_folder.file(tmp_path, split).write_bytes(data_folder.file(corpus[0], split).read_bytes())
    assert data_folder.read(tmp_path).rows["sample"] == 0


@pytest.mark.parametrize(
    "card", ["[1]", "{", '{"tokens": 5}', '{"lengths": {"mean": "x"}}', '{"rejected": {"percent": "y"}}']
)
def test_a_card_that_was_changed_by_hand_is_no_card(corpus, tmp_path, card) -> None:
    copied = shutil.copytree(corpus[0], tmp_path / "data")
    (copied / "card.json").write_text(card)
    assert data_folder.read(copied).card == {}


def test_all_missing_files_are_reported_together(tmp_path) -> None:
    with pytest.raises(UsageError) as caught:
        data_folder.read(tmp_path)
    assert len(caught.value.problems) == 3


def test_the_manifest_has_no_time_and_no_place_in_it(corpus) -> None:
    found = json.loads((corpus[0] / "data.json").read_text())
    assert set(found) == {"name", "source", "percent", "hash", "test_hash", "rows", "sha256", "settings"}
    assert str(corpus[0]) not in json.dumps(found)


GENERATED = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from tests.tunestack.conversations import data
    from tunestack.sources import sources
    from tunestack.data.data_preparation import Preparation
    from tunestack.data.token_counts import TokenCounts
    asked = data(source=sys.argv[1], max_rejected_percent=0)
    with sources.open(asked) as tables:
        made, _ = Preparation(asked, TokenCounts()).write(tables, Path(sys.argv[2]))
    # Not ru_maxrss: a process inherits that of the one which started it.
    peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    print(sum(made.rows.values()), peak)
    """
)


@pytest.mark.long
def test_memory_is_bounded_by_a_batch_and_16_bytes_a_row(tmp_path) -> None:
    """Ten times the rows may cost 16 bytes for each of them more, and what the allocator keeps; not their text."""
    peaks = {}
    for megabytes in (50, 500):
        file, count = tmp_path / f"{megabytes}.jsonl", megabytes * 1_000_000 // 6700
        with file.open("w") as lines:
            for number in range(count):
                text = f"question {number} " + "and what of this and that " * 120
                line = {"messages": row(text, text, f"again {number}", text[:300])["messages"]}
                lines.write(json.dumps(line) + "\n")
        ended = subprocess.run(
            [sys.executable, "-c", GENERATED, file, tmp_path / "out"],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        )
        found, kilobytes = map(int, ended.stdout.split())
        assert found == count
        peaks[megabytes] = kilobytes / 1024
        file.unlink()
    assert peaks[500] - peaks[50] < 60, f"resident MiB at the peak: {peaks}"
    assert peaks[500] < 450, f"resident MiB at the peak: {peaks}"
