"""A folder that changes as a whole: written beside, then exchanged for the old one in one step of the file system.

Killed at any moment, it is the old folder or the new one. What a killed process left beside is removed by the next.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunestack.errors import TunestackError, UsageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux, RENAME_SWAP of macOS
_AT_FDCWD = -100
# In the names of folders that are being made: leftovers are deleted, so that nobody else's may be called so.
_OURS = ".preparing-"


@contextmanager
def fresh(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder`, gone at the end unless it was put in place. A full disk is one clear error."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made, held = _made(folder)
    except OSError as error:
        said = f"'{folder}' cannot be written: {str(error.strerror).lower()}"
        raise UsageError(said, fix="Write elsewhere with --output") from error
    try:
        yield made
    except OSError as error:
        raise _explained(error, folder) from error
    finally:
        os.close(held)
        shutil.rmtree(made, ignore_errors=True)


def put(made: Path, folder: Path) -> None:
    """Put a fresh folder in the place of the old one; what stood there is left where the fresh one was."""
    for entry in made.iterdir():
        with entry.open("rb") as content:
            os.fsync(content.fileno())
    if not folder.exists():
        os.rename(made, folder)
    elif not _exchanged(made, folder):
        # No exchange on this file system: for a moment there is no folder, and the old one lies beside it.
        aside = made.with_name(f"{made.name}.old")
        os.rename(folder, aside)
        os.rename(made, folder)
        shutil.rmtree(aside)


def _made(folder: Path) -> tuple[Path, int]:
    """A fresh folder and the descriptor that holds it; no other process looks for leftovers meanwhile."""
    parent = os.open(folder.parent, os.O_RDONLY)
    try:
        fcntl.flock(parent, fcntl.LOCK_EX)
        _remove_leftovers(folder)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}{_OURS}", dir=folder.parent))
        made.chmod(0o755)
        held = os.open(made, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)  # let go by the system when this process dies: then it is a leftover
        return made, held
    finally:
        os.close(parent)


def _exchanged(one: Path, other: Path) -> bool:
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        failed = library.renamex_np(os.fsencode(one), os.fsencode(other), _EXCHANGE)
    elif hasattr(library, "renameat2"):
        failed = library.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE)
    else:
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(other))


def _remove_leftovers(folder: Path) -> None:
    """Folders that nobody holds any more; one that was the old folder itself is put back."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}{_OURS}*"):
        if not left.is_dir():
            continue
        held = os.open(left, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        finally:
            os.close(held)
        if left.name.endswith(".old") and not folder.exists():
            os.rename(left, folder)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _explained(error: OSError, folder: Path) -> Exception:
    if error.errno not in _FULL:
        return error
    return TunestackError(
        f"'{folder}' cannot be written: {str(error.strerror).lower()}; nothing was kept of what was being written",
        fix="Free some space, or write elsewhere with --output",
    )
