"""The name of a job, made from what it runs: the same run asked for again finds the job that is there.

Two keys: of the training, over all that changes what is learnt, and of the run, with the code of our own steps beside
it. What a gate asks (`evaluation`, `budget`), words and layout are in neither: see docs/recipes.md.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tunestack.recipes.parameters import as_text
from tunestack.recipes.recipe import Recipe

DIGITS = 12
# Shipped or not, these change nothing that a step does.
_WORDS = (".md", ".pyc")
_NAMES = frozenset({"__pycache__", "LICENSE", "ruff.toml"})


def training_key(recipe: Recipe, data_hash: str, base_model: str, component: str) -> str:
    """Twelve hex digits over all that changes what is learnt; ids are exact, labels resolved."""
    config = recipe.finetune_config_file
    content = {
        "base_model": base_model,
        "component": component,
        "data": data_hash,
        "finetune": recipe.compute.finetune,
        "finetune_config": _said(config) if config else "",
        "parameters": {name: as_text(value) for name, value in sorted(recipe.parameters.items())},
    }
    return _digits(json.dumps(content, sort_keys=True))


def run_key(training: str, steps: str) -> str:
    """The key of a run: its training, and the code of the steps of our own that go with it."""
    return _digits(f"{training} {steps}")


def step_code(folder: Path) -> str:
    """Twelve hex digits over the code of a step of our own: its component, modules and sets, in the order of paths.

    Pages, licences, caches and hidden files are left out: they change nothing that the step does.
    """
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        place = file.relative_to(folder)
        if file.suffix in _WORDS or any(part.startswith(".") or part in _NAMES for part in place.parts):
            continue
        text = _as_committed(file)
        digest.update(f"{place.as_posix()} {len(text)}\n".encode())
        digest.update(text)
    return digest.hexdigest()[:DIGITS]


def job_name(recipe: Recipe, key: str) -> str:
    return f"{recipe.name}-{key}"


def next_name(first: str, exists: Callable[[str], bool]) -> str:
    """The first free name in the series `name`, `name-2`, `name-3`…"""
    name, number = first, 1
    while exists(name):
        number += 1
        name = f"{first}-{number}"
    return name


def commit(folder: Path) -> str:
    """The commit that the scripts ran from, marked when the work tree differs; `unknown` outside a work tree."""
    try:
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        return f"{head}-changed" if _git(folder, "status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _said(config: Path) -> str:
    """A JSON file by what it says, whatever its layout; one that is no JSON by its text."""
    text = _as_committed(config)
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except ValueError:
        return hashlib.sha256(text).hexdigest()


def _as_committed(file: Path) -> bytes:
    """Git on Windows writes other line ends into the same checkout: they buy no run."""
    return file.read_bytes().replace(b"\r\n", b"\n")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
