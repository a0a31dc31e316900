"""The Blob service on `*.blob.core.windows.net`: containers, block blobs, ranges, lists and copies.

Page and append blobs, leases, snapshots, tiers and batches are not here: they answer 501.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from email.utils import format_datetime, parsedate_to_datetime
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from localcloud.arm import ArmRoute
from localcloud.cloud import PRINCIPAL_ID, TENANT, Cloud
from localcloud.services.blob_access import VERSION, BlobAccess
from localcloud.services.blob_files import Blob, BlobError, Blobs

_CHUNK = 256 * 1024
_READ_PARAMETERS = {"timeout", "rscc", "rscd", "rsce", "rscl", "rsct"}

# -- routes ----------------------------------------------------------------------------------------------------


def routes(cloud: Cloud) -> list[Route]:
    service = BlobService(cloud)
    return [
        ArmRoute("/", _answered(service.on_account), methods=["GET", "POST"]),
        ArmRoute("/{container}", _answered(service.on_container), methods=["GET", "HEAD", "PUT", "DELETE"]),
        ArmRoute("/{container}/{blob:path}", _answered(service.on_blob), methods=["GET", "HEAD", "PUT", "DELETE"]),
    ]


# -- handlers --------------------------------------------------------------------------------------------------


def _answered(handler: Callable[[Request, str], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Gives the handler the account's name, and turns its errors into the service's XML."""

    async def answer(request: Request) -> Response:
        account = (request.headers.get("host") or "").partition(".")[0].lower()
        try:
            response = await handler(request, account)
        except BlobError as error:
            content = None if request.method == "HEAD" or error.status == 304 else error.xml()
            response = Response(content, error.status, headers=error.headers, media_type="application/xml")
            response.headers["x-ms-error-code"] = error.code
        response.headers["x-ms-version"] = request.headers.get("x-ms-version", VERSION)
        return response

    return answer


def _missing(request: Request, what: str) -> BlobError:
    return BlobError(501, "NotImplemented", f"The local cloud does not have {request.method} {what}.")


