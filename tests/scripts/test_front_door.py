"""What every script does alike: quick help, and one clear error when it is not configured or nothing answers."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import pytest

from tests.scripts.conftest import RECIPE, ROOT, Script, Stack

SCRIPTS = sorted(file.stem for file in (ROOT / "scripts").glob("*.py"))
HEAVY = ("azure", "datasets", "mlflow", "numpy", "pandas", "pulumi", "pyarrow", "pydantic", "rich", "torch", "yaml")
SEEN = """
import runpy, sys
try:
    runpy.run_path(sys.argv[1], run_name="__main__")
finally:
    print(*sys.modules, file=sys.stderr)
"""
ASKS = [
    ("submit_finetune", "--attach", "job"),
    ("register_model", "--job", "job"),
    ("deploy_model", "--delete", "blue"),
    ("shift_traffic", "--to", "blue"),
    ("invoke", "--prompt", "hi"),
]


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_imports_nothing_heavy_and_explains_every_flag(name: str) -> None:
    command = [sys.executable, "-c", SEEN, str(ROOT / "scripts" / f"{name}.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert not {module.split(".")[0] for module in done.stderr.split()} & set(HEAVY)
    assert "usage:" in done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_can_be_run_as_a_command(name: str) -> None:
    file = ROOT / "scripts" / f"{name}.py"
    assert file.stat().st_mode & 0o111
    assert file.read_text().startswith("#!/usr/bin/env python3\n")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_python_without_the_packages_is_told_how_to_get_them(name: str) -> None:
    # -S leaves out site-packages, as the system's Python does where nobody activated the environment.
    command = [sys.executable, "-S", str(ROOT / "scripts" / f"{name}.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No module named 'tunestack'. In the checkout run: make setup && source .venv/bin/activate" in done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_unknown_flag_is_one_error_and_code_2(name: str, script: Script) -> None:
    assert len(script(name, "--no-such-flag").failed(2).splitlines()) == 1


@pytest.mark.parametrize("arguments", ASKS, ids=lambda arguments: arguments[0])
def test_without_a_stack_the_error_says_how_to_make_one(arguments, script: Script, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = script(*arguments).failed(3)
    assert "--outputs" in said


@pytest.mark.parametrize("arguments", ASKS, ids=lambda arguments: arguments[0])
def test_outputs_that_lack_fields_are_an_error_that_names_all_of_them(arguments, script: Script, tmp_path) -> None:
    file = tmp_path / "outputs.json"
    file.write_text(json.dumps({"stack": "dev", "subscription_id": "s"}))
    said = script(*arguments, "--outputs", file).failed(3)
    assert "'workspace_name'" in said
    assert "'endpoint_name'" in said
    assert "pulumi up" in said


@pytest.mark.parametrize("arguments", ASKS, ids=lambda arguments: arguments[0])
def test_a_local_cloud_that_does_not_run_is_named_at_once(arguments, stack: Stack, script: Script, monkeypatch) -> None:
    with socket.socket() as taken:  # a port that nobody listens on, and that nobody else can take meanwhile
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        said = script(*arguments).failed(1)
    assert f"http://127.0.0.1:{port}" in said
    assert "Is `localcloud up` running?" in said


@pytest.mark.parametrize("arguments", ASKS, ids=lambda arguments: arguments[0])
def test_a_wrong_credential_is_code_3_and_says_how_to_log_in(
    arguments, stack: Stack, script: Script, monkeypatch
) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    assert "az login" in script(*arguments).failed(3)


@pytest.mark.parametrize("arguments", ASKS, ids=lambda arguments: arguments[0])
def test_a_workspace_that_is_gone_is_named(arguments, stack: Stack, script: Script, tmp_path) -> None:
    outputs = stack.change(tmp_path, workspace_name="nowhere")
    said = script(*arguments, "--outputs", outputs).failed(2)
    assert "workspace 'nowhere' does not exist in resource group 'test'" in said


def test_half_of_the_flags_for_a_workspace_is_wrong_usage(script: Script) -> None:
    said = script("register_model", "--job", "x", "--subscription", "s").failed(2)
    assert "--subscription was given without --resource-group, --workspace-name" in said


def test_config_json_is_taken_where_there_is_no_stack(stack: Stack, script: Script, monkeypatch, tmp_path) -> None:
    found = json.loads(stack.outputs.read_text())
    content = {name: found[name] for name in ("subscription_id", "resource_group", "workspace_name")}
    (tmp_path / "config.json").write_text(json.dumps(content))
    monkeypatch.delenv("TUNESTACK_OUTPUTS")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "job 'nowhere' does not exist" in script("register_model", "--job", "nowhere").failed(2)
    assert "no endpoint is known" in script("invoke", "--prompt", "hi").failed(3)


def test_a_recipe_that_does_not_exist_is_named_by_every_script_that_reads_one(script: Script, tmp_path) -> None:
    for arguments in (["prepare_data"], ["submit_finetune", "--data", tmp_path]):
        said = script(*arguments, "--recipe", tmp_path / "gone.yml").failed(2)
        assert "gone.yml' does not exist" in said
    assert RECIPE.exists()


def test_a_misspelt_flag_or_file_gets_the_nearest_one(script: Script, monkeypatch, tmp_path) -> None:
    said = script("preflight", "--recipe", "r.yml", "--offlien").failed(2)
    assert "unknown argument '--offlien'; did you mean '--offline'?" in said
    said = script("preflight", "--recipe", RECIPE.with_stem(f"{RECIPE.stem}s"), "--offline", "--stack", "dev").failed(2)
    assert f"does not exist; did you mean '{RECIPE.name}'?" in said
    monkeypatch.chdir(tmp_path)
    assert f"begins in '{tmp_path}'" in script("prepare_data", "--recipe", "recipes/mine.yml").failed(2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("submit_finetune", "--attach", "job", "--timeout", "soon"), "'soon' is not a number above zero"),
        (("invoke", "--sample", "s.jsonl", "--row", "x"), "'x' is not a whole number above zero"),
        (("invoke", "--sample", "s.jsonl", "--count", "0"), "'0' is not a whole number above zero"),
        (("invoke", "--prompt", "hi", "--row", "2"), "--row and --count are for the rows of a split"),
        (("sweep", "--grace", "5m"), "--grace was given without --expired"),
        (("preflight", "--recipe", ".", "--offline", "--stack", "dev"), "recipe '.' cannot be read: Is a directory"),
    ],
)
def test_a_flag_that_would_do_nothing_or_has_no_such_value_is_one_error(arguments, said: str, script: Script) -> None:
    told = script(*arguments).failed(2)
    assert said in told
    assert len(told.splitlines()) == 1
