"""`sweep`: says what is left, also without a stack, and nothing only when every API said so."""

from __future__ import annotations

import json

from tests.scripts.conftest import Script, Stack


def test_what_is_left_is_named_with_code_5(stack: Stack, script: Script) -> None:
    said = script("sweep", "--stack", "test").failed(5)
    assert "things are left: test, " in said


def test_what_other_stacks_made_is_not_ours(stack: Stack, script: Script) -> None:
    assert script("sweep", "--stack", "other").handle == "nothing left"


def test_without_tags_everything_counts(stack: Stack, script: Script) -> None:
    assert "test-chat" in script("sweep", "--everything").failed(5)


def test_without_a_subscription_it_asks_for_one(script: Script, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = script("sweep").failed(3)
    assert "--subscription" in said


# Last in this file: it takes the stack away.
def test_after_everything_is_gone_it_says_so_without_a_stack_and_shows_what_azure_retains(
    stack: Stack, script: Script, monkeypatch
) -> None:
    group = stack.workspace.split("/providers/")[0]
    stack.cloud.arm("DELETE", f"{group}?api-version=2021-04-01")
    monkeypatch.delenv("TUNESTACK_OUTPUTS")
    ended = script("sweep", "--everything", "--json")
    assert ended.code == 0, ended.err
    (vault,) = json.loads(ended.out)["retained"]
    assert f"purged '{vault}'" in script("sweep", "--everything", "--purge").err
    assert json.loads(script("sweep", "--everything", "--json").out)["retained"] == []
