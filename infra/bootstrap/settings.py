"""The bootstrap's configuration, read once into one frozen object; what each setting means stands in `Pulumi.yaml`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

GUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
PREFIX = "tunestack-bootstrap:"
RESERVED = ("bootstrap", "ml", "preview")


class BootstrapError(pulumi.RunError):
    """Settings that cannot be right; Pulumi shows the text without a traceback."""


@dataclass(frozen=True)
class Environment:
    """A stack that workflows deploy, and its subscription where that is not the bootstrap's own."""

    name: str
    subscription: str = ""


@dataclass(frozen=True)
class Administrator:
    """Someone who makes stacks by hand: a `User`, `Group` or `ServicePrincipal`, and its object id in Entra."""

    kind: str
    object_id: str


@dataclass(frozen=True)
class Settings:
    """Every setting, checked."""

    location: str
    owner: str
    repository: str
    environments: tuple[Environment, ...]
    administrators: tuple[Administrator, ...]
    state_days: int
    protect: bool

    @classmethod
    def read(cls, configuration: Mapping[str, Any]) -> Settings:
        """From Pulumi's whole configuration; raises BootstrapError with every problem and the line that mends it."""
        given = {name.removeprefix(PREFIX): str(value) for name, value in configuration.items()}
        problems: list[str] = []

        def matching(name: str, pattern: str, meant: str, mend: str) -> str:
            if not re.fullmatch(pattern, given.get(name, "")):
                problems.append(
                    f"'{name}' is '{given.get(name, '')}', and it must be {meant}: pulumi config set {mend}"
                )
            return given.get(name, "")

        def listed(name: str, pattern: str, meant: str, mend: str) -> list[re.Match[str]]:
            words = _list(given.get(name, ""))
            found = [re.fullmatch(pattern, word) for word in words]
            wrong = [word for word, match in zip(words, found, strict=True) if match is None]
            if wrong or not words:
                what = f"has '{wrong[0]}'" if wrong else "is empty"
                problems.append(f"'{name}' {what}, and each must be {meant}: pulumi config set --path {mend}")
            return [match for match in found if match]

        location = matching("location", r"[a-z]+[0-9]*", "a region's short name", "location eastus")
        owner = matching("owner", r"[^<>%&\\?/]{0,256}", "up to 256 characters without <>%&\\?/", "owner your-team")
        repository = matching(
            "repository", r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+", "OWNER/NAME", "repository your-organisation/tunestack"
        )
        environments = [
            Environment(found[1], (found[2] or "").lower())
            for found in listed(
                "environments",
                rf"([a-z][a-z0-9]{{1,15}})(?:=({GUID}))?",
                "NAME or NAME=SUBSCRIPTION",
                "environments[0] dev",
            )
        ]
        administrators = [
            Administrator(found[1], found[2].lower())
            for found in listed(
                "administrators",
                rf"(User|Group|ServicePrincipal):({GUID})",
                "'User:', 'Group:' or 'ServicePrincipal:' and an object id",
                "'administrators[0]' \"User:$(az ad signed-in-user show --query id --output tsv)\"",
            )
        ]
        names = [one.name for one in environments]
        problems += [f"'environments' names '{name}' twice" for name in sorted(set(names)) if names.count(name) > 1]
        problems += [f"'environments' has '{name}', which is taken" for name in names if name in RESERVED]
        days = matching(
            "stateDays", r"[1-9]|[1-9][0-9]|[12][0-9]{2}|3[0-5][0-9]|36[0-5]", "from 1 to 365", "stateDays 90"
        )
        protect = matching("protect", "true|false", "true or false", "protect true")
        if problems:
            raise BootstrapError("\n".join(["The bootstrap's configuration cannot be used:", *problems]))
        return cls(
            location, owner, repository, tuple(environments), tuple(administrators), int(days), protect == "true"
        )


def _list(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except ValueError:
        return [text] if text else []
    return [str(one) for one in found] if isinstance(found, list) else [text]
