"""The workflows as plain data: jobs, steps, and the commands in them. Expressions stay the text that they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
PREPARE = GITHUB / "actions" / "prepare" / "action.yml"


@dataclass(frozen=True)
class Step:
    """One step of a job, with the job that it is in."""

    workflow: str
    job: str
    described: Mapping[str, Any]
    number: int
    environment: str

    @property
    def command(self) -> str:
        return str(self.described.get("run", ""))


def load(path: Path) -> dict[str, Any]:
    """A workflow; YAML takes the key `on` for a truth value, which is put right here."""
    found: dict[Any, Any] = yaml.safe_load(path.read_text())
    if True in found:
        found["on"] = found.pop(True)
    return found


def steps(path: Path) -> Iterator[Step]:
    for name, job in load(path)["jobs"].items():
        for number, described in enumerate(job["steps"]):
            yield Step(path.stem, name, described, number, str(job.get("environment", "")))


def commands(workflow: str, job: str) -> list[str]:
    """The `run` lines of a job, in order."""
    return [
        step.command for step in steps(GITHUB / "workflows" / f"{workflow}.yml") if step.job == job and step.command
    ]


def expressions(found: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every value in which an expression stands."""
    if isinstance(found, Mapping):
        for key, value in found.items():
            yield from expressions(value, (*where, str(key)))
    elif isinstance(found, list):
        for number, value in enumerate(found):
            yield from expressions(value, (*where, str(number)))
    elif isinstance(found, str) and "${{" in found:
        yield where
