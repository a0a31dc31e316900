"""Finds a `pulumi` that fits: on PATH, else one built before, else (`build`) made from its published Go modules.

Nothing that the machine has is changed: a built engine lies in the user's cache, by version, for all clones.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

OLDEST, BELOW = (3, 259, 0), (4, 0, 0)
BUILT_VERSION = "3.259.0"  # of `tools/pulumi/go.mod`, and of the locked Python SDK
LANGUAGE_HOST = "pulumi-language-python"
LANGUAGE_HOST_SCRIPT = """\
#!/bin/sh
# Stands where Pulumi looks for its Python language host; `localcloud run` names the Python that has one.
exec "${LOCALCLOUD_PYTHON:?is not set: run pulumi through localcloud run}" -m localcloud.engine.language_host "$@"
"""
VERSION = re.compile(r"^v?(\d+)\.(\d+)\.(\d+)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$")


class EngineError(Exception):
    """No engine that fits, or none that can be made; the message says what to install and how."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A `pulumi` that fits. `built` is one of ours, which has no Python language host beside it."""

    path: Path
    version: str
    built: bool


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where built engines lie, `<version>/pulumi` each: a folder of the user's, not of a clone."""
    own = environment.get("TUNESTACK_CACHE")
    if own:
        return Path(own) / "engine"
    cache = environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home()) / ".cache"
    return Path(cache) / "tunestack" / "engine"


def fits(text: str) -> bool:
    """Whether a version as `pulumi version` prints it can be used: from 3.259.0 on, and below 4.

    A pre-release comes before its release: `v3.259.0-dev` does not fit, `v3.260.0-alpha.1+dirty` does.
    """
    found = VERSION.match(text.strip())
    if found is None:
        return False
    number = (int(found[1]), int(found[2]), int(found[3]))
    return OLDEST <= number < BELOW and not (number == OLDEST and found[4])


def find(environment: Mapping[str, str] = os.environ) -> Engine | None:
    """The engine to use, without making one: `pulumi` on PATH when it fits, else the built one, else None."""
    built = cache_folder(environment) / BUILT_VERSION / "pulumi"
    on_path = shutil.which("pulumi", path=environment.get("PATH"))
    if on_path and not (built.exists() and Path(on_path).samefile(built)):
        version = version_of(Path(on_path), environment)
        if fits(version):
            return Engine(Path(on_path), version.removeprefix("v"), built=False)
    if os.access(built, os.X_OK):
        return Engine(built, BUILT_VERSION, built=True)
    return None


def version_of(pulumi: Path, environment: Mapping[str, str] = os.environ) -> str:
    """What `pulumi version` prints; empty when it does not run. `~/.pulumi` is not touched."""
    with tempfile.TemporaryDirectory() as home:
        kept = {name: value for name, value in environment.items() if not name.startswith("PULUMI_")}
        try:
            done = subprocess.run(
                [str(pulumi), "version"],
                env={**kept, "PULUMI_HOME": home, "PULUMI_SKIP_UPDATE_CHECK": "true"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def has_language_host(engine: Engine, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the official Python language host stands beside the engine or on PATH."""
    if engine.built:
        return False
    beside = engine.path.resolve().with_name(LANGUAGE_HOST)
    return beside.exists() or shutil.which(LANGUAGE_HOST, path=environment.get("PATH")) is not None


def place_language_host(engine: Engine) -> None:
    """Puts a script beside a built engine, where it looks for its language host: no policy pack runs without one."""
    script = engine.path.with_name(LANGUAGE_HOST)
    if not engine.built or (script.exists() and script.read_text() == LANGUAGE_HOST_SCRIPT):
        return
    with tempfile.NamedTemporaryFile("w", dir=script.parent, delete=False) as made:
        made.write(LANGUAGE_HOST_SCRIPT)
    Path(made.name).chmod(0o755)
    Path(made.name).replace(script)
