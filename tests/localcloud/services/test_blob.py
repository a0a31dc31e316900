"""The blob service through the unmodified azure-storage-blob: who may, what is kept, and what files show up."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.identity import DefaultAzureCredential
from azure.storage.blob import (
    AccountSasPermissions,
    BlobClient,
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)

from localcloud.permissions import BLOB_CONTRIBUTOR
from tests.conftest import RunningCloud
from tests.localcloud.services.conftest import GROUP, STORAGE, VERSION, Account, place

SOON = datetime.now(UTC) + timedelta(days=1)  # long after the last test


@pytest.fixture
def service(account: Account) -> Any:
    return BlobServiceClient(account.url, credential=account.access.account_key("acct"))


@pytest.fixture
def container(service: Any) -> Any:
    return service.create_container("data")


def test_a_blob_comes_back_with_its_content_type_and_metadata(container: Any) -> None:
    container.upload_blob("a/b.txt", b"hello", metadata={"upload_status": "completed", "name": "x"})
    blob = container.get_blob_client("a/b.txt")
    found = blob.get_blob_properties()
    assert (found.size, found.metadata) == (5, {"upload_status": "completed", "name": "x"})
    assert blob.download_blob().readall() == b"hello"
    blob.set_blob_metadata({"name": "y"})
    assert blob.get_blob_properties().metadata == {"name": "y"}
    assert blob.get_blob_properties().etag != found.etag


def test_a_large_blob_goes_up_in_blocks_and_comes_down_in_ranges(account: Account) -> None:
    whole = os.urandom(3_000_001)
    options = {"max_single_put_size": 1 << 18, "max_block_size": 1 << 18, "max_single_get_size": 1 << 18}
    service = BlobServiceClient(
        account.url, credential=account.access.account_key("acct"), max_chunk_get_size=1 << 18, **options
    )
    container = service.create_container("data")
    container.upload_blob("big", whole, max_concurrency=4)
    assert container.download_blob("big", max_concurrency=4).readall() == whole
    assert container.download_blob("big", offset=10, length=5).readall() == whole[10:15]
    assert [path for path in (account.cloud.cloud.state / "uploads").rglob("*") if path.is_file()] == []


def test_a_block_list_said_twice_changes_nothing(container: Any) -> None:
    blob = container.get_blob_client("x")
    blob.stage_block("QQ==", b"one")
    blob.commit_block_list(["QQ=="])
    before = blob.get_blob_properties().etag
    blob.commit_block_list(["QQ=="])
    assert blob.get_blob_properties().etag == before
    with pytest.raises(HttpResponseError, match="InvalidBlockList"):
        blob.commit_block_list(["Qg=="])


def test_half_a_body_is_never_a_blob_and_is_swept(account: Account, container: Any) -> None:
    running = account.cloud.running
    context = ssl.create_default_context(cafile=str(running.state / "ca.pem"))
    connection = HTTPSConnection("127.0.0.1", running.addresses.tls, context=context)
    connection.putrequest("PUT", f"/data/x?{account.access.sas('acct', 'data', permissions='cw')}", skip_host=True)
    for name, value in {"Host": "acct.blob.core.windows.net", "Content-Length": "100"}.items():
        connection.putheader(name, value)
    connection.endheaders(b"half")
    connection.close()
    assert not container.get_blob_client("x").exists()
    left = account.blobs.upload_path("acct")
    left.write_bytes(b"half")
    account.cloud.call(account.blobs.sweep_uploads())
    assert not left.exists()


def test_an_empty_blob_can_be_read(container: Any) -> None:
    container.upload_blob("empty", b"")
    assert container.download_blob("empty").readall() == b""


def test_a_blob_is_not_overwritten_unless_asked(container: Any) -> None:
    container.upload_blob("x", b"1")
    with pytest.raises(ResourceExistsError, match="BlobAlreadyExists"):
        container.upload_blob("x", b"2")
    container.upload_blob("x", b"3", overwrite=True)
    assert container.download_blob("x").readall() == b"3"


def test_a_changed_blob_fails_a_condition_on_its_etag(container: Any) -> None:
    blob = container.upload_blob("x", b"1")
    old = blob.get_blob_properties().etag
    blob.upload_blob(b"22", overwrite=True)
    with pytest.raises(ResourceModifiedError, match="ConditionNotMet"):
        blob.download_blob(etag=old, match_condition=MatchConditions.IfNotModified).readall()


def test_a_file_that_a_process_writes_shows_up_as_a_blob(account: Account, container: Any) -> None:
    folder = account.blobs.container("acct", "data") / "jobs" / "one"
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("started")
    assert [blob.name for blob in container.list_blobs()] == ["jobs/one/log.txt"]
    assert container.download_blob("jobs/one/log.txt").readall() == b"started"


def test_a_file_whose_name_no_list_can_carry_is_not_shown(account: Account, container: Any) -> None:
    folder = account.blobs.container("acct", "data")
    for name in (b"good", b"line\nbreak", b"not-utf8-\xff"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).touch()
    assert [blob.name for blob in container.list_blobs()] == ["good"]


def test_metadata_of_a_blob_that_a_process_overwrote_is_gone(account: Account, container: Any) -> None:
    container.upload_blob("x", b"1", metadata={"upload_status": "completed"})
    (account.blobs.container("acct", "data") / "x").write_text("other")
    assert container.get_blob_client("x").get_blob_properties().metadata == {}


def test_lists_are_in_the_order_of_names_and_paged(container: Any) -> None:
    names = ["a-b", "a/b", "a/c/d", "a0", "b"]
    for name in names:
        container.upload_blob(name, b".", metadata={"n": "1"})
    pages = list(container.list_blobs(results_per_page=2).by_page())
    assert [blob.name for page in pages for blob in page] == names
    assert len(pages) == 3
    assert [blob.name for blob in container.list_blobs(name_starts_with="a/")] == ["a/b", "a/c/d"]
    assert {blob.name for blob in container.walk_blobs(name_starts_with="a")} == {"a-b", "a/", "a0"}
    assert [blob.metadata for blob in container.list_blobs(name_starts_with="b", include="metadata")] == [{"n": "1"}]


def test_a_deleted_blob_is_gone_with_its_empty_folders(account: Account, container: Any) -> None:
    container.upload_blob("a/b/c", b".")
    container.delete_blob("a/b/c")
    assert not container.get_blob_client("a/b/c").exists()
    assert list(account.blobs.container("acct", "data").iterdir()) == []
    with pytest.raises(ResourceNotFoundError, match="BlobNotFound"):
        container.delete_blob("a/b/c")


def test_containers_are_made_listed_and_deleted(service: Any) -> None:
    service.create_container("one")
    service.create_container("two")
    with pytest.raises(ResourceExistsError, match="ContainerAlreadyExists"):
        service.create_container("one")
    assert [found.name for found in service.list_containers()] == ["one", "two"]
    service.delete_container("one")
    assert [found.name for found in service.list_containers()] == ["two"]
    with pytest.raises(ResourceNotFoundError, match="ContainerNotFound"):
        service.get_container_client("one").upload_blob("x", b"1")


def test_a_blob_is_copied_from_a_signed_address(account: Account, container: Any) -> None:
    container.upload_blob("from", b"content", metadata={"n": "1"})
    target = container.get_blob_client("to")
    target.start_copy_from_url(account.access.url("acct", "data", "from"))
    assert target.download_blob().readall() == b"content"
    with pytest.raises(HttpResponseError, match="AuthenticationFailed"):
        target.start_copy_from_url(account.access.url("acct", "data", "other").replace("/other", "/from"))


@pytest.mark.parametrize("name", ["../../x", "a/../../../x", "..", "./a", "%2e%2e/%2e%2e/state.db", "a/%00"])
def test_no_name_leads_out_of_its_container(name: str, account: Account, container: Any) -> None:
    query = account.access.sas("acct", "data", permissions="rcwdl")
    running = account.cloud.running
    context = ssl.create_default_context(cafile=str(running.state / "ca.pem"))
    for method in ("GET", "PUT", "DELETE"):
        connection = HTTPSConnection("127.0.0.1", running.addresses.tls, context=context)
        headers = {"Host": "acct.blob.core.windows.net", "x-ms-blob-type": "BlockBlob"}
        connection.request(method, f"/data/{name}?{query}", b"x", headers)
        assert connection.getresponse().status == 400, method
        connection.close()
    assert sorted(path.name for path in account.cloud.cloud.blobs.rglob("*")) == ["acct", "data"]


def test_a_link_that_a_process_made_is_not_followed_out(account: Account, container: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (account.blobs.container("acct", "data") / "link").symlink_to(tmp_path)
    with pytest.raises(HttpResponseError, match="InvalidUri"):
        container.download_blob("link/secret")
    assert list(container.list_blobs()) == []


def test_an_account_made_by_arm_has_its_containers_and_takes_its_blobs_with_it(local_cloud: RunningCloud) -> None:
    local_cloud.arm("PUT", GROUP + VERSION, {"location": "eastus"})
    body = {"location": "eastus", "kind": "StorageV2", "sku": {"name": "Standard_LRS"}}
    local_cloud.arm("PUT", STORAGE + VERSION, body)
    local_cloud.arm("PUT", f"{STORAGE}/blobServices/default/containers/data{VERSION}", {})
    local_cloud.grant(BLOB_CONTRIBUTOR, STORAGE)
    client = ContainerClient("https://acct.blob.core.windows.net", "data", credential=DefaultAzureCredential())
    client.upload_blob("x", b"1")
    local_cloud.arm("DELETE", STORAGE + VERSION)
    with pytest.raises(ResourceNotFoundError, match="no storage account 'acct'"):
        client.download_blob("x")
    local_cloud.arm("PUT", STORAGE + VERSION, body)
    local_cloud.grant(BLOB_CONTRIBUTOR, STORAGE)  # the old one went with the old account
    with pytest.raises(ResourceNotFoundError, match="ContainerNotFound"):
        client.download_blob("x")


def test_both_keys_are_handed_out_and_regenerated_one_by_one(local_cloud: RunningCloud) -> None:
    local_cloud.arm("PUT", GROUP + VERSION, {"location": "eastus"})
    local_cloud.arm("PUT", STORAGE + VERSION, {"location": "eastus", "kind": "StorageV2", "sku": {"name": "x"}})
    before = local_cloud.arm("POST", f"{STORAGE}/listKeys{VERSION}")["keys"]
    after = local_cloud.arm("POST", f"{STORAGE}/regenerateKey{VERSION}", {"keyName": "key2"})["keys"]
    assert [key["keyName"] for key in after] == ["key1", "key2"]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False]


# -- who may ---------------------------------------------------------------------------------------------------


def test_nobody_reads_without_credentials(account: Account, container: Any) -> None:
    container.upload_blob("x", b"1")
    with pytest.raises(ClientAuthenticationError, match="NoAuthenticationInformation"):
        ContainerClient(account.url, "data").download_blob("x")


def test_a_bearer_token_for_storage_is_enough(account: Account, container: Any) -> None:
    client = ContainerClient(account.url, "data", credential=DefaultAzureCredential())
    client.upload_blob("x", b"1")
    assert client.download_blob("x").readall() == b"1"


def test_a_wrong_key_is_refused(account: Account, container: Any) -> None:
    client = ContainerClient(account.url, "data", credential=account.access.account_key("other"))
    with pytest.raises(ClientAuthenticationError, match="AuthenticationFailed"):
        client.upload_blob("x", b"1")


def test_a_regenerated_key_ends_the_old_one(account: Account, container: Any) -> None:
    old = account.access.account_key("acct")
    assert account.access.regenerate("acct", 1) != old
    with pytest.raises(ClientAuthenticationError):
        ContainerClient(account.url, "data", credential=old).upload_blob("x", b"1")
    second = ContainerClient(account.url, "data", credential=account.access.account_key("acct", 2))
    second.upload_blob("x", b"1")


def test_every_kind_of_sas_that_the_sdk_signs_is_taken(account: Account, container: Any) -> None:
    container.upload_blob("x", b"1")
    key = account.access.account_key("acct")
    service = BlobServiceClient(account.url, credential=DefaultAzureCredential())
    delegated = service.get_user_delegation_key(datetime.now(UTC) - timedelta(minutes=5), SOON)
    signatures = {
        "blob": generate_blob_sas("acct", "data", "x", account_key=key, permission="r", expiry=SOON),
        "container": generate_container_sas(
            "acct", "data", account_key=key, permission=ContainerSasPermissions(read=True), expiry=SOON
        ),
        "account": generate_account_sas(
            "acct", key, ResourceTypes(object=True), AccountSasPermissions(read=True), SOON
        ),
        "delegation": generate_blob_sas(
            "acct", "data", "x", user_delegation_key=delegated, permission="r", expiry=SOON
        ),
        "ours": account.access.sas("acct", "data", "x"),
    }
    for kind, signature in signatures.items():
        blob = BlobClient(account.url, "data", "x", credential=signature)
        assert blob.download_blob().readall() == b"1", kind
        with pytest.raises(HttpResponseError, match="AuthorizationPermissionMismatch"):
            blob.upload_blob(b"2", overwrite=True)


@pytest.mark.parametrize("spoil", ["expired", "other blob", "changed"])
def test_a_sas_that_does_not_fit_is_refused(spoil: str, account: Account, container: Any) -> None:
    container.upload_blob("x", b"1")
    key = account.access.account_key("acct")
    start = datetime.now(UTC) - timedelta(hours=2)
    expiry = start + timedelta(hours=1) if spoil == "expired" else SOON
    name = "y" if spoil == "other blob" else "x"
    signature = generate_blob_sas(
        "acct", "data", name, account_key=key, permission="r", expiry=expiry, start=start, protocol="https"
    )
    if spoil == "changed":
        signature = signature.replace("sp=r&", "sp=rw&")
    with pytest.raises(ClientAuthenticationError, match="AuthenticationFailed"):
        BlobClient(account.url, "data", "x", credential=signature).download_blob()


def test_an_account_without_shared_keys_takes_only_identities(account: Account, container: Any) -> None:
    container.upload_blob("x", b"1")
    by_key = generate_blob_sas(
        "acct", "data", "x", account_key=account.access.account_key("acct"), permission="r", expiry=SOON
    )
    place(account.cloud, STORAGE, {"allowSharedKeyAccess": False})
    with pytest.raises(HttpResponseError, match="KeyBasedAuthenticationNotPermitted"):
        container.download_blob("x")
    with pytest.raises(HttpResponseError, match="KeyBasedAuthenticationNotPermitted"):
        BlobClient(account.url, "data", "x", credential=by_key).download_blob()
    assert BlobClient.from_blob_url(account.access.url("acct", "data", "x")).download_blob().readall() == b"1"
    client = ContainerClient(account.url, "data", credential=DefaultAzureCredential())
    assert client.download_blob("x").readall() == b"1"


def test_an_account_that_does_not_exist_is_named(account: Account) -> None:
    client = BlobServiceClient("https://other.blob.core.windows.net", credential=DefaultAzureCredential())
    with pytest.raises(ResourceNotFoundError, match="no storage account 'other'"):
        client.create_container("x")


def test_what_is_not_there_answers_501_in_the_services_form(account: Account, container: Any) -> None:
    with pytest.raises(HttpResponseError) as caught:
        container.get_blob_client("x").create_page_blob(512)
    assert (caught.value.status_code, caught.value.error_code) == (501, "NotImplemented")  # type: ignore[attr-defined]
