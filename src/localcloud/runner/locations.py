"""Where a job's inputs, outputs, logs and artifacts lie on this machine.

Blobs are plain files, so every address of Azure ML ends in a path that a step's process can open directly.
"""

from __future__ import annotations

from pathlib import Path

from localcloud.arm import ArmError
from localcloud.cloud import Cloud
from localcloud.runner.runs import Run
from localcloud.services.blob_files import BlobError, Blobs
from localcloud.services.ml.paths import blob_place, datastore_uri, local_path

DEFAULT_STORE = "workspaceblobstore"
ARTIFACT_STORE = "workspaceartifactstore"


class LocationError(Exception):
    """An address that leads nowhere on this machine; the text names it and says why."""


def local(cloud: Cloud, workspace: str, uri: str) -> Path:
    """The file or folder that an address names, whether it exists or not. LocationError when it cannot be told."""
    try:
        return local_path(cloud, workspace, uri)
    except ArmError as error:
        raise LocationError(error.message) from None


def job_output(cloud: Cloud, workspace: str, job: str, output: str) -> Path:
    """The path behind `azureml://jobs/{job}/outputs/{output}`. LocationError when there is no such job or output."""
    return local(cloud, workspace, f"azureml://jobs/{job}/outputs/{output}")


def artifact_place(cloud: Cloud, workspace: str, run_id: str, path: str = "") -> tuple[str, str, str]:
    """(account, container, blob name) of a run's logs and artifacts, or of one of them."""
    name = f"ExperimentRun/dcid.{run_id}/{path}".rstrip("/")
    try:
        return blob_place(cloud, workspace, f"azureml://datastores/{ARTIFACT_STORE}/paths/{name}")
    except ArmError as error:
        raise LocationError(error.message) from None


def artifact_file(cloud: Cloud, workspace: str, run_id: str, path: str = "") -> Path:
    """The same as a file or folder."""
    account, container, name = artifact_place(cloud, workspace, run_id, path)
    try:
        return cloud.part(Blobs, lambda: Blobs(cloud)).path(account, container, name)
    except BlobError as error:
        raise LocationError(error.message) from None


def output_uri(run: Run, name: str, kind: str, given: str | None) -> str:
    """Where an output of a run is written: where the user said, else `azureml/{run}/{output}` in the default store."""
    if given:
        uri = given.replace("${{name}}", run.id).replace("${{output_name}}", name)
        return uri.replace("${{default_datastore}}", f"azureml://datastores/{DEFAULT_STORE}")
    tail = "" if kind == "uri_file" else "/"
    return datastore_uri(run.workspace, DEFAULT_STORE, f"azureml/{run.id}/{name}{tail}")
