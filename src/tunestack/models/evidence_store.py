"""Where evidence is kept: a data asset beside the model, a copy in a registry, and the artifacts of the job's run.

Each copy has `evidence/` and `evidence.sig` in its root. Nothing is judged here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from tunestack import stored_files
from tunestack.cli import note
from tunestack.errors import CloudError, GateSaidNo
from tunestack.models import evidence
from tunestack.models.weights import is_inside
from tunestack.stored_files import Folder

if TYPE_CHECKING:
    from tunestack.connect import Connection

VERSION = "2023-08-01-preview"


def asset_name(model: str) -> str:
    return f"{model}-evidence"


def find(connection: Connection, model: str, version: str) -> Folder | None:
    """The evidence of a workspace's model; None where there is none."""
    body = connection.arm.find(_path(connection, model, version), VERSION)
    return stored_files.folder(connection, str(body["properties"]["dataUri"])) if body else None


def keep(connection: Connection, model: str, version: str, root: Path) -> bool:
    """Upload the evidence and name it as a data asset. False where there is one already, which stays.

    Every try has a folder of its own, so that two at once, or one that was killed, cannot leave a mixture.
    """
    again = hashlib.sha256((root / evidence.SIGNATURE).read_bytes()).hexdigest()[:12]
    target = stored_files.own_folder(connection, f"evidence/{model}/{version}/{again}")
    target.write(_files(root))
    body = {
        "properties": {
            "dataType": "uri_folder",
            "dataUri": f"{target.uri}/",
            "description": f"Signed evidence of model '{model}:{version}'; docs/evidence.md says how to check it",
            "tags": {"project": "tunestack", "model": f"{model}:{version}"},
        }
    }
    try:
        connection.arm.put(_path(connection, model, version), VERSION, body)
    except CloudError as error:
        if error.status != 409:
            raise
        note(f"'{asset_name(model)}:{version}' is there already, by somebody else or an earlier try, and stays")
        return False
    return True


def keep_in_registry(connection: Connection, registry: str, model: str, version: str, root: Path) -> str:
    """As `keep`, in a registry: as a model, because the SDK can read no files of a registry's data asset."""
    from azure.ai.ml.constants import AssetTypes
    from azure.ai.ml.entities import Model

    name = asset_name(model)
    if stored_files.registry_model(connection, registry, name, version) is None:
        connection.registry(registry).models.create_or_update(
            Model(
                name=name,
                version=version,
                path=str(root),
                type=AssetTypes.CUSTOM_MODEL,
                description=f"Signed evidence of model '{model}:{version}', and no model itself",
                tags={"project": "tunestack", "model": f"{model}:{version}"},
            )
        )
    return f"{name}:{version}"


def fetch(source: Folder, target: Path, model: str) -> Path:
    """Copy evidence to disk, to be checked there. GateSaidNo for more than evidence ever is."""
    files = source.files()
    outside = [name for name in files if not is_inside(name)]
    if outside or len(files) > evidence.MOST_FILES:
        raise GateSaidNo(f"the evidence of model '{model}' is broken: it has {len(files)} files, or one named oddly")
    for name in files:
        content = source.read(name)
        if content is not None:
            place = target / name
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
            except OSError as error:  # in a blob store, `a` and `a/b` can both be files
                raise GateSaidNo(f"the evidence of model '{model}' is broken: '{name}' {error.strerror}") from error
    return target


def to_run(connection: Connection, job: Mapping[str, Any], root: Path) -> None:
    """The same files as artifacts of the job's run, where MLflow's page shows them; written over on a second time.

    Through run history, which is where azureml-mlflow sends artifacts as well.
    """
    files = _files(root)
    host = urlsplit(connection.body["properties"].get("mlFlowTrackingUri", "")).hostname
    experiment = quote(str(job["properties"].get("experimentName") or "Default"))
    run = f"{connection.workspace.path}/experiments/{experiment}/runs/{quote(str(job['name']))}"
    paths = [{"path": name} for name in files]
    answer = connection.arm.post(f"https://{host}/history/v1.0{run}/artifacts/batch/metadata", body={"paths": paths})
    places = answer.get("artifactContentInformation") or {}
    missing = [name for name in files if not (places.get(name) or {}).get("contentUri")]
    if missing:
        raise CloudError(f"run '{job['name']}' takes no artifacts {', '.join(missing)}: {answer.get('errors')}")
    from azure.core.pipeline.transport import RequestsTransport
    from azure.storage.blob import BlobClient

    with RequestsTransport() as shared:  # one connection for all: each file has a signed address of its own
        for name, file in files.items():
            with file.open("rb") as content:
                BlobClient.from_blob_url(places[name]["contentUri"], transport=shared).upload_blob(
                    content, overwrite=True
                )


def _files(root: Path) -> dict[str, Path]:
    return {file.relative_to(root).as_posix(): file for file in sorted(root.rglob("*")) if file.is_file()}


def _path(connection: Connection, model: str, version: str) -> str:
    return f"{connection.workspace.path}/data/{asset_name(model)}/versions/{version}"
