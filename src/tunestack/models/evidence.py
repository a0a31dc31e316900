"""The evidence of one model version: put together and signed, and checked to be whole and to speak of that version.

Where it is kept is `evidence_store`'s; who signs and who is believed is `signatures`'.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tunestack.errors import GateSaidNo, TunestackError
from tunestack.models import provenance
from tunestack.models.provenance import Facts, Said
from tunestack.models.signatures import THROW_AWAY, Signer, Trust
from tunestack.models.weights import Manifest

FOLDER, SIGNATURE = "evidence", "evidence.sig"
MANIFEST, PROVENANCE, GATE, CARD = "manifest.json", "provenance.json", "gate.json", "README.md"
# Of the run, as they were when it ran; a run without one is told, and its evidence goes without.
OF_THE_RUN = ("metrics.json", "recipe.yml", "card.json", "preflight.json")
MOST_FILES = 20  # more than any evidence has: what is fetched to be checked stays small


@dataclass(frozen=True)
class Checked:
    """Evidence that holds: what its statement says, and the files that the model must have."""

    said: Said
    manifest: Manifest


def write(root: Path, facts: Facts, manifest: Manifest, files: Mapping[str, bytes], signer: Signer) -> Path:
    """`root` with `evidence/` and `evidence.sig`, whole or not at all; what was there is replaced."""
    root.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    try:
        inside = fresh / FOLDER
        inside.mkdir()
        contents = {**files, MANIFEST: _json(manifest.record)}
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        contents[PROVENANCE] = _json(provenance.statement(facts, manifest, sums))
        for name, content in contents.items():
            (inside / name).write_bytes(content)
        signer.sign(inside, fresh / SIGNATURE)
        fresh.chmod(0o755)
        shutil.rmtree(root, ignore_errors=True)
        os.rename(fresh, root)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return root


def check(root: Path, trust: Trust, model: str, *, production: bool) -> Checked:
    """The evidence in `root`, believed by `trust` and of this very model (`name:version`). GateSaidNo otherwise."""
    inside, signature = root / FOLDER, root / SIGNATURE
    needed = {MANIFEST: inside / MANIFEST, PROVENANCE: inside / PROVENANCE, SIGNATURE: signature}
    missing = [name for name, file in needed.items() if not file.is_file()]
    if missing:
        raise GateSaidNo(f"the evidence of model '{model}' is broken: {', '.join(missing)} is missing")
    try:
        trust.check(inside, signature)
        found = _read(inside, model)
    except GateSaidNo as error:
        raise GateSaidNo(
            f"the evidence of model '{model}' is broken: {error.problems[0]}",
            fix="Name whoever signed it, with --public-key or with --signer and --issuer; else find out who changed it",
        ) from error
    if production and found.said.signer == THROW_AWAY:
        raise GateSaidNo(
            f"the evidence of model '{model}' was signed with a throw-away key, which no production stack believes",
            fix="Register it again in a clean name with a key or identity: scripts/register_model.py --sign-as-me",
        )
    return found


def _read(inside: Path, model: str) -> Checked:
    """What a signature that holds is on; it holds on another model's evidence as well."""
    said = Said.parse((inside / PROVENANCE).read_bytes())
    try:
        manifest = Manifest.parse((inside / MANIFEST).read_bytes(), f"'{MANIFEST}'")
    except TunestackError as error:
        raise GateSaidNo(error.problems[0]) from error
    if said.model != model:
        raise GateSaidNo(f"it speaks of model '{said.model}'")
    if manifest.sha256 != said.files_sha256 or {file.path: file.sha256 for file in manifest.files} != said.sums:
        raise GateSaidNo(f"'{MANIFEST}' and '{PROVENANCE}' name different files")
    for name, wanted in said.byproducts.items():
        file = inside / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != wanted:
            raise GateSaidNo(f"'{name}' is not the file that '{PROVENANCE}' names")
    return Checked(said, manifest)


def _json(content: object) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
