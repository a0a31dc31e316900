"""How the blob service says things: headers of a blob, byte ranges, pages of a list, and its XML."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

from starlette.responses import Response

from localcloud.services.blob_files import Blob, BlobError

_CHUNK = 256 * 1024


def http_date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


def written_headers(blob: Blob) -> dict[str, str]:
    return {
        "ETag": blob.etag,
        "Last-Modified": http_date(blob.modified.timestamp()),
        "x-ms-request-server-encrypted": "true",
    }


def blob_headers(blob: Blob) -> dict[str, str]:
    headers = {
        "ETag": blob.etag,
        "Last-Modified": http_date(blob.modified.timestamp()),
        "Content-Type": blob.content_type,
        "Accept-Ranges": "bytes",
        # Pulumi's client fails without it. Azure's is that of the first write, this one that of the last.
        "x-ms-creation-time": http_date(blob.modified.timestamp()),
        "x-ms-blob-type": "BlockBlob",
        "x-ms-lease-state": "available",
        "x-ms-lease-status": "unlocked",
        "x-ms-server-encrypted": "true",
    }
    if blob.md5:
        headers["Content-MD5"] = blob.md5
    return headers | {f"x-ms-meta-{name}": value for name, value in blob.metadata.items()}


def byte_range(text: str, size: int) -> tuple[int, int]:
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


def whole_number(text: str, low: int, high: int) -> int:
    if not text.isdigit() or not low <= int(text):
        raise BlobError(400, "OutOfRangeQueryParameterValue", f"'{text}' is not between {low} and {high}.")
    return min(int(text), high)


def page_of_names(names: Iterator[str], marker: str, limit: int) -> tuple[list[str], str]:
    """One page of names from the marker on, and the marker of the next page (empty at the end)."""
    found = list(islice((name for name in names if name >= marker), limit + 1))
    return found[:limit], found[limit] if len(found) > limit else ""


async def pieces(path: Path, first: int, length: int) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        file.seek(first)
        while length > 0:
            piece = file.read(min(_CHUNK, length))
            if not piece:
                return
            length -= len(piece)
            yield piece


def add_blob(listed: ElementTree.Element, blob: Blob, *, with_metadata: bool) -> None:
    element = ElementTree.SubElement(listed, "Blob")
    ElementTree.SubElement(element, "Name").text = blob.name
    properties = ElementTree.SubElement(element, "Properties")
    values: Mapping[str, str | None] = {
        "Last-Modified": http_date(blob.modified.timestamp()),
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


def xml_response(root: ElementTree.Element) -> Response:
    return Response(ElementTree.tostring(root, "utf-8", xml_declaration=True), media_type="application/xml")
