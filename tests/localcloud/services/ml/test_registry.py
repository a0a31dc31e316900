"""The registry through the unmodified SDK: what it holds, what is hidden, what it refuses."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError

from localcloud.catalog.content import Catalog
from localcloud.client import CallFailed
from localcloud.services import entra
from tests.conftest import RunningCloud


@pytest.fixture
def registry(local_cloud: RunningCloud) -> Any:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(DefaultAzureCredential(), registry_name="azureml")


def test_the_base_model_says_that_it_was_dequantised(registry: Any) -> None:
    found = registry.models.get("SmolLM2-135M-Instruct", label="latest")
    assert found.id == "azureml://registries/azureml/models/SmolLM2-135M-Instruct/versions/1"
    assert "DEQUANTISED FROM Q4_1" in found.description
    assert json.loads(found.tags["model_specific_defaults"])["apply_lora"] == "true"
    assert "Standard_NC24ads_A100_v4" in ast.literal_eval(found.tags["finetune_compute_allow_list"])


def test_an_archived_model_is_found_by_version_only(registry: Any) -> None:
    assert registry.models.get("Phi-3-mini-4k-instruct", version="15").version == "15"
    with pytest.raises(Exception, match="Asset Phi-3-mini-4k-instruct does not exist in registry azureml"):
        registry.models.get("Phi-3-mini-4k-instruct", label="latest")
    assert {model.name for model in registry.models.list()} == {"Phi-4", "SmolLM2-135M-Instruct"}


def test_the_pipeline_component_has_its_69_inputs_and_five_steps(registry: Any) -> None:
    found = registry.components.get("chat_completion_pipeline", label="latest")
    assert (found.version, len(found.inputs), list(found.outputs)) == (
        "0.0.82",
        69,
        ["pytorch_model_folder", "mlflow_model_folder"],
    )
    assert [name for name, value in found.inputs.items() if not value.optional] == ["task_name"]
    assert found.inputs["deepspeed_stage"].enum == ["2", "3"]
    assert (found.inputs["num_train_epochs"].min, found.inputs["learning_rate"].default) == (1, 2e-05)
    assert list(found.jobs) == [
        "ft_nlp_common_validation",
        "chat_completion_model_import",
        "chat_completion_datapreprocess",
        "chat_completion_finetune",
        "ft_nlp_model_converter",
    ]


def test_every_step_of_the_pipeline_is_in_the_registry_and_bound_by_its_own_names(registry: Any) -> None:
    catalog = Catalog.load()
    pipeline = catalog.component_spec("azureml://registries/azureml/components/chat_completion_pipeline/labels/latest")
    for name, node in pipeline["jobs"].items():
        step = catalog.component_spec(node["componentId"])
        assert step["name"] == name
        assert set(node["inputs"]) <= set(step["inputs"])
        assert set(node["outputs"]) <= set(step["outputs"])
        required = {key for key, value in step["inputs"].items() if not value["optional"] and "default" not in value}
        assert required <= set(node["inputs"])
        for value in node["inputs"].values():
            if value["value"].startswith("${{parent.inputs."):
                assert value["value"].split(".")[2].rstrip("}") in pipeline["inputs"]
        assert registry.components.get(name, version=step["version"]).command.startswith("python -m localcloud.")


def test_the_environment_of_the_components_is_there(registry: Any) -> None:
    found = registry.environments.get("acft-hf-nlp-gpu", version="112")
    assert found.image == "mcr.microsoft.com/azureml/curated/acft-hf-nlp-gpu:112"


def test_an_unknown_registry_is_not_found(local_cloud: RunningCloud) -> None:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    with pytest.raises(ResourceNotFoundError, match="The registry 'nope' was not found"):
        MLClient(DefaultAzureCredential(), registry_name="nope")


def test_unknown_models_and_versions_are_not_found(registry: Any) -> None:
    with pytest.raises(ResourceNotFoundError, match="'SmolLM2-135M-Instruct' version '2'"):
        registry.models.get("SmolLM2-135M-Instruct", version="2")
    with pytest.raises(Exception, match="Asset nope does not exist in registry azureml"):
        registry.models.get("nope", label="latest")


def test_the_registry_is_read_only(local_cloud: RunningCloud) -> None:
    path = (
        "/mferp/managementfrontend/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/x/providers"
        "/Microsoft.MachineLearningServices/registries/azureml/models/own/versions/1?api-version=x"
    )
    token = entra.issue_token(local_cloud.cloud, "https://ml.azure.com")
    with pytest.raises(CallFailed, match="LOCALCLOUD_CATALOG"):
        local_cloud.running.call("PUT", "eastus.api.azureml.ms", path, {}, token)
