"""A model's way from a workspace into a registry of one's own and out again, through the unmodified SDK."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from localcloud.client import CallFailed
from localcloud.services.ml.paths import local_path
from tests.localcloud.services.conftest import GROUP, VERSION, WORKSPACE, Account

REGISTRY = f"{GROUP}/providers/Microsoft.MachineLearningServices/registries/shared"
COPY = "azureml://registries/shared/models/chat/versions/3"
BODY: dict[str, Any] = {
    "location": "eastus",
    "identity": {"type": "SystemAssigned"},
    "properties": {"regionDetails": [{"location": "eastus"}]},
}


@pytest.fixture
def registry(workspace: Any, account: Account) -> Any:
    """The registry `shared`, as its client sees it."""
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    account.cloud.arm("PUT", REGISTRY + VERSION, BODY)
    return MLClient(DefaultAzureCredential(), registry_name="shared")


@pytest.fixture
def model(ml: Any, tmp_path: Path) -> Any:
    """An MLflow model in the workspace, `chat:3`."""
    from azure.ai.ml.entities import Model

    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: m\n")
    (folder / "part").write_text("1234")
    return ml.models.create_or_update(
        Model(name="chat", version="3", path=str(folder), type="mlflow_model", tags={"job": "j1"}, description="d")
    )


def share(ml: Any, name: str = "chat", version: str = "3") -> Any:
    return ml.models.share("chat", "3", share_with_name=name, share_with_version=version, registry_name="shared")


def test_a_shared_model_is_a_copy_that_outlives_its_workspace(
    ml: Any, model: Any, registry: Any, account: Account
) -> None:
    made = share(ml)
    assert (made.id, made.version, made.type) == (COPY, "3", "mlflow_model")
    assert (made.tags, made.description, list(made.flavors)) == ({"job": "j1"}, "d", ["python_function"])
    cloud = account.cloud.cloud
    original = local_path(cloud, WORKSPACE, f"{WORKSPACE}/models/chat/versions/3")
    shutil.rmtree(original)
    copied = local_path(cloud, WORKSPACE, COPY)
    assert (copied / "part").read_text() == "1234"
    assert [found.name for found in registry.models.list()] == ["chat"]
    assert [found.version for found in registry.models.list("chat")] == ["3"]
    assert registry.models.get("chat", label="latest").version == "3"


def test_a_version_that_is_there_is_not_shared_over(ml: Any, model: Any, registry: Any) -> None:
    share(ml)
    with pytest.raises(Exception, match="already exists in registry"):
        share(ml)
    share(ml, version="4")
    assert registry.models.get("chat", label="latest").version == "4"


def test_the_copy_takes_tags_and_keeps_its_files(ml: Any, model: Any, registry: Any) -> None:
    share(ml)
    copy = registry.models.get("chat", version="3")
    copy.tags = {**copy.tags, "promoted_from": "rg/ws"}
    registry.models.create_or_update(copy)
    again = registry.models.get("chat", version="3")
    assert (again.tags, again.path) == ({"job": "j1", "promoted_from": "rg/ws"}, copy.path)


def test_a_model_can_be_uploaded_to_a_registry_and_downloaded(registry: Any, tmp_path: Path) -> None:
    from azure.ai.ml.entities import Model

    (tmp_path / "model.bin").write_text("weights")
    made = registry.models.create_or_update(
        Model(name="plain", version="1", path=str(tmp_path / "model.bin"), type="custom_model")
    )
    assert made.id == "azureml://registries/shared/models/plain/versions/1"
    registry.models.download("plain", "1", download_path=str(tmp_path / "got"))
    assert [found.read_text() for found in (tmp_path / "got").rglob("model.bin")] == ["weights"]


def test_a_model_that_is_not_there_and_a_registry_that_is_not_there(ml: Any, registry: Any) -> None:
    with pytest.raises(HttpResponseError, match="models/chat/versions/3' does not exist"):
        share(ml)
    with pytest.raises(ResourceNotFoundError):
        registry.models.get("chat", version="3")
    with pytest.raises(Exception, match="'nowhere' was not found"):
        ml.models.share("chat", "3", share_with_name="chat", share_with_version="3", registry_name="nowhere")


def test_a_registry_without_the_workspaces_region_takes_nothing(
    ml: Any, model: Any, workspace: Any, account: Account
) -> None:
    far = {**BODY, "location": "westeurope", "properties": {"regionDetails": [{"location": "westeurope"}]}}
    account.cloud.arm("PUT", REGISTRY + VERSION, far)
    with pytest.raises(HttpResponseError, match="is in 'eastus', and the registry 'shared' has westeurope only"):
        share(ml)


def test_azures_own_registry_takes_nothing(ml: Any, model: Any) -> None:
    with pytest.raises(HttpResponseError, match="does not have authorization to change the registry 'azureml'"):
        ml.models.share("chat", "3", share_with_name="chat", share_with_version="3", registry_name="azureml")


def test_a_registry_brings_its_managed_group_and_takes_it_along(registry: Any, account: Account) -> None:
    made = account.cloud.arm("GET", REGISTRY + VERSION)
    assert made["identity"]["principalId"]
    group = made["properties"]["managedResourceGroup"]["resourceId"]
    inside = account.cloud.arm("GET", f"{group}/resources{VERSION}")["value"]
    assert {found["type"] for found in inside} == {
        "Microsoft.Storage/storageAccounts",
        "Microsoft.ContainerRegistry/registries",
    }
    assert registry.registries.get("shared").location == "eastus"
    account.cloud.arm("DELETE", REGISTRY + VERSION)
    with pytest.raises(CallFailed, match="ResourceGroupNotFound"):
        account.cloud.arm("GET", group + VERSION)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"properties": {}}, "needs 'properties.regionDetails'"),
        ({"properties": {"regionDetails": [{"location": "mars"}]}}, "LocationNotAvailable.*'mars'"),
        ({"location": "westeurope"}, "'westeurope' is not one of the registry's regions: eastus"),
        ({"properties": {"regionDetails": [{"location": "eastus"}], "size": 3}}, "Could not find member 'size'"),
    ],
)
def test_a_registry_that_azure_would_not_make(
    changes: dict[str, Any], expected: str, workspace: Any, account: Account
) -> None:
    with pytest.raises(CallFailed, match=expected):
        account.cloud.arm("PUT", REGISTRY + VERSION, BODY | changes)
    with pytest.raises(CallFailed, match="'azureml' already exists"):
        account.cloud.arm("PUT", REGISTRY.replace("/shared", "/azureml") + VERSION, BODY)
