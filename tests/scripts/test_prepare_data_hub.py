"""`prepare_data` from a small hub on loopback: what is fetched and recorded, and what each refusal ends with."""

from __future__ import annotations

import io
import json

import pyarrow
import pytest
from pyarrow import parquet

from tests import hub_server
from tests.scripts.conftest import Script
from tunestack.sources import hub

NAME = "someone/chats"


def body(split: str, rows: int) -> bytes:
    turns = [
        [{"content": f"{split} {row}?", "role": "user"}, {"content": "so", "role": "assistant"}] for row in range(rows)
    ]
    sink = io.BytesIO()
    parquet.write_table(pyarrow.table({"messages": turns}), sink, row_group_size=50)
    return sink.getvalue()


@pytest.fixture
def served(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("TUNESTACK_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(hub, "RETRIES", 0)
    with hub_server.serve() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        found.add(NAME, {"train.parquet": body("train", 400), "test.parquet": body("test", 100)})
        yield found


def arguments(folder) -> tuple[object, ...]:
    return ("prepare_data", "--source", f"hub:{NAME}", "--percent", 50, "--output", folder, "--json")


def test_a_folder_from_the_hub_names_the_commit_and_comes_out_the_same_again(script: Script, served, tmp_path) -> None:
    made = json.loads(script(*arguments(tmp_path / "data")).out)
    assert made["source"] == f"hub:{NAME}@{hub_server.COMMIT}"
    assert made["rows"]["train"] + made["rows"]["validation"] + made["rows"]["sample"] == 200
    assert made["rows"]["test"] == 50
    again = json.loads(script(*arguments(tmp_path / "again")).out)
    assert again["hash"] == made["hash"]


def test_a_run_that_was_cut_off_leaves_no_folder_and_the_next_one_fetches_the_rest(
    script: Script, served, tmp_path
) -> None:
    assert script(*arguments(tmp_path / "whole")).code == 0
    whole, served.sent, served.break_after = served.sent, 0, 5
    ended = script(*arguments(tmp_path / "data"))
    assert (ended.code, ended.out) == (1, "")
    assert "what has been fetched is kept" in ended.err
    assert [entry.name for entry in tmp_path.iterdir()] == ["whole"]
    served.break_after = None
    assert script(*arguments(tmp_path / "data")).code == 0
    assert served.sent < whole + 2000  # what the data set is, is asked twice; no range is


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"is_gated": True}, 3, f"Accept its conditions at https://huggingface.co/datasets/{NAME}, and set HF_TOKEN"),
        ({"is_private": True}, 3, "does not exist, or is private"),
        ({"refs": {}}, 2, "has no revision 'main'"),
        ({"commits": {hub_server.COMMIT: {"README.md": b"x"}}}, 2, "holds no data file"),
    ],
)
def test_a_data_set_that_cannot_be_had_says_what_to_do(script: Script, served, tmp_path, change, code, said) -> None:
    for name, value in change.items():
        setattr(served.repos[NAME], name, value)
    ended = script(*arguments(tmp_path / "data"))
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert not list(tmp_path.iterdir())
