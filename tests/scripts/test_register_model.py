"""`register_model`: what passed becomes a version with lineage and evidence, once; all else is refused and says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.conftest import Jobs, Script, Stack
from tests.scripts.fine_tunes import TAGS, FineTune, run
from tunestack.arm import Arm
from tunestack.connect import credential
from tunestack.errors import CloudError
from tunestack.models import registration

CALL = "?api-version=2023-08-01-preview"
NO = (0.05, -0.01, 0.1)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`build/` is in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def ended() -> dict[str, str]:
    """Jobs that are there already; each test registers them under a name of its own."""
    return {}


@pytest.fixture
def passed(ended: dict[str, str], jobs: Jobs) -> str:
    ended["passed"] = ended.get("passed") or run(jobs)
    return ended["passed"]


@pytest.fixture
def refused(ended: dict[str, str], jobs: Jobs) -> str:
    """One that the gate refused, and that says otherwise of itself."""
    tags = {**TAGS, "gate": "passed", "gain": "9", "files_sha256": "0"}
    ended["refused"] = ended.get("refused") or run(jobs, FineTune(tags=tags, gain=NO))
    return ended["refused"]


def registered(stack: Stack, handle: str) -> dict[str, Any]:
    name, version = handle.split(":")
    body: dict[str, Any] = stack.cloud.arm("GET", f"{stack.workspace}/models/{name}/versions/{version}{CALL}")
    return body["properties"]


# First in this file: every finished job that a test leaves is looked at here.
def test_all_fine_tunes_that_passed_get_their_model_and_the_others_are_named(
    stack: Stack, script: Script, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = run(jobs)
    no = run(jobs, FineTune(tags={**TAGS, "data": "two"}, gain=NO))
    unjudged = run(jobs, FineTune(tags={**TAGS, "data": "three"}, evaluated=False))
    failed = jobs.run("exit 1", "Failed", "trained_model", TAGS)
    jobs.run("true", "Completed", "trained_model")  # no fine-tune of ours
    planned = script("register_model", "--finished", "--dry-run").handle
    done = script("register_model", "--finished")
    assert done.handle == planned
    assert registered(stack, done.handle)["tags"]["job"] == good
    assert f"job '{failed}' is in state 'Failed'" in done.err
    assert f"job '{no}' is not registered: the gate says inconclusive" in done.err
    assert f"job '{unjudged}' is not registered: job '{unjudged}' has no evaluation" in done.err
    again = script("register_model", "--finished", "--json")
    assert json.loads(again.out) == {"models": []}
    assert f"model '{done.handle}' is registered already" in again.err
    assert script("register_model", "--finished").handle == ""

    # One that cannot be read keeps the next from nothing, and is told in the end.
    unread, later = (run(jobs, FineTune(tags={**TAGS, "data": data})) for data in ("four", "five"))
    judge = registration.judge

    def refused(connection: Any, planned: Any) -> registration.Judged:
        if planned[0].tags["job"] == unread:
            raise CloudError("datastore 'elsewhere' does not exist", status=404)
        return judge(connection, planned)

    monkeypatch.setattr(registration, "judge", refused)
    ended = script("register_model", "--finished")
    assert f"job '{unread}' is not registered: datastore 'elsewhere' does not exist" in ended.failed(1)
    assert f"registered 'azureml://jobs/{later}/outputs/trained_model' as " in ended.err


def test_a_finished_job_becomes_a_version_and_twice_is_once(stack: Stack, script: Script, jobs: Jobs) -> None:
    job = run(jobs)
    first = script("register_model", "--job", job)
    name, _ = first.handle.split(":")
    assert name == "SmolLM2-135M-Instruct-chatterbot-corpus"
    found = registered(stack, first.handle)
    assert found["tags"] | TAGS | {"job": job} == found["tags"]
    assert found["tags"]["gate"] == "passed"
    assert found["tags"]["gain"] == "+0.2000 [+0.1000, +0.3000] nats per token, 120 clusters"
    assert found["tags"]["evidence"] == first.handle.replace(":", "-evidence:")
    assert found["properties"]["files_sha256"] == found["tags"]["files_sha256"]
    assert found["description"].startswith(f"# {first.handle}\n")
    assert set(found["flavors"]) == {"hftransformersv2", "python_function"}
    again = script("register_model", "--job", job, "--json")
    assert "is registered already" in again.err
    assert json.loads(again.out)["model"] == first.handle
    assert json.loads(again.out)["tags"] == found["tags"]
    versions = stack.cloud.arm("GET", f"{stack.workspace}/models/{name}/versions{CALL}")["value"]
    assert len([version for version in versions if version["properties"]["tags"]["job"] == job]) == 1
    stack.cloud.arm("DELETE", f"{stack.workspace}/data/{name}-evidence{CALL}")  # as for a model from before evidence
    assert "its evidence is" in script("register_model", "--job", job).err


def test_the_evidence_lies_here_and_on_the_run(stack: Stack, script: Script, passed: str, folder: Path) -> None:
    handle = script("register_model", "--job", passed, "--name", "shown").handle
    root = folder / "build" / "evidence" / handle.replace(":", "-")
    names = {file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()}
    inside = {"manifest.json", "provenance.json", "metrics.json", "gate.json", "README.md"}
    inside |= {"recipe.yml", "card.json", "preflight.json"}
    assert names == {"evidence.sig", *(f"evidence/{name}" for name in inside)}
    history = f"https://eastus.api.azureml.ms/history/v1.0{stack.workspace}/runs/{passed}/artifacts"
    assert names <= {artifact["path"] for artifact in Arm(credential()).get(history)["value"]}
    assert (folder / "build/signing/throw-away.key").stat().st_mode & 0o777 == 0o600


def test_a_dry_run_registers_nothing(stack: Stack, script: Script, passed: str, folder: Path) -> None:
    handle = script("register_model", "--job", passed, "--name", "other", "--dry-run").handle
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
    done = script("register_model", "--job", name)
    assert "ended as Failed" in done.failed(4)
    assert "the cause" in done.err


# -- the gate


def test_what_did_not_pass_is_refused_and_forced_it_says_why_and_by_whom(
    stack: Stack, script: Script, refused: str
) -> None:
    said = script("register_model", "--job", refused).failed(5)
    assert "the gate says inconclusive" in said
    assert "The gain is too uncertain" in said
    assert f"--job {refused} --force --why TEXT" in said
    found = registered(stack, script("register_model", "--job", refused, "--force", "--why", "for the board").handle)
    assert (found["tags"]["gate"], found["tags"]["forced_why"]) == ("forced", "for the board")
    assert found["tags"]["forced_by"]
    assert "for the board" in found["description"]
    assert (found["tags"]["gain"] == "9", found["tags"]["files_sha256"] == "0") == (False, False)


@pytest.mark.long
def test_force_is_not_recorded_where_nothing_had_to_be_forced(stack: Stack, script: Script, passed: str) -> None:
    done = script("register_model", "--job", passed, "--name", "mild", "--force", "--why", "just in case")
    assert registered(stack, done.handle)["tags"]["gate"] == "passed"
    assert "nothing is forced" in done.err


def test_a_job_without_an_evaluation_is_forced_and_hashed_here_or_evaluated_later(
    stack: Stack, script: Script, jobs: Jobs
) -> None:
    made = FineTune(evaluated=False)
    name = run(jobs, made)
    said = script("register_model", "--job", name).failed(2)
    assert f"job '{name}' has no evaluation of its model" in said
    assert f"scripts/submit_finetune.py --evaluate {name}" in said
    forced = script("register_model", "--job", name, "--name", "forced", "--force", "--why", "no GPU was free")
    tags = registered(stack, forced.handle)["tags"]
    assert (tags["gate"], tags["gain"]) == ("forced", "not measured")
    assert tags["files_sha256"] == made.metrics["files"]["sha256"]
    assert "left no metrics.json, recipe.yml, card.json, preflight.json" in forced.err
    gate = {**made.metrics["gate"], "attempt": 3}
    later = run(jobs, FineTune(changed={"gate": gate}), evaluates=name)
    handle = script("register_model", "--job", name, "--name", "later").handle
    tags = registered(stack, handle)["tags"]
    assert (tags["evaluation_job"], tags["attempt"]) == (later, "3")
    assert f"It evaluates job '{name}': register that one" in script("register_model", "--job", later).failed(2)
    other = run(jobs, FineTune(tags={**TAGS, "base_model": "hub:other/model"}), evaluates=name)
    said = script("register_model", "--job", name, "--name", "last").failed(2)
    assert f"job '{other}' evaluates '{name}', and has base_model 'hub:other/model' in place of" in said


REFUSED = {
    "of other test rows": ({"changed": {"test": {"sha256": "8" * 64}}}, "was made on test rows with the hash '888"),
    "of another model": ({"changed": {"files": {"sha256": "0"}}}, "evaluated another model than job"),
    "of rows that no tag names": ({"tags": {**TAGS, "test_hash": ""}}, "names no test rows in a tag 'test_hash'"),
}


@pytest.mark.parametrize(
    "case", ["of other test rows", *(pytest.param(case, marks=pytest.mark.long) for case in list(REFUSED)[1:])]
)
def test_figures_are_refused(stack: Stack, script: Script, jobs: Jobs, case: str) -> None:
    changes, said = REFUSED[case]
    name = run(jobs, FineTune(**changes))
    found = script("register_model", "--job", name).failed(2)
    assert said in found
    assert f"--evaluate {name} --again" in found  # without it, the evaluation that is there would be found again


# -- the model


@pytest.mark.long
def test_a_model_that_cannot_serve_is_refused(stack: Stack, script: Script, jobs: Jobs) -> None:
    said = script("register_model", "--job", run(jobs, FineTune(model={"README": "x"}))).failed(2)
    assert "has no file 'MLmodel'" in said
    assert "has no weights" in said
    assert "is missing: nothing lies at" in script("register_model", "--job", run(jobs, FineTune(model={}))).failed(2)


@pytest.mark.long
def test_a_job_without_a_model_is_refused(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = jobs.run("true", "Completed")
    assert "has no output 'trained_model'" in script("register_model", "--job", name).failed(2)


@pytest.mark.long
def test_a_job_without_lineage_needs_a_name(stack: Stack, script: Script, jobs: Jobs) -> None:
    name = run(jobs, FineTune(tags={"test_hash": TAGS["test_hash"]}))
    said = script("register_model", "--job", name).failed(2)
    assert "no tag base_model and data" in said
    assert "--name" in said
    assert script("register_model", "--job", name, "--name", "mine").handle.startswith("mine:")


def test_a_version_of_another_job_is_never_taken_for_this_ones(stack: Stack, script: Script, passed: str) -> None:
    """Two that ended in the same second would have the same name and version."""
    handle = script("register_model", "--job", passed, "--name", "twin").handle
    path = f"{stack.workspace}/models/{handle.replace(':', '/versions/')}{CALL}"
    body = stack.cloud.arm("GET", path)["properties"]
    stack.cloud.arm("PUT", path, {"properties": {**body, "tags": {**body["tags"], "job": "another"}}})
    said = script("register_model", "--job", passed, "--name", "twin").failed(2)
    assert f"model '{handle}' is registered already, from another job, 'another'" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--job", "nobody"), "job 'nobody' does not exist in workspace 'test'"),
        (
            ("--job", "/subscriptions/1/resourceGroups/g/workspaces/w/jobs/j"),
            "job 'j' is one of workspace 'w', and this is",
        ),
        (("--job", "j", "--name", "a/b"), "'a/b' is no name of a model"),
        (("--job", "j", "--name", "../../a b"), "'../../a b' is no name of a model"),
        (("--job", "j", "--force"), "--force and --why are needed together"),
        (("--job", "j", "--why", "x"), "--force and --why are needed together"),
        (("--finished", "--force", "--why", "x"), "--finished takes neither --name nor --force"),
        (("--finished", "--name", "mine"), "--finished takes neither --name nor --force"),
    ],
)
def test_bad_input_is_one_error(stack: Stack, script: Script, arguments, said) -> None:
    assert said in script("register_model", *arguments).failed(2)


# -- signing, and what goes wrong in the middle


def test_a_production_stack_signs_with_no_throw_away_key(
    stack: Stack, script: Script, passed: str, tmp_path: Path
) -> None:
    outputs = stack.change(tmp_path, production="true")
    said = script("register_model", "--job", passed, "--name", "prod", "--outputs", outputs).failed(3)
    assert "no key or identity is named" in said
    assert "--sign-as-me" in said


def test_who_cannot_sign_gets_one_error_and_registers_nothing(
    stack: Stack, script: Script, passed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("register_model", "--job", passed, "--name", "unsigned")
    assert "signing key 'gone.key' does not exist" in script(*line, "--signing-key", "gone.key").failed(2)
    said = script(*line, "--sign-as-me").failed(3)
    assert "no identity to sign with was found" in said
    assert "'id-token: write'" in said
    monkeypatch.setattr("tunestack.models.signatures._ambient", lambda: "a workflow's token")
    monkeypatch.setenv("TUNESTACK_SIGNING_KEY", "identity")
    assert "signing with an identity failed" in script(*line).failed(1)
    monkeypatch.delenv("TUNESTACK_SIGNING_KEY")
    with pytest.raises(Exception, match="NotFound"):
        registered(stack, script(*line, "--dry-run").handle)


@pytest.mark.parametrize(
    "at", ["tunestack.arm.Arm.put", pytest.param("tunestack.models.evidence_store.to_run", marks=pytest.mark.long)]
)
def test_killed_in_the_middle_the_next_run_completes_it(
    stack: Stack, script: Script, passed: str, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    line = ("register_model", "--job", passed, "--name", at.rpartition(".")[2])
    with monkeypatch.context() as patch:
        patch.setattr(at, killed)
        assert script(*line).code == 130
    assert registered(stack, script(*line).handle)["tags"]["gate"] == "passed"


def test_a_registration_that_was_broken_off_is_not_completed_with_other_words(
    stack: Stack, script: Script, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    job = run(jobs, FineTune(gain=(0.0, -0.1, 0.1)))
    line = ("register_model", "--job", job, "--name", "broken-off", "--force", "--why")
    with monkeypatch.context() as patch:
        patch.setattr("tunestack.models.evidence_store.to_run", killed)
        assert script(*line, "for the board").code == 130
    said = script(*line, "for a test").failed(2)
    assert "evidence 'broken-off-evidence:" in said
    assert "is there already, and says otherwise of tags" in said
    assert f"--job {job} --name NAME" in said
    handle = script(*line, "for the board").handle
    assert script("deploy_model", "--model", handle, "--slot", "green", "--dry-run").code == 0


@pytest.mark.long
def test_two_at_once_leave_one_evidence_and_it_is_whole(
    stack: Stack, script: Script, passed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("register_model", "--job", passed, "--name", "both")
    handle = script(*line).handle
    monkeypatch.setattr("tunestack.models.registration.find", lambda connection, found: False)
    second = script(*line)
    assert second.handle == handle
    assert "is there already, by somebody else or an earlier try, and stays" in second.err
    assert script("deploy_model", "--model", handle, "--slot", "green", "--dry-run").code == 0


def test_a_full_disk_leaves_nothing_half_done(
    stack: Stack, script: Script, passed: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    def full(file: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device", str(file))

    line = ("register_model", "--job", passed, "--name", "full")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert "No space left on device" in script(*line).failed(2)
    assert list((folder / "build" / "evidence").iterdir()) == []
    assert registered(stack, script(*line).handle)["tags"]["gate"] == "passed"
