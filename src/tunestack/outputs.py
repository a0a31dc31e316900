"""The one contract between `infra` and everything else: what a stack puts out, and how a script reads it.

Standard library only, because `infra` imports it too. Which stack is asked is decided by `pulumi stack select`.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tunestack.errors import NotConfigured

VARIABLE = "TUNESTACK_OUTPUTS"
SECRET = "[secret]"
COMMAND = ("pulumi", "stack", "output", "--json")
ASK = f"`{' '.join(COMMAND)}`"
UP = "Bring the stack up with: pulumi up"


@dataclass(frozen=True)
class StackOutputs:
    """What `infra` exports: exactly these fields, all text, none of them secret.

    `lease_cap` is hours such as `24h`, or `never`; `monthly_budget` whole dollars; `shared_registry` the registry's
    name, empty where the stack has none; `purge_on_teardown` and `production` are `true` or `false`;
    `max_instances` is the most that one deployment may have.
    """

    stack: str
    subscription_id: str
    resource_group: str
    location: str
    workspace_name: str
    cpu_cluster: str
    gpu_cluster: str
    endpoint_name: str
    lease_cap: str
    monthly_budget: str
    shared_registry: str
    purge_on_teardown: str
    production: str
    max_instances: str


MAY_BE_EMPTY = frozenset({"shared_registry"})


def load(path: Path | None = None) -> StackOutputs:
    """The outputs in a file, else in the file that `TUNESTACK_OUTPUTS` names, else those of the selected stack.

    Raises NotConfigured with everything that is wrong, and the command that mends it.
    """
    named = path or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if named is None:
        return parse(_ask_pulumi(), ASK)
    return parse(_read(named), f"'{named}'")


def parse(found: Mapping[str, Any], source: str) -> StackOutputs:
    """The outputs in a JSON object; members that are no field are left alone. `source` is for the error."""
    names = [field.name for field in fields(StackOutputs)]
    missing = [name for name in names if found.get(name) is None or (found[name] == "" and name not in MAY_BE_EMPTY)]
    if len(missing) == len(names):
        raise NotConfigured(f"{source} has none of a stack's outputs: the stack is not up", fix=UP)
    problems = []
    if missing:
        problems.append(f"{source} lacks {', '.join(repr(name) for name in missing)}")
    for name in names:
        value = found.get(name)
        if value == SECRET:
            problems.append(f"{source} hides '{name}' as '{SECRET}', and no output of a stack may be a secret")
        elif name not in missing and not isinstance(value, str):
            problems.append(f"'{name}' in {source} is {json.dumps(value)}, which is not text")
    if problems:
        raise NotConfigured(*problems, fix="Write the outputs anew with: pulumi up")
    return StackOutputs(**{name: found[name] for name in names})


def _read(path: Path) -> Mapping[str, Any]:
    fix = f"Write it with: {' '.join(COMMAND)} > {path}"
    try:
        return _object(path.read_text(), f"'{path}'", fix)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise NotConfigured(f"the outputs file '{path}' cannot be read: {reason}", fix=fix) from error


def _ask_pulumi() -> Mapping[str, Any]:
    try:
        done = subprocess.run(COMMAND, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotConfigured(
            f"the stack's outputs cannot be read: 'pulumi' does not run ({error.strerror})",
            fix=f"Put pulumi on PATH, or name a file with outputs: --outputs FILE, or {VARIABLE}",
        ) from error
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = said[0].removeprefix("error: ") if said else f"it ended with {done.returncode}"
        raise NotConfigured(
            f"the stack's outputs cannot be read: {ASK} says '{reason}'",
            fix="Select a stack with `pulumi stack select NAME` and bring it up with `pulumi up`, "
            "or name a file with outputs: --outputs FILE",
        )
    return _object(done.stdout, f"the answer of {ASK}", UP)


def _object(text: str, source: str, fix: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise NotConfigured(f"{source} is not JSON: {error}", fix=fix) from error
    if not isinstance(found, dict):
        raise NotConfigured(f"{source} is not a JSON object", fix=fix)
    return found
