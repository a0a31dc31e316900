"""The files of a catalog's model, offered as Microsoft's registries offer theirs: a container, and a signature for it.

The storage account lies in a subscription that is not the user's, as Microsoft's does: no list of the user's shows it.
"""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from localcloud.arm import ArmError, json_response, read_json, require_api_version
from localcloud.catalog.content import Catalog
from localcloud.cloud import REGION, Cloud
from localcloud.services.blob_access import BlobAccess
from localcloud.services.blob_files import Blobs
from localcloud.store import Body

_ACCOUNT = "catalogfiles"
_ID = (
    f"/subscriptions/{uuid.uuid5(uuid.NAMESPACE_URL, 'azureml://registries')}/resourceGroups/registries"
    f"/providers/Microsoft.Storage/storageAccounts/{_ACCOUNT}"
)


class CatalogFiles:
    """Puts a model's files where blobs lie, once, when they are first asked for."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def data_reference(self, request: Request) -> Response:
        """A signature with which the files of a model can be read for an hour."""
        require_api_version(request)
        body = await read_json(request)
        reference = str(body.get("assetId") or "")
        path, named = request.path_params, self._cloud.part(Catalog, Catalog.load).find(reference)
        if (named.registry, named.name, named.version) != (path["registry"], path["name"], path["version"]):
            raise ArmError(400, "UserError", f"'{reference}' is not the asset that the address names.")
        container = self._container(reference, named.id)
        access = self._cloud.part(BlobAccess, lambda: BlobAccess(self._cloud))
        return json_response(
            {
                "blobReferenceForConsumption": {
                    "blobUri": f"https://{_ACCOUNT}.blob.core.windows.net/{container}",
                    "storageAccountArmId": _ID,
                    "credential": {
                        "credentialType": "SAS",
                        "sasUri": access.url(_ACCOUNT, container, permissions="rl"),
                    },
                }
            }
        )

    def _container(self, reference: str, model: str) -> str:
        source = self._cloud.part(Catalog, Catalog.load).model_folder(reference)
        account: Body = {"id": _ID, "name": _ACCOUNT, "location": REGION, "properties": {}}
        self._cloud.store.put(_ID, {**account, "type": "Microsoft.Storage/storageAccounts"})
        container = str(uuid.uuid5(uuid.NAMESPACE_URL, model))
        blobs = self._cloud.part(Blobs, lambda: Blobs(self._cloud))
        if blobs.make_container(_ACCOUNT, container):
            shutil.copytree(source, blobs.container(_ACCOUNT, container), copy_function=_link, dirs_exist_ok=True)
        return container


def _link(source: str, target: str) -> None:
    """The same file under a second name where the file system can; weights are large, and nobody writes here."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(Path(source), target)
