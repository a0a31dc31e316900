"""`prepare_data`: the folder on stdout, what it holds on stderr, and bad sources."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.conftest import RECIPE, ROOT, Script
from tests.tiny_model import make_tiny_model
from tunestack.recipes import model_defaults

FOUR = {"train", "validation", "test", "sample"}


@pytest.fixture(autouse=True)
def no_login(monkeypatch, tmp_path_factory) -> None:
    """Nothing kept from another test, and no login: the tokenizer of a registry model cannot be had."""
    monkeypatch.setenv("TUNESTACK_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the variable is read at the first import


def lines(count: int, answer: str = "a") -> str:
    row = '{{"messages": [{{"role": "user", "content": "q{}"}}, {{"role": "assistant", "content": "{}"}}]}}\n'
    return "".join(row.format(number, answer) for number in range(count))


def test_a_recipes_data_becomes_a_folder_of_four_splits(script: Script, tmp_path) -> None:
    ended = script("prepare_data", "--recipe", RECIPE, "--output", tmp_path / "data")
    assert ended.handle == str(tmp_path / "data")
    names = {file.name for file in (tmp_path / "data").iterdir()}
    assert names == {f"{split}.jsonl" for split in FOUR} | {"rejected.jsonl", "card.json", "card.md", "data.json"}
    assert "head of train" in ended.err
    assert "stands twice" in ended.err
    assert "tokens are estimated" in ended.err
    assert "there is no login for the registry" in ended.err
    again = script("prepare_data", "--recipe", RECIPE, "--output", tmp_path / "data", "--json")
    record = json.loads(again.out)
    assert record["rows"]["train"] > 500
    assert record["card"]["tokens"]["how"].startswith("estimated")
    assert "as it was" in again.err


def test_percent_takes_a_part(script: Script, tmp_path) -> None:
    arguments = ("prepare_data", "--source", "package:chatterbot-corpus", "--output", tmp_path / "data", "--json")
    read = [json.loads(script(*arguments, "--percent", percent).out)["card"]["read"] for percent in (100, 50)]
    assert read[1] == pytest.approx(read[0] / 2, abs=1)


def test_without_a_recipe_values_of_the_data_can_be_set(script: Script, tmp_path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps({"q": f"why {number}?", "a": "so"}) + "\n" for number in range(80)))
    ended = script(
        *("prepare_data", "--source", file, "--percent", 100, "--output", tmp_path / "data"),
        *("--set", "data.format=prompt_response", "--set", "data.columns={prompt: q, response: a}"),
    )
    assert json.loads((tmp_path / "data" / "train.jsonl").read_text().splitlines()[0])["messages"][1]["content"] == "so"
    assert ended.code == 0, ended.err


def test_rows_are_shown_as_the_model_is_trained_on_them(script: Script, tmp_path) -> None:
    model = make_tiny_model(tmp_path / "model")
    (tmp_path / "rows.jsonl").write_text(lines(60))
    ended = script(
        *("prepare_data", "--source", tmp_path / "rows.jsonl", "--percent", 100, "--output", tmp_path / "data"),
        *("--tokenizer", model, "--show", 2),
    )
    assert "tokens: counted: all" in ended.err
    assert ended.err.count("<|im_start|>assistant\n[[a<|im_end|>\n]]") == 2
    assert "the marks come from finetune_config.json" in ended.err
    assert str(tmp_path) not in (tmp_path / "data" / "card.md").read_text().replace(str(tmp_path / "rows.jsonl"), "")


def test_a_base_model_without_chat_template_is_an_error_and_not_an_estimate(script: Script, tmp_path) -> None:
    """As fetched before from the hub: its tokenizer is kept."""
    kept = Path(os.environ["TUNESTACK_CACHE"]) / "tokenizers" / "hub" / "someone" / "base"
    shutil.copytree(make_tiny_model(tmp_path / "model") / "data" / "tokenizer", kept)
    (kept / "tokenizer_config.json").write_text("{}")
    (tmp_path / "config.json").write_text("{}")
    changed = ("--set", "base_model=hub:someone/base", "--set", f"finetune_config={tmp_path / 'config.json'}")
    ended = script("prepare_data", "--recipe", RECIPE, *changed, "--output", tmp_path / "data")
    assert "the tokenizer of 'hub:someone/base' has no chat template: it belongs to no chat model" in ended.failed(2)
    assert not (tmp_path / "data").exists()


def test_rows_of_which_nothing_is_trained_on_are_warned_of(script: Script, tmp_path) -> None:
    model = make_tiny_model(tmp_path / "model")
    tokens = {"response_template": "### Answer:", "instruction_template": "### Question:"}
    (model / "finetune_config.json").write_text(json.dumps({"chat_special_tokens": tokens}))
    (tmp_path / "rows.jsonl").write_text(lines(60))
    ended = script(
        *("prepare_data", "--source", tmp_path / "rows.jsonl", "--percent", 100, "--output", tmp_path / "data"),
        *("--tokenizer", model),
    )
    assert "rows looked at have nothing to train on" in ended.err


def test_rows_are_cut_where_the_models_own_default_has_it(script: Script, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(model_defaults, "of_model", lambda name: {"max_seq_length": 70})
    model = make_tiny_model(tmp_path / "model", length=100)
    (tmp_path / "rows.jsonl").write_text(lines(60))
    ended = script(
        *("prepare_data", "--recipe", RECIPE, "--set", "training.max_seq_length=null", "--tokenizer", model, "--json"),
        *("--source", tmp_path / "rows.jsonl", "--output", tmp_path / "data"),
    )
    assert json.loads(ended.out)["card"]["tokens"]["limit"] == 70


def test_what_the_source_has_to_say_comes_before_what_it_costs(script: Script, tmp_path) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(400))
    arguments = ("--source", tmp_path / "rows.jsonl", "--percent", 50, "--set", "data.sampling=rows")
    ended = script("prepare_data", *arguments, "--output", tmp_path / "data")
    assert ended.err.index("reads all of") < ended.err.index("head of train")


def test_rows_that_are_cut_before_the_end_of_the_answer_are_warned_of(script: Script, tmp_path) -> None:
    model = make_tiny_model(tmp_path / "model", length=64)
    (tmp_path / "rows.jsonl").write_text(lines(60, "long answer " * 9))
    ended = script(
        *("prepare_data", "--source", tmp_path / "rows.jsonl", "--percent", 100, "--output", tmp_path / "data"),
        *("--tokenizer", model),
    )
    assert "rows looked at are cut at 64 tokens, before the end of the answer" in ended.err


def test_a_dry_run_writes_nothing(script: Script, tmp_path) -> None:
    ended = script("prepare_data", "--recipe", RECIPE, "--output", tmp_path / "data", "--dry-run", "--json")
    assert json.loads(ended.out)["folder"] == str(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_terminal_gets_a_bar_and_colours_and_stdout_the_folder_alone(tmp_path) -> None:
    model = make_tiny_model(tmp_path / "model")
    (tmp_path / "rows.jsonl").write_text(lines(60))
    outer, inner = pty.openpty()
    command = [sys.executable, ROOT / "scripts" / "prepare_data.py", "--source", tmp_path / "rows.jsonl"]
    command += ["--percent", "100", "--output", tmp_path / "data", "--tokenizer", model, "--show", "1"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    ended = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=inner, env=environment)
    os.close(inner)
    said = b""
    try:
        while part := os.read(outer, 65536):
            said += part
    except OSError:  # Linux says EIO when the other side is closed
        pass
    os.close(outer)
    out, _ = ended.communicate()
    assert ended.returncode == 0, said
    assert out.decode() == f"{tmp_path / 'data'}\n"
    assert b"\x1b[1;32m" in said  # bold green
    assert "━".encode() in said
    assert b"0.0 MB" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no data is named"),
        (("--source", "rows.jsonl"), "--source alone is not enough. Give --recipe"),
        (("--source", "gone.jsonl", "--percent", "5"), "'gone.jsonl' does not exist"),
        (("--recipe", RECIPE, "--percent", "0"), "'0' is not a percentage"),
        (("--recipe", RECIPE, "--percent", "all"), "'all' is not a percentage"),
        (("--recipe", RECIPE, "--show", "0"), "'0' is not a whole number above zero"),
        (("--source", "package:nltk", "--percent", "5"), "unknown package"),
        (("--recipe", RECIPE, "--set", "data.sampling=best"), "'data.sampling' cannot be 'best'"),
        (("--source", "x", "--percent", "5", "--set", "training.seed=1"), "without --recipe there is no 'training'"),
        (("--recipe", RECIPE, "--source", ""), "'source' cannot be ''"),
        (
            ("--recipe", RECIPE, "--percent", "5", "--set", "data.percent=7"),
            "--percent 5.0 and --set 'data.percent=7' are",
        ),
        (("--source", "x", "--percent", "5", "--set", "data.percent=7"), "two values for one thing"),
        (("--source", "x", "--percent", "5", "--set", "data.splits={train: a, test: a}"), "split 'a' plays two roles"),
        (("--source", "x", "--percent", "5", "--set", "data.subset=en"), "data.subset 'en' is of data sets on the hub"),
        (("--recipe", RECIPE, "--set", "training.max_seq_length=long"), "'max_seq_length' cannot be 'long'"),
        (("--recipe", RECIPE, "--tokenizer", "nowhere"), "'nowhere' is no folder with a tokenizer"),
        (("--recipe", RECIPE, "--tokenizer", ROOT / "docs"), "holds no tokenizer.json"),
        (("--recipe", RECIPE, "--tokenizer", "no/body"), "the tokenizer of 'no/body' cannot be read from the Hugging"),
    ],
)
def test_bad_input_is_one_error(script: Script, tmp_path, arguments, said) -> None:
    assert said in script("prepare_data", *arguments, "--output", tmp_path / "data").failed(2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("hello\n", "is not JSON"),
        ('{"text": "x"}\n', "'messages'"),
        (lines(3), "at least 10"),
        (lines(60).replace("assistant", "bot"), "60 of 60 rows"),
    ],
)
def test_a_bad_file_is_named_and_nothing_but_its_rejects_is_written(script: Script, tmp_path, text, said) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(text)
    assert said in script("prepare_data", "--source", file, "--percent", 100, "--output", tmp_path / "data").failed(2)
    assert {entry.name for entry in tmp_path.iterdir()} <= {"rows.jsonl", "data.rejected.jsonl"}
