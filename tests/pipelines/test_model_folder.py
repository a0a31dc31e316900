"""Where weights and tokenizer are found, in each form that a model comes in; and the hashes of its files."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from evaluation import chat_model, file_hashes, model_folder
from evaluation.refusal import Refusal


def _as_transformers(source: Path, target: Path) -> Path:
    shutil.copytree(source / "data" / "model", target / "model")
    shutil.copytree(source / "data" / "tokenizer", target / "components" / "tokenizer")
    (target / "MLmodel").write_text("flavors:\n  transformers: {}\n  python_function: {}\n")
    return target


def _as_plain(source: Path, target: Path) -> Path:
    shutil.copytree(source / "data" / "model", target)
    shutil.copytree(source / "data" / "tokenizer", target, dirs_exist_ok=True)
    return target


def test_every_form_of_a_model_folder_loads(tmp_path: Path, tiny_models: dict[str, Path]) -> None:
    source = tiny_models["base"]
    nested = tmp_path / "asset"
    shutil.copytree(source, nested / "mlflow_model_folder")
    forms = [source, nested, _as_transformers(source, tmp_path / "t"), _as_plain(source, tmp_path / "p")]
    for form in forms:
        found = model_folder.find(form, "base_model")
        assert (Path(found.weights) / "model.safetensors").is_file()
        assert chat_model.load_tokenizer(found, "base_model").chat_template
    assert model_folder.find(source, "base_model").settings["lora_algo"] == "peft"


def test_settings_of_the_second_version_stand_under_their_task(tmp_path: Path, tiny_models: dict[str, Path]) -> None:
    folder = Path(shutil.copytree(tiny_models["base"], tmp_path / "second"))
    ours = {"system_role_supported": "false"}
    settings = {"version": "2", "task_specific_config": {"ChatCompletion": ours, "TextClassification": {"x": 1}}}
    (folder / "finetune_config.json").write_text(json.dumps(settings))
    found = model_folder.find(folder, "base_model").settings
    assert found["system_role_supported"] == "false"
    assert "x" not in found


def test_a_model_on_the_hub_keeps_its_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    found = model_folder.on_hub("owner/name@abc123")
    assert (found.weights, found.revision, found.source) == ("owner/name", "abc123", "hub:owner/name@abc123")
    assert model_folder.on_hub("owner/name").revision is None
    asked = []

    def refuse(name: str, **given: str) -> None:
        asked.append((name, given))
        raise OSError("owner/name is not reachable\nsecond line")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", refuse)
    with pytest.raises(Refusal, match=r"owner/name is not reachable$"):
        chat_model.load_tokenizer(found, "base_model")
    assert asked == [("owner/name", {"revision": "abc123"})]
    for wrong in ("name", "a/b/c", "/name", "owner/"):
        with pytest.raises(Refusal, match="is no model id"):
            model_folder.on_hub(wrong)


def test_every_file_is_hashed_with_its_relative_path(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "b.bin").write_bytes(b"x" * 5_000_000)
    (tmp_path / "a.txt").write_text("hello")
    found = file_hashes.of_folder(tmp_path)
    assert [(each["path"], each["bytes"]) for each in found] == [("a.txt", 5), ("data/b.bin", 5_000_000)]
    assert found[1]["sha256"] == hashlib.sha256(b"x" * 5_000_000).hexdigest()
    lines = "".join(f"{each['sha256']}  {each['path']}\n" for each in found)
    expected = {"bytes": 5_000_005, "count": 2, "sha256": hashlib.sha256(lines.encode()).hexdigest()}
    assert file_hashes.summary(found) == expected
