"""The store keeps ids case-insensitively, knows parents and kinds, and survives the process."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.store import StateVersionError, Store, place

GROUP = "/subscriptions/s/resourceGroups/rg"
WORKSPACE = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/ws"


def test_an_id_is_found_in_any_case() -> None:
    store = Store()
    assert store.put(WORKSPACE, {"a": 1})
    assert store.get(WORKSPACE.upper()) == {"a": 1}
    assert not store.put(WORKSPACE.lower(), {"a": 2})
    assert store.get(WORKSPACE) == {"a": 2}


def test_kind_and_parent_follow_the_provider_segment() -> None:
    assert place(WORKSPACE).kind == "microsoft.machinelearningservices/workspaces"
    assert place(WORKSPACE).parent == GROUP.lower()
    assert place(f"{WORKSPACE}/models/m/versions/1").kind == "versions"
    role = place(f"{WORKSPACE}/providers/Microsoft.Authorization/roleAssignments/r")
    assert (role.parent, role.kind) == (WORKSPACE.lower(), "microsoft.authorization/roleassignments")


def test_children_are_direct_and_in_order_of_creation() -> None:
    store = Store()
    for name in ("b", "a"):
        store.put(f"{WORKSPACE}/models/{name}", {"name": name})
        store.put(f"{WORKSPACE}/models/{name}/versions/1", {"name": "1"})
    store.put(f"{WORKSPACE}/models/b", {"name": "b", "again": True})
    assert [body["name"] for body in store.children(WORKSPACE, "models")] == ["b", "a"]
    assert len(store.beneath(WORKSPACE)) == 4
    assert len(store.beneath(WORKSPACE, "versions")) == 2


def test_delete_takes_what_is_beneath_and_not_its_neighbour() -> None:
    store = Store()
    for suffix in ("", "/models/m", "/models/m/versions/1", "2", "-other", "2/models/m"):
        store.put(WORKSPACE + suffix, {})
    assert store.delete(WORKSPACE) == 3
    assert store.get(WORKSPACE + "2/models/m") == {}
    assert store.get(WORKSPACE + "-other") == {}


def test_a_failed_transaction_leaves_nothing() -> None:
    store = Store()
    with pytest.raises(RuntimeError), store.transaction():
        store.put(WORKSPACE, {})
        store.put_record("operation", "1", {})
        raise RuntimeError
    assert store.get(WORKSPACE) is None
    assert store.record("operation", "1") is None


def test_what_was_written_is_there_after_a_restart_without_close(tmp_path: Path) -> None:
    first = Store(tmp_path / "state.db")
    first.put(WORKSPACE, {"kept": True})
    first.put_record("operation", "1", {"kept": True})
    second = Store(tmp_path / "state.db")
    assert second.get(WORKSPACE) == {"kept": True}
    assert second.records("operation") == [("1", {"kept": True})]


def test_state_of_another_version_is_refused_and_says_how_to_empty_it(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StateVersionError, match=r"version 99.*localcloud reset"):
        Store(tmp_path / "state.db")


@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, unique=True))
def test_records_keep_their_order(keys: list[str]) -> None:
    store = Store()
    for key in keys:
        store.put_record("x", key, {"key": key})
    assert [key for key, _ in store.records("x")] == keys
