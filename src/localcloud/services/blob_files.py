"""Blobs as plain files: `<state>/blobs/<account>/<container>/<blob name>`.

A job's process reads and writes these folders directly, and what it writes is listed as blobs. Content type,
MD5 and metadata are records that count only while size and time of the file are those they were written for.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from localcloud.cloud import Cloud

_CONTAINER = re.compile(r"[a-z0-9](?!.*--)[a-z0-9-]{1,61}[a-z0-9]|\$root|\$logs|\$web")
# Names of files that no XML can carry: a process may write them, but they are no blobs.
_UNSHOWN = re.compile(r"[\x00-\x1f\ud800-\udfff\ufffe\uffff]")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")


class BlobError(Exception):
    """An answer in the Storage service's error form: XML, with the code repeated in `x-ms-error-code`."""

    def __init__(self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers or {})

    def xml(self) -> str:
        return (
            '<?xml version="1.0" encoding="utf-8"?>'
            f"<Error><Code>{escape(self.code)}</Code><Message>{escape(self.message)}</Message></Error>"
        )


@dataclass(frozen=True)
class Blob:
    """One blob as it stands on disk. `md5` is base64, known only for blobs that came over HTTP in one piece."""

    name: str
    path: Path
    size: int
    modified: datetime
    etag: str
    content_type: str = "application/octet-stream"
    md5: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    blocks: Sequence[str] = ()


