"""The Files service on `*.file.core.windows.net`, as far as the question goes who may: the shares are not here.

A token without the data action is refused as Azure refuses it; one that has it gets a 501.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localcloud.arm import ArmError, ArmRoute
from localcloud.cloud import Cloud
from localcloud.permissions import permissions_of
from localcloud.services import entra
from localcloud.services.blob_access import mismatch
from localcloud.services.blob_files import BlobError

_FILES = "Microsoft.Storage/storageAccounts/fileServices/fileshares/files"
_VERBS = {"GET": "read", "HEAD": "read", "DELETE": "delete"}

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = Files(cloud)
    return [ArmRoute("/{path:path}", service.answer, methods=["GET", "HEAD", "PUT", "DELETE"])]


# -- handlers --------------------------------------------------------------------------------------------------


class Files:
    """Every call to a share, a folder in it or a file."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def answer(self, request: Request) -> Response:
        try:
            self._refuse(request)
            raise BlobError(501, "NotImplemented", "The local cloud keeps no file shares; this caller may use them.")
        except BlobError as error:
            response = Response(error.xml(), error.status, media_type="application/xml")
            response.headers["x-ms-error-code"] = error.code
            return response

    def _refuse(self, request: Request) -> None:
        account = (request.headers.get("host") or "").partition(".")[0].lower()
        known = self._cloud.store.beneath("/subscriptions", "microsoft.storage/storageaccounts")
        found = next((body for body in known if body["name"].lower() == account), None)
        if found is None:
            raise BlobError(404, "AccountNotFound", f"The local cloud has no storage account '{account}'.")
        try:
            claims = entra.check_token(
                self._cloud, request.headers.get("authorization"), ("https://storage.azure.com",)
            )
        except ArmError as error:
            raise BlobError(401, "InvalidAuthenticationInfo", error.message) from None
        share = request.path_params["path"].partition("/")[0]
        scope = f"{found['id']}/fileServices/default/fileshares/{share}"
        action = f"{_FILES}/{_VERBS.get(request.method, 'write')}"
        if not permissions_of(self._cloud).allowed(claims["oid"], action, scope, data=True):
            raise mismatch()