class BlobService:
    """Takes blob requests apart; what they do is `Blobs`, who may is `BlobAccess`."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._blobs = cloud.part(Blobs, lambda: Blobs(cloud))
        self._access = cloud.part(BlobAccess, lambda: BlobAccess(cloud))

    async def on_account(self, request: Request, account: str) -> Response:
        what = (request.method, request.query_params.get("restype", ""), request.query_params.get("comp", ""))
        if what == ("POST", "service", "userdelegationkey"):
            self._access.check(request, account, "", None, "")
            return self._delegation_key(account, await request.body())
        if what == ("GET", "", "list"):
            self._access.check(request, account, "", None, "l")
            return self._list_containers(request, account)
        raise _missing(request, f"account operation restype='{what[1]}' comp='{what[2]}'")

    async def on_container(self, request: Request, account: str) -> Response:
        container, query = request.path_params["container"], request.query_params
        comp, method = query.get("comp", ""), request.method
        if query.get("restype") != "container":
            raise _missing(request, f"blob '{container}' of the root container")
        if method == "PUT" and comp == "":
            self._access.check(request, account, container, None, "cw")
            if not self._blobs.make_container(account, container):
                raise BlobError(409, "ContainerAlreadyExists", "The specified container already exists.")
            return Response(status_code=201, headers=self._container_headers(account, container))
        if method in ("GET", "HEAD") and comp in ("", "metadata"):
            self._access.check(request, account, container, None, "rl")
            return Response(headers=self._container_headers(account, container))
        if method == "DELETE" and comp == "":
            self._access.check(request, account, container, None, "d")
            await asyncio.to_thread(self._blobs.remove_container, account, container)
            return Response(status_code=202)
        if method == "GET" and comp == "list":
            self._access.check(request, account, container, None, "l")
            return self._list_blobs(request, account, container)
        raise _missing(request, f"container operation comp='{comp}'")

    async def on_blob(self, request: Request, account: str) -> Response:
        container, name = request.path_params["container"], request.path_params["blob"]
        comp, method = request.query_params.get("comp", ""), request.method
        if any(key in request.query_params for key in ("snapshot", "versionid")):
            raise _missing(request, "snapshots and versions")
        if method in ("GET", "HEAD") and comp in ("", "metadata"):
            self._access.check(request, account, container, name, "r")
            return self._read(request, self._blobs.get(account, container, name))
        if method == "PUT" and comp in ("", "block", "blocklist", "metadata"):
            self._access.check(request, account, container, name, "w" if comp == "metadata" else "cw")
            self._blobs.require_container(account, container)
            self._blobs.path(account, container, name)
            do = {"": self._put, "block": self._put_block, "blocklist": self._put_list, "metadata": self._put_metadata}
            return await do[comp](request, account, container, name)
        if method == "DELETE" and comp == "":
            self._access.check(request, account, container, name, "d")
            self._check_conditions(request, account, container, name)
            self._blobs.remove(account, container, name)
            return Response(status_code=202)
        raise _missing(request, f"blob operation comp='{comp}'")

    # reading

    def _read(self, request: Request, blob: Blob) -> Response:
        if request.headers.get("if-match") not in (None, "*", blob.etag):
            raise BlobError(412, "ConditionNotMet", "The condition specified using HTTP header(s) is not met.")
        since = request.headers.get("if-modified-since")
        fresh = since is not None and blob.modified.replace(microsecond=0) <= parsedate_to_datetime(since)
        if request.headers.get("if-none-match") in ("*", blob.etag) or fresh:
            raise BlobError(304, "ConditionNotMet", "")
        headers = _blob_headers(blob)
        if request.method == "HEAD":
            return Response(headers=headers | {"Content-Length": str(blob.size)})
        wanted = request.headers.get("x-ms-range") or request.headers.get("range")
        first, last, status = 0, blob.size - 1, 200
        if wanted:
            first, last = _range(wanted, blob.size)
            status = 206
            headers["Content-Range"] = f"bytes {first}-{last}/{blob.size}"
            if "Content-MD5" in headers:
                headers["x-ms-blob-content-md5"] = headers.pop("Content-MD5")
        headers["Content-Length"] = str(last - first + 1)
        return StreamingResponse(_pieces(blob.path, first, last - first + 1), status, headers=headers)

    def _list_blobs(self, request: Request, account: str, container: str) -> Response:
        query = request.query_params
        prefix, delimiter, marker = (query.get(name, "") for name in ("prefix", "delimiter", "marker"))
        if delimiter not in ("", "/"):
            raise BlobError(400, "InvalidQueryParameterValue", f"'{delimiter}' is no delimiter here; use '/'.")
        limit = _whole_number(query.get("maxresults", "5000"), 1, 5000)
        names = (self._blobs.level if delimiter else self._blobs.names)(account, container, prefix)
        shown, following = _after(names, marker, limit)
        root = ElementTree.Element(
            "EnumerationResults",
            {"ServiceEndpoint": f"https://{account}.blob.core.windows.net/", "ContainerName": container},
        )
        for tag, text in (("Prefix", prefix), ("Marker", marker), ("MaxResults", str(limit)), ("Delimiter", delimiter)):
            if text:
                ElementTree.SubElement(root, tag).text = text
        listed = ElementTree.SubElement(root, "Blobs")
        for name in shown:
            if name.endswith("/"):
                ElementTree.SubElement(ElementTree.SubElement(listed, "BlobPrefix"), "Name").text = name
                continue
            try:
                blob = self._blobs.get(account, container, name)
            except BlobError:
                continue  # removed by a running job since the folder was read
            _blob_element(listed, blob, with_metadata="metadata" in query.get("include", "").split(","))
        ElementTree.SubElement(root, "NextMarker").text = following
        return _xml(root)

    def _list_containers(self, request: Request, account: str) -> Response:
        query = request.query_params
        prefix = query.get("prefix", "")
        found = (name for name in self._blobs.containers(account) if name.startswith(prefix))
        limit = _whole_number(query.get("maxresults", "5000"), 1, 5000)
        shown, following = _after(found, query.get("marker", ""), limit)
        root = ElementTree.Element(
            "EnumerationResults", {"ServiceEndpoint": f"https://{account}.blob.core.windows.net/"}
        )
        listed = ElementTree.SubElement(root, "Containers")
        for name in shown:
            element = ElementTree.SubElement(listed, "Container")
            ElementTree.SubElement(element, "Name").text = name
            properties = ElementTree.SubElement(element, "Properties")
            for tag, text in self._container_headers(account, name).items():
                ElementTree.SubElement(properties, "Etag" if tag == "ETag" else tag).text = text
        ElementTree.SubElement(root, "NextMarker").text = following
        return _xml(root)

    def _container_headers(self, account: str, container: str) -> dict[str, str]:
        stat = self._blobs.require_container(account, container).stat()
        return {"ETag": f'"0x{stat.st_ino:X}"', "Last-Modified": _http_date(stat.st_mtime)}

    # writing

    async def _put(self, request: Request, account: str, container: str, name: str) -> Response:
        kind = request.headers.get("x-ms-blob-type", "BlockBlob")
        copied = request.headers.get("x-ms-copy-source")
        if kind != "BlockBlob":
            raise _missing(request, f"blobs of type '{kind}'")
        self._check_conditions(request, account, container, name)
        if copied:
            blob = await self._copy(request, account, container, name, copied)
            synchronous = "x-ms-blob-type" in request.headers or "x-ms-requires-sync" in request.headers
            headers = {"x-ms-copy-status": "success", "x-ms-copy-id": blob.etag.strip('"')}
            return Response(status_code=201 if synchronous else 202, headers=_blob_headers(blob) | headers)
        whole = self._blobs.upload_path(account)
        try:
            md5 = await _receive(request, whole)
            # Another upload may have come first while this body arrived.
            self._check_conditions(request, account, container, name)
            content_type = request.headers.get("x-ms-blob-content-type") or request.headers.get("content-type")
            blob = self._blobs.commit(
                account, container, name, whole, content_type=content_type, md5=md5, metadata=_metadata(request)
            )
        finally:
            whole.unlink(missing_ok=True)
        return Response(status_code=201, headers=_written(blob) | {"Content-MD5": md5})

    async def _put_block(self, request: Request, account: str, container: str, name: str) -> Response:
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

    async def _put_list(self, request: Request, account: str, container: str, name: str) -> Response:
        try:
            root = ElementTree.fromstring(await request.body())
        except ElementTree.ParseError as error:
            raise BlobError(400, "InvalidXmlDocument", f"The block list is not XML: {error}.") from None
        blocks = [(element.text or "").strip() for element in root]
        known = {"content_type": request.headers.get("x-ms-blob-content-type"), "metadata": _metadata(request)}
        if request.headers.get("x-ms-blob-content-md5"):
            known["md5"] = request.headers["x-ms-blob-content-md5"]
        if not self._is_repeated(account, container, name, blocks):
            self._check_conditions(request, account, container, name)
        blob = await asyncio.to_thread(self._blobs.join_blocks, account, container, name, blocks, **known)
        # No Content-MD5: it would be the one of this XML, and clients take it for the blob's.
        return Response(status_code=201, headers=_written(blob))

    def _is_repeated(self, account: str, container: str, name: str, blocks: list[str]) -> bool:
        if not self._blobs.exists(account, container, name):
            return False
        return bool(blocks) and list(self._blobs.get(account, container, name).blocks) == blocks

    async def _put_metadata(self, request: Request, account: str, container: str, name: str) -> Response:
        self._check_conditions(request, account, container, name)
        blob = self._blobs.set_metadata(account, container, name, _metadata(request))
        return Response(status_code=200, headers=_written(blob))

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
        await asyncio.to_thread(_copy_file, blob.path, whole)
        metadata = _metadata(request) or dict(blob.metadata)
        return self._blobs.commit(
            account, container, name, whole, content_type=blob.content_type, md5=blob.md5, metadata=metadata
        )

    def _check_conditions(self, request: Request, account: str, container: str, name: str) -> None:
        wanted, refused = request.headers.get("if-match"), request.headers.get("if-none-match")
        if wanted is None and refused is None:
            return
        there = self._blobs.exists(account, container, name)
        if refused == "*" and there:
            raise BlobError(409, "BlobAlreadyExists", "The specified blob already exists.")
        etag = self._blobs.get(account, container, name).etag if there else None
        if (refused and refused == etag) or (wanted and etag is None) or (wanted and wanted not in ("*", etag)):
            raise BlobError(412, "ConditionNotMet", "The condition specified using HTTP header(s) is not met.")

    def _delegation_key(self, account: str, body: bytes) -> Response:
        try:
            asked = {element.tag: element.text or "" for element in ElementTree.fromstring(body)}
            start, expiry = asked.get("Start", ""), asked["Expiry"]
        except (ElementTree.ParseError, KeyError):
            raise BlobError(400, "InvalidXmlDocument", "The body must be a KeyInfo with Start and Expiry.") from None
        root = ElementTree.Element("UserDelegationKey")
        for tag, text in (
            ("SignedOid", PRINCIPAL_ID),
            ("SignedTid", TENANT),
            ("SignedStart", start),
            ("SignedExpiry", expiry),
            ("SignedService", "b"),
            ("SignedVersion", VERSION),
            ("Value", self._access.delegation_key(account, start, expiry)),
        ):
            ElementTree.SubElement(root, tag).text = text
        return _xml(root)


# -- model -----------------------------------------------------------------------------------------------------


def _http_date(seconds: float) -> str:
    from datetime import UTC, datetime

    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


def _written(blob: Blob) -> dict[str, str]:
    return {
        "ETag": blob.etag,
        "Last-Modified": _http_date(blob.modified.timestamp()),
        "x-ms-request-server-encrypted": "true",
    }


def _blob_headers(blob: Blob) -> dict[str, str]:
    headers = {
        "ETag": blob.etag,
        "Last-Modified": _http_date(blob.modified.timestamp()),
        "Content-Type": blob.content_type,
        "Accept-Ranges": "bytes",
        "x-ms-blob-type": "BlockBlob",
        "x-ms-lease-state": "available",
        "x-ms-lease-status": "unlocked",
        "x-ms-server-encrypted": "true",
    }
    if blob.md5:
        headers["Content-MD5"] = blob.md5
    return headers | {f"x-ms-meta-{name}": value for name, value in blob.metadata.items()}


def _metadata(request: Request) -> dict[str, str]:
    start = "x-ms-meta-"
    return {name[len(start) :]: value for name, value in request.headers.items() if name.startswith(start)}


def _range(text: str, size: int) -> tuple[int, int]:
    """First and last byte of `bytes=a-b` or `bytes=a-`."""
    unit, _, span = text.partition("=")
    first, _, last = span.partition("-")
    if unit.strip() != "bytes" or not first.strip().isdigit() or (last and not last.strip().isdigit()):
        raise BlobError(400, "InvalidHeaderValue", f"'{text}' is no range.")
    begin, end = int(first), min(int(last), size - 1) if last else size - 1
    if begin >= size or end < begin:
        raise BlobError(
            416,
            "InvalidRange",
            "The range specified is invalid for the current size of the resource.",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return begin, end


def _whole_number(text: str, low: int, high: int) -> int:
    if not text.isdigit() or not low <= int(text):
        raise BlobError(400, "OutOfRangeQueryParameterValue", f"'{text}' is not between {low} and {high}.")
    return min(int(text), high)


def _after(names: Iterator[str], marker: str, limit: int) -> tuple[list[str], str]:
    """One page of names from the marker on, and the marker of the next page (empty at the end)."""
    found = list(islice((name for name in names if name >= marker), limit + 1))
    return found[:limit], found[limit] if len(found) > limit else ""


async def _pieces(path: Path, first: int, length: int) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        file.seek(first)
        while length > 0:
            piece = file.read(min(_CHUNK, length))
            if not piece:
                return
            length -= len(piece)
            yield piece


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


def _copy_file(source: Path, target: Path) -> None:
    import shutil

    shutil.copyfile(source, target)


def _blob_element(listed: ElementTree.Element, blob: Blob, *, with_metadata: bool) -> None:
    element = ElementTree.SubElement(listed, "Blob")
    ElementTree.SubElement(element, "Name").text = blob.name
    properties = ElementTree.SubElement(element, "Properties")
    values: Mapping[str, str | None] = {
        "Last-Modified": _http_date(blob.modified.timestamp()),
        "Etag": blob.etag.strip('"'),
        "Content-Length": str(blob.size),
        "Content-Type": blob.content_type,
        "Content-MD5": blob.md5,
        "BlobType": "BlockBlob",
        "LeaseStatus": "unlocked",
        "LeaseState": "available",
        "ServerEncrypted": "true",
    }
    for tag, text in values.items():
        if text is not None:
            ElementTree.SubElement(properties, tag).text = text
    if with_metadata:
        metadata = ElementTree.SubElement(element, "Metadata")
        for name, value in blob.metadata.items():
            ElementTree.SubElement(metadata, name).text = value


def _xml(root: ElementTree.Element) -> Response:
    return Response(ElementTree.tostring(root, "utf-8", xml_declaration=True), media_type="application/xml")
