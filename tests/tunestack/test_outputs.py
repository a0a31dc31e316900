"""How a script learns where the stack is: the order of places, and one error that names all that is wrong."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from tunestack import outputs
from tunestack.errors import NotConfigured

WHOLE = {field.name: f"the-{field.name}" for field in fields(outputs.StackOutputs)}


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def fake_pulumi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = write(folder / "pulumi", f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def refused(*arguments: Path) -> str:
    with pytest.raises(NotConfigured) as error:
        outputs.load(*arguments)
    assert error.value.code == 3
    return str(error.value)


def test_a_file_gives_exactly_the_fields_and_its_other_members_are_left_alone(tmp_path: Path) -> None:
    found = outputs.load(write(tmp_path / "o.json", {**WHOLE, "of_another_program": [1]}))
    assert asdict(found) == WHOLE


def test_the_flag_wins_over_the_variable_and_the_variable_over_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pulumi(tmp_path, monkeypatch, f"echo '{json.dumps({**WHOLE, 'stack': 'asked'})}'")
    assert outputs.load().stack == "asked"
    monkeypatch.setenv(outputs.VARIABLE, str(write(tmp_path / "v.json", {**WHOLE, "stack": "variable"})))
    assert outputs.load().stack == "variable"
    assert outputs.load(write(tmp_path / "f.json", {**WHOLE, "stack": "flag"})).stack == "flag"


def test_all_missing_fields_are_named_at_once_with_the_command(tmp_path: Path) -> None:
    left = {name: value for name, value in WHOLE.items() if name not in ("stack", "gpu_cluster")}
    message = refused(write(tmp_path / "o.json", {**left, "location": ""}))
    assert all(f"'{name}'" in message for name in ("stack", "gpu_cluster", "location"))
    assert "pulumi up" in message


def test_only_the_registry_may_be_empty_because_a_stack_may_have_none(tmp_path: Path) -> None:
    assert outputs.load(write(tmp_path / "o.json", {**WHOLE, "shared_registry": ""})).shared_registry == ""
    assert "'lease_cap'" in refused(write(tmp_path / "o.json", {**WHOLE, "lease_cap": ""}))


def test_the_placeholder_of_a_secret_is_refused(tmp_path: Path) -> None:
    message = refused(write(tmp_path / "o.json", {**WHOLE, "endpoint_name": "[secret]"}))
    assert "'endpoint_name'" in message
    assert "secret" in message


def test_a_value_that_is_not_text_is_refused_with_the_value(tmp_path: Path) -> None:
    assert '{"a": 1}' in refused(write(tmp_path / "o.json", {**WHOLE, "location": {"a": 1}}))


@pytest.mark.parametrize("content", ["{", "[]", '"text"', ""])
def test_a_file_that_holds_no_object_is_named(tmp_path: Path, content: str) -> None:
    path = write(tmp_path / "o.json", content)
    assert f"'{path}'" in refused(path)


def test_a_file_that_is_not_there_is_named_with_the_command_that_writes_it(tmp_path: Path) -> None:
    message = refused(tmp_path / "absent.json")
    assert "absent.json" in message
    assert "pulumi stack output --json >" in message


def test_without_pulumi_the_error_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refused()
    assert "'pulumi'" in message
    assert "--outputs FILE" in message


def test_what_pulumi_says_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pulumi(tmp_path, monkeypatch, "echo 'error: no stack selected; please use pulumi' >&2; exit 255")
    message = refused()
    assert "'no stack selected; please use pulumi'" in message
    assert "pulumi stack select NAME" in message


def test_a_stack_without_outputs_is_not_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pulumi(tmp_path, monkeypatch, "echo '{}'")
    assert "the stack is not up" in refused()
