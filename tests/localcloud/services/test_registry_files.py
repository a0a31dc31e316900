"""The files of a catalog's model: read with a signature, as Microsoft's registries have it, in no list of its user."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml

from localcloud.cloud import SUBSCRIPTION
from tests.conftest import RunningCloud
from tests.tiny_model import make_tiny_model
from tunestack import registry_files
from tunestack.data import tokenizer_source
from tunestack.data.chat_tokenizer import ChatTokenizer
from tunestack.errors import CloudError, UsageError
from tunestack.recipes.recipe import from_text
from tunestack.registry_id import RegistryId

TINY = "azureml://registries/azureml/models/Tiny-Chat/versions/1"
BARE = "azureml://registries/azureml/models/Phi-4/versions/8"


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("registry") / "catalog"
    make_tiny_model(folder.parent / "weights")
    folder.mkdir()
    entry = {"kind": "model", "name": "Tiny-Chat", "version": "1", "created": date(2026, 1, 1), "folder": "../weights"}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(entry))
    return folder


@pytest.fixture
def cloud(catalog: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> RunningCloud:
    monkeypatch.setenv("LOCALCLOUD_CATALOG", str(catalog))
    found: RunningCloud = request.getfixturevalue("local_cloud")
    return found


def test_a_tokenizer_travels_without_the_weights_and_is_the_models_own(cloud, catalog, tmp_path) -> None:
    (tmp_path / "got").mkdir()
    registry_files.download(RegistryId.parse(TINY, "models"), tmp_path / "got")
    names = {file.name for file in (tmp_path / "got").iterdir()}
    assert names == {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "finetune_config.json"}
    conversation = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    assert (
        ChatTokenizer(tmp_path / "got").encode([conversation])[0]
        == ChatTokenizer(catalog.parent / "weights").encode([conversation])[0]
    )
    accounts = cloud.arm("GET", f"/subscriptions/{SUBSCRIPTION}/resources?api-version=2021-04-01")["value"]
    assert accounts == []


def test_a_recipe_finds_the_tokenizer_of_its_registry_model(cloud) -> None:
    text = f"""
    experiment: e
    base_model: {TINY}
    component: azureml://registries/azureml/components/chat_completion_pipeline/versions/0.0.82
    data: {{source: x, percent: 100}}
    compute: {{model_import: cpu, preprocess: cpu, finetune: gpu, evaluate: gpu}}
    training: {{max_seq_length: 77}}
    """
    found = tokenizer_source.find(from_text(text, "recipe", "tiny"), None)
    assert found is not None
    assert (found.name, found.limit, found.marks_from) == (TINY, 77, "finetune_config.json")


def test_a_model_without_weights_here_and_one_that_is_unknown_are_named(cloud, tmp_path) -> None:
    with pytest.raises(CloudError, match="has no weights for it"):
        registry_files.download(RegistryId.parse(BARE, "models"), tmp_path)
    with pytest.raises((CloudError, UsageError), match="Nobody"):
        registry_files.download(RegistryId.parse(TINY.replace("Tiny-Chat", "Nobody"), "models"), tmp_path)
