"""Data that is prepared, against the recipe that is to use it: splits, sizes, tokens, what was left out, lineage."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tunestack.preflight import preflight_subjects as at
from tests.tunestack.preflight.preflight_subjects import Case, offline
from tunestack.data import data_folder
from tunestack.data.data_folder import DataFolder
from tunestack.preflight import preflight
from tunestack.preflight.preflight_subject import Subject

TOKENS = {
    "train": 3_000_000,
    "exact": True,
    "tokenizer": "microsoft/phi-4",
    "limit": 2048,
    "sampled_rows": 400,
    "cut_rows": 0,
    "masked_rows": 0,
    "refused_rows": 0,
}
LENGTHS = {"mean": 320.5, "longest": 1900, "median": 250, "p95": 900, "exact": True}
REJECTED = {"rows": 40, "wrong": 20, "percent": 0.2, "reasons": [{"reason": "empty content", "rows": 20}]}
CARD = {"tokens": TOKENS, "lengths": LENGTHS, "rejected": REJECTED, "test_questions": 290}
SUMS = {split: f"{number}" * 64 for number, split in enumerate(data_folder.SPLITS)}


def folder(card: dict[str, Any] | None = None, **fields: Any) -> DataFolder:
    """A folder as prepare_data leaves it for the walk-through, with parts of its card changed."""
    asked = offline().recipe.data.model_dump(mode="json")
    whole = {**CARD, **(card or {})}
    made = at.data(sha256=SUMS, hash=data_folder.hash_over(SUMS), test_hash=SUMS["test"], settings=asked, card=whole)
    return replace(made, **fields)


def having(data: DataFolder | None, *settings: str) -> Subject:
    return replace(offline("phi-4-ultrachat", *settings), data=data)


def rows(**counts: int) -> DataFolder:
    return folder(rows={"train": 9353, "validation": 1039, "test": 300, "sample": 20, **counts})


def counted(**tokens: Any) -> DataFolder:
    return folder({"tokens": {**TOKENS, **tokens}})


UNHEARD_OF = f"{at.REGISTRY}/models/Unheard-of/versions/1"
CHAT = {"properties": {"flavors": {"hftransformersv2": {"data": {"task_type": "chat-completion"}}}}}


def unheard_of() -> Subject:
    return offline("phi-4-ultrachat", "base_model=azureml://registries/azureml/models/Unheard-of/versions/1")


def by_hand() -> DataFolder:
    return replace(folder(), settings={}, card={})


CASES = (
    Case("data-splits", "ok", lambda: having(folder()), "train 9,353, validation 1,039, test 300"),
    Case("data-splits", "not asked", lambda: having(None)),
    Case("data-splits", "error", lambda: having(rows(validation=0)), "20 % of the training rows would be taken away"),
    Case("data-splits", "error", lambda: having(rows(test=0)), "the gate has nothing to look at"),
    Case("data-size", "ok", lambda: having(folder()), "9,353 rows to train on, 9,353 steps"),
    Case("data-size", "not asked", lambda: having(None)),
    Case("data-size", "error", lambda: having(rows(train=9)), "9 rows to train on"),
    Case("data-size", "ok", lambda: having(rows(train=10)), "10 rows to train on"),
    Case("data-size", "ok", lambda: having(rows(train=64), "training.per_device_train_batch_size=64")),
    Case(
        "data-size",
        "warning",
        lambda: having(rows(train=30), "training.per_device_train_batch_size=64"),
        "fewer than the 64",
    ),
    Case("data-recipe", "ok", lambda: having(folder())),
    Case("data-recipe", "not asked", lambda: having(None)),
    Case("data-recipe", "error", lambda: having(folder(source="package:chatterbot-corpus")), "the recipe wants 'hub:"),
    Case("data-recipe", "warning", lambda: having(folder(), "data.percent=10"), "percent 5.0, the recipe 10.0"),
    Case("data-recipe", "warning", lambda: having(by_hand()), "with which settings"),
    Case("data-card", "ok", lambda: having(folder())),
    Case("data-card", "not asked", lambda: having(None)),
    Case("data-card", "warning", lambda: having(by_hand()), "made or changed by hand"),
    Case("data-hash", "ok", lambda: having(folder())),
    Case("data-hash", "not asked", lambda: having(None)),
    Case("data-hash", "error", lambda: having(folder(hash="0" * 64)), "not that of its files"),
    Case("data-hash", "error", lambda: having(folder(test_hash="0" * 64)), "attempts are counted by"),
    Case(
        "data-hash",
        "error",
        lambda: having(folder(sha256={**SUMS, "train": SUMS["test"]})),
        "the same file as another split",
    ),
    Case(
        "data-hash",
        "error",
        lambda: having(folder(sha256={**SUMS, "validation": SUMS["test"]})),
        "the same file as another split",
    ),
    Case("data-tokens", "ok", lambda: having(folder()), "320 tokens a row on average, at most 1,900"),
    Case("data-tokens", "not asked", lambda: having(None)),
    Case("data-tokens", "warning", lambda: having(counted(tokenizer=None)), "estimated: the tokenizer of 'Phi-4'"),
    Case("data-tokens", "warning", lambda: having(counted(masked_rows=7)), "7 of 400 rows counted have no token"),
    Case("data-tokens", "warning", lambda: having(counted(cut_rows=9)), "9 of 400 rows counted are cut"),
    Case("data-tokens", "warning", lambda: having(by_hand()), "hours are guessed"),
    Case("data-rejected", "ok", lambda: having(folder()), "40 rows left out (empty content 20), 0.2 %"),
    Case("data-rejected", "not asked", lambda: having(None)),
    Case("data-rejected", "error", lambda: having(folder({"rejected": {**REJECTED, "percent": 7.5}})), "allows 5 %"),
    Case("data-rejected", "ok", lambda: having(folder({"rejected": {**REJECTED, "percent": 5}})), "allows 5 %"),
    Case("data-rejected", "warning", lambda: having(by_hand())),
    Case("test-clusters", "ok", lambda: having(folder()), "290 conversations that differ; it wants 100"),
    Case("test-clusters", "not asked", lambda: having(None)),
    Case("test-clusters", "error", lambda: having(folder({"test_questions": 60})), "60 conversations"),
    Case("test-clusters", "ok", lambda: having(folder({"test_questions": 100})), "100 conversations"),
    Case("test-clusters", "error", lambda: having(folder({"test_questions": 99})), "99 conversations"),
    Case("test-clusters", "error", lambda: having(rows(test=80)), "looks at 80"),
    Case("data-tokens", "warning", lambda: having(folder(), "training.max_seq_length=1024"), "the run cuts at 1,024"),
    Case("data-tokens", "ok", lambda: having(folder(), "training.max_seq_length=1900")),
    Case("test-clusters", "warning", lambda: having(folder(), "evaluation.max_rows=105"), "95 to 105 conversations"),
    Case("test-clusters", "error", lambda: having(folder(), "evaluation.max_rows=50"), "looks at 40 to 50"),
    Case("test-clusters", "warning", lambda: having(folder({"test_questions": None})), "count once"),
    Case("chat-roles", "ok", lambda: having(folder()), "takes all 400 rows"),
    Case("chat-roles", "not asked", lambda: having(None)),
    Case("chat-roles", "error", lambda: having(counted(refused_rows=3)), "refuses 3 of 400 rows"),
    Case("chat-roles", "warning", lambda: having(counted(tokenizer=None)), "was not at hand"),
    Case("chat-template", "ok", offline, "which packages template and tokens"),
    Case("chat-template", "error", lambda: hub(None), "'Chat Special tokens are not set'"),
    Case("chat-template", "unknown", unheard_of, "whether 'Unheard-of' is a chat-completion model"),
    Case("chat-template", "ok", lambda: at.online({UNHEARD_OF: CHAT}, unheard_of()), "packages template"),
    Case("chat-template", "unknown", lambda: at.online({UNHEARD_OF: at.model()}, unheard_of())),
)


def hub(config: Path | None, **fields: Any) -> Subject:
    found = offline()
    change: dict[str, Any] = {"base_model": "hub:microsoft/phi-4", "finetune_config": config and config.name}
    change |= {"folder": config.parent} if config else {}
    return replace(found, recipe=found.recipe.model_copy(update={**change, **fields}))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.check}-{case.verdict}")
def test_a_check_says(case: Case) -> None:
    said = asked(case.check, case.subject())
    assert said.verdict == case.verdict, said
    assert case.says in f"{said.reason} {said.fix}", said
    assert said.verdict == "ok" or said.fix, "whoever is stopped must read what to do"


def asked(check: str, subject: Subject) -> preflight.Finding:
    return preflight.asked({one.name: one for one in preflight.checks()}[check], subject)


def written(folder: Path, **content: Any) -> Path:
    file = folder / "finetune_config.json"
    file.write_text(json.dumps(content))
    return file


def test_a_finetune_config_must_say_how_answers_and_questions_begin(tmp_path: Path) -> None:
    tokens = {"response_template": "<|assistant|>", "instruction_template": "<|user|>"}
    assert asked("chat-template", hub(written(tmp_path, chat_special_tokens=tokens))).verdict == "ok"
    said = asked("chat-template", hub(written(tmp_path, chat_special_tokens={"response_template": "<a>"})))
    assert said.verdict == "error"
    assert "lacks instruction_template under chat_special_tokens" in said.reason


def test_a_model_without_system_role_gets_its_text_put_before_the_first_question(tmp_path: Path) -> None:
    tokens = {"response_template": "<a>", "instruction_template": "<u>"}
    subject = hub(written(tmp_path, chat_special_tokens=tokens, system_role_supported="false"))
    said = asked("chat-roles", replace(subject, data=folder()))
    assert said.verdict == "ok"
    assert "put before the first question" in said.reason


GOOD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}


@pytest.mark.parametrize(
    ("line", "verdict", "says"),
    [
        (json.dumps(GOOD), "warning", "made or changed by hand"),
        ('{"text": "Hi"}', "error", "train.jsonl row 1 has no column 'messages' with a list"),
        ('{"messages": "Hi"}', "error", "has no column 'messages' with a list"),
        ('{"messages": [{"role": "user", "content": "Hi"}]}', "error", "fewer than two messages"),
        ('{"messages": [{"from": "user"}, {"from": "gpt"}]}', "error", "without 'role' and 'content'"),
        ("Hi", "error", "train.jsonl is not JSON lines"),
    ],
)
def test_the_first_rows_of_a_folder_made_by_hand_are_looked_at(tmp_path: Path, line, verdict, says) -> None:
    for split in data_folder.NEEDED:
        data_folder.file(tmp_path, split).write_text(f"{json.dumps(GOOD)}\n" * 12)
    data_folder.file(tmp_path, "train").write_text(f"{line}\n" * 12)
    said = asked("data-card", having(folder(card={}, settings={}, source=str(tmp_path))))
    assert (said.verdict, says in said.reason) == (verdict, True), said


def test_a_folder_made_by_hand_may_bear_the_name_of_the_recipes_data_and_no_other() -> None:
    ours = replace(by_hand(), source="/mine/ultrachat-200k", name="ultrachat-200k")
    assert asked("data-recipe", having(ours)).verdict == "warning"
    assert asked("data-recipe", having(replace(ours, name="other"))).verdict == "error"


def test_an_older_folder_that_lacks_a_split_never_gets_as_far_as_a_preflight(tmp_path: Path) -> None:
    for split in ("train", "test"):
        data_folder.file(tmp_path, split).write_text('{"messages": []}\n' * 12)
    with pytest.raises(Exception, match=r"validation\.jsonl' does not exist"):
        data_folder.read(tmp_path)


def test_what_was_counted_of_the_data_narrows_the_hours(tmp_path: Path) -> None:
    blind, seen = having(None).estimate, having(folder()).estimate
    assert not isinstance(blind, str)
    assert not isinstance(seen, str)
    assert seen.hours[1] < blind.hours[1]
    assert "314 to 327 tokens each" in seen.assumes
