"""What puts a blob there: a whole body, blocks and their list, metadata, and copies of other blobs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree

from starlette.requests import Request
from starlette.responses import Response

from localcloud.services.blob_access import BlobAccess
from localcloud.services.blob_answers import blob_headers, written_headers
from localcloud.services.blob_files import Blob, BlobError, Blobs


class BlobUploads:
    """The PUT requests of a blob. Who may has been checked before."""

    def __init__(self, blobs: Blobs, access: BlobAccess) -> None:
        self._blobs, self._access = blobs, access

    async def put(self, request: Request, account: str, container: str, name: str) -> Response:
        kind = request.headers.get("x-ms-blob-type", "BlockBlob")
        copied = request.headers.get("x-ms-copy-source")
        if kind != "BlockBlob":
            raise BlobError(501, "NotImplemented", f"The local cloud does not have blobs of type '{kind}'.")
        self.check_conditions(request, account, container, name)
        if copied:
            blob = await self._copy(request, account, container, name, copied)
            synchronous = "x-ms-blob-type" in request.headers or "x-ms-requires-sync" in request.headers
            headers = {"x-ms-copy-status": "success", "x-ms-copy-id": blob.etag.strip('"')}
            return Response(status_code=201 if synchronous else 202, headers=blob_headers(blob) | headers)
        whole = self._blobs.upload_path(account)
        try:
            md5 = await _receive(request, whole)
            # Another upload may have come first while this body arrived.
            self.check_conditions(request, account, container, name)
            content_type = request.headers.get("x-ms-blob-content-type") or request.headers.get("content-type")
            blob = self._blobs.commit(
                account, container, name, whole, content_type=content_type, md5=md5, metadata=_metadata(request)
            )
        finally:
            whole.unlink(missing_ok=True)
        return Response(status_code=201, headers=written_headers(blob) | {"Content-MD5": md5})

    async def put_block(self, request: Request, account: str, container: str, name: str) -> Response:
        block = request.query_params.get("blockid", "")
        if not block:
            raise BlobError(400, "InvalidQueryParameterValue", "'blockid' is required.")
        part = self._blobs.upload_path(account)
        try:
            md5 = await _receive(request, part)
            part.replace(self._blobs.block_path(account, container, name, block))
        finally:
            part.unlink(missing_ok=True)
        return Response(status_code=201, headers={"Content-MD5": md5, "x-ms-request-server-encrypted": "true"})

    async def put_list(self, request: Request, account: str, container: str, name: str) -> Response:
        try:
            root = ElementTree.fromstring(await request.body())
        except ElementTree.ParseError as error:
            raise BlobError(400, "InvalidXmlDocument", f"The block list is not XML: {error}.") from None
        blocks = [(element.text or "").strip() for element in root]
        known = {"content_type": request.headers.get("x-ms-blob-content-type"), "metadata": _metadata(request)}
        if request.headers.get("x-ms-blob-content-md5"):
            known["md5"] = request.headers["x-ms-blob-content-md5"]
        if not self._is_repeated(account, container, name, blocks):
            self.check_conditions(request, account, container, name)
        blob = await asyncio.to_thread(self._blobs.join_blocks, account, container, name, blocks, **known)
        # No Content-MD5: it would be the one of this XML, and clients take it for the blob's.
        return Response(status_code=201, headers=written_headers(blob))

    def _is_repeated(self, account: str, container: str, name: str, blocks: list[str]) -> bool:
        if not self._blobs.exists(account, container, name):
            return False
        return bool(blocks) and list(self._blobs.get(account, container, name).blocks) == blocks

    async def put_metadata(self, request: Request, account: str, container: str, name: str) -> Response:
        self.check_conditions(request, account, container, name)
        blob = self._blobs.set_metadata(account, container, name, _metadata(request))
        return Response(status_code=200, headers=written_headers(blob))

    async def _copy(self, request: Request, account: str, container: str, name: str, source: str) -> Blob:
        """Copy a blob of this cloud; the source's own signature, or the caller's right to the same account, counts."""
        parts = urlsplit(source)
        from_account, _, suffix = (parts.hostname or "").partition(".")
        from_container, _, from_name = unquote(parts.path).lstrip("/").partition("/")
        if suffix != "blob.core.windows.net":
            raise BlobError(400, "CannotVerifyCopySource", f"'{parts.hostname}' is no blob host of the local cloud.")
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if "sig" in query:
            self._access.check_sas(query, from_account, from_container, from_name, "r")
        elif from_account != account or "sig" in request.query_params:
            raise BlobError(401, "CannotVerifyCopySource", "The copy source needs a shared access signature.")
        blob = self._blobs.get(from_account, from_container, from_name)
        whole = self._blobs.upload_path(account)
        await asyncio.to_thread(shutil.copyfile, blob.path, whole)
        metadata = _metadata(request) or dict(blob.metadata)
        return self._blobs.commit(
            account, container, name, whole, content_type=blob.content_type, md5=blob.md5, metadata=metadata
        )

    def check_conditions(self, request: Request, account: str, container: str, name: str) -> None:
        wanted, refused = request.headers.get("if-match"), request.headers.get("if-none-match")
        if wanted is None and refused is None:
            return
        there = self._blobs.exists(account, container, name)
        if refused == "*" and there:
            raise BlobError(409, "BlobAlreadyExists", "The specified blob already exists.")
        etag = self._blobs.get(account, container, name).etag if there else None
        if (refused and refused == etag) or (wanted and etag is None) or (wanted and wanted not in ("*", etag)):
            raise BlobError(412, "ConditionNotMet", "The condition specified using HTTP header(s) is not met.")


def _metadata(request: Request) -> dict[str, str]:
    start = "x-ms-meta-"
    return {name[len(start) :]: value for name, value in request.headers.items() if name.startswith(start)}


async def _receive(request: Request, path: Path) -> str:
    """Write the body to a file as it arrives; its MD5, compared with the one that the client names."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("wb") as file:
        async for piece in request.stream():
            digest.update(piece)
            file.write(piece)
    md5 = base64.b64encode(digest.digest()).decode()
    if request.headers.get("content-md5", md5) != md5:
        raise BlobError(400, "Md5Mismatch", "The MD5 value specified in the request did not match the one of the body.")
    return md5
