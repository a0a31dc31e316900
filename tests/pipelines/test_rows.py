"""Test rows and their clusters: what is one conversation counts once, however it is spelt."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from evaluation import rows
from evaluation.gate import GENERAL_QUESTIONS
from evaluation.rows import cluster_of

from tests.pipelines.conftest import distinct_rows
from tests.tiny_model import write_rows


def _asks(text: str) -> str:
    return cluster_of([{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}])


def test_spelling_does_not_make_another_cluster_and_words_do() -> None:
    assert _asks("What is AI?") == _asks("  what is  ai") == _asks("What is\nAI ?!")
    assert _asks("What is AI?") != _asks("What is air?")
    assert _asks("?!") != _asks("...")
    assert cluster_of([{"role": "assistant", "content": "Hi"}], "Say hi") == _asks("say hi")


def test_the_first_question_decides_whatever_follows(tmp_path: Path) -> None:
    talk = distinct_rows(1)[0]["messages"]
    longer = [*talk, {"role": "user", "content": "More?"}, {"role": "assistant", "content": "No."}]
    file = write_rows(tmp_path / "rows.jsonl", [{"messages": talk}, {"messages": longer}])
    found = rows.read(file, Counter())
    assert found[0].cluster == found[1].cluster
    assert [each.line for each in found] == [1, 2]


def test_a_choice_is_the_same_for_the_same_seed_and_takes_whole_clusters(tmp_path: Path) -> None:
    copies = [row for row in distinct_rows(10) for _ in range(3)]
    found = rows.read(write_rows(tmp_path / "rows.jsonl", copies), Counter())
    chosen = rows.choose(found, 12, 1)
    assert chosen == rows.choose(found, 12, 1)
    assert chosen != rows.choose(found, 12, 2)
    assert len(chosen) == 12
    assert len({each.cluster for each in chosen}) == 4
    assert rows.choose(found, 100, 1) == found


def test_the_packaged_questions_are_distinct_complete_and_described() -> None:
    found = rows.read(GENERAL_QUESTIONS, Counter())
    assert len(found) == len({each.cluster for each in found}) == 120
    ids = [json.loads(line)["id"] for line in GENERAL_QUESTIONS.read_text(encoding="utf-8").splitlines()]
    assert len(set(ids)) == 120
    page = GENERAL_QUESTIONS.with_suffix(".md").read_text()
    assert "CC0-1.0" in page
    for category, count in Counter(each.category for each in found).items():
        assert f"| {category} | {count} |" in page
    for each in found:
        assert [message["role"] for message in each.messages] == ["user", "assistant"]
