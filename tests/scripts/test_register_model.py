"""`register_model`: what passed becomes a version with lineage and evidence, once; all else is refused and says why."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.conftest import Jobs, Script, Stack
from tests.scripts.fine_tunes import FILES, MLMODEL, TAGS, FineTune, run
from tunestack.arm import Arm
from tunestack.connect import credential

CALL = "?api-version=2023-08-01-preview"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`build/` is in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def finished(jobs: Jobs) -> str:
    return run(jobs)


def registered(stack: Stack, handle: str) -> dict[str, Any]:
    name, version = handle.split(":")
    body: dict[str, Any] = stack.cloud.arm("GET", f"{stack.workspace}/models/{name}/versions/{version}{CALL}")
    return body["properties"]


def test_a_finished_job_becomes_a_version_and_twice_is_once(stack: Stack, script: Script, finished: str) -> None:
    first = script("register_model", "--job", finished)
    name, _ = first.handle.split(":")
    assert name == "SmolLM2-135M-Instruct-chatterbot-corpus"
    found = registered(stack, first.handle)
    assert found["tags"] | TAGS | {"job": finished} == found["tags"]
    assert found["tags"]["gate"] == "passed"
    assert found["tags"]["gain"] == "+0.2000 [+0.1000, +0.3000] nats per token, 120 clusters"
    assert found["tags"]["evidence"] == first.handle.replace(":", "-evidence:")
    assert found["properties"]["files_sha256"] == found["tags"]["files_sha256"]
    assert found["description"].startswith(f"# {first.handle}\n")
    assert set(found["flavors"]) == {"hftransformersv2", "python_function"}
    again = script("register_model", "--job", finished)
    assert again.handle == first.handle
    assert "is registered already" in again.err
    versions = stack.cloud.arm("GET", f"{stack.workspace}/models/{name}/versions{CALL}")
    assert len(versions["value"]) == 1


def test_the_evidence_lies_beside_the_model_and_on_the_run(
    stack: Stack, script: Script, finished: str, folder: Path
) -> None:
    handle = script("register_model", "--job", finished).handle
    root = folder / "build" / "evidence" / handle.replace(":", "-")
    names = {file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()}
    inside = {"manifest.json", "provenance.json", "metrics.json", "gate.json", "README.md"}
    inside |= {"recipe.yml", "card.json", "preflight.json"}
    assert names == {"evidence.sig", *(f"evidence/{name}" for name in inside)}
    history = f"https://eastus.api.azureml.ms/history/v1.0{stack.workspace}/runs/{finished}/artifacts"
    found = Arm(credential()).get(history)
    assert names <= {artifact["path"] for artifact in found["value"]}
    assert (folder / "build/signing/throw-away.key").stat().st_mode & 0o777 == 0o600


def test_a_dry_run_registers_nothing(stack: Stack, script: Script, finished: str, folder: Path) -> None:
    handle = script("register_model", "--job", finished, "--name", "other", "--dry-run").handle
    with pytest.raises(Exception, match="NotFound"):
        registered(stack, handle)
    assert not (folder / "build").exists()


def test_a_job_that_runs_is_not_registered(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = jobs.start("sleep 600", "trained_model", TAGS)
    said = script("register_model", "--job", name).failed(4)
    assert "has not finished" in said
    assert f"--attach {name}" in said


def test_a_failed_job_is_not_registered_and_says_why(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = jobs.run("echo the cause; exit 1", "Failed", "trained_model", TAGS)
    ended = script("register_model", "--job", name)
    assert "ended as Failed" in ended.failed(4)
    assert "the cause" in ended.err


# -- the gate


def test_what_did_not_pass_is_refused_and_can_be_forced_with_a_reason(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = run(jobs, FineTune(gain=(0.05, -0.01, 0.1)))
    said = script("register_model", "--job", name).failed(5)
    assert "the gate says inconclusive" in said
    assert "The gain is too uncertain" in said
    assert f"--job {name} --force --why TEXT" in said
    handle = script("register_model", "--job", name, "--force", "--why", "a demo for the board").handle
    found = registered(stack, handle)
    assert (found["tags"]["gate"], found["tags"]["forced_why"]) == ("forced", "a demo for the board")
    assert found["tags"]["forced_by"]
    assert "a demo for the board" in found["description"]


def test_a_job_without_an_evaluation_names_the_command_and_a_later_one_counts(
    stack: Stack, script: Script, jobs: Jobs
) -> None:
    name = run(jobs, FineTune(evaluated=False))
    said = script("register_model", "--job", name).failed(2)
    assert f"job '{name}' has no evaluation of its model" in said
    assert f"scripts/submit_finetune.py --evaluate {name}" in said
    later = run(jobs, evaluates=name)
    handle = script("register_model", "--job", name).handle
    assert registered(stack, handle)["tags"]["evaluation_job"] == later


def test_a_model_that_was_never_evaluated_can_be_forced_and_is_hashed_here(
    stack: Stack, script: Script, jobs: Jobs
) -> None:
    made = FineTune(evaluated=False)
    name = run(jobs, made)
    ended = script("register_model", "--job", name, "--force", "--why", "no GPU was free")
    tags = registered(stack, ended.handle)["tags"]
    assert (tags["gate"], tags["gain"]) == ("forced", "not measured")
    assert tags["files_sha256"] == made.metrics["files"]["sha256"]
    assert "left no metrics.json, recipe.yml, card.json, preflight.json" in ended.err


OTHER = {"test": {"sha256": "8" * 64}}
PASSED_BADLY = {"gain": {"estimate": 0.2, "lower": 0.01, "upper": 0.3, "clusters": 120}}
REFUSED = {
    "of other test rows": ({"changed": OTHER}, "was made on test rows with the hash '888"),
    "of another model": ({"changed": {"files": {"sha256": "0"}}}, "evaluated another model than job"),
    "of a later program": ({"changed": {"schema": 2}}, "has schema 2, and this program knows 1"),
    "without a verdict": ({"changed": {"verdict": "fine"}}, "has the verdict 'fine'"),
    "that contradicts itself": (
        {"changed": PASSED_BADLY},
        "says 'passed' with a gain of at least 0.01, below min",
    ),
    "of rows that no tag names": ({"tags": {**TAGS, "test_hash": ""}}, "names no test rows in a tag 'test_hash'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_figures_are_refused(stack: Stack, script: Script, jobs: Jobs, case: str) -> None:
    changes, said = REFUSED[case]
    name = run(jobs, FineTune(**changes))
    found = script("register_model", "--job", name).failed(2)
    assert said in found
    assert f"--evaluate {name}" in found or "--evaluate JOB" in found


def test_an_evaluation_of_another_base_does_not_count(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = run(jobs, FineTune(evaluated=False))
    run(jobs, FineTune(tags={**TAGS, "base_model": "hub:other/model"}), evaluates=name)
    assert "has base_model 'hub:other/model' in place of" in script("register_model", "--job", name).failed(2)


# -- the model


def without(*names: str, **added: str) -> dict[str, str]:
    return {path: text for path, text in {**FILES, **added}.items() if path not in names}


UNUSABLE = {
    "no MLmodel": (without("MLmodel"), "has no file 'MLmodel'"),
    "an unknown flavor": ({**FILES, "MLmodel": "flavors: {sklearn: {}}"}, "has the flavors 'sklearn'"),
    "no flavor": ({**FILES, "MLmodel": "run_id: x"}, "names no flavors"),
    "a broken MLmodel": ({**FILES, "MLmodel": "flavors: [1"}, "cannot be read"),
    "no weights": (without("data/model/model.safetensors"), "has no weights"),
    "empty weights": ({**FILES, "data/model/model.safetensors": ""}, "has no weights"),
    "nothing": ({}, "is missing: nothing lies at"),
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_model_that_cannot_serve_is_refused(stack: Stack, script: Script, jobs: Jobs, case: str) -> None:
    files, said = UNUSABLE[case]
    assert said in script("register_model", "--job", run(jobs, FineTune(model=files))).failed(2)


def test_a_chat_flavor_has_no_signature_and_that_is_no_error(stack: Stack, script: Script, finished: str) -> None:
    assert "signature" not in MLMODEL
    assert "MLmodel" not in script("register_model", "--job", finished).err


def test_a_job_without_a_model_is_refused(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = jobs.run("true", "Completed")
    assert "has no output 'trained_model'" in script("register_model", "--job", name).failed(2)


def test_a_job_without_lineage_needs_a_name(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = run(jobs, FineTune(tags={"test_hash": TAGS["test_hash"]}))
    said = script("register_model", "--job", name).failed(2)
    assert "no tag base_model and data" in said
    assert "--name" in said
    assert script("register_model", "--job", name, "--name", "mine").handle.startswith("mine:")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--job", "nobody"), 2, "job 'nobody' does not exist in workspace 'test'"),
        (("--job", "/subscriptions/1/resourceGroups/g/workspaces/w/jobs/j"), 2, "is of another workspace than 'test'"),
        (("--job", "j", "--force"), 2, "--force and --why are needed together"),
        (("--job", "j", "--why", "x"), 2, "--force and --why are needed together"),
        (("--finished", "--force", "--why", "x"), 2, "--finished takes neither --name nor --force"),
        (("--finished", "--name", "mine"), 2, "--finished takes neither --name nor --force"),
    ],
)
def test_bad_input_is_one_error(stack: Stack, script: Script, arguments, code, said) -> None:
    assert said in script("register_model", *arguments).failed(code)


# -- tags


def test_long_and_many_tags_are_cut_to_what_azure_takes_and_it_is_said(
    stack: Stack, script: Script, jobs: Jobs
) -> None:
    tags = {**TAGS, "recipe": "r" * 2000, **{f"more{number}": "x" for number in range(60)}}
    ended = script("register_model", "--job", run(jobs, FineTune(tags=tags)))
    found = registered(stack, ended.handle)["tags"]
    assert len(found) == 50
    assert len(found["recipe"]) == 1000
    assert found["gate"] == "passed"
    assert "tag 'recipe' of model" in ended.err
    assert "left out: more" in ended.err


def test_a_job_cannot_say_of_itself_that_it_passed(stack: Stack, script: Script, jobs: Jobs) -> None:
    tags = {**TAGS, "gate": "passed", "gain": "9", "files_sha256": "0"}
    name = run(jobs, FineTune(tags=tags, gain=(0.0, -0.1, 0.1)))
    script("register_model", "--job", name).failed(5)
    found = registered(stack, script("register_model", "--job", name, "--force", "--why", "x").handle)["tags"]
    assert found["gate"] == "forced"
    assert found["gain"] != "9"
    assert found["files_sha256"] != "0"


# -- signing, and what goes wrong in the middle


def test_a_production_stack_signs_with_no_throw_away_key(
    stack: Stack, script: Script, finished: str, tmp_path: Path
) -> None:
    outputs = stack.change(tmp_path, production="true")
    said = script("register_model", "--job", finished, "--outputs", outputs).failed(3)
    assert "no key or identity is named" in said
    assert "--sign-as-me" in said


def test_a_key_that_is_none_is_one_error(stack: Stack, script: Script, finished: str, tmp_path: Path) -> None:
    assert "'gone.key' does not exist" in script(
        "register_model", "--job", finished, "--signing-key", "gone.key"
    ).failed(2)
    (tmp_path / "bad.key").write_text("no key")
    said = script("register_model", "--job", finished, "--signing-key", tmp_path / "bad.key").failed(2)
    assert "bad.key' is no private key" in said


@pytest.mark.parametrize("at", ["tunestack.evidence_store.to_run", "tunestack.arm.Arm.put"])
def test_killed_in_the_middle_the_next_run_completes_it(
    stack: Stack, script: Script, finished: str, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(at, killed)
        assert script("register_model", "--job", finished).code == 130
    handle = script("register_model", "--job", finished).handle
    assert registered(stack, handle)["tags"]["gate"] == "passed"


def test_a_full_disk_leaves_nothing_half_done(
    stack: Stack, script: Script, finished: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    def full(file: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(file))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert "No space left on device" in script("register_model", "--job", finished).failed(2)
    assert list((folder / "build" / "evidence").iterdir()) == []
    handle = script("register_model", "--job", finished).handle
    assert registered(stack, handle)["tags"]["gate"] == "passed"


# -- all that have finished


def test_all_fine_tunes_that_passed_get_their_model_and_the_others_are_named(
    stack: Stack, script: Script, jobs: Jobs
) -> None:
    script("register_model", "--finished")  # what the tests above have left
    good = run(jobs)
    refused = run(jobs, replace(FineTune(), gain=(0.0, -0.1, 0.1)))
    unjudged = run(jobs, FineTune(evaluated=False))
    failed = jobs.run("exit 1", "Failed", "trained_model", TAGS)
    jobs.run("true", "Completed", "trained_model")  # no fine-tune of ours
    planned = script("register_model", "--finished", "--dry-run").handle
    ended = script("register_model", "--finished")
    assert ended.handle == planned
    assert registered(stack, ended.handle)["tags"]["job"] == good
    assert f"job '{failed}' is in state 'Failed'" in ended.err
    assert f"job '{refused}' is not registered: the gate says inconclusive" in ended.err
    assert f"job '{unjudged}' is not registered: job '{unjudged}' has no evaluation" in ended.err
    assert script("register_model", "--finished").handle == "nothing to register"
    assert json.loads(script("register_model", "--finished", "--json").out) == {"models": []}
