"""The name of a job, made from what it runs: the same run asked for again finds the job that is there."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tunestack.parameters import as_text
from tunestack.recipe import Recipe


def run_key(recipe: Recipe, data_hash: str, base_model: str, component: str) -> str:
    """Twelve hex digits over all that changes what is learnt: not the recipe's description, order or layout."""
    content = {
        "base_model": base_model,
        "component": component,
        "compute": recipe.compute.model_dump(),
        "data": data_hash,
        "parameters": {name: as_text(value) for name, value in sorted(recipe.parameters.items())},
        "validation_percent": recipe.data.validation_percent,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


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


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()
