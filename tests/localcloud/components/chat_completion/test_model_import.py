"""The import takes a base model in three forms and says which port is meant when a form stands at the wrong one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from localcloud.components.chat_completion import model_import, validate
from localcloud.components.chat_completion.model_import import BaseModel, import_model
from localcloud.components.chat_completion.program import UserError


def test_validation_writes_its_line_whatever_it_is_given(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "info"
    assert validate.main(["--validation_info", str(target), "--learning_rate", "1e-5"]) == 0
    assert target.read_text() == "Validation Completed\n"


def test_an_mlflow_model_becomes_one_folder_of_hugging_face_files(imported: Path) -> None:
    names = {path.name for path in (imported / "tiny-chat").iterdir()}
    assert names >= {"config.json", "model.safetensors", "generation_config.json", "tokenizer.json"}
    assert {path.name for path in imported.iterdir()} >= {"MLmodel", "conda.yaml", "LICENSE", "finetune_config.json"}
    facts = json.loads((imported / "model_selector_args.json").read_text())
    assert facts["model_name"] == "tiny-chat"
    assert facts["mlflow_flavor"] == "hftransformersv2"


def test_a_folder_that_holds_mlflow_model_folder_is_that_model(tiny_model: Path, tmp_path: Path) -> None:
    import_model(BaseModel(mlflow_model_path=tiny_model.parent), tmp_path / "out")
    assert (tmp_path / "out" / "tiny-chat" / "config.json").is_file()


def test_a_given_finetune_config_wins_over_the_packaged_one(tiny_model: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text('{"lora_target_modules": ["q_proj"]}')
    import_model(BaseModel(mlflow_model_path=tiny_model, finetune_config_path=own), tmp_path / "out")
    assert json.loads((tmp_path / "out" / "finetune_config.json").read_text()) == {"lora_target_modules": ["q_proj"]}


def test_each_form_at_the_other_s_port_is_a_user_error(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give an MLflow model as mlflow_model_path"):
        import_model(BaseModel(pytorch_model_path=tiny_model), tmp_path / "a")
    with pytest.raises(UserError, match=r"holds no 'MLmodel'.*pytorch_model_path"):
        import_model(BaseModel(mlflow_model_path=tiny_model / "data" / "model"), tmp_path / "b")


def test_no_model_at_all_is_a_user_error_on_the_last_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert model_import.main(["--output_dir", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "UserError: No base model: give mlflow_model_path, pytorch_model_path or huggingface_id."
    )


@pytest.mark.parametrize("step", ["validate", "model_import", "preprocess", "convert"])
def test_only_finetune_imports_torch(step: str) -> None:
    code = (
        f"import sys, localcloud.components.chat_completion.{step}; "
        "sys.exit(', '.join({'torch', 'transformers', 'peft', 'mlflow'} & set(sys.modules)) or None)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
