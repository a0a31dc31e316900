"""Formats: every shape of row gives the same conversation, by columns and row by row, and says why one does not."""

from __future__ import annotations

import hashlib
import re
from datetime import date

import orjson
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tunestack.errors import UsageError
from tunestack.sources import chunks, columns
from tunestack.sources.batches import schema
from tunestack.sources.chunks import Chunk
from tunestack.sources.formats import COLUMNS, Format

Q, A = {"content": "q", "role": "user"}, {"content": "a", "role": "assistant"}
S = {"content": "s", "role": "system"}
SHAPES = {
    "messages": ("messages", {}, {"messages": [Q, A]}, [Q, A]),
    "messages with a prompt": ("messages", {}, {"prompt": "q", "prompt_id": "7", "messages": [Q, A]}, [Q, A]),
    "messages under other names": (
        "messages",
        {"messages": "talk", "role": "who", "content": "text"},
        {"talk": [{"who": "user", "text": "q"}, {"who": "assistant", "text": "a"}]},
        [Q, A],
    ),
    "messages as a list of each kind": (
        "messages",
        {},
        {"messages": {"role": ["user", "assistant"], "content": ["q", "a"]}},
        [Q, A],
    ),
    "messages inside": ("messages", {"messages": "row.messages"}, {"row": {"messages": [Q, A]}}, [Q, A]),
    "ultrachat": ("ultrachat", {}, {"prompt": "q", "prompt_id": "7", "messages": [Q, A]}, [Q, A]),
    "ultrachat's older release": ("ultrachat", {"messages": "data"}, {"id": "7", "data": ["q", "a"]}, [Q, A]),
    "pairs": ("prompt_response", {}, {"prompt": "q", "response": "a"}, [Q, A]),
    "pairs under other names": (
        "prompt_response",
        {"prompt": "question", "response": "answer", "system": "context"},
        {"question": "q", "answer": "a", "context": "s"},
        [S, Q, A],
    ),
    "pairs with an empty system text": ("prompt_response", {}, {"prompt": "q", "response": "a", "system": ""}, [Q, A]),
    "sharegpt": (
        "sharegpt",
        {},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        [Q, A],
    ),
    "sharegpt with a system text beside": (
        "sharegpt",
        {},
        {"system": "s", "conversations": [{"from": "user", "value": "q"}, {"from": "chatgpt", "value": "a"}]},
        [S, Q, A],
    ),
    "sharegpt with a system turn": (
        "sharegpt",
        {},
        {"conversations": [{"from": "system", "value": "s"}, {"from": "human", "value": "q"}]},
        [S, Q],
    ),
    "alpaca": ("alpaca", {}, {"instruction": "q", "input": "", "output": "a"}, [Q, A]),
    "alpaca without input": ("alpaca", {}, {"instruction": "q", "output": "a"}, [Q, A]),
    "alpaca with input": (
        "alpaca",
        {},
        {"instruction": "sum up", "input": "a text", "output": "a"},
        [{"content": "sum up\n\na text", "role": "user"}, A],
    ),
}


def by_column(found: Format, rows: list) -> chunks.Batch:
    table = pyarrow.RecordBatch.from_pylist(rows)
    return chunks.batch(Chunk("here row", range(1, len(rows) + 1), table=table), found)


def by_row(found: Format, rows: list) -> chunks.Batch:
    return chunks.batch(Chunk("here row", range(1, len(rows) + 1), rows), found)


@pytest.mark.parametrize("way", [by_column, by_row])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_conversation(shape, way):
    name, named, row, messages = SHAPES[shape]
    batch = way(Format.of(name, named), [row])
    assert not batch.bad
    assert batch.table.schema == schema()
    made = batch.table.to_pylist()[0]
    assert made["messages"] == messages
    assert made["prompt"] == next(message["content"] for message in messages if message["role"] == "user")
    assert made["prompt_id"] == row.get("prompt_id", hashlib.sha256(made["prompt"].encode()).hexdigest())


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if not re.search("older|beside|each kind", shape)])
def test_arrow_columns_are_mapped_whole(shape):
    name, named, row, _ = SHAPES[shape]
    table = pyarrow.RecordBatch.from_pylist([row])
    assert columns.mapped(table, Format.of(name, named)) is not None


TEXT = some.one_of(some.none(), some.text(max_size=3))
TURN = some.one_of(some.none(), some.fixed_dictionaries({"role": TEXT, "content": TEXT}))
GPT = some.one_of(
    some.none(),
    some.fixed_dictionaries({"from": some.sampled_from(["human", "gpt", "system", "tool", None]), "value": TEXT}),
)
ROWS = {
    "messages": some.fixed_dictionaries(
        {"prompt": TEXT, "prompt_id": TEXT, "messages": some.one_of(some.none(), some.lists(TURN, max_size=3))}
    ),
    "sharegpt": some.fixed_dictionaries({"conversations": some.one_of(some.none(), some.lists(GPT, max_size=3))}),
    "prompt_response": some.fixed_dictionaries({"prompt": TEXT, "response": TEXT, "system": TEXT}),
    "alpaca": some.fixed_dictionaries({"instruction": TEXT, "input": TEXT, "output": TEXT, "system": TEXT}),
}


@pytest.mark.parametrize("name", ROWS)
@settings(max_examples=60)
@given(some.data())
def test_columns_and_single_rows_give_the_same(name, data):
    rows = data.draw(some.lists(ROWS[name], min_size=1, max_size=5))
    one, other = by_column(Format.of(name, {}), rows), by_row(Format.of(name, {}), rows)
    assert one.table.to_pylist() == other.table.to_pylist()
    assert list(one.numbers) == list(other.numbers)
    assert [(bad.place, bad.reason) for bad in one.bad] == [(bad.place, bad.reason) for bad in other.bad]
    assert one.rows == len(rows)


