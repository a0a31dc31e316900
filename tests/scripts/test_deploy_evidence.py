"""Evidence at a deployment: what holds goes on, and what is broken, absent, swapped or signed by another is refused."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.conftest import Ended, Jobs, Script, Stack
from tests.scripts.fine_tunes import FineTune, run
from tunestack import stored_files
from tunestack.connect import Connection, Workspace
from tunestack.models import signers
from tunestack.stored_files import Folder

CALL = "?api-version=2023-08-01-preview"
BASE = "azureml://registries/azureml/models/SmolLM2-135M-Instruct/versions/1"
Deploy = Callable[..., Ended]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _inside(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`build/`, with the throw-away key, is in one folder for all tests here."""
    monkeypatch.chdir(home)


@pytest.fixture(scope="module")
def registered() -> dict[str, str]:
    """Models that are there already, by name: every test puts back what it changed."""
    return {}


@pytest.fixture
def model(registered: dict[str, str], jobs: Jobs, script: Script) -> str:
    if "passed" not in registered:
        registered["passed"] = script("register_model", "--job", run(jobs)).handle
    return registered["passed"]


@pytest.fixture
def forced(registered: dict[str, str], jobs: Jobs, script: Script) -> str:
    if "forced" not in registered:
        name = run(jobs, FineTune(gain=(0.0, -0.1, 0.1)))
        made = script("register_model", "--job", name, "--name", "other", "--force", "--why", "for the board")
        registered["forced"] = made.handle
    return registered["forced"]


@pytest.fixture
def deploy(script: Script) -> Deploy:
    """Checked in full, and nothing is made: what is refused here is refused before anything is sent."""
    return lambda model, *more: script("deploy_model", "--model", model, "--slot", "green", "--dry-run", *more)


@pytest.fixture
def kept(stack: Stack) -> Callable[..., Folder]:
    """The folder in which the evidence of a model, or the model, lies for who has a right on the storage."""
    place = stack.workspace.split("/")
    connection = Connection(Workspace(place[2], place[4], place[8]))

    def find(model: str, kind: str = "data") -> Folder:
        name, version = model.split(":")
        path = f"data/{name}-evidence" if kind == "data" else f"models/{name}"
        body = stack.cloud.arm("GET", f"{stack.workspace}/{path}/versions/{version}{CALL}")["properties"]
        return stored_files.folder(connection, body["dataUri" if kind == "data" else "modelUri"])

    return find


@contextmanager
def changed(folder: Folder, name: str, content: bytes | None) -> Iterator[None]:
    """A file with another content, or gone, for the while."""
    before, blob = folder.read(name), f"{folder.path}/{name}"
    if content is None:
        folder.client.delete_blob(blob)
    else:
        folder.client.upload_blob(blob, content, overwrite=True)
    yield
    if before is None:
        folder.client.delete_blob(blob)
    else:
        folder.client.upload_blob(blob, before, overwrite=True)


@contextmanager
def without_evidence(stack: Stack, model: str) -> Iterator[None]:
    name, version = model.split(":")
    path = f"{stack.workspace}/data/{name}-evidence/versions/{version}{CALL}"
    body = stack.cloud.arm("GET", path)
    stack.cloud.arm("DELETE", path)
    yield
    stack.cloud.arm("PUT", path, {"properties": body["properties"]})


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
    assert tagged(deploy(tags["model"], "--json")) == tags  # named as its own tag, and hints, name it


def test_the_line_to_go_on_with_after_an_interruption_asks_for_the_same(
    script: Script, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    settings = tmp_path / "my settings.yml"
    settings.write_text("instance_type: Standard_DS3_v2\ninstance_count: 1\n")
    given = ["--slot", "green", "--lease", "3h", "--deployment", str(settings)]
    with monkeypatch.context() as patch:
        patch.setattr("tunestack.deployments.deployment.start", lambda *_: None)
        patch.setattr("tunestack.deployments.deployment._is_done", interrupted)
        ended = script("deploy_model", "--model", f"azureml:{model}", *given)
    assert ended.code == 130
    assert "deployment 'green' goes on" in ended.err
    (line,) = re.findall("Wait for it with: scripts/deploy_model.py (.+)", ended.err)
    assert shlex.split(line) == ["--model", f"azureml:{model}", *given]


def test_a_forced_model_shows_it_on_its_deployment(deploy: Deploy, forced: str) -> None:
    tags = tagged(deploy(forced, "--json"))
    assert (tags["gate"], tags["forced_why"]) == ("forced", "for the board")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("evidence/metrics.json", b"{}", "Hash mismatch for 'metrics.json'"),
        pytest.param("evidence/more.json", b"{}", "Extra files found", marks=pytest.mark.long),
        pytest.param("evidence/recipe.yml", None, "Missing files", marks=pytest.mark.long),
        ("evidence.sig", None, "evidence.sig is missing"),
    ],
)
def test_evidence_that_was_changed_is_refused(deploy: Deploy, model: str, kept, name, content, said) -> None:
    with changed(kept(model), name, content):
        found = deploy(model).failed(5)
    assert f"the evidence of model '{model}' is broken" in found
    assert said in found


