"""The catalog: models with and without weights, entries of one's own, and files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcloud.arm import ArmError
from localcloud.catalog.content import Catalog

MODELS = "azureml://registries/azureml/models"
ENTRY = """\
kind: model
name: tiny
version: "3"
created: 2026-01-02
folder: tiny_folder
tags: {task: chat-completion}
"""


def test_a_model_of_ones_own_is_in_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.yaml").write_text(ENTRY)
    (tmp_path / "tiny_folder").mkdir()
    monkeypatch.setenv("LOCALCLOUD_CATALOG", str(tmp_path))
    catalog = Catalog.load()
    assert catalog.model_folder(f"{MODELS}/tiny/versions/3") == tmp_path / "tiny_folder"
    assert catalog.model_folder(f"{MODELS}/tiny/labels/latest") == tmp_path / "tiny_folder"
    assert catalog.find(f"{MODELS}/tiny/versions/3").wire()["properties"]["tags"] == {"task": "chat-completion"}


def test_the_base_models_weights_lie_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESTACK_CACHE", str(tmp_path))
    reference = f"{MODELS}/SmolLM2-135M-Instruct/versions/1"
    with pytest.raises(ArmError, match=f"are not in '{tmp_path}.*make setup"):
        Catalog.load().model_folder(reference)
    folder = tmp_path / "models" / "SmolLM2-135M-Instruct" / "1" / "mlflow_model_folder"
    folder.mkdir(parents=True)
    assert Catalog.load().model_folder(reference) == folder


def test_a_model_without_weights_says_so_and_names_one_that_has_them() -> None:
    with pytest.raises(ArmError, match=r"'.*Phi-4/versions/8' as metadata only.*Use '.*SmolLM2") as caught:
        Catalog.load().model_folder(f"{MODELS}/Phi-4/versions/8")
    assert (caught.value.status, caught.value.code) == (404, "ModelWithoutWeights")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: [", "cannot be used"),
        ("kind: model\nname: x\nversion: 1\n", "'created'"),
        (ENTRY.replace("kind: model", "kind: thing"), "its kind 'thing' is not one of"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    monkeypatch.setenv("LOCALCLOUD_CATALOG", str(tmp_path))
    with pytest.raises(ArmError, match=message) as caught:
        Catalog.load()
    assert "bad.yaml" in caught.value.message


def test_a_catalog_folder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALCLOUD_CATALOG", "/nowhere/at/all")
    with pytest.raises(ArmError, match="'/nowhere/at/all', which is no folder"):
        Catalog.load()
