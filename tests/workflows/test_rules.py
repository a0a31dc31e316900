"""What every workflow keeps to: pins, least permissions, no secrets, expressions only where they cannot become code."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import CACHE
from tests.workflows.reading import GITHUB, PREPARE, ROOT, WORKFLOWS, expressions, load, steps

NAMES = {"ci", "preview", "deploy", "finetune", "promote", "nightly", "sweep", "rollback", "destroy"}
ALL = [*WORKFLOWS, PREPARE]
# GitHub's own syntax needs an expression in these three to choose a runner, an environment or a queue at run time.
ALLOWED = {"env", "with", "if", "runs-on", "environment", "concurrency"}
WRITING = {"deploy", "destroy", "finetune", "promote", "sweep", "rollback", "nightly"}
LONG = re.compile(r"pulumi (up|preview)|teardown|submit_finetune|deploy_model|shift_traffic|promote|register_model")
each = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def test_the_workflows_are_the_nine_and_no_file_is_longer_than_a_hundred_lines() -> None:
    assert {path.stem for path in WORKFLOWS} == NAMES
    for path in GITHUB.rglob("*.yml"):
        assert len(path.read_text().splitlines()) <= 100, path


def test_every_action_is_pinned_by_a_commit_and_says_its_version() -> None:
    pins: dict[str, set[str]] = {}
    for path in ALL:
        for line in path.read_text().splitlines():
            found = re.match(r"\s*(?:- )?uses: (.*)", line)
            if found and found[1] != "./.github/actions/prepare":
                pinned = re.fullmatch(r"([\w-]+/[\w-]+)@([0-9a-f]{40}) # v\d+\.\d+\.\d+", found[1])
                assert pinned, f"{path.name}: {line.strip()}"
                pins.setdefault(pinned[1], set()).add(pinned[2])
    assert all(len(commits) == 1 for commits in pins.values()), pins
    assert len(pins) <= 6


@each
def test_permissions_are_none_but_those_that_a_job_names(path: Path) -> None:
    found = load(path)
    assert found["permissions"] == {}
    for name, job in found["jobs"].items():
        granted = job["permissions"]
        assert granted.pop("contents") == "read", name
        logs_in = any("azure/login" in str(step.get("uses")) for step in job["steps"])
        assert granted.pop("id-token", None) == ("write" if logs_in else None), name
        assert granted == ({"pull-requests": "write"} if (path.stem, name) == ("preview", "comment") else {}), name


@each
def test_no_secret_is_used_and_no_event_runs_with_more_rights_than_its_author(path: Path) -> None:
    text = path.read_text()
    assert "secrets." not in text
    assert not set(load(path)["on"]) & {"pull_request_target", "workflow_run", "issue_comment"}


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_expressions_stand_only_where_they_cannot_become_code(path: Path) -> None:
    for where in expressions(load(path)):
        assert set(where) & ALLOWED, f"{path.name}: {'.'.join(where)}"
        assert "run" not in where


@each
def test_each_run_is_one_command_that_a_person_types_as_well(path: Path) -> None:
    for step in steps(path):
        if not step.command:
            continue
        assert "\n" not in step.command.strip(), step
        words = shlex.split(step.command)
        assert not {"&&", "||", ";", "|"} & set(words), step
        program = words[0] if words[0] != ".venv/bin/localcloud" else words[words.index("--") + 1]
        script = words[words.index(program) + 1] if program.endswith("python") or program == "python3" else ""
        assert program in ("make", "pulumi") or (ROOT / script).is_file(), step
        assert set(step.described) <= {"run", "env", "if"}, step


@each
def test_every_script_takes_the_flags_that_it_is_given(path: Path) -> None:
    for step in steps(path):
        found = re.search(r"python3? ((?:scripts)/\w+\.py) (.*)", step.command)
        if found:
            spec = importlib.util.spec_from_file_location("script", ROOT / found[1])
            assert spec
            assert spec.loader
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            module.parser().parse_args(shlex.split(found[2]))


@each
def test_what_writes_is_never_cancelled_and_has_a_queue_of_its_stack(path: Path) -> None:
    found = load(path)
    for name, job in found["jobs"].items():
        queue = {**found, **job}.get("concurrency")
        assert queue, f"{path.stem}.{name}"
        assert queue["cancel-in-progress"] is (path.stem not in WRITING)
        if path.stem in WRITING:
            assert re.search(r"-(dev|prod|\$\{\{ (inputs|matrix)\.stack \}\})$", queue["group"]), queue


def test_up_and_teardown_of_a_stack_share_one_queue_and_no_clock_ends_them() -> None:
    queues = {}
    for path in WORKFLOWS:
        for name, job in load(path)["jobs"].items():
            if any(re.match(r"pulumi up|.*teardown", str(step.get("run", ""))) for step in job["steps"]):
                queues[path.stem, name] = job["concurrency"]["group"]
                assert "timeout-minutes" not in job
    assert queues == {
        ("deploy", "dev"): "stack-dev",
        ("deploy", "prod"): "stack-prod",
        ("destroy", "teardown"): "stack-${{ inputs.stack }}",
    }


def test_each_job_logs_in_as_the_identity_that_its_environment_vouches_for() -> None:
    for path in WORKFLOWS:
        for name, job in load(path)["jobs"].items():
            ids = {str(step["with"]["client-id"]) for step in job["steps"] if "azure/login" in str(step.get("uses"))}
            if not ids:
                continue
            environment = str(job.get("environment", "preview"))
            wanted = (
                "inputs.stack == 'prod' && vars.CLIENT_PROD || vars.CLIENT_DEV"
                if "inputs" in environment
                else f"vars.CLIENT_{environment.upper()}"
            )
            assert ids == {f"${{{{ {wanted} }}}}"}, (path.stem, name)
            assert (environment == "preview") == (path.stem == "preview"), (path.stem, name)


def test_a_login_stands_right_before_every_step_that_takes_long() -> None:
    for path in WORKFLOWS:
        before = ""
        for step in steps(path):
            if LONG.search(step.command) and "localcloud" not in step.command:
                assert "azure/login" in before or "preflight.py" in before, step
            before = str(step.described.get("uses") or step.command)


def test_a_forks_pull_request_reaches_no_identity() -> None:
    jobs = load(GITHUB / "workflows" / "preview.yml")["jobs"]
    ours = "github.event.pull_request.head.repo.full_name == github.repository"
    for name, job in jobs.items():
        if any("azure/login" in str(step.get("uses")) for step in job["steps"]):
            assert ours in job["if"], name
    assert "needs.plan.result != 'skipped'" in jobs["comment"]["if"]
    lines = [step["run"] for step in jobs["local"]["steps"] if "run" in step]
    assert all("localcloud run" in line or line == "make setup" for line in lines)


def test_the_job_that_may_comment_runs_nothing_of_the_pull_request() -> None:
    job = load(GITHUB / "workflows" / "preview.yml")["jobs"]["comment"]
    checkout = job["steps"][0]["with"]
    assert checkout["ref"] == "${{ github.event.pull_request.base.sha }}"
    assert not any(str(step.get("uses", "")).startswith("./") for step in job["steps"])


def test_the_checkout_leaves_no_token_behind() -> None:
    for path in WORKFLOWS:
        for step in steps(path):
            if "actions/checkout" in str(step.described.get("uses")):
                assert step.described["with"]["persist-credentials"] is False, step


def test_zizmor_finds_nothing_and_what_it_is_told_to_leave_has_a_reason() -> None:
    program = Path(sys.executable).with_name("zizmor")
    done = subprocess.run(
        [program, "--offline", "--persona=auditor", "--no-progress", "-q", str(GITHUB)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    config = (GITHUB / "zizmor.yml").read_text()
    for line in config.splitlines():
        assert "disable: true" not in line or "#" in line
    assert len(yaml.safe_load(config)["rules"]) <= 2


def test_actionlint_finds_nothing() -> None:
    done = subprocess.run(
        [ROOT / "tools" / "actionlint" / "run"],
        env={**os.environ, "TUNESTACK_CACHE": str(CACHE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
