"""Evidence at a deployment: what holds goes on, and what is broken, absent, swapped or signed by another is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.conftest import Ended, Jobs, Script, Stack
from tests.scripts.fine_tunes import FineTune, run
from tunestack import signatures, stored_files
from tunestack.connect import Connection, Workspace
from tunestack.stored_files import Folder

CALL = "?api-version=2023-08-01-preview"
Deploy = Callable[..., Ended]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`build/` is in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(jobs: Jobs, script: Script) -> str:
    return script("register_model", "--job", run(jobs)).handle


@pytest.fixture
def deploy(script: Script) -> Deploy:
    """Checked in full, and nothing is made: what is refused here is refused before anything is sent."""
    return lambda model, *more: script("deploy_model", "--model", model, "--slot", "green", "--dry-run", *more)


@pytest.fixture
def kept(stack: Stack) -> Callable[[str], Folder]:
    """The folder in which the evidence of a model lies, as somebody with a right on the storage has it."""
    place = stack.workspace.split("/")
    connection = Connection(Workspace(place[2], place[4], place[8]))

    def find(model: str, kind: str = "data") -> Folder:
        name, version = model.split(":")
        path = f"data/{name}-evidence" if kind == "data" else f"models/{name}"
        body = stack.cloud.arm("GET", f"{stack.workspace}/{path}/versions/{version}{CALL}")["properties"]
        return stored_files.folder(connection, body["dataUri" if kind == "data" else "modelUri"])

    return find


def tagged(ended: Ended) -> dict[str, str]:
    assert ended.code == 0, ended.err
    found: dict[str, str] = json.loads(ended.out)["tags"]
    return found


def test_a_model_whose_evidence_holds_is_deployed_with_its_lineage(deploy: Deploy, model: str) -> None:
    ended = deploy(model, "--json")
    tags = tagged(ended)
    assert (tags["gate"], tags["evidence"]) == ("passed", model.replace(":", "-evidence:"))
    assert tags["gain"].startswith("+0.2000")
    assert "throw-away key shows only that nothing changed" in ended.err
    assert "holds, gate passed" in ended.err


def test_a_forced_model_shows_it_on_its_deployment(deploy: Deploy, script: Script, jobs: Jobs) -> None:
    name = run(jobs, FineTune(gain=(0.0, -0.1, 0.1)))
    forced = script("register_model", "--job", name, "--force", "--why", "for the board").handle
    tags = tagged(deploy(forced, "--json"))
    assert (tags["gate"], tags["forced_why"]) == ("forced", "for the board")


CHANGED = {
    "a file was changed": ("evidence/metrics.json", b"{}", "Hash mismatch for 'metrics.json'"),
    "the manifest was changed": ("evidence/manifest.json", b"[]", "Hash mismatch for 'manifest.json'"),
    "a file was added": ("evidence/more.json", b"{}", "Extra files found"),
    "a file of git was added": ("evidence/.gitattributes", b"x", "Extra files found"),
    "the signature is none": ("evidence.sig", b"{}", "the signature does not hold"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_evidence_that_was_changed_is_refused(deploy: Deploy, model: str, kept, case: str) -> None:
    name, content, said = CHANGED[case]
    kept(model).client.upload_blob(f"{kept(model).path}/{name}", content, overwrite=True)
    found = deploy(model).failed(5)
    assert f"the evidence of model '{model}' is broken" in found
    assert said in found


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("evidence/recipe.yml", "Missing files"),
        ("evidence/provenance.json", "provenance.json is missing"),
        ("evidence.sig", "evidence.sig is missing"),
    ],
)
def test_evidence_of_which_a_file_is_gone_is_refused(deploy: Deploy, model: str, kept, name: str, said: str) -> None:
    kept(model).client.delete_blob(f"{kept(model).path}/{name}")
    assert said in deploy(model).failed(5)


def test_without_evidence_nothing_is_deployed_unless_somebody_answers_for_it(
    stack: Stack, deploy: Deploy, model: str
) -> None:
    name, _ = model.split(":")
    stack.cloud.arm("DELETE", f"{stack.workspace}/data/{name}-evidence{CALL}")
    said = deploy(model).failed(5)
    assert f"model '{model}' has no evidence" in said
    assert "--unsigned --why TEXT" in said
    assert "needed together" in deploy(model, "--unsigned").failed(2)
    tags = tagged(deploy(model, "--unsigned", "--why", "made elsewhere", "--json"))
    assert (tags["evidence"], tags["unsigned_why"]) == ("unsigned", "made elsewhere")
    assert tags["unsigned_by"]


def test_the_evidence_of_another_model_is_refused(deploy: Deploy, script: Script, jobs: Jobs, model: str, kept) -> None:
    other = script("register_model", "--job", run(jobs), "--name", "other").handle
    theirs, ours = kept(other), kept(model)
    for name in theirs.files():
        ours.client.upload_blob(f"{ours.path}/{name}", theirs.read(name), overwrite=True)
    assert f"is broken: it speaks of model '{other}'" in deploy(model).failed(5)


def test_a_model_whose_tags_or_files_were_changed_is_refused(
    stack: Stack, deploy: Deploy, script: Script, jobs: Jobs, kept
) -> None:
    name = run(jobs, FineTune(gain=(0.0, -0.1, 0.1)))
    model = script("register_model", "--job", name, "--force", "--why", "x").handle
    path = f"{stack.workspace}/models/{model.replace(':', '/versions/')}{CALL}"
    body = stack.cloud.arm("GET", path)["properties"]
    stack.cloud.arm("PUT", path, {"properties": {**body, "tags": {**body["tags"], "gate": "passed"}}})
    assert "its tag 'gate' is 'passed', and signed was 'forced'" in deploy(model).failed(5)
    stack.cloud.arm("PUT", path, {"properties": body})
    weights = kept(model, "models")
    blob = f"{weights.path}/data/model/model.safetensors"
    weights.client.upload_blob(blob, b"longer than the weights", overwrite=True)
    assert "'data/model/model.safetensors' has 23 bytes, not 7" in deploy(model).failed(5)
    weights.client.upload_blob(blob, b"WEIGHTS", overwrite=True)
    assert deploy(model).code == 0  # of the same size: only --full reads them
    assert "'data/model/model.safetensors' has another content" in deploy(model, "--full").failed(5)
    weights.client.upload_blob(blob, b"weights", overwrite=True)
    assert deploy(model, "--full").code == 0
    weights.client.upload_blob(f"{weights.path}/predict.py", b"import os", overwrite=True)
    assert "added were 'predict.py'" in deploy(model).failed(5)


def test_a_base_model_needs_no_evidence_and_no_key(deploy: Deploy, stack: Stack, tmp_path: Path) -> None:
    base = "azureml://registries/azureml/models/SmolLM2-135M-Instruct/versions/1"
    assert deploy(base, "--outputs", stack.change(tmp_path, production="true")).code == 0
    assert "needs neither --unsigned nor --full" in deploy(base, "--full").failed(2)


# -- who signed


def keys(folder: Path) -> tuple[Path, Path]:
    folder.mkdir()
    private = signatures.throw_away(folder)
    return private, private.with_suffix(".pub")


def test_a_key_of_ones_own_signs_and_only_its_public_key_is_believed(
    deploy: Deploy, script: Script, jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (private, public), (_, another) = keys(tmp_path / "ours"), keys(tmp_path / "theirs")
    model = script("register_model", "--job", run(jobs), "--signing-key", private).handle
    assert not (tmp_path / "build/signing").exists()
    assert "there is no throw-away key here" in deploy(model).failed(3)
    assert deploy(model, "--public-key", public).code == 0
    assert "Key mismatch" in deploy(model, "--public-key", another).failed(5)
    assert "is no public key" in deploy(model, "--public-key", private).failed(2)
    assert "public key 'gone.pub' does not exist" in deploy(model, "--public-key", "gone.pub").failed(2)
    monkeypatch.setenv("TUNESTACK_PUBLIC_KEY", str(public))
    assert deploy(model).code == 0


def test_a_production_stack_believes_no_throw_away_key(
    stack: Stack, deploy: Deploy, model: str, tmp_path: Path
) -> None:
    production = ("--outputs", stack.change(tmp_path, production="true"))
    assert "the stack is a production stack" in deploy(model, *production).failed(3)
    public = tmp_path / "build/signing/throw-away.pub"
    said = deploy(model, *production, "--public-key", public).failed(5)
    assert "signed with a throw-away key, which no production stack believes" in said


def test_a_signature_of_a_key_is_no_identitys(deploy: Deploy, model: str) -> None:
    assert "--signer and --issuer are needed together" in deploy(model, "--signer", "me").failed(2)
    said = deploy(model, "--signer", "me@example.com", "--issuer", "https://accounts.example.com").failed(5)
    assert "the signature does not hold against 'me@example.com' of https://accounts.example.com" in said


def test_signing_with_an_identity_says_what_it_takes_where_it_cannot(script: Script, jobs: Jobs) -> None:
    said = script("register_model", "--job", run(jobs), "--sign-as-me").failed(1)
    assert "signing with an identity failed" in said
    assert "'id-token: write'" in said


def test_the_evidence_is_checked_by_the_published_program_as_well(model: str, tmp_path: Path) -> None:
    root = tmp_path / "build" / "evidence" / model.replace(":", "-")
    public = tmp_path / "build/signing/throw-away.pub"
    line = ["verify", "key", root / "evidence", "--signature", root / "evidence.sig", "--public_key", public]
    program = "import sys; from model_signing._cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program, *map(str, line)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- a copy in the shared registry, and a deployment that comes back


@pytest.fixture
def shared(stack: Stack, script: Script, model: str) -> str:
    group = stack.workspace.partition("/providers/")[0]
    body = {
        "location": "eastus",
        "identity": {"type": "SystemAssigned"},
        "properties": {"regionDetails": [{"location": "eastus"}]},
    }
    path = f"{group}/providers/Microsoft.MachineLearningServices/registries/shared?api-version=2024-10-01"
    stack.cloud.arm("PUT", path, body)
    return script("promote", "--model", model, "--registry", "shared").handle


def test_a_promoted_model_carries_its_evidence_along(stack: Stack, deploy: Deploy, shared: str, model: str) -> None:
    name, _ = model.split(":")
    stack.cloud.arm("DELETE", f"{stack.workspace}/data/{name}-evidence{CALL}")
    tags = tagged(deploy(shared, "--full", "--json"))
    assert (tags["gate"], tags["evidence"]) == ("passed", model.replace(":", "-evidence:"))
    group = stack.workspace.partition("/providers/")[0]
    path = f"{group}/providers/Microsoft.MachineLearningServices/registries/shared"
    store = stack.cloud.cloud.store
    for body in store.children(path, "models"):
        if body["id"].endswith("-evidence"):
            store.delete(body["id"])
    assert "has no evidence" in deploy(shared).failed(5)


def test_what_anybody_put_into_a_registry_of_ones_own_needs_evidence_too(
    stack: Stack, deploy: Deploy, shared: str, tmp_path: Path
) -> None:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Model
    from azure.identity import DefaultAzureCredential

    (tmp_path / "upload").mkdir()
    (tmp_path / "upload" / "MLmodel").write_text("flavors: {transformers: {}}")
    tags = {"base_model": "azureml://registries/azureml/models/SmolLM2-135M-Instruct/versions/1"}
    made = Model(name="theirs", version="1", path=str(tmp_path / "upload"), type="mlflow_model", tags=tags)
    MLClient(DefaultAzureCredential(), registry_name="shared").models.create_or_update(made)
    assert "has no evidence" in deploy("azureml://registries/shared/models/theirs/versions/1").failed(5)


def test_an_expired_deployment_comes_back_only_with_evidence_that_holds(
    stack: Stack, script: Script, model: str, kept
) -> None:
    name, version = model.split(":")
    store = f"azureml://datastores/workspaceblobstore/paths/kept/{name}/"
    was: dict[str, Any] = {
        "location": "eastus",
        "sku": {"name": "Default", "capacity": 1},
        "tags": {"model": f"azureml:{model}"},
        "properties": {
            "endpointComputeType": "Managed",
            "instanceType": "Standard_DS3_v2",
            "model": f"{stack.workspace}/models/{name}/versions/{version}",
        },
    }
    properties = {"dataType": "uri_folder", "dataUri": store, "properties": {"deployment": json.dumps(was)}}
    stack.put("data/deployment-test-chat-red/versions/1", {"properties": properties})
    restore = ("deploy_model", "--restore", "red", "--dry-run")
    assert script(*restore).code == 0
    kept(model).client.delete_blob(f"{kept(model).path}/evidence.sig")
    assert "evidence.sig is missing" in script(*restore).failed(5)
    assert script(*restore, "--unsigned", "--why", "we know it").code == 0
