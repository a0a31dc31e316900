"""Workspaces: what they need, what they answer, how they go."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError

from localcloud.arm import ArmError
from localcloud.client import CallFailed
from localcloud.services.blob_files import Blobs
from tests.conftest import RunningCloud
from tests.localcloud.services.conftest import (
    GROUP,
    STORAGE,
    VAULT,
    VERSION,
    WORKSPACE,
    Account,
    make_workspace,
    place,
)


def test_a_workspace_tells_where_its_services_are(workspace: dict[str, Any]) -> None:
    properties = workspace["properties"]
    assert properties["discoveryUrl"] == "https://eastus.api.azureml.ms/discovery"
    assert properties["mlFlowTrackingUri"] == f"azureml://eastus.api.azureml.ms/mlflow/v1.0{WORKSPACE}"
    assert properties["provisioningState"] == "Succeeded"
    assert workspace["identity"]["principalId"]
    assert properties["tenantId"] == workspace["identity"]["tenantId"]


def test_the_sdk_reads_a_workspace_and_its_list(ml: Any) -> None:
    found = ml.workspaces.get("ws")
    assert found.storage_account == STORAGE
    assert found.mlflow_tracking_uri == f"azureml://eastus.api.azureml.ms/mlflow/v2.0{WORKSPACE}"
    assert [item.name for item in ml.workspaces.list()] == ["ws"]


@pytest.mark.parametrize("name", ["storageAccount", "keyVault", "applicationInsights", "containerRegistry"])
def test_what_a_workspace_names_must_exist(name: str, account: Account) -> None:
    place(account.cloud, VAULT)
    kinds = {
        "storageAccount": "Microsoft.Storage/storageAccounts",
        "keyVault": "Microsoft.KeyVault/vaults",
        "applicationInsights": "Microsoft.Insights/components",
        "containerRegistry": "Microsoft.ContainerRegistry/registries",
    }
    missing = f"{GROUP}/providers/{kinds[name]}/missing"
    with pytest.raises(CallFailed, match=f"'{name}' names '{missing}', which does not exist"):
        make_workspace(account.cloud, **{name: missing})


def test_a_workspace_without_a_group_is_refused(local_cloud: RunningCloud) -> None:
    with pytest.raises(CallFailed, match=r"ResourceGroupNotFound.*'rg'"):
        make_workspace(local_cloud)


def test_a_member_that_the_contract_does_not_have_is_named(account: Account) -> None:
    place(account.cloud, VAULT)
    with pytest.raises(CallFailed, match="Could not find member 'storageAcount' on object 'properties'"):
        make_workspace(account.cloud, storageAcount="x")


def test_what_is_set_at_creation_cannot_be_changed(workspace: dict[str, Any], account: Account) -> None:
    other = STORAGE.replace("acct", "other")
    place(account.cloud, other)
    with pytest.raises(CallFailed, match="'storageAccount' of a workspace cannot be changed"):
        make_workspace(account.cloud, storageAccount=other)


def test_a_workspace_does_not_move(workspace: dict[str, Any], account: Account) -> None:
    body = {"location": "westus2", "properties": {"storageAccount": STORAGE, "keyVault": VAULT}}
    with pytest.raises(CallFailed, match="already exists in location 'eastus'"):
        account.cloud.arm("PUT", WORKSPACE + VERSION, body)


def test_a_second_put_keeps_id_principal_and_creation(workspace: dict[str, Any], account: Account) -> None:
    again = make_workspace(account.cloud, description="changed")
    assert again["properties"]["description"] == "changed"
    assert again["properties"]["workspaceId"] == workspace["properties"]["workspaceId"]
    assert again["identity"] == workspace["identity"]
    assert again["systemData"]["createdAt"] == workspace["systemData"]["createdAt"]


def test_a_managed_network_never_goes_back(workspace: dict[str, Any], account: Account) -> None:
    make_workspace(account.cloud, managedNetwork={"isolationMode": "AllowOnlyApprovedOutbound"})
    with pytest.raises(CallFailed, match="cannot go back from 'AllowOnlyApprovedOutbound' to 'Disabled'"):
        make_workspace(account.cloud, managedNetwork={"isolationMode": "Disabled"})


def test_the_sdk_updates_tags_and_description(ml: Any) -> None:
    found = ml.workspaces.get("ws")
    found.description, found.tags = "new", {"a": "b"}
    updated = ml.workspaces.begin_update(found).result()
    assert (updated.description, updated.tags) == ("new", {"a": "b"})


def test_keys_are_those_of_its_storage_account(ml: Any, account: Account) -> None:
    assert ml.workspaces.get_keys("ws").user_storage_key == account.access.account_key("acct")


def test_a_deleted_workspace_keeps_its_name_until_it_is_purged(ml: Any, account: Account) -> None:
    ml.workspaces.begin_delete("ws", delete_dependent_resources=False).wait()
    with pytest.raises(ResourceNotFoundError):
        ml.workspaces.get("ws")
    assert list(ml.workspaces.list()) == []
    with pytest.raises(CallFailed, match="Soft-deleted workspace exists"):
        make_workspace(account.cloud)
    account.cloud.arm("DELETE", f"{WORKSPACE}{VERSION}&forceToPurge=true")
    make_workspace(account.cloud)


def test_deleting_the_group_soft_deletes_the_workspace_in_it(workspace: Any, account: Account) -> None:
    account.cloud.arm("DELETE", GROUP + VERSION)
    place(account.cloud, GROUP)
    place(account.cloud, STORAGE)
    place(account.cloud, VAULT)
    with pytest.raises(CallFailed, match="Soft-deleted workspace exists"):
        make_workspace(account.cloud)


def test_deleting_takes_everything_inside_with_it(ml: Any, account: Account) -> None:
    ml.workspaces.begin_delete("ws", delete_dependent_resources=False, permanently_delete=True).wait()
    assert account.cloud.cloud.store.beneath(WORKSPACE) == []
    make_workspace(account.cloud)


def test_an_armed_fault_refuses_the_creation(account: Account) -> None:
    place(account.cloud, VAULT)
    account.cloud.cloud.faults.arm("workspace.create", ArmError(403, "AuthorizationFailed", "no right"))
    with pytest.raises(CallFailed, match="AuthorizationFailed"):
        make_workspace(account.cloud)


def test_its_default_datastores_stand_on_its_account(ml: Any, account: Account) -> None:
    found = {item.name: item for item in ml.datastores.list()}
    assert list(found) == [
        "workspaceblobstore",
        "workspaceartifactstore",
        "workspaceworkingdirectory",
        "workspacefilestore",
    ]
    assert ml.datastores.get_default().name == "workspaceblobstore"
    blobs = account.cloud.cloud.part(Blobs, lambda: Blobs(account.cloud.cloud))
    assert found["workspaceblobstore"].container_name in blobs.containers("acct")
    with_key = ml.datastores.get("workspaceartifactstore", include_secrets=True)
    assert with_key.credentials.account_key == account.access.account_key("acct")


def test_keyless_datastores_have_no_secret_and_the_sdk_uses_its_identity(account: Account, tmp_path: Any) -> None:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Data
    from azure.identity import DefaultAzureCredential

    place(account.cloud, VAULT)
    place(account.cloud, STORAGE, {"allowSharedKeyAccess": False})
    make_workspace(account.cloud, systemDatastoresAuthMode="Identity")
    url = f"{WORKSPACE}/datastores/workspaceblobstore"
    found = account.cloud.arm("GET", url + VERSION)
    assert found["properties"]["credentials"] == {"credentialsType": "None"}
    with pytest.raises(CallFailed, match="has no credentials"):
        account.cloud.arm("POST", f"{url}/listSecrets{VERSION}", {})
    (tmp_path / "x.jsonl").write_text("{}\n")
    client = MLClient(DefaultAzureCredential(), GROUP.split("/")[2], "rg", "ws")
    made = client.data.create_or_update(Data(name="d", path=str(tmp_path / "x.jsonl"), type="uri_file"))
    assert made.version == "1"


def test_a_datastore_of_ones_own_keeps_its_key_and_can_be_deleted(ml: Any, account: Account) -> None:
    from azure.ai.ml.entities import AccountKeyConfiguration, AzureBlobDatastore

    account.blobs.make_container("acct", "own")
    key = account.access.account_key("acct", 2)
    ml.datastores.create_or_update(
        AzureBlobDatastore(
            name="own",
            account_name="acct",
            container_name="own",
            credentials=AccountKeyConfiguration(account_key=key),
        )
    )
    assert (
        "secrets" not in account.cloud.arm("GET", f"{WORKSPACE}/datastores/own{VERSION}")["properties"]["credentials"]
    )
    assert ml.datastores.get("own", include_secrets=True).credentials.account_key == key
    ml.datastores.delete("own")
    assert "own" not in [item.name for item in ml.datastores.list()]


def test_a_datastore_over_a_container_that_is_not_there_is_refused(workspace: Any, account: Account) -> None:
    properties = {
        "datastoreType": "AzureBlob",
        "accountName": "acct",
        "containerName": "nope",
        "credentials": {"credentialsType": "None"},
    }
    url = f"{WORKSPACE}/datastores/own{VERSION}"
    with pytest.raises(CallFailed, match="container 'nope' does not exist"):
        account.cloud.arm("PUT", url, {"properties": properties})
    account.cloud.arm("PUT", f"{url}&skipValidation=true", {"properties": properties})


def test_the_default_datastore_cannot_be_deleted(workspace: Any, account: Account) -> None:
    with pytest.raises(CallFailed, match="default datastore"):
        account.cloud.arm("DELETE", f"{WORKSPACE}/datastores/workspaceblobstore{VERSION}")


def test_the_discovery_document_needs_no_token(local_cloud: RunningCloud) -> None:
    found = local_cloud.running.call("GET", "eastus.api.azureml.ms", "/discovery")
    assert found["api"] == "https://eastus.api.azureml.ms"
