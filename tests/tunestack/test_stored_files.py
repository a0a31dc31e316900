"""Where files lie: addresses as Azure ML writes them, of this workspace only, and outputs that run history knows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tunestack import caller, stored_files
from tunestack.connect import Connection
from tunestack.errors import CloudError, UsageError

LONG = "azureml://subscriptions/s/resourcegroups/g/workspaces/w/datastores/store/paths/a/b/"
STORE = {"accountName": "acct", "containerName": "box", "datastoreType": "AzureBlob"}


class Cloud:
    """Answers for a workspace `w`: one datastore, and what run history says of outputs."""

    def __init__(self, store: dict[str, Any] | None = None, outputs: dict[str, Any] | None = None) -> None:
        self.workspace = SimpleNamespace(
            path="/subscriptions/s/resourceGroups/g/providers/P/workspaces/w",
            name="w",
            subscription_id="s",
            resource_group="g",
        )
        self.body = {"properties": {"mlFlowTrackingUri": "azureml://eastus.api.azureml.ms/mlflow"}}
        self.credential = SimpleNamespace(get_token=lambda scope: SimpleNamespace(token=outputs or ""))
        self.asked: list[str] = []
        self._containers: dict[Any, Any] = {}
        self._store, self._outputs = store or STORE, outputs or {}

    container = Connection.container

    @property
    def arm(self) -> Any:
        return self

    def get(self, path: str, version: str) -> dict[str, Any]:
        self.asked.append(path)
        return {"properties": self._store}

    def post(self, url: str, body: Any) -> dict[str, Any]:
        self.asked.append(url)
        if url.endswith("/rundata"):
            return {"runMetadata": {"outputs": self._outputs}}
        (asset,) = body["values"]
        return {"values": {asset: {"uri": LONG} if "dataversion" in url else {"path": LONG}}}


@pytest.mark.parametrize("uri", [LONG, "azureml://datastores/store/paths/a/b", LONG.replace("groups/g", "Groups/g")])
def test_a_path_of_a_datastore_is_a_folder_of_its_container(uri: str) -> None:
    cloud = Cloud()
    found = stored_files.folder(cloud, uri)  # type: ignore[arg-type]
    assert (found.path, found.client.container_name) == ("a/b", "box")
    assert found.client.url == "https://acct.blob.core.windows.net/box"
    assert cloud.asked == [f"{cloud.workspace.path}/datastores/store"]


@pytest.mark.parametrize(
    ("uri", "store", "error", "said"),
    [
        (LONG.replace("/w/", "/other/"), STORE, UsageError, "lies in workspace 'other', not in 'w'"),
        ("https://elsewhere.example.com/a", STORE, CloudError, "is no path of a datastore"),
        (LONG, {"datastoreType": "AzureFile"}, CloudError, "is of type 'AzureFile' and holds no blobs"),
    ],
)
def test_what_is_none_or_lies_elsewhere_is_told(uri, store, error, said) -> None:
    with pytest.raises(error, match=said):
        stored_files.folder(Cloud({"accountName": "acct", **store}), uri)  # type: ignore[arg-type]


def job(**outputs: Any) -> dict[str, Any]:
    return {"name": "j", "properties": {"outputs": outputs}}


def test_an_output_that_shows_its_address_needs_no_run_history() -> None:
    cloud = Cloud()
    found = stored_files.job_output(cloud, job(model={"uri": LONG}), "model")  # type: ignore[arg-type]
    assert found
    assert found.path == "a/b"
    assert len(cloud.asked) == 1


@pytest.mark.parametrize(("kind", "service"), [("uri_folder", "data/v1.0"), ("MLFlowModel", "modelregistry/v1.0")])
def test_one_that_does_not_is_found_as_the_sdk_finds_it(kind: str, service: str) -> None:
    cloud = Cloud(outputs={"model": {"assetId": "azureml://asset", "type": kind}})
    found = stored_files.job_output(cloud, job(model={"uri": None}), "model")  # type: ignore[arg-type]
    assert found
    assert found.path == "a/b"
    assert service in cloud.asked[1]


def test_an_output_that_is_not_there_or_was_never_written_is_none() -> None:
    assert stored_files.job_output(Cloud(), job(), "model") is None  # type: ignore[arg-type]
    assert stored_files.job_output(Cloud(), job(model={}), "model") is None  # type: ignore[arg-type]


# -- the caller


def token(claims: str) -> str:
    import base64

    return f"x.{base64.urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.y"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (token('{"upn": "ann@example.com", "oid": "1"}'), "ann@example.com"),
        (token('{"appid": "app", "oid": "1"}'), "app"),
        (token('{"oid": "1"}'), "1"),
        (token("{}"), "unknown"),
        (token("["), "unknown"),
        (token("[]"), "unknown"),
        ("opaque", "unknown"),
    ],
)
def test_who_calls_is_read_from_the_token_where_it_says_so(given: str, name: str) -> None:
    assert caller.name(Cloud(outputs=given)) == name  # type: ignore[arg-type]