def test_the_evidence_of_another_model_is_refused(deploy: Deploy, stack: Stack, model: str, forced: str, kept) -> None:
    name, version = model.split(":")
    path = f"{stack.workspace}/data/{name}-evidence/versions/{version}{CALL}"
    body = stack.cloud.arm("GET", path)["properties"]
    stack.cloud.arm("DELETE", path)
    stack.cloud.arm("PUT", path, {"properties": {**body, "dataUri": kept(forced).uri}})
    assert f"is broken: it speaks of model '{forced}'" in deploy(model).failed(5)
    stack.cloud.arm("DELETE", path)
    stack.cloud.arm("PUT", path, {"properties": body})


def test_without_evidence_nothing_is_deployed_unless_somebody_answers_for_it(
    stack: Stack, deploy: Deploy, model: str
) -> None:
    with without_evidence(stack, model):
        said = deploy(model).failed(5)
        assert f"model '{model}' has no evidence" in said
        assert "--unsigned --why TEXT" in said
        assert "needed together" in deploy(model, "--unsigned").failed(2)
        tags = tagged(deploy(model, "--unsigned", "--why", "made elsewhere", "--json"))
    assert (tags["evidence"], tags["unsigned_why"]) == ("unsigned", "made elsewhere")
    assert tags["unsigned_by"]


def test_a_model_whose_tags_were_changed_is_refused(stack: Stack, deploy: Deploy, forced: str) -> None:
    path = f"{stack.workspace}/models/{forced.replace(':', '/versions/')}{CALL}"
    body = stack.cloud.arm("GET", path)["properties"]
    stack.cloud.arm("PUT", path, {"properties": {**body, "tags": {**body["tags"], "gate": "passed"}}})
    assert "its tag 'gate' is 'passed', and signed was 'forced'" in deploy(forced).failed(5)
    others = {name: text for name, text in body["tags"].items() if name != "job"}
    stack.cloud.arm("PUT", path, {"properties": {**body, "tags": {**others, "gain": "+9", "commit": "mine"}}})
    said = deploy(forced).failed(5)
    for tag, text in (("gain", "+9"), ("commit", "mine"), ("job", "")):
        assert f"its tag '{tag}' is '{text}', and signed was '{body['tags'][tag]}'" in said
    stack.cloud.arm("PUT", path, {"properties": body})


def test_a_model_whose_files_were_changed_is_refused(deploy: Deploy, model: str, kept) -> None:
    files, weights = kept(model, "models"), "data/model/model.safetensors"
    with changed(files, weights, b"longer than the weights"):
        assert f"'{weights}' has 23 bytes, not 7" in deploy(model).failed(5)
    with changed(files, "predict.py", b"import os"):
        assert "added were 'predict.py'" in deploy(model).failed(5)
    with changed(files, weights, b"WEIGHTS"):
        assert deploy(model).code == 0  # of the same size: only --full reads them
        assert f"'{weights}' has another content" in deploy(model, "--full").failed(5)
    assert deploy(model, "--full").code == 0


def test_a_base_model_needs_no_evidence_and_no_key(deploy: Deploy, stack: Stack, tmp_path: Path) -> None:
    assert deploy(BASE, "--outputs", stack.change(tmp_path, production="true")).code == 0
    assert "needs neither --unsigned nor --full" in deploy(BASE, "--full").failed(2)


# -- who signed