def test_a_slice_of_a_larger_batch_is_mapped_as_itself():
    rows = [{"messages": [{"content": f"q{n}", "role": "user"}] * (n % 3 + 1)} for n in range(20)]
    table = pyarrow.RecordBatch.from_pylist(rows).slice(7, 5)
    batch = chunks.batch(Chunk("here row", range(8, 13), table=table), Format.of("messages", {}))
    assert batch.table.column("prompt").to_pylist() == [f"q{n}" for n in range(7, 12)]
    assert [len(row["messages"]) for row in batch.table.to_pylist()] == [n % 3 + 1 for n in range(7, 12)]


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("messages", [1], "is not an object with columns"),
        ("messages", {"text": "x"}, "has no 'messages': found 'text'"),
        ("messages", {"messages": "x"}, "has 'messages' that are not JSON"),
        ("messages", {"messages": {"role": "user"}}, "has 'messages' that are not a list of role and content"),
        ("messages", {"messages": [{"role": "user"}]}, "turn 1 has no text in 'content'"),
        ("messages", {"messages": [{"role": "user", "content": "half \ud800"}]}, "half a character"),
        ("messages", {"messages": [Q, {"role": "assistant", "content": "half \ud800"}]}, "half a character"),
        (
            "sharegpt",
            {"conversations": [{"from": "tool", "value": "x"}]},
            "by an unknown speaker in 'conversations': 'tool'",
        ),
        ("sharegpt", {"conversations": [{"from": "humen", "value": "x"}]}, "did you mean 'human'?"),
        ("prompt_response", {"prompt": "q"}, "has no 'response': found 'prompt'"),
        ("prompt_response", {"prompt": "q", "response": 7}, "has 'response' that is not text: '7'"),
        ("alpaca", {"instruction": None, "output": "a"}, "has 'instruction' that is not text: 'None'"),
    ],
)
def test_a_row_that_cannot_be_mapped_says_why_and_the_others_are_kept(name, row, said):
    good = {
        "messages": {"messages": [Q, A]},
        "sharegpt": {"conversations": [{"from": "human", "value": "q"}]},
        "prompt_response": {"prompt": "q", "response": "a"},
        "alpaca": {"instruction": "q", "output": "a"},
    }[name]
    batch = by_row(Format.of(name, {}), [good, row, good])
    assert list(batch.numbers) == [1, 3]
    assert [bad.place for bad in batch.bad] == ["here row 2"]
    assert said in batch.bad[0].reason


def test_what_is_one_rows_alone_stands_behind_a_colon_so_that_reasons_stay_few():
    talk = [{"conversations": [{"from": f"speaker {n}", "value": "x"}]} for n in range(40)]
    answers = [{"prompt": "q", "response": n} for n in range(40)]
    for name, rows in (
        ("sharegpt", talk),
        ("prompt_response", answers),
        ("messages", [{f"c{n}": 1} for n in range(40)]),
    ):
        reasons = {bad.reason.partition(":")[0] for bad in by_row(Format.of(name, {}), rows).bad}
        assert len(reasons) == 1


def test_messages_as_text_in_a_column_are_read_as_json():
    batch = by_row(Format.of("messages", {}), [{"messages": orjson.dumps([Q, A]).decode()}])
    assert batch.table.to_pylist()[0]["messages"] == [Q, A]


def test_a_format_and_its_columns_are_checked_all_together():
    with pytest.raises(UsageError, match=r"'shargpt' is unknown; did you mean 'sharegpt'"):
        Format.of("shargpt", {})
    with pytest.raises(UsageError, match=r"key 'promt'.*did you mean 'prompt'") as caught:
        Format.of("prompt_response", {"promt": "a", "messages": "b"})
    assert len(caught.value.problems) == 2


def test_a_column_that_is_missing_is_named_with_those_that_are_there():
    with pytest.raises(UsageError, match=r"no column 'response'.*did you mean 'respones'.*'prompt', 'respones'"):
        Format.of("prompt_response", {}).needed(["prompt", "respones"], "here")


def test_an_optional_column_that_a_recipe_names_has_to_be_there():
    assert Format.of("prompt_response", {}).needed(["prompt", "response"], "here") == ["prompt", "response"]
    with pytest.raises(UsageError, match="no column 'context'"):
        Format.of("prompt_response", {"system": "context"}).needed(["prompt", "response"], "here")


def test_every_format_of_a_recipe_is_known():
    from typing import get_args

    from tunestack.recipes import recipe

    assert set(get_args(recipe.Format)) == set(COLUMNS)


def test_what_stood_in_a_bad_row_can_be_written_as_json():
    rows = [
        {"messages": [Q], "prompt": "q"},
        {"messages": [{"role": "user", "content": None, "when": date(2026, 1, 1)}]},
        {"messages": [{"role": "user", "content": "half \ud800"}]},
        {"messages": [Q, {"role": "assistant", "content": "half \ud800"}]},
    ]
    batch = by_row(Format.of("messages", {}), rows)
    assert len(batch.bad) == 3
    assert all(orjson.dumps(bad.raw) for bad in batch.bad)
    assert orjson.loads(orjson.dumps(batch.bad[0].raw))["messages"][0]["when"] == "2026-01-01"
