"""Models: a name and version for weights in a datastore, often those that a job left as an output.

An MLflow model's `MLmodel` is read when it is registered, and its flavors become the asset's.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from starlette.routing import Route

from localcloud.arm import ArmError
from localcloud.cloud import Cloud
from localcloud.services.ml.assets import AssetKind, asset_routes
from localcloud.services.ml.paths import job_output_uri, local_path, long_form
from localcloud.store import Body

_TYPES = ("custom_model", "mlflow_model", "triton_model")


def _prepare(cloud: Cloud, workspace: Body, asset_id: str, properties: Body) -> Body:
    kind = properties.setdefault("modelType", "custom_model")
    if kind not in _TYPES:
        raise ArmError(400, "UserError", f"The model type '{kind}' is not one of {', '.join(_TYPES)}.")
    sent = properties["modelUri"]
    uri = long_form(workspace["id"], job_output_uri(cloud, workspace["id"], sent))
    path = local_path(cloud, workspace["id"], uri)
    if not path.exists():
        raise ArmError(404, "NotFound", f"Nothing lies at the model's path '{sent}'.")
    if kind == "mlflow_model":
        properties["flavors"] = read_flavors(path, sent)
    else:
        properties.setdefault("flavors", {})
    if sent.startswith("azureml://jobs/"):
        properties["jobName"] = sent.split("/")[3]
    return properties | {"modelUri": uri}


def read_flavors(folder: Path, shown: str) -> Body:
    """The flavors of an MLflow model folder as the wire has them: `{name: {"data": {key: text}}}`."""
    file = folder / "MLmodel"
    if not file.is_file():
        raise ArmError(400, "UserError", f"'{shown}' is no MLflow model: it has no file 'MLmodel'.")
    try:
        described = yaml.safe_load(file.read_text())
        flavors = described["flavors"]
        return {
            name: {"data": {key: str(value) for key, value in (data or {}).items() if value is not None}}
            for name, data in flavors.items()
        }
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ArmError(400, "UserError", f"The 'MLmodel' file of '{shown}' cannot be read: {error}") from None


MODEL = AssetKind(
    segment="models",
    members=("modelUri", "modelType", "flavors", "jobName", "stage", "datasets", "intellectualProperty"),
    required=("modelUri",),
    content=lambda properties: (properties["modelUri"], properties["modelType"]),
    prepare=_prepare,
)


def routes(cloud: Cloud) -> list[Route]:
    return asset_routes(cloud, MODEL)
