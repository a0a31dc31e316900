"""The files of a model: hashes as `sha256sum` makes them, differences by name, and models that cannot serve."""

from __future__ import annotations

import hashlib
import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scripts.fine_tunes import FILES, FineTune
from tests.tunestack.stored import MemoryFolder
from tunestack.errors import UsageError
from tunestack.models import weights
from tunestack.models.weights import Manifest

NAMES = st.text("abz-_./09", min_size=1, max_size=8).filter(weights.is_inside)


def manifest(contents=None) -> Manifest:
    return weights.hashed(MemoryFolder(contents or FILES), lambda done, total: None)


def test_the_hash_over_all_is_that_of_the_lines_of_sha256sum(tmp_path) -> None:
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    lines = subprocess.run(["sha256sum", *sorted(FILES)], cwd=tmp_path, check=True, capture_output=True).stdout
    assert manifest().sha256 == hashlib.sha256(lines).hexdigest()
    assert manifest().sha256 == FineTune().metrics["files"]["sha256"]


@given(st.dictionaries(NAMES, st.binary(max_size=20), min_size=1, max_size=6))
def test_what_is_written_is_read_again_and_differs_from_nothing_but_itself_changed(contents) -> None:
    made = manifest(contents)
    assert Manifest.parse(json.dumps(made.record).encode(), "x") == made
    there = MemoryFolder(contents)
    assert made.differences(there.files()) == []
    assert weights.rehashed(made, there, lambda done, total: None) == []
    path = sorted(contents)[0]
    changed = {**contents, path: contents[path] + b"x"}
    assert made.differences(MemoryFolder(changed).files()) != []
    assert made.sha256 != manifest(changed).sha256


def test_missing_added_and_longer_files_are_named_and_same_sizes_need_a_hash() -> None:
    there = {**FILES, "predict.py": "x", "MLmodel": "longer " + FILES["MLmodel"]}
    del there["LICENSE"]
    found = manifest().differences(MemoryFolder(there).files())
    assert found[0] == "missing are 'LICENSE'"
    assert found[1] == "added were 'predict.py'"
    assert found[2].startswith("'MLmodel' has ")
    same = {**FILES, "data/model/model.safetensors": "WEIGHTS"}
    assert manifest().differences(MemoryFolder(same).files()) == []
    problems = weights.rehashed(manifest(), MemoryFolder(same), lambda done, total: None)
    assert problems == ["'data/model/model.safetensors' has another content"]


def test_progress_is_told_in_bytes_read_of_all() -> None:
    told: list[tuple[int, int]] = []
    weights.hashed(MemoryFolder(FILES), lambda done, total: told.append((done, total)))
    size = sum(len(text) for text in FILES.values())
    assert told[-1] == (size, size)
    assert told == sorted(told)


@pytest.mark.parametrize(
    "rows",
    [
        "{",
        "[]",
        "[1]",
        "{}",
        [{"path": "a", "bytes": 1}],
        [{"path": "../a", "bytes": 1, "sha256": "0" * 64}],
        [{"path": "/a", "bytes": 1, "sha256": "0" * 64}],
        [{"path": "a", "bytes": 1, "sha256": "0"}],
        [{"path": "a", "bytes": 1, "sha256": "z" * 64}],
        [{"path": "a\n0  b", "bytes": 1, "sha256": "0" * 64}],
        [{"path": "\ud800", "bytes": 1, "sha256": "0" * 64}],
        [{"path": "a", "bytes": float("inf"), "sha256": "0" * 64}],
        "[" * 100_000,
        [{"path": "a", "bytes": 1, "sha256": "0" * 64}] * 2,
    ],
    ids=range(14),
)
def test_a_list_that_is_none_or_leads_out_of_the_folder_is_refused(rows) -> None:
    content = rows if isinstance(rows, str) else json.dumps(rows)
    with pytest.raises(UsageError, match=r"'files\.json' is no list of"):
        Manifest.parse(content.encode(), "'files.json'")


def without(*names: str, **added: str) -> dict[str, str]:
    return {path: text for path, text in {**FILES, **added}.items() if path not in names}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (without("MLmodel"), "has no file 'MLmodel'"),
        (without(MLmodel="flavors: {sklearn: {}}"), "has the flavors 'sklearn'; a chat model has one of"),
        (without(MLmodel="flavors: {}"), "has the flavors none"),
        (without(MLmodel="run_id: x"), "names no flavors"),
        (without(MLmodel="- x"), "names no flavors"),
        (without(MLmodel="flavors: [1"), "'MLmodel' of job 'j' cannot be read"),
        (without("data/model/model.safetensors"), "has no weights"),
        ({**FILES, "data/model/model.safetensors": ""}, "has no weights"),
        ({**without("data/model/model.safetensors"), "data/model/training_args.bin": "x"}, "has no weights"),
        ({}, "is missing: nothing lies at"),
        ({**FILES, **{f"part{number}": "x" for number in range(1500)}}, "has 1,504 files; Azure takes 1,500"),
    ],
)
def test_a_model_that_cannot_serve_is_refused(files, said) -> None:
    with pytest.raises(UsageError, match=said):
        weights.check_layout(MemoryFolder(files), "j")


@pytest.mark.parametrize("flavor", weights.FLAVORS)
def test_every_chat_flavor_is_taken_without_a_signature(flavor) -> None:
    files = without(MLmodel=f"flavors: {{{flavor}: {{}}, python_function: {{}}}}")
    assert weights.check_layout(MemoryFolder(files), "j") == MemoryFolder(files).files()


def test_all_that_is_wrong_with_a_model_is_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        weights.check_layout(MemoryFolder({"README": "x"}), "j")
    assert len(caught.value.problems) == 2
