"""`prepare_data`: the folder on stdout, the head on stderr, and bad sources."""

from __future__ import annotations

import json

import pytest

from tests.scripts.conftest import RECIPE, Script


def test_a_recipes_data_becomes_a_folder_of_four_splits(script: Script, tmp_path) -> None:
    ended = script("prepare_data", "--recipe", RECIPE, "--output", tmp_path / "data")
    assert ended.handle == str(tmp_path / "data")
    names = {file.name for file in (tmp_path / "data").iterdir()}
    assert names == {"train.jsonl", "validation.jsonl", "test.jsonl", "sample.jsonl", "data.json"}
    assert "head of train" in ended.err
    again = script("prepare_data", "--recipe", RECIPE, "--output", tmp_path / "data", "--json")
    assert json.loads(again.out)["rows"]["train"] > 500
    assert "as it was" in again.err


def test_percent_takes_a_part_of_each_split(script: Script, tmp_path) -> None:
    arguments = ("prepare_data", "--source", "package:chatterbot-corpus", "--output", tmp_path / "data", "--json")
    whole = json.loads(script(*arguments, "--percent", 100).out)["rows"]
    part = json.loads(script(*arguments, "--percent", 10).out)["rows"]
    assert {split: round(count / 10) for split, count in whole.items()} == pytest.approx(part, abs=1)


def test_a_dry_run_writes_nothing(script: Script, tmp_path) -> None:
    assert script("prepare_data", "--recipe", RECIPE, "--output", tmp_path / "data", "--dry-run").code == 0
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no data is named"),
        (("--source", "rows.jsonl"), "no data is named"),
        (("--source", "gone.jsonl", "--percent", "5"), "'gone.jsonl' does not exist"),
        (("--recipe", RECIPE, "--percent", "0"), "'0' is not a percentage"),
        (("--recipe", RECIPE, "--percent", "all"), "'all' is not a percentage"),
        (("--source", "package:nltk", "--percent", "5"), "unknown package"),
    ],
)
def test_bad_input_is_one_error(script: Script, tmp_path, arguments, said) -> None:
    assert said in script("prepare_data", *arguments, "--output", tmp_path / "data").failed(2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("hello\n", "line 1 is not JSON"),
        ('{"text": "x"}\n', "has no 'messages'; found 'text'"),
        (
            '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}\n' * 3,
            "at least 10",
        ),
    ],
)
def test_a_bad_file_is_named(script: Script, tmp_path, text, said) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(text)
    assert said in script("prepare_data", "--source", file, "--percent", 100, "--output", tmp_path / "data").failed(2)
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows.jsonl"]


def test_a_hub_that_cannot_be_reached_is_one_error_and_nothing_is_written(
    script: Script, tmp_path, monkeypatch
) -> None:
    import datasets
    import httpx

    def refuse(name: str) -> None:
        raise httpx.ProxyError("403 Forbidden")

    monkeypatch.setattr(datasets, "load_dataset_builder", refuse)
    arguments = ("--source", "hub:HuggingFaceH4/ultrachat_200k", "--percent", 5, "--output", tmp_path / "data")
    said = script("prepare_data", *arguments).failed(1)
    assert "'HuggingFaceH4/ultrachat_200k' cannot be read from the Hugging Face hub: 403 Forbidden." in said
    assert "localcloud run --allow huggingface.co" in said
    assert list(tmp_path.iterdir()) == []
