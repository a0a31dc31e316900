"""Single files of a registry model: where its container lies, a signature to read it, and the files by name.

As the SDK's `models.download` does it (azure-ai-ml 1.35.2, _registry_utils.py), which takes the weights along.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from tunestack.errors import CloudError, UsageError
from tunestack.registry_id import RegistryId

_DISCOVERY = "https://eastus.api.azureml.ms/registrymanagement/v1.0/registries"
_VERSION = "2021-10-01-dataplanepreview"
_WANTED = frozenset(
    {
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "finetune_config.json",
    }
)


def download(model: RegistryId, folder: Path) -> None:
    """The tokenizer's files of a model, and its `finetune_config.json`, flat into a folder."""
    from azure.core.exceptions import AzureError
    from azure.storage.blob import ContainerClient

    place, signed = _signed(model)
    try:
        container = ContainerClient.from_container_url(signed)
        found = [str(blob.name) for blob in container.list_blobs(name_starts_with=place)]
        wanted = {PurePosixPath(name).name: name for name in sorted(found) if PurePosixPath(name).name in _WANTED}
        for name, blob in wanted.items():
            (folder / name).write_bytes(container.download_blob(blob).readall())
    except AzureError as error:
        said = " ".join(str(error).split())[:160]
        raise CloudError(f"the files of '{model}' cannot be read from its registry: {said}") from error
    if "tokenizer.json" not in wanted:
        raise UsageError(f"'{model}' has no tokenizer.json among its files")


def _signed(model: RegistryId) -> tuple[str, str]:
    """The path of the model's files in their container, and the container's address with a signature to read it."""
    from tunestack.arm import Arm
    from tunestack.connect import credential

    arm = Arm(credential())
    place = arm.get(f"{_DISCOVERY}/{model.registry}/discovery", "v1.0")
    base = (
        f"{place['primaryRegionResourceProviderUri']}mferp/managementfrontend"
        f"/subscriptions/{place['subscriptionId']}/resourceGroups/{place['resourceGroup']}"
        f"/providers/Microsoft.MachineLearningServices/registries/{model.registry}"
    )
    found = arm.get(f"{base}/models/{model.name}/versions/{model.version}", _VERSION)
    uri = str(found["properties"]["modelUri"])
    body: dict[str, Any] = {"assetId": str(model), "blobUri": uri}
    answer = arm.post(f"{base}/datarefs/{model.name}/versions/{model.version}", _VERSION, body)
    reference = answer["blobReferenceForConsumption"]
    path = urlsplit(uri).path.strip("/").partition("/")[2] if uri.startswith("https://") else ""
    return path, str((reference.get("credential") or {}).get("sasUri") or reference["blobUri"])
