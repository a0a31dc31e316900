"""From a data reference of Azure ML to the place on disk that it means.

Understood are datastore paths in short and long form, blob addresses, outputs of jobs, registered data, models and
code (by ARM id or `azureml:name:version`), and models of the registry. Nothing is fetched or made here.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from localcloud.arm import ArmError
from localcloud.catalog.content import Catalog
from localcloud.cloud import Cloud
from localcloud.services.blob_files import BlobError, Blobs
from localcloud.services.ml.ids import PROVIDER

_DATASTORE = re.compile(
    r"azureml://(?:subscriptions/(?P<subscription>[^/]+)/resource[gG]roups/(?P<group>[^/]+)"
    r"(?:/providers/[^/]+)?/workspaces/(?P<workspace>[^/]+)/)?datastores/(?P<datastore>[^/]+)/paths/(?P<path>.*)"
)
_JOB_OUTPUT = re.compile(r"azureml://jobs/(?P<job>[^/]+)/outputs/(?P<output>[^/]+)(?:/paths/(?P<path>.*))?/?")
_RUN_ARTIFACT = re.compile(r"(?:runs:/|azureml://runs/)(?P<job>[^/]+)/(?P<path>.*)")
_ASSET = re.compile(
    rf"(?:azureml:)?(?P<id>/subscriptions/.+/providers/{re.escape(PROVIDER)}/workspaces/[^/]+"
    r"/(?P<kind>data|models|codes)/[^/]+/versions/[^/]+)",
    re.IGNORECASE,
)
_URI_MEMBERS = {"data": "dataUri", "models": "modelUri", "codes": "codeUri"}


def _bad(uri: str, why: str) -> ArmError:
    return ArmError(400, "UserError", f"'{uri}' cannot be resolved: {why}")


def datastore_uri(workspace_id: str, datastore: str, path: str) -> str:
    """The long form of a datastore path, which is right in every workspace."""
    parts = workspace_id.strip("/").split("/")
    return (
        f"azureml://subscriptions/{parts[1]}/resourcegroups/{parts[3]}/workspaces/{parts[-1]}"
        f"/datastores/{datastore}/paths/{path}"
    )


def long_form(workspace_id: str, uri: str) -> str:
    """The same place with its workspace named; what is no short datastore path stays as it is."""
    found = _DATASTORE.fullmatch(uri)
    if found and not found["workspace"]:
        return datastore_uri(workspace_id, found["datastore"], found["path"])
    return uri


def job_output_uri(cloud: Cloud, workspace_id: str, uri: str) -> str:
    """`azureml://jobs/<job>/outputs/<name>` (and paths of a run's artifacts) as a datastore path.

    Other references are returned unchanged. 404 for an unknown job or output.
    """
    run = _RUN_ARTIFACT.fullmatch(uri)
    if run:
        return datastore_uri(workspace_id, "workspaceartifactstore", f"ExperimentRun/dcid.{run['job']}/{run['path']}")
    found = _JOB_OUTPUT.fullmatch(uri)
    if not found:
        return uri
    job = cloud.store.get(f"{workspace_id}/jobs/{found['job']}")
    if job is None:
        raise ArmError(404, "NotFound", f"The job '{found['job']}' of '{uri}' does not exist.")
    rest = (found["path"] or "").strip("/")
    if found["output"] == "artifacts":
        head = datastore_uri(workspace_id, "workspaceartifactstore", f"ExperimentRun/dcid.{found['job']}")
        return f"{head}/{rest}".rstrip("/")
    outputs = (job.get("properties") or {}).get("outputs") or {}
    output = outputs.get(found["output"])
    if not output or not output.get("uri"):
        known = ", ".join(sorted(name for name in outputs if name != "default")) or "none"
        raise ArmError(
            404,
            "NotFound",
            f"The job '{found['job']}' has no output '{found['output']}' yet. Its outputs: {known}; "
            f"its status: {job['properties'].get('status')}.",
        )
    return f"{long_form(workspace_id, output['uri']).rstrip('/')}/{rest}".rstrip("/")


def blob_place(cloud: Cloud, workspace_id: str, uri: str) -> tuple[str, str, str]:
    """(account, container, path) of a datastore path or a blob address; the path may be empty."""
    found = _DATASTORE.fullmatch(uri)
    if found:
        if found["workspace"]:
            workspace_id = (
                f"/subscriptions/{found['subscription']}/resourceGroups/{found['group']}"
                f"/providers/{PROVIDER}/workspaces/{found['workspace']}"
            )
        datastore = cloud.store.get(f"{workspace_id}/datastores/{found['datastore']}")
        if datastore is None:
            raise ArmError(404, "NotFound", f"The datastore '{found['datastore']}' of '{uri}' does not exist.")
        properties = datastore["properties"]
        container = properties.get("containerName") or properties.get("filesystem")
        if not container:
            raise _bad(uri, f"datastores of type '{properties['datastoreType']}' hold no blobs.")
        return properties["accountName"], container, found["path"].strip("/")
    parts = urlsplit(uri)
    host = parts.hostname or ""
    path = unquote(parts.path).strip("/")
    if parts.scheme == "https" and host.endswith((".blob.core.windows.net", ".dfs.core.windows.net")):
        container, _, rest = path.partition("/")
        return host.partition(".")[0], container, rest
    if parts.scheme in ("wasbs", "abfss") and parts.username:
        return host.partition(".")[0], parts.username, path
    raise _bad(uri, "the local cloud knows datastore paths, blob addresses, job outputs, assets and registry models.")


def identity_place(cloud: Cloud, workspace_id: str, reference: str) -> tuple[str, str] | None:
    """(account, container) of what is reached by identity; None for a registry's assets, and for datastores with
    credentials of their own. Raises as `local_path` does."""
    if reference.startswith("azureml://registries/"):
        return None
    uri = long_form(workspace_id, job_output_uri(cloud, workspace_id, _asset_uri(cloud, workspace_id, reference)))
    account, container, _ = blob_place(cloud, workspace_id, uri)
    found = _DATASTORE.fullmatch(uri)
    if found:
        workspace = (
            f"/subscriptions/{found['subscription']}/resourceGroups/{found['group']}"
            f"/providers/{PROVIDER}/workspaces/{found['workspace']}"
        )
        datastore = (cloud.store.get(f"{workspace}/datastores/{found['datastore']}") or {}).get("properties") or {}
        if (datastore.get("credentials") or {}).get("credentialsType") != "None":
            return None
    return account, container


def local_path(cloud: Cloud, workspace_id: str, reference: str) -> Path:
    """The file or folder on disk that a reference means, whether it exists already or not.

    Raises ArmError 404 for an asset, job, output or datastore that is not there, 400 for any other form.
    """
    if reference.startswith("azureml://registries/"):
        # Imported here: a registry's models are assets, and assets import this module.
        from localcloud.services.ml.registry_assets import own_model_path

        return own_model_path(cloud, reference) or cloud.part(Catalog, Catalog.load).model_folder(reference)
    uri = job_output_uri(cloud, workspace_id, _asset_uri(cloud, workspace_id, reference))
    account, container, path = blob_place(cloud, workspace_id, uri)
    blobs = cloud.part(Blobs, lambda: Blobs(cloud))
    try:
        return blobs.path(account, container, path) if path else blobs.container(account, container)
    except BlobError as error:
        raise _bad(reference, error.message) from None


def _asset_uri(cloud: Cloud, workspace_id: str, reference: str) -> str:
    """The address inside a registered asset; other references are returned unchanged."""
    found = _ASSET.fullmatch(reference)
    if found:
        asset = cloud.store.get(found["id"])
        if asset is None:
            raise ArmError(404, "NotFound", f"The asset '{found['id']}' does not exist.")
        uri: str = asset["properties"][_URI_MEMBERS[found["kind"].lower()]]
        return uri
    if reference.startswith("azureml:") and not reference.startswith("azureml://"):
        name, _, version = reference.removeprefix("azureml:").rpartition(":")
        for kind, member in _URI_MEMBERS.items():
            asset = cloud.store.get(f"{workspace_id}/{kind}/{name}/versions/{version}")
            if asset is not None:
                return str(asset["properties"][member])
        raise ArmError(404, "NotFound", f"There is no data or model asset '{reference}'.")
    return reference
