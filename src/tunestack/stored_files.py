"""Files that lie in a workspace's or a registry's storage: listed, read and written with the caller's own identity.

Where an output of a job lies is asked here too. What the files mean is left to others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from tunestack.errors import CloudError, UsageError

if TYPE_CHECKING:
    from tunestack.connect import Connection

VERSION = "2023-08-01-preview"
SMALL_BYTES = 16 * 2**20  # no file that is read whole here may be larger
_DATASTORE = re.compile(
    r"azureml://(?:subscriptions/[^/]+/resource[gG]roups/(?P<group>[^/]+)(?:/providers/[^/]+)?"
    r"/workspaces/(?P<workspace>[^/]+)/)?datastores/(?P<datastore>[^/]+)/paths/(?P<path>.*)"
)
_DATA_TYPES = ("uri_file", "uri_folder", "mltable")


@dataclass(frozen=True)
class Folder:
    """A folder of one blob container; `uri` is how Azure ML names it, `client` reads and writes the container."""

    uri: str
    path: str
    client: Any = field(repr=False, compare=False)

    def files(self) -> dict[str, int]:
        """Paths below the folder, with their sizes in bytes; empty where there is no such folder."""
        head = f"{self.path}/" if self.path else ""
        found = self.client.list_blobs(name_starts_with=head)
        return {blob.name[len(head) :]: int(blob.size) for blob in found if not _is_marker(blob)}

    def read(self, name: str, limit: int = SMALL_BYTES) -> bytes | None:
        """A small file; None where there is none. CloudError for one above `limit` bytes."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            found = self.client.download_blob(self._blob(name), max_concurrency=1)
        except ResourceNotFoundError:
            return None
        if found.size > limit:
            raise CloudError(f"'{name}' in '{self.uri}' has {found.size:,} bytes; at most {limit:,} are read")
        content: bytes = found.readall()
        return content

    def chunks(self, name: str) -> Iterator[bytes]:
        """A file of any size, in the pieces in which it arrives."""
        yield from self.client.download_blob(self._blob(name), max_concurrency=1).chunks()

    def write(self, files: Mapping[str, Path]) -> None:
        """Upload files under their paths in this folder; what lies there is replaced."""
        for name, file in files.items():
            with file.open("rb") as content:
                self.client.upload_blob(self._blob(name), content, overwrite=True)

    def _blob(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


def folder(connection: Connection, uri: str) -> Folder:
    """The folder that `azureml://…/datastores/D/paths/P` names; the datastore must be the workspace's own."""
    found = _DATASTORE.fullmatch(uri)
    place = connection.workspace
    if found is None:
        raise CloudError(f"'{uri}' is no path of a datastore, so its files cannot be read")
    if found["workspace"] and found["workspace"].lower() != place.name.lower():
        raise UsageError(
            f"'{uri}' lies in workspace '{found['workspace']}', not in '{place.name}'",
            fix="Run this against that workspace",
        )
    name = found["datastore"]
    store = connection.arm.get(f"{place.path}/datastores/{name}", VERSION)["properties"]
    container = store.get("containerName") or store.get("filesystem")
    if not container:
        raise CloudError(f"datastore '{name}' is of type '{store.get('datastoreType')}' and holds no blobs")
    host = f"https://{store['accountName']}.blob.{store.get('endpoint') or 'core.windows.net'}"
    return Folder(uri.rstrip("/"), found["path"].strip("/"), connection.container(host, container))


def own_folder(connection: Connection, path: str) -> Folder:
    """A folder in the workspace's own blob store, in the long form that every asset understands."""
    place = connection.workspace
    head = f"subscriptions/{place.subscription_id}/resourcegroups/{place.resource_group}/workspaces/{place.name}"
    return folder(connection, f"azureml://{head}/datastores/workspaceblobstore/paths/{path}")


def job_output(connection: Connection, body: Mapping[str, Any], output: str) -> Folder | None:
    """Where an output of a job lies; None where the job has no such output, or it was never written."""
    properties = body["properties"]
    if output not in (properties.get("outputs") or {}):
        return None
    uri = str(properties["outputs"][output].get("uri") or "")
    if "/datastores/" not in uri and not uri.startswith("azureml://datastores/"):
        uri = _resolved(connection, str(body["name"]), output)
    return folder(connection, uri) if uri else None


def registry_model(connection: Connection, registry: str, name: str, version: str) -> tuple[Any, Folder] | None:
    """A model of a registry, and where its files lie, by a signed address; None where there is none."""
    from azure.ai.ml._utils._registry_utils import get_storage_details_for_registry_assets
    from azure.core.exceptions import ResourceNotFoundError

    models = connection.registry(registry).models
    try:
        found = models.get(name, version=version)
    except ResourceNotFoundError:
        return None
    # The SDK's own `models.download` asks for the address in this way, and then writes to disk; nothing public does.
    signed, _ = get_storage_details_for_registry_assets(
        service_client=models._registry_service_client,
        asset_name=name,
        asset_version=version,
        reg_name=registry,
        asset_type="models",
        rg_name=models._resource_group_name,
        uri=found.path,
    )
    from azure.storage.blob import ContainerClient

    inside = unquote(urlsplit(found.path).path).strip("/").partition("/")[2]
    return found, Folder(str(found.path), inside, ContainerClient.from_container_url(signed))


def _is_marker(blob: Any) -> bool:
    """Storage with a hierarchical namespace lists folders as empty blobs that say so."""
    return str((blob.metadata or {}).get("hdi_isfolder", "")).lower() == "true"


def _resolved(connection: Connection, job: str, output: str) -> str:
    """As the SDK finds an output whose address the job does not show: run history knows an asset, it has a place."""
    host = urlsplit(connection.body["properties"].get("mlFlowTrackingUri", "")).hostname
    place = connection.workspace.path
    data = connection.arm.post(f"https://{host}/history/v1.0{place}/rundata", body={"runId": job})
    known = ((data.get("runMetadata") or {}).get("outputs") or {}).get(output) or {}
    asset, kind = known.get("assetId"), known.get("type")
    if not asset:
        return ""
    service = "data/v1.0" if kind in _DATA_TYPES else "modelregistry/v1.0"
    what = "dataversion" if kind in _DATA_TYPES else "models"
    answer = connection.arm.post(
        f"https://{host}/{service}{quote(place)}/{what}/batchGetResolvedUris", body={"values": [asset]}
    )
    found = (answer.get("values") or {}).get(asset) or {}
    return str(found.get("uri") or found.get("path") or "")
