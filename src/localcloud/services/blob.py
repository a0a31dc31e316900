"""The Blob service on `*.blob.core.windows.net`: containers, block blobs, ranges, lists and copies.

Page and append blobs, leases, snapshots, tiers and batches are not here: they answer 501.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from xml.etree import ElementTree

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from localcloud.arm import ArmRoute
from localcloud.cloud import TENANT, Cloud
from localcloud.services.blob_access import VERSION, BlobAccess
from localcloud.services.blob_answers import (
    add_blob,
    blob_headers,
    byte_range,
    http_date,
    page_of_names,
    pieces,
    whole_number,
    xml_response,
)
from localcloud.services.blob_files import Blob, BlobError, Blobs
from localcloud.services.blob_uploads import BlobUploads

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
        except ClientDisconnect:
            # Nobody reads this answer; what had arrived of the body is gone.
            response = Response(status_code=499)
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
        self._uploads = BlobUploads(self._blobs, self._access)
        cloud.on_start.append(self._blobs.sweep_uploads)

    async def on_account(self, request: Request, account: str) -> Response:
        what = (request.method, request.query_params.get("restype", ""), request.query_params.get("comp", ""))
        if what == ("POST", "service", "userdelegationkey"):
            principal = self._access.check(request, account, "", None, "")
            return self._delegation_key(account, principal, await request.body())
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
            ways = self._uploads
            do = {"": ways.put, "block": ways.put_block, "blocklist": ways.put_list, "metadata": ways.put_metadata}
            return await do[comp](request, account, container, name)
        if method == "DELETE" and comp == "":
            self._access.check(request, account, container, name, "d")
            self._uploads.check_conditions(request, account, container, name)
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
        headers = blob_headers(blob)
        if request.method == "HEAD":
            return Response(headers=headers | {"Content-Length": str(blob.size)})
        wanted = request.headers.get("x-ms-range") or request.headers.get("range")
        first, last, status = 0, blob.size - 1, 200
        if wanted:
            first, last = byte_range(wanted, blob.size)
            status = 206
            headers["Content-Range"] = f"bytes {first}-{last}/{blob.size}"
            if "Content-MD5" in headers:
                headers["x-ms-blob-content-md5"] = headers.pop("Content-MD5")
        headers["Content-Length"] = str(last - first + 1)
        return StreamingResponse(pieces(blob.path, first, last - first + 1), status, headers=headers)

    def _list_blobs(self, request: Request, account: str, container: str) -> Response:
        query = request.query_params
        prefix, delimiter, marker = (query.get(name, "") for name in ("prefix", "delimiter", "marker"))
        if delimiter not in ("", "/"):
            raise BlobError(400, "InvalidQueryParameterValue", f"'{delimiter}' is no delimiter here; use '/'.")
        limit = whole_number(query.get("maxresults", "5000"), 1, 5000)
        names = (self._blobs.level if delimiter else self._blobs.names)(account, container, prefix)
        shown, following = page_of_names(names, marker, limit)
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
            add_blob(listed, blob, with_metadata="metadata" in query.get("include", "").split(","))
        ElementTree.SubElement(root, "NextMarker").text = following
        return xml_response(root)

    def _list_containers(self, request: Request, account: str) -> Response:
        query = request.query_params
        prefix = query.get("prefix", "")
        found = (name for name in self._blobs.containers(account) if name.startswith(prefix))
        limit = whole_number(query.get("maxresults", "5000"), 1, 5000)
        shown, following = page_of_names(found, query.get("marker", ""), limit)
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
        return xml_response(root)

    def _container_headers(self, account: str, container: str) -> dict[str, str]:
        stat = self._blobs.require_container(account, container).stat()
        return {"ETag": f'"0x{stat.st_ino:X}"', "Last-Modified": http_date(stat.st_mtime)}

    def _delegation_key(self, account: str, principal: str, body: bytes) -> Response:
        try:
            asked = {element.tag: element.text or "" for element in ElementTree.fromstring(body)}
            start, expiry = asked.get("Start", ""), asked["Expiry"]
        except (ElementTree.ParseError, KeyError):
            raise BlobError(400, "InvalidXmlDocument", "The body must be a KeyInfo with Start and Expiry.") from None
        root = ElementTree.Element("UserDelegationKey")
        for tag, text in (
            ("SignedOid", principal),
            ("SignedTid", TENANT),
            ("SignedStart", start),
            ("SignedExpiry", expiry),
            ("SignedService", "b"),
            ("SignedVersion", VERSION),
            ("Value", self._access.delegation_key(account, principal, start, expiry)),
        ):
            ElementTree.SubElement(root, tag).text = text
        return xml_response(root)
