"""What the local cloud remembers: ARM resources and plain records, in one SQLite file.

Every write is committed before the request is answered, so a killed server comes back with everything
that it has acknowledged. Nothing here knows HTTP.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Body = dict[str, Any]

STATE_VERSION = 1
_ACCESS = (
    *("microsoft.authorization/roleassignments", "microsoft.authorization/roledefinitions"),
    *("microsoft.machinelearningservices/workspaces", "onlineendpoints"),  # their identities have roles by themselves
)

_SCHEMA = """
CREATE TABLE resource (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    parent TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX resource_parent ON resource (parent, kind, seq);
CREATE TABLE record (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    collection TEXT NOT NULL,
    key TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (collection, key)
);
"""


class StateVersionError(Exception):
    """The state file was written by another version of the local cloud."""

    def __init__(self, path: Path, found: int) -> None:
        super().__init__(
            f"The state in '{path.parent}' has version {found}, this local cloud writes version {STATE_VERSION}. "
            f"Empty it with: localcloud reset --yes"
        )


@dataclass(frozen=True)
class Place:
    """Where an id stands: its key (lower case), its parent's key and its kind.

    The kind of `/…/providers/Microsoft.X/things/n` is `microsoft.x/things` and its parent is what stands before
    `providers`; the kind of a nested `…/things/n/parts/p` is `parts` and its parent is `…/things/n`.
    """

    key: str
    parent: str
    kind: str


def place(resource_id: str) -> Place:
    """Take an ARM id apart. The id must have at least a type and a name segment."""
    key = resource_id.lower().rstrip("/")
    head, _, _name = key.rpartition("/")
    head, _, kind = head.rpartition("/")
    above, _, provider = head.rpartition("/")
    if above.endswith("/providers") or above == "providers":
        return Place(key, above.removesuffix("/providers").removesuffix("providers"), f"{provider}/{kind}")
    return Place(key, head, kind)


class Store:
    """Resources by ARM id (case-insensitive), and records by collection and key.

    A path of `None` keeps everything in memory. Bodies are JSON objects; what is handed out is a copy.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._lock = threading.RLock()
        # Goes up with every change that may concern who may do what; `permissions` remembers answers until then.
        self.access_revision = 0
        self._db = sqlite3.connect(str(path) if path else ":memory:", check_same_thread=False, isolation_level=None)
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version == 0:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {STATE_VERSION}; COMMIT;")
        elif version != STATE_VERSION:
            self._db.close()
            assert path is not None
            raise StateVersionError(path, version)
        # A commit survives a killed process; only a power cut can lose the last ones.
        self._db.execute("PRAGMA synchronous = NORMAL")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside become visible together, or none of them."""
        with self._lock:
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    # -- resources ---------------------------------------------------------------------------------------------

    def get(self, resource_id: str) -> Body | None:
        with self._lock:
            row = self._db.execute(
                "SELECT body FROM resource WHERE key = ?", (resource_id.lower().rstrip("/"),)
            ).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, resource_id: str, body: Body) -> bool:
        """Write the whole body; true when the resource is new."""
        at, text = place(resource_id), json.dumps(body)
        with self._lock:
            if at.kind in _ACCESS:
                self.access_revision += 1
            changed = self._db.execute("UPDATE resource SET body = ? WHERE key = ?", (text, at.key)).rowcount
            if changed:
                return False
            self._db.execute(
                "INSERT INTO resource (key, parent, kind, body) VALUES (?, ?, ?, ?)",
                (at.key, at.parent, at.kind, text),
            )
            return True

    def delete(self, resource_id: str) -> int:
        """Remove the resource and everything beneath it; the number of resources that went."""
        key = resource_id.lower().rstrip("/")
        with self._lock:
            self.access_revision += 1  # assignments at the resource go with it
            # '0' is the character after '/': the range holds exactly the keys that begin with key + '/'.
            return self._db.execute(
                "DELETE FROM resource WHERE key = ? OR (key > ? AND key < ?)", (key, key + "/", key + "0")
            ).rowcount

    def children(self, parent_id: str, kind: str) -> list[Body]:
        """Direct children of one kind, oldest first. The kind is as in `Place`, in any case."""
        with self._lock:
            rows = self._db.execute(
                "SELECT body FROM resource WHERE parent = ? AND kind = ? ORDER BY seq",
                (parent_id.lower().rstrip("/"), kind.lower()),
            ).fetchall()
        return [json.loads(text) for (text,) in rows]

    def beneath(self, parent_id: str, kind: str | None = None) -> list[Body]:
        """Everything below an id at any depth, oldest first, of one kind or of all."""
        key = parent_id.lower().rstrip("/")
        with self._lock:
            rows = self._db.execute(
                "SELECT body FROM resource WHERE key > ? AND key < ? AND (?3 IS NULL OR kind = ?3) ORDER BY seq",
                (key + "/", key + "0", kind.lower() if kind else None),
            ).fetchall()
        return [json.loads(text) for (text,) in rows]

    # -- records -----------------------------------------------------------------------------------------------

    def record(self, collection: str, key: str) -> Body | None:
        with self._lock:
            row = self._db.execute(
                "SELECT body FROM record WHERE collection = ? AND key = ?", (collection, key)
            ).fetchone()
        return json.loads(row[0]) if row else None

    def put_record(self, collection: str, key: str, body: Body) -> None:
        with self._lock:
            self._db.execute(
                "INSERT INTO record (collection, key, body) VALUES (?, ?, ?) "
                "ON CONFLICT (collection, key) DO UPDATE SET body = excluded.body",
                (collection, key, json.dumps(body)),
            )

    def records(self, collection: str) -> list[tuple[str, Body]]:
        """All records of a collection as (key, body), oldest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT key, body FROM record WHERE collection = ? ORDER BY seq", (collection,)
            ).fetchall()
        return [(key, json.loads(text)) for key, text in rows]

    def delete_record(self, collection: str, key: str) -> bool:
        with self._lock:
            cursor = self._db.execute("DELETE FROM record WHERE collection = ? AND key = ?", (collection, key))
            return cursor.rowcount > 0
