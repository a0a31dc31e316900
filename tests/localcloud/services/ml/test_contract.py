"""Strict mode against the public contract: no member that azure-ai-ml's generated models have may be refused."""

from __future__ import annotations

import pytest
from azure.ai.ml._restclient.arm_ml_service import models

from localcloud.services.ml import (
    assets,
    code,
    components,
    computes,
    data,
    datastores,
    environments,
    managed_network,
    workspaces,
)
from localcloud.services.ml import models as model_assets
from localcloud.services.ml.assets import AssetKind
from localcloud.services.ml.sizes import Sizes
from tests.conftest import RunningCloud


def _members(name: str) -> set[str]:
    """Wire names of a generated model and those that it inherits."""
    found: set[str] = set()
    for kind in getattr(models, name).__mro__:
        for attribute, value in vars(kind).items():
            if type(value).__name__ == "_RestField":
                found.add(value._rest_name_input or attribute)
    assert found, name
    return found


def test_every_member_of_a_workspace_is_known() -> None:
    known = {*workspaces._UPDATABLE, *workspaces._AT_CREATION, *workspaces._READ_ONLY}
    assert _members("WorkspaceProperties") <= known
    assert _members("WorkspacePropertiesUpdateParameters") <= {*workspaces._UPDATABLE, *workspaces._READ_ONLY}
    assert _members("Workspace") <= set(workspaces._TOP)
    assert _members("ManagedNetworkSettings") <= set(managed_network.MEMBERS)


def test_every_input_of_pulumis_workspace_is_known() -> None:
    from pulumi_azure_native.machinelearningservices.workspace import WorkspaceArgs

    own = {"resource_group_name", "workspace_name", "identity", "kind", "location", "sku", "tags"}
    inputs = {name for name, value in vars(WorkspaceArgs).items() if isinstance(value, property)} - own
    assert len(inputs) > 20
    known = {*workspaces._UPDATABLE, *workspaces._AT_CREATION, *workspaces._READ_ONLY}
    flat = {name.lower() for name in known}
    assert {name for name in inputs if name.replace("_", "") not in flat} == set()


def test_every_member_of_a_cluster_is_known() -> None:
    assert _members("ComputeResource") <= set(computes._TOP)
    assert _members("AmlCompute") <= set(computes._OUTER)
    assert _members("AmlComputeProperties") <= set(computes._INNER)


@pytest.mark.parametrize("kind", ["AzureBlobDatastore", "AzureDataLakeGen2Datastore", "AzureFileDatastore"])
def test_every_member_of_a_datastore_is_known(kind: str) -> None:
    assert _members(kind) <= set(datastores._KNOWN)


@pytest.mark.parametrize(
    ("kind", "version", "container"),
    [
        (data.DATA, "MLTableData", "DataContainerProperties"),
        (model_assets.MODEL, "ModelVersionProperties", "ModelContainerProperties"),
        (code.CODE, "CodeVersionProperties", "CodeContainerProperties"),
        (components.COMPONENT, "ComponentVersionProperties", "ComponentContainerProperties"),
        (environments.ENVIRONMENT, "EnvironmentVersionProperties", "EnvironmentContainerProperties"),
    ],
)
def test_every_member_of_an_asset_is_known(kind: AssetKind, version: str, container: str) -> None:
    assert _members(version) <= {*assets._ANY_MEMBERS, *kind.members}
    assert _members(container) <= set(assets._CONTAINER_MEMBERS)


def test_what_sizes_answer_is_what_the_contract_has(local_cloud: RunningCloud) -> None:
    found = Sizes(local_cloud.cloud).find("eastus", "Standard_DS3_v2").wire()
    assert set(found) <= _members("VirtualMachineSize")
