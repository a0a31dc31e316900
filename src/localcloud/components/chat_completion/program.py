"""What the five programs have in common: their arguments, and how a user's mistake reaches the job's error."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PROPERTIES_FILE = "run_properties.json"


class UserError(Exception):
    """Something that the user of the pipeline can put right; the text becomes the job's error message."""


def say(text: str) -> None:
    """One line for the job's log."""
    print(text, flush=True)


def truth(text: str) -> bool:
    """A boolean as the component's text inputs spell it; argparse ends the step with 2 for anything else."""
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"'{text}' is not one of true, false, 1, 0") from None


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse; arguments that the published step does not know are named in the log and have no effect."""
    found, unknown = parser.parse_known_args(argv)
    names = [argument for argument in unknown if argument.startswith("--")]
    if names:
        say(f"Without effect in this step: {', '.join(names)}.")
    return found


def run(step: Callable[[], None]) -> int:
    """Run a step; a UserError becomes the last line on stderr and exit code 1."""
    try:
        step()
    except UserError as error:
        sys.stdout.flush()
        print(f"UserError: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def report_properties(beside: Path, run: Mapping[str, str], root: Mapping[str, str]) -> None:
    """Properties for the step's run and the pipeline's: a file in the output, and one for the runner where it asks."""
    found = {"run": dict(run), "root": dict(root)}
    write_json(beside / PROPERTIES_FILE, found)
    if asked := os.environ.get("LOCALCLOUD_PROPERTIES"):
        write_json(Path(asked), found)


def read_json(path: Path) -> dict[str, Any]:
    """An object from a JSON file; UserError when it is something else."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"The file '{path.name}' cannot be read as JSON: {error}.") from None
    if not isinstance(found, dict):
        raise UserError(f"The file '{path.name}' must hold a JSON object, not a {type(found).__name__}.")
    return found


def existing(path: Path | None, what: str) -> Path | None:
    """A path that exists; one that does not counts as not given, as in the published component, but is named."""
    if path is not None and not path.exists():
        say(f"{what} '{path}' does not exist and counts as not given.")
        return None
    return path
