"""`cost`: the sum on stdout, the table for a pull request, 5 above the budget; also before the first `up`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import RunningCloud
from tests.scripts.conftest import ROOT, Script

A100 = ROOT / "pipelines" / "serve" / "Phi-4.yml"


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project's files, so that a test can change a stack."""
    for file in ROOT.glob("Pulumi*.yaml"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_sum_of_a_stack_that_was_never_up_is_the_handle(script: Script) -> None:
    ended = script("cost", "--stack", "dev", "--offline")
    assert 5 < float(ended.handle) < 50
    assert "assumes 100 GB kept" in ended.err
    assert "prices are those of azure_facts.yml of 2026-11-21 (offline)" in ended.err


def test_without_login_or_engine_the_dials_are_taken_and_it_says_why(
    script: Script, local_cloud, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = script("cost", "--stack", "dev")
    assert float(ended.handle) > 0
    assert "there is no plan, as 'pulumi' does not run" in ended.err
    assert "azure_facts.yml" not in ended.err


def test_prices_of_today_are_taken_where_they_can_be_had(script: Script, local_cloud: RunningCloud, tmp_path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({"steps": []}))
    arguments = ("--stack", "dev", "--plan", tmp_path / "plan.json", "--deployment", A100, "--lease", "1h")
    assert script("cost", *arguments).handle == "3.67"
    assert "those of the plan in" in script("cost", *arguments).err


def test_a_deployment_counts_until_its_lease_ends_and_all_month_without_an_end(script: Script, project: Path) -> None:
    (project / "Pulumi.dev.yaml").write_text("config:\n  tunestack:leaseCap: never\n  tunestack:budget: 9000\n")
    bare = float(script("cost", "--stack", "dev", "--offline").handle)
    hour = float(script("cost", "--stack", "dev", "--offline", "--deployment", A100, "--lease", "1h").handle)
    always = float(script("cost", "--stack", "dev", "--offline", "--deployment", A100, "--lease", "never").handle)
    assert hour - bare == pytest.approx(3.67, abs=0.01)
    assert always - bare == pytest.approx(2681.29, abs=0.01)


def test_above_the_budget_it_ends_with_5(script: Script, project: Path) -> None:
    (project / "Pulumi.dev.yaml").write_text("config:\n  tunestack:budget: 5\n")
    said = script("cost", "--stack", "dev", "--offline").failed(5)
    assert "dollars a month of a budget of 5" in said
    assert "pulumi config set budget" in said


def test_the_table_for_a_pull_request_is_there_above_the_budget_too(script: Script, project: Path) -> None:
    (project / "Pulumi.dev.yaml").write_text("config:\n  tunestack:budget: 5\n")
    ended = script("cost", "--stack", "dev", "--offline", "--markdown")
    assert ended.code == 5
    assert "**Over the budget:**" in ended.out
    assert "| dev-registry | 0.0070 | 0.0070 | 5.08 | Basic |" in ended.out


def test_a_recipe_adds_one_fine_tune_as_a_range(script: Script) -> None:
    ended = script(
        "cost", "--stack", "dev", "--offline", "--recipe", "pipelines/finetune/phi-4-ultrachat.yml", "--markdown"
    )
    assert "one fine-tune of phi-4-ultrachat" in ended.out
    assert "hours on one Standard_NC24ads_A100_v4" in ended.out


def test_a_value_of_the_recipe_can_be_changed(script: Script) -> None:
    def dearest(*more: str) -> float:
        recipe = ("--recipe", "pipelines/finetune/phi-4-ultrachat.yml", *more)
        return float(script("cost", "--stack", "dev", "--offline", *recipe).handle)

    assert dearest("--set", "data.percent=1") < dearest() < dearest("--set", "data.percent=10")


def test_an_unknown_price_is_a_line_and_said_in_the_sum(script: Script, tmp_path: Path) -> None:
    urn = "urn:pulumi:dev::tunestack::azure-native:containerservice:ManagedCluster::new"
    state = {"type": "azure-native:containerservice:ManagedCluster", "inputs": {}}
    (tmp_path / "plan.json").write_text(json.dumps({"steps": [{"op": "create", "urn": urn, "newState": state}]}))
    ended = script("cost", "--stack", "dev", "--offline", "--plan", tmp_path / "plan.json", "--markdown")
    assert "| new | unknown | unknown | unknown | price unknown |" in ended.out
    assert "without 'new', whose price is unknown" in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--stack"),
        (("--stack", "prd"), "there is no stack file 'Pulumi.prd.yaml'; did you mean 'prod'"),
        (("--stack", "dev", "--plan", "gone.json"), "'gone.json' is no file"),
        (("--stack", "dev", "--lease", "soon"), "lease 'soon' is no time span"),
        (("--stack", "dev", "--lease", "9d"), "longer than the stack allows"),
        (("--stack", "dev", "--deployment", "gone.yml"), "deployment 'gone.yml' does not exist"),
        (("--stack", "dev", "--recipe", "gone.yml"), "recipe 'gone.yml' does not exist"),
        (("--stack", "dev", "--rows", "many"), "'many' is not a whole number above zero"),
        (("--stack", "dev", "--rows", "-5"), "'-5' is not a whole number above zero"),
        (("--stack", "dev", "--rows", "5", "--set", "budget=1"), "--set was given without --recipe\nerror: --rows was"),
    ],
)
def test_bad_input_is_one_clear_error(script: Script, arguments, said) -> None:
    assert said in script("cost", *arguments, "--offline").failed(2)
