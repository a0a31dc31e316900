"""`promote`: a model's way into the shared registry, once, with its lineage, and never over somebody else's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.scripts.conftest import Jobs, Script, Stack
from tests.scripts.fine_tunes import run

REGISTRY = {
    "location": "eastus",
    "identity": {"type": "SystemAssigned"},
    "properties": {"regionDetails": [{"location": "eastus"}]},
}
CALL = "?api-version=2024-10-01"


@pytest.fixture
def registry(stack: Stack) -> str:
    """The registry `shared` beside the workspace."""
    group = stack.workspace.partition("/providers/")[0]
    stack.cloud.arm("PUT", f"{group}/providers/Microsoft.MachineLearningServices/registries/shared{CALL}", REGISTRY)
    return "shared"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`build/` is in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(jobs: Jobs, script: Script) -> str:
    return script("register_model", "--job", run(jobs)).handle


def test_a_model_is_copied_once_and_keeps_its_lineage(
    stack: Stack, script: Script, jobs: Jobs, registry: str, model: str
) -> None:
    first = script("promote", "--model", model, "--registry", registry)
    assert first.handle == f"azureml://registries/shared/models/{model.replace(':', '/versions/')}"
    assert "copying" in first.err
    again = script("promote", "--model", model, "--registry", registry)
    assert (again.handle, "copying" in again.err) == (first.handle, False)

    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    name, version = model.split(":")
    copy = MLClient(DefaultAzureCredential(), registry_name="shared").models.get(name, version=version)
    own = jobs.client.models.get(name, version=version)
    assert copy.tags == {**own.tags, "promoted_from": "test/test"}
    assert own.tags["job"]


@pytest.mark.long
def test_a_dry_run_copies_nothing(stack: Stack, script: Script, registry: str, model: str) -> None:
    shown = json.loads(script("promote", "--model", model, "--registry", registry, "--dry-run", "--json").out)
    assert shown["tags"]["promoted_from"] == "test/test"
    assert "copying" in script("promote", "--model", model, "--registry", registry).err


@pytest.mark.long
def test_a_version_of_another_job_in_the_registry_is_refused(script: Script, registry: str, model: str) -> None:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    script("promote", "--model", model, "--registry", registry)
    name, version = model.split(":")
    models = MLClient(DefaultAzureCredential(), registry_name="shared").models
    copy = models.get(name, version=version)
    copy.tags = {**copy.tags, "job": "another"}
    models.create_or_update(copy)
    assert "of another job" in script("promote", "--model", model, "--registry", registry).failed(2)


def test_what_was_changed_or_has_no_evidence_is_not_promoted(stack: Stack, script: Script, model: str) -> None:
    name, version = model.split(":")
    path = f"{stack.workspace}/models/{name}/versions/{version}?api-version=2023-08-01-preview"
    body = stack.cloud.arm("GET", path)
    changed = {**body["properties"], "tags": {**body["properties"]["tags"], "job": "another"}}
    stack.cloud.arm("PUT", path, {"properties": changed})
    said = script("promote", "--model", model, "--registry", "shared").failed(5)
    assert "its tag 'job' is 'another', and signed was" in said
    stack.cloud.arm("DELETE", f"{stack.workspace}/data/{name}-evidence?api-version=2023-08-01-preview")
    assert "has no evidence" in script("promote", "--model", model, "--registry", "shared").failed(5)


@pytest.mark.parametrize(
    ("handle", "named", "said"),
    [
        ("nobody:1", "shared", "model 'nobody:1' is not in workspace 'test'"),
        ("no-version", "shared", "'no-version' is not NAME:VERSION"),
        ("azureml://registries/a/models/b/versions/1", "shared", "is not NAME:VERSION"),
    ],
)
def test_what_cannot_be_promoted_gives_one_error(
    stack: Stack, script: Script, registry: str, handle: str, named: str, said: str
) -> None:
    assert said in script("promote", "--model", handle, "--registry", named).failed(2)


def test_a_registry_that_is_not_there_or_not_named_is_told(
    stack: Stack, script: Script, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "registry 'nowhere' does not exist" in script("promote", "--model", model, "--registry", "nowhere").failed(2)
    empty = stack.change(tmp_path, shared_registry="")
    assert "no registry is named" in script("promote", "--model", model, "--outputs", empty).failed(3)