def test_a_key_of_ones_own_signs_and_only_its_public_key_is_believed(
    deploy: Deploy, script: Script, jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = (signers.throw_away(tmp_path / name) for name in ("ours", "theirs"))
    monkeypatch.chdir(tmp_path)
    model = script("register_model", "--job", run(jobs), "--signing-key", ours).handle
    assert not (tmp_path / "build/signing").exists()
    assert "there is no throw-away key here" in deploy(model).failed(3)
    assert deploy(model, "--public-key", ours.with_suffix(".pub")).code == 0
    said = deploy(model, "--public-key", theirs.with_suffix(".pub")).failed(5)
    assert "Key mismatch" in said
    assert "Name whoever signed it, with --public-key" in said
    assert "is no public key" in deploy(model, "--public-key", ours).failed(2)
    assert "public key 'gone.pub' does not exist" in deploy(model, "--public-key", "gone.pub").failed(2)
    monkeypatch.setenv("TUNESTACK_PUBLIC_KEY", str(ours.with_suffix(".pub")))
    assert deploy(model).code == 0


def test_a_production_stack_believes_no_throw_away_key(
    stack: Stack, deploy: Deploy, model: str, home: Path, tmp_path: Path
) -> None:
    production = ("--outputs", stack.change(tmp_path, production="true"))
    assert "the stack is a production stack" in deploy(model, *production).failed(3)
    said = deploy(model, *production, "--public-key", home / "build/signing/throw-away.pub").failed(5)
    assert "signed with a throw-away key, which no production stack believes" in said


@pytest.mark.long
def test_a_signature_of_a_key_is_no_identitys(deploy: Deploy, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--signer and --issuer are needed together" in deploy(model, "--signer", "me").failed(2)
    said = deploy(model, "--signer", "me@example.com", "--issuer", "https://accounts.example.com").failed(5)
    assert "the signature does not hold against 'me@example.com' of https://accounts.example.com" in said
    monkeypatch.setenv("TUNESTACK_SIGNER", "a workflow")
    assert "TUNESTACK_SIGNER and TUNESTACK_ISSUER are needed together" in deploy(model).failed(2)
    monkeypatch.setenv("TUNESTACK_ISSUER", "https://token.example.com")
    assert "does not hold against 'a workflow' of https://token.example.com" in deploy(model).failed(5)


# -- a copy in the shared registry, and a deployment that comes back


@pytest.fixture
def shared(registered: dict[str, str], stack: Stack, script: Script, model: str) -> str:
    if "shared" not in registered:
        group = stack.workspace.partition("/providers/")[0]
        body = {
            "location": "eastus",
            "identity": {"type": "SystemAssigned"},
            "properties": {"regionDetails": [{"location": "eastus"}]},
        }
        path = f"{group}/providers/Microsoft.MachineLearningServices/registries/shared?api-version=2024-10-01"
        stack.cloud.arm("PUT", path, body)
        registered["shared"] = script("promote", "--model", model, "--registry", "shared").handle
    return registered["shared"]


def test_a_promoted_model_carries_its_evidence_along(stack: Stack, deploy: Deploy, shared: str, model: str) -> None:
    with without_evidence(stack, model):  # the copy needs nothing of the workspace that it came from
        tags = tagged(deploy(shared, "--full", "--json"))
    assert (tags["gate"], tags["evidence"]) == ("passed", model.replace(":", "-evidence:"))


@pytest.mark.long
def test_what_anybody_put_into_a_registry_of_ones_own_needs_evidence_too(
    deploy: Deploy, shared: str, tmp_path: Path
) -> None:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Model
    from azure.identity import DefaultAzureCredential

    (tmp_path / "upload").mkdir()
    (tmp_path / "upload" / "MLmodel").write_text("flavors: {transformers: {}}")
    made = Model(
        name="theirs", version="1", path=str(tmp_path / "upload"), type="mlflow_model", tags={"base_model": BASE}
    )
    MLClient(DefaultAzureCredential(), registry_name="shared").models.create_or_update(made)
    assert "has no evidence" in deploy("azureml://registries/shared/models/theirs/versions/1").failed(5)


def test_an_expired_deployment_comes_back_only_with_evidence_that_holds(
    stack: Stack, script: Script, model: str, kept
) -> None:
    name, version = model.split(":")
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
    store = f"azureml://datastores/workspaceblobstore/paths/kept/{name}/"
    properties = {"dataType": "uri_folder", "dataUri": store, "properties": {"deployment": json.dumps(was)}}
    stack.put("data/deployment-test-chat-red/versions/1", {"properties": properties})
    restore = ("deploy_model", "--restore", "red", "--dry-run")
    assert script(*restore).code == 0
    with changed(kept(model), "evidence.sig", None):
        assert "evidence.sig is missing" in script(*restore).failed(5)
        assert script(*restore, "--unsigned", "--why", "we know it").code == 0
