"""Size and SHA-256 of every file of a model, beside the weights where they are: nothing has to be fetched for it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

_PIECE = 4 * 1024 * 1024


def of_folder(folder: Path) -> list[dict[str, Any]]:
    """`{"path", "bytes", "sha256"}` by path, which is relative, with slashes."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    # By the text of the path: paths themselves sort `a/b` before `a-b`, and the hash over all must be one everywhere.
    return [
        {"path": name, "bytes": found[name].stat().st_size, "sha256": of_file(found[name])} for name in sorted(found)
    ]


def of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def summary(files: list[dict[str, Any]]) -> dict[str, Any]:
    """Of them all: bytes, number, and one hash over lines as `sha256sum` writes them."""
    lines = "".join(f"{each['sha256']}  {each['path']}\n" for each in files)
    return {
        "bytes": sum(each["bytes"] for each in files),
        "count": len(files),
        "sha256": hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest(),
    }
