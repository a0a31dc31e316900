"""What a job leaves for the evidence of its model: the facts of its statement, and the files of its run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tunestack import caller, stored_files
from tunestack.cli import note
from tunestack.models import evidence, lineage
from tunestack.models.model_card import Card
from tunestack.models.provenance import Facts
from tunestack.stored_files import Folder

if TYPE_CHECKING:
    from tunestack.connect import Connection
    from tunestack.models.registration import Judged
    from tunestack.models.signatures import Signer


def facts(connection: Connection, found: Judged, signer: Signer) -> Facts:
    """What the signed statement says of a registration."""
    run = found.run
    return Facts(
        found.handle,
        connection.workspace.path,
        f"{connection.workspace.path}/jobs/{found.job['name']}",
        _time(run.started),
        _time(run.ended),
        found.model.uri,
        found.tags[lineage.GATE],
        found.verdict.job if found.verdict else "",
        signer.kind,
        caller.name(connection),
        found.tags,
    )


def _time(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""


def files(connection: Connection, found: Judged) -> dict[str, bytes]:
    """What was measured and what ran, as files of the evidence; what the job has not is said."""
    places = [found.verdict.files] if found.verdict else []
    run_folder = _run_folder(connection, found.job)
    places += [run_folder] if run_folder else []
    files = {}
    for name in evidence.OF_THE_RUN:
        content = next((text for place in places if (text := place.read(name)) is not None), None)
        if content is not None:
            files[name] = content
    missing = [name for name in evidence.OF_THE_RUN if name not in files]
    if missing:
        note(f"warning: job '{found.job['name']}' left no {', '.join(missing)}; the evidence goes without")
    licence = found.model.read("LICENSE") or b""
    data = _object(files.get("card.json", b"{}"))
    card = Card(
        found.handle, found.tags, data, found.verdict, found.manifest, licence.decode(errors="replace"), found.forced
    )
    said = {**(found.verdict.record if found.verdict else {"verdict": "none"}), "forced_why": found.forced or None}
    files[evidence.GATE] = (json.dumps(said, indent=2) + "\n").encode()
    files[evidence.CARD] = card.text.encode()
    return files


def _object(content: bytes) -> dict[str, Any]:
    """A data card for the model's page; empty, with a warning, where it is none: it stays in the evidence as it is."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        note("warning: the job's card.json is no data card; the model card goes without its figures")
        return {}
    return found


def _run_folder(connection: Connection, job: Mapping[str, Any]) -> Folder | None:
    """The folder that was sent with the job, wherever its input stands."""
    properties = job["properties"]
    nodes = [node.get("inputs") or {} for node in (properties.get("jobs") or {}).values()]
    for inputs in (properties.get("inputs") or {}, *nodes):
        uri = str((inputs.get("run_folder") or {}).get("uri") or "")
        if "datastores/" in uri:
            return stored_files.folder(connection, uri.rstrip("/"))
    return None
