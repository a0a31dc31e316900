"""The data card: what was counted, what was only estimated, and a page that says so."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.tiny_model import make_tiny_model
from tests.tunestack.conversations import Made, data, read, row, rows, three
from tunestack.data import data_card, data_folder
from tunestack.data.chat_tokenizer import ChatTokenizer
from tunestack.data.data_preparation import Preparation
from tunestack.data.row_statistics import Lengths
from tunestack.data.token_counts import TokenCounts


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("model"))


def prepared(folder, tables, counts=None, **changes):
    asked = data(**changes)
    return Preparation(asked, counts or TokenCounts(None, asked.max_tokens)).write(tables, folder)[0]


def tokens_of(tokenizer, folder, split):
    return [len(encoded.ids) for encoded in tokenizer.encode([item["messages"] for item in read(folder, split)])]


def test_with_a_tokenizer_every_token_is_counted_and_it_is_said_so(tmp_path, model) -> None:
    tokenizer = ChatTokenizer(model, "tiny", limit=50)
    card = prepared(tmp_path / "out", three(), TokenCounts(tokenizer)).card
    lengths = tokens_of(tokenizer, tmp_path / "out", "train")
    assert card["tokens"]["train"] == sum(lengths)
    assert card["tokens"]["exact"]
    assert card["tokens"]["how"] == f"counted: all {len(lengths)} rows of train; the other splits follow by their bytes"
    assert card["tokens"]["cut_rows"] == sum(length > 50 for length in lengths)
    assert card["lengths"]["longest"] == max(lengths)
    assert sum(part["rows"] for part in card["lengths"]["histogram"]) == len(lengths)


def test_without_a_tokenizer_tokens_are_estimated_and_it_is_said_so(tmp_path) -> None:
    card = prepared(tmp_path / "out", three()).card
    assert not card["tokens"]["exact"]
    assert card["tokens"]["how"].startswith("estimated: 4 bytes of text a token")
    assert card["tokens"]["train"] == pytest.approx(card["text_bytes"]["train"] / 4, abs=1)
    assert "estimated: 4 bytes" in (tmp_path / "out" / "card.md").read_text()


def test_of_a_large_data_set_a_sample_is_counted_and_it_is_near(tmp_path, model) -> None:
    tokenizer = ChatTokenizer(model, "tiny")
    large = [row(f"question {number}", "word " * (number % 90 + 1)) for number in range(1000)]
    tables = Made({"train": large, "test": rows(20, "test")})
    card = prepared(tmp_path / "out", tables, TokenCounts(tokenizer, sample_bytes=100_000)).card
    true = sum(tokens_of(tokenizer, tmp_path / "out", "train"))
    assert not card["tokens"]["exact"]
    assert card["tokens"]["how"].startswith("from a sample: ")
    assert 150 < card["tokens"]["sampled_rows"] < 400
    assert card["tokens"]["train"] == pytest.approx(true, rel=0.05)
    again = prepared(tmp_path / "again", tables, TokenCounts(tokenizer, sample_bytes=100_000)).card
    assert again["tokens"] == card["tokens"]


def test_rows_longer_than_max_tokens_are_left_out_where_they_are_counted(tmp_path, model) -> None:
    tokenizer = ChatTokenizer(model, "tiny")
    tables = three(80)
    tables = Made({**tables.found, "train": [*tables.found["train"], *rows(3, "long", size=60)]})
    prepared(tmp_path / "out", tables, TokenCounts(tokenizer, 100))
    assert [item["reason"] for item in read(tmp_path / "out", "rejected")] == ["too long"] * 3
    assert max(tokens_of(tokenizer, tmp_path / "out", "train")) <= 100


def test_an_estimate_warns_and_never_leaves_a_row_out(tmp_path) -> None:
    tables = three(80)
    tables = Made({**tables.found, "train": [*tables.found["train"], *rows(3, "long", size=200)]})
    card = prepared(tmp_path / "out", tables, max_tokens=100).card
    assert card["tokens"]["maybe_too_long_rows"] == 3
    assert read(tmp_path / "out", "rejected") == []
    assert "3 rows may be longer than `max_tokens`" in (tmp_path / "out" / "card.md").read_text()


def test_secrets_are_reported_by_place_and_kept(tmp_path) -> None:
    tables = three()
    leaking = row("my key?", "It is AKIAABCDEFGHIJKLMNOP, write to me@example.org")
    card = prepared(tmp_path / "out", Made({**tables.found, "train": [*tables.found["train"], leaking]})).card
    assert card["reported"] == [
        {"kind": "AWS access key", "rows": 1, "places": ["made train row 61"]},
        {"kind": "e-mail address", "rows": 1, "places": ["made train row 61"]},
    ]
    assert "AKIA" not in json.dumps(card)


def test_the_card_is_the_same_for_the_same_data_and_holds_no_place_of_the_folder(tmp_path) -> None:
    one, two = (prepared(tmp_path / name, three()).card for name in ("one", "two"))
    assert one == two
    assert str(tmp_path) not in json.dumps(one)
    assert one == json.loads((tmp_path / "one" / data_folder.CARD).read_text())
    assert data_card.page(one) == (tmp_path / "one" / data_folder.CARD_PAGE).read_text()


def test_the_page_cannot_be_broken_by_what_a_row_says(tmp_path) -> None:
    tables = three(100)
    nasty = row("a | b\n\n# <script>`x`", "")
    prepared(tmp_path / "out", Made({**tables.found, "train": [*tables.found["train"], nasty]}))
    page = (tmp_path / "out" / "card.md").read_text()
    line = next(line for line in page.splitlines() if line.startswith("| empty content"))
    assert line.replace("\\|", "").count("|") == 6
    assert "<script>" not in page


def test_lengths_are_right_within_two_percent_in_a_bounded_number_of_steps() -> None:
    found = Lengths()
    found.add(range(1, 10_001))
    assert (found.total, found.rows) == (50_005_000, 10_000)
    assert len(found.steps) < 32 * 14
    lengths = sorted(found.scaled(1).elements())
    for index in (1_000, 5_000, 9_500, 9_999):
        assert lengths[index] == pytest.approx(index + 1, rel=0.02)
    assert max(found.scaled(0.25)) == pytest.approx(2_500, rel=0.02)


def test_the_page_is_text_that_a_diff_can_show(tmp_path) -> None:
    prepared(tmp_path / "one", three())
    prepared(tmp_path / "two", three(61))
    said = subprocess.run(
        ["diff", tmp_path / "one" / "card.md", tmp_path / "two" / "card.md"], capture_output=True, text=True
    ).stdout
    assert "| train |" in said


def test_the_card_counts_the_questions_of_the_test_split_that_differ_as_the_gate_clusters_them(tmp_path) -> None:
    alike = [
        row("What is it?", "one"),
        row("what is IT", "two"),
        row("What   is it!", "three"),
        row("Another?", "four"),
    ]
    card = prepared(tmp_path / "out", Made({"train": rows(40), "test": alike})).card
    assert (card["rows"]["test"], card["test_questions"]) == (4, 2)
