"""The files of a model: what they should be (names, sizes, hashes), what lies there, and whether it is a chat model."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from tunestack.errors import UsageError
from tunestack.stored_files import Folder

# Flavors of a chat model that Azure's fine-tune writes; `python_function` stands beside them.
FLAVORS = ("hftransformersv2", "hftransformers", "transformers")
MOST_FILES = 1500  # artifacts of a model version, learn.microsoft.com/azure/machine-learning/resource-limits-capacity
_WEIGHTS = (".safetensors", ".bin")
_SHA256 = re.compile("[0-9a-f]{64}")
_NOT_WEIGHTS = ("training_args.bin",)
_SHOWN = 5


@dataclass(frozen=True)
class File:
    """One file, its path relative to the model's folder."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All files of a model, by path."""

    files: tuple[File, ...]

    @property
    def sha256(self) -> str:
        """One hash over all: of the lines that `sha256sum` would write for the files, by path."""
        lines = "".join(f"{file.sha256}  {file.path}\n" for file in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def record(self) -> list[dict[str, Any]]:
        return [vars(file) for file in self.files]

    @classmethod
    def parse(cls, content: bytes, what: str) -> Manifest:
        """A `files.json`; UsageError for anything else, and for paths that lead out of the folder."""
        try:
            found = [File(str(row["path"]), int(row["bytes"]), str(row["sha256"])) for row in json.loads(content)]
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise UsageError(f"{what} is no list of files with path, bytes and sha256: {error}") from error
        bad = [file.path for file in found if not (is_inside(file.path) and _SHA256.fullmatch(file.sha256))]
        if bad or not found or len({file.path for file in found}) != len(found):
            raise UsageError(f"{what} is no list of a model's files: {_few(bad) or 'it is empty, or names one twice'}")
        return cls(tuple(sorted(found, key=lambda file: file.path)))

    def differences(self, there: Mapping[str, int]) -> list[str]:
        """How what lies there (paths and sizes) differs; contents are `rehashed`'s."""
        sizes = {file.path: file.bytes for file in self.files}
        missing, added = sorted(set(sizes) - set(there)), sorted(set(there) - set(sizes))
        other = [
            f"'{path}' has {there[path]:,} bytes, not {size:,}"
            for path, size in sizes.items()
            if path in there and there[path] != size
        ]
        found = [f"missing are {_few(missing)}"] if missing else []
        found += [f"added were {_few(added)}"] if added else []
        return found + other[:_SHOWN]


def hashed(folder: Folder, show: Callable[[int, int], None]) -> Manifest:
    """Every file read once, as a stream; `show` is told bytes read and bytes in all."""
    there = folder.files()
    total, done, files = sum(there.values()), 0, []
    for path in sorted(there):
        digest, size = hashlib.sha256(), 0
        for chunk in folder.chunks(path):
            digest.update(chunk)
            size += len(chunk)
            show(done + size, total)
        done += size
        files.append(File(path, size, digest.hexdigest()))
    return Manifest(tuple(files))


def rehashed(wanted: Manifest, folder: Folder, show: Callable[[int, int], None]) -> list[str]:
    """The files whose content is another one than it should be, one sentence each."""
    sums = {file.path: file.sha256 for file in wanted.files}
    found = hashed(folder, show)
    return [f"'{file.path}' has another content" for file in found.files if sums.get(file.path) != file.sha256]


def check_layout(folder: Folder, job: str) -> dict[str, int]:
    """What lies there, with sizes. UsageError unless it is a chat model with weights; all that is wrong is told.

    A chat flavor has no signature, and that is no error.
    """
    import yaml

    there = folder.files()
    if not there:
        raise UsageError(f"the model of job '{job}' is missing: nothing lies at '{folder.uri}'", fix=_anew(job))
    problems = []
    content = folder.read("MLmodel")
    if content is None:
        problems.append(f"the model of job '{job}' has no file 'MLmodel', so it is no MLflow model")
    else:
        try:
            problems += _flavor_problems(yaml.safe_load(content), job)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            problems.append(f"'MLmodel' of job '{job}' cannot be read: {' '.join(str(error).split())}")
    if not any(there[path] and _is_weights(path) for path in there):
        problems.append(f"the model of job '{job}' has no weights: no file ends in {' or '.join(_WEIGHTS)}")
    if len(there) > MOST_FILES:
        problems.append(f"the model of job '{job}' has {len(there):,} files; Azure takes {MOST_FILES:,} in a version")
    if problems:
        raise UsageError(*problems, fix=_anew(job))
    return there


def _flavor_problems(described: Any, job: str) -> list[str]:
    flavors = described.get("flavors") if isinstance(described, dict) else None
    if not isinstance(flavors, dict):
        return [f"'MLmodel' of job '{job}' names no flavors"]
    if any(name in flavors for name in FLAVORS):
        return []
    named = ", ".join(f"'{name}'" for name in flavors) or "none"
    return [f"'MLmodel' of job '{job}' has the flavors {named}; a chat model has one of {', '.join(FLAVORS)}"]


def is_inside(path: str) -> bool:
    """Whether a path stays in its folder, on any system, and is one line of text, as lists of hashes write it."""
    parts = PurePosixPath(path).parts
    odd = any(sign in "\\\0\r\n" or "\ud800" <= sign <= "\udfff" for sign in path)
    return bool(parts) and not path.startswith("/") and ".." not in parts and not odd


def _is_weights(path: str) -> bool:
    return path.endswith(_WEIGHTS) and PurePosixPath(path).name not in _NOT_WEIGHTS


def _anew(job: str) -> str:
    return f"See the log of its last step: scripts/submit_finetune.py --attach {job}"


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in names[:_SHOWN]) + more
