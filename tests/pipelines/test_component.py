"""The component and its program agree, and the program needs nothing that Azure's image lacks."""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from evaluation import settings
from evaluation.refusal import Refusal

from tests.pipelines.conftest import STEP

COMPONENT = yaml.safe_load((STEP / "component.yml").read_text())
IN_THE_IMAGE = {"numpy", "torch", "transformers", "mlflow", "yaml", "jinja2", "evaluation"}


def _arguments(monkeypatch: pytest.MonkeyPatch) -> dict[str, argparse.Action]:
    taken: dict[str, argparse.Action] = {}
    add = argparse.ArgumentParser.add_argument

    def note(parser: argparse.ArgumentParser, *names: str, **given: object) -> argparse.Action:
        action = add(parser, *names, **given)  # type: ignore[arg-type]
        taken[names[0].lstrip("-")] = action
        return action

    monkeypatch.setattr(argparse.ArgumentParser, "add_argument", note)
    given = ["--test_file", "t", "--tuned_model", "m", "--base_model", "b", "--evaluation", "e"]
    settings.parse(given)
    return taken


def test_every_input_is_an_argument_with_the_same_default(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {name: action for name, action in _arguments(monkeypatch).items() if name not in ("h", "evaluation")}
    assert set(taken) == set(COMPONENT["inputs"])
    for name, spec in COMPONENT["inputs"].items():
        assert taken[name].default == spec.get("default"), name
        assert settings.LEAST.get(name) == spec.get("min"), name
        assert taken[name].required == (not spec.get("optional") and "default" not in spec), name


def test_the_command_passes_every_input_and_optional_ones_only_where_given() -> None:
    command = COMPONENT["command"]
    for name, spec in COMPONENT["inputs"].items():
        passed = f"--{name} '${{{{inputs.{name}}}}}'"
        assert passed in command, name
        assert (f"$[[{passed}]]" in command) == bool(spec.get("optional")), name
    assert "--evaluation '${{outputs.evaluation}}'" in command


@pytest.mark.parametrize("path", sorted(STEP.rglob("*.py")), ids=lambda path: path.name)
def test_a_module_is_python_3_10_and_imports_what_the_image_has(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 10))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    first = {name.partition(".")[0] for name in names}
    assert first - set(sys.stdlib_module_names) <= IN_THE_IMAGE
    newer = {"tomllib", "StrEnum", "UTC", "Self", "assert_never"}
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | first
    assert not used & newer


def test_heavy_packages_are_imported_where_they_are_used() -> None:
    code = (
        "import sys, evaluation.__main__; print([n for n in ('torch', 'transformers', 'mlflow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=STEP, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_one_base_model_is_needed_and_no_more() -> None:
    given = ["--test_file", "t", "--tuned_model", "m", "--evaluation", "e"]
    with pytest.raises(Refusal, match="base model is needed once"):
        settings.parse(given)
    with pytest.raises(Refusal, match="base model is needed once"):
        settings.parse([*given, "--base_model", "b", "--huggingface_id", "a/b"])
