"""The base model's weights: dequantised once, whole or not at all, and the same model that the package carries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from localcloud.catalog import gguf_llama, weights
from localcloud.components.chat_completion.chat_tokenizer import ChatTokenizer
from localcloud.components.mlflow_folder import MlflowFolder
from tests.conftest import CACHE


@pytest.fixture(scope="module")
def folder() -> Path:
    """The real weights; set-up has made them already, else they are made now."""
    return weights.ensure_weights(CACHE)


def test_the_folder_is_an_mlflow_model_as_the_registry_publishes_it(folder: Path) -> None:
    opened = MlflowFolder.open(folder)
    assert opened.flavor == "hftransformersv2"
    assert {path.name for path in folder.iterdir()} == {
        "MLmodel",
        "data",
        "conda.yaml",
        "LICENSE",
        "finetune_config.json",
    }
    assert opened.metadata["base_model_asset_id"] == weights.REGISTRY_ID
    assert "azureml.base_image" in opened.metadata
    assert "Q4_1" in opened.metadata["weights_source"]
    assert "quantization_config" not in json.loads((opened.model / "config.json").read_text())


def test_the_licence_travels_with_the_weights_and_says_what_was_changed(folder: Path) -> None:
    text = (folder / "LICENSE").read_text()
    assert "Apache License" in text
    assert "dequantised" in text


def test_the_tokenizer_knows_chatml_and_splits_digits(folder: Path) -> None:
    tokenizer = ChatTokenizer(folder / "data" / "tokenizer")
    text = tokenizer.render([{"role": "user", "content": "hi"}], add_generation_prompt=True)
    assert text.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert text.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.encode("<|im_end|>") == [2]
    assert len(tokenizer.encode("123")) == 3
    sample = "ünï 你好 x=1\n\n\ty"
    assert tokenizer.backend.decode(tokenizer.encode(sample)) == sample


def test_a_made_folder_is_used_again_without_the_package(tmp_path: Path) -> None:
    made = tmp_path / "models" / weights.NAME / weights.VERSION / "mlflow_model_folder"
    made.mkdir(parents=True)
    assert weights.ensure_weights(tmp_path, source=tmp_path / "absent.gguf") == made


def test_a_failure_half_way_leaves_no_folder_and_what_a_killed_one_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = tmp_path / "models" / weights.NAME / weights.VERSION
    (holder / ".partial-killed").mkdir(parents=True)

    def fail_half_way(_source: Path, folder: Path) -> None:
        (folder / "data").mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(weights, "write_model", fail_half_way)
        with pytest.raises(KeyboardInterrupt):
            weights.ensure_weights(tmp_path)
    assert [path.name for path in holder.iterdir()] == [".lock"]

    monkeypatch.setattr(weights, "write_model", lambda _source, folder: (folder / "MLmodel").write_text("{}"))
    assert yaml.safe_load((weights.ensure_weights(tmp_path) / "MLmodel").read_text()) == {}


def test_a_package_that_is_not_there_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("TUNESTACK_CACHE", str(tmp_path))
    monkeypatch.setattr(weights, "PACKAGE", "no-such-package")
    assert weights.main() == 1
    assert capsys.readouterr().err.strip() == (
        "error: The package 'no-such-package' is not installed or lacks 'SmolLM2-135M-Instruct.Q4_1.gguf'. "
        "Run `make setup`."
    )


def test_bfloat16_rounds_to_nearest_and_ties_to_even() -> None:
    values = np.array([1.0, 1.00390625, 1.01171875, -3.1415927, 0.0], dtype=np.float32)
    back = (gguf_llama.to_bfloat16(values).astype(np.uint32) << 16).view(np.float32)
    assert back.tolist() == [1.0, 1.0, 1.015625, -3.140625, 0.0]


def test_query_rows_come_back_in_the_order_before_llama_cpp_interleaved_them() -> None:
    heads, size = 2, 4
    original = np.arange(heads * size, dtype=np.float32).reshape(-1, 1)
    interleaved = original.reshape(heads, 2, size // 2, 1).swapaxes(1, 2).reshape(-1, 1)
    assert interleaved[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert np.array_equal(gguf_llama.unpermute(interleaved, heads), original)


def test_dequantised_weights_are_the_package_s_to_the_precision_of_bfloat16(folder: Path) -> None:
    import gguf
    from safetensors import safe_open

    reader = gguf.GGUFReader(weights.packaged_weights())
    tensor = next(each for each in reader.tensors if each.name == "blk.3.ffn_down.weight")
    wanted = gguf.dequantize(tensor.data, tensor.tensor_type)
    with safe_open(folder / "data" / "model" / "model.safetensors", "pt") as file:
        assert len(file.keys()) == len(reader.tensors)
        found = file.get_tensor("model.layers.3.mlp.down_proj.weight").float().numpy()
    assert np.abs(found - wanted).max() <= np.abs(wanted).max() / 256