class Blobs:
    """The containers and blobs of all storage accounts.

    Reach it with `cloud.part(Blobs, lambda: Blobs(cloud))`.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._root = cloud.blobs
        self._uploads = cloud.state / "uploads"

    # -- places ------------------------------------------------------------------------------------------------

    def container(self, account: str, container: str) -> Path:
        """The folder of a container, whether it exists or not."""
        if not _ACCOUNT.fullmatch(account.lower()):
            raise BlobError(400, "InvalidResourceName", f"'{account}' is no storage account name.")
        if not _CONTAINER.fullmatch(container):
            raise BlobError(400, "InvalidResourceName", f"'{container}' is no container name.")
        return self._root / account.lower() / container

    def path(self, account: str, container: str, name: str) -> Path:
        """Where a blob (or a folder of blobs) lies; refuses every name that would leave its container."""
        folder = self.container(account, container)
        parts = name.split("/")
        if len(name) > 1024 or any(
            part in ("", ".", "..") or "\0" in part or len(part.encode()) > 255 for part in parts
        ):
            raise BlobError(400, "InvalidUri", f"'{name}' cannot be the name of a blob here.")
        path = folder.joinpath(*parts)
        # A job's process may have made links in the folders that it was given.
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
            raise BlobError(400, "InvalidUri", f"'{name}' leads out of its container.")
        return path

    def make_container(self, account: str, container: str) -> bool:
        """True when it is new."""
        folder = self.container(account, container)
        if folder.is_dir():
            return False
        folder.mkdir(parents=True)
        return True

    def require_container(self, account: str, container: str) -> Path:
        folder = self.container(account, container)
        if not folder.is_dir():
            raise BlobError(404, "ContainerNotFound", f"The specified container '{container}' does not exist.")
        return folder

    def containers(self, account: str) -> list[str]:
        folder = self._root / account
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []

    def remove_container(self, account: str, container: str) -> None:
        folder = self.require_container(account, container)
        for name in self.names(account, container):
            self._cloud.store.delete_record("blob", f"{account}/{container}/{name}")
        shutil.rmtree(folder)
        shutil.rmtree(self._uploads / account / container, ignore_errors=True)

    def remove_account(self, account: str) -> None:
        """Everything of an account, for when the account itself is deleted."""
        for container in self.containers(account):
            self.remove_container(account, container)
        shutil.rmtree(self._root / account, ignore_errors=True)

    # -- reading -----------------------------------------------------------------------------------------------

    def get(self, account: str, container: str, name: str) -> Blob:
        self.require_container(account, container)
        # Clients ask for `folder/` to learn whether it is a blob; here it never is.
        path = self.path(account, container, name.rstrip("/"))
        try:
            stat = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            stat = None
        if stat is None or not path.is_file() or name.endswith("/"):
            raise BlobError(404, "BlobNotFound", "The specified blob does not exist.")
        known: dict[str, Any] = self._cloud.store.record("blob", f"{account}/{container}/{name}") or {}
        if known.get("stamp") != [stat.st_mtime_ns, stat.st_size]:
            known = {}
        return Blob(
            name=name,
            path=path,
            size=stat.st_size,
            modified=datetime.fromtimestamp(stat.st_mtime, UTC),
            etag=f'"0x{stat.st_mtime_ns:X}{stat.st_size:X}"',
            content_type=known.get("content_type") or "application/octet-stream",
            md5=known.get("md5"),
            metadata=known.get("metadata") or {},
            blocks=known.get("blocks") or (),
        )

    def exists(self, account: str, container: str, name: str) -> bool:
        try:
            self.get(account, container, name)
        except BlobError as error:
            if error.status != 404:
                raise
            return False
        return True

    def names(self, account: str, container: str, prefix: str = "") -> Iterator[str]:
        """Names that begin with a prefix, in the service's order, folder by folder."""
        folder = self.require_container(account, container)
        head = prefix.rpartition("/")[0]
        start = self.path(account, container, head) if head else folder
        yield from _walk(start, f"{head}/" if head else "", prefix)

    def level(self, account: str, container: str, prefix: str) -> Iterator[str]:
        """The same, one level deep: what lies in folders shows as the folder's name with a slash."""
        folder = self.require_container(account, container)
        head = prefix.rpartition("/")[0]
        start = self.path(account, container, head) if head else folder
        for name, entry in _entries(start, f"{head}/" if head else ""):
            if not name.startswith(prefix):
                continue
            if entry.is_file(follow_symlinks=False) or next(_walk(Path(entry.path), name, ""), None) is not None:
                yield name

    # -- writing -----------------------------------------------------------------------------------------------

    def upload_path(self, account: str) -> Path:
        """A fresh file on the same disk, to be moved into place with `commit` when it is whole."""
        folder = self._uploads / account
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{uuid.uuid4().hex}.part"

    async def sweep_uploads(self) -> None:
        """Remove bodies that a killed server had not received to the end; blocks stay until they are committed."""
        for part in self._uploads.glob("*/*.part"):
            part.unlink()

    def commit(self, account: str, container: str, name: str, source: Path, **known: Any) -> Blob:
        """Move a whole file into place at once. `known` are content_type, md5, metadata and blocks."""
        self.require_container(account, container)
        path = self.path(account, container, name)
        if path.is_dir():
            raise BlobError(409, "ResourceTypeMismatch", f"'{name}' is a folder of blobs here.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise BlobError(409, "ResourceTypeMismatch", f"A folder of '{name}' is a blob here.") from None
        os.replace(source, path)
        self._remember(account, container, name, path, known)
        return self.get(account, container, name)

    def set_metadata(self, account: str, container: str, name: str, metadata: Mapping[str, str]) -> Blob:
        blob = self.get(account, container, name)
        os.utime(blob.path)
        known = {
            "content_type": blob.content_type,
            "md5": blob.md5,
            "metadata": dict(metadata),
            "blocks": list(blob.blocks),
        }
        self._remember(account, container, name, blob.path, known)
        return self.get(account, container, name)

    def _remember(self, account: str, container: str, name: str, path: Path, known: Mapping[str, Any]) -> None:
        stat = path.stat()
        record = {**known, "stamp": [stat.st_mtime_ns, stat.st_size]}
        self._cloud.store.put_record("blob", f"{account}/{container}/{name}", record)

    def remove(self, account: str, container: str, name: str) -> None:
        blob = self.get(account, container, name)
        blob.path.unlink()
        self._cloud.store.delete_record("blob", f"{account}/{container}/{name}")
        folder = self.container(account, container)
        for parent in blob.path.parents:
            if parent == folder or any(parent.iterdir()):
                break
            parent.rmdir()

    # -- blocks ------------------------------------------------------------------------------------------------

    def block_path(self, account: str, container: str, name: str, block: str) -> Path:
        """Where an uncommitted block waits."""
        key = uuid.uuid5(uuid.NAMESPACE_URL, f"{account}/{container}/{name}").hex
        folder = self._uploads / account / container / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder / uuid.uuid5(uuid.NAMESPACE_URL, block).hex

    def join_blocks(self, account: str, container: str, name: str, blocks: Sequence[str], **known: Any) -> Blob:
        """Commit a list of blocks as the blob; saying the same list again changes nothing."""
        parts = [self.block_path(account, container, name, block) for block in blocks]
        missing = [block for block, part in zip(blocks, parts, strict=True) if not part.is_file()]
        if missing:
            if self.exists(account, container, name):
                blob = self.get(account, container, name)
                if list(blob.blocks) == list(blocks):
                    return blob
            raise BlobError(400, "InvalidBlockList", f"The specified block list is invalid: no block '{missing[0]}'.")
        whole = self.upload_path(account)
        with whole.open("wb") as output:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, output, 1 << 20)
        blob = self.commit(account, container, name, whole, blocks=list(blocks), **known)
        if parts:
            shutil.rmtree(parts[0].parent, ignore_errors=True)
        return blob


def _entries(folder: Path, head: str) -> list[tuple[str, os.DirEntry[str]]]:
    """What lies in a folder as (name, entry), a folder's name with a slash, in the order of whole names."""
    try:
        with os.scandir(folder) as found:
            entries = [
                (head + entry.name + ("/" if entry.is_dir(follow_symlinks=False) else ""), entry)
                for entry in found
                if not _UNSHOWN.search(entry.name)
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(entries, key=lambda pair: pair[0])


def _walk(folder: Path, head: str, prefix: str) -> Iterator[str]:
    for name, entry in _entries(folder, head):
        if name.endswith("/"):
            if name.startswith(prefix) or prefix.startswith(name):
                yield from _walk(Path(entry.path), name, prefix)
        elif name.startswith(prefix) and entry.is_file(follow_symlinks=False):
            yield name
