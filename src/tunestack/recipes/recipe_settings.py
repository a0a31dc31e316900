"""Single values of a recipe, overridden on the command line: `--set training.learning_rate=1e-5`."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from tunestack.settings_file import load


def applied(content: Mapping[str, Any], settings: Sequence[str]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """The content with every setting in its place, where each came from, and what cannot be a setting.

    Keys are dotted, values are YAML; null takes an optional key away. The content given is left as it is.
    """
    changed = copy.deepcopy(dict(content))
    places: dict[str, str] = {}
    problems: list[str] = []
    for text in settings:
        said = f"--set '{text}'"
        key, equals, value = text.partition("=")
        parts = key.strip().split(".")
        if not equals or not all(parts):
            problems.append(f"{said} is not of the form KEY=VALUE, such as training.learning_rate=1e-5")
        elif parts[0] in ("name", "folder"):
            problems.append(f"{said}: a recipe is called as its file is")
        elif key.strip() in places:
            problems.append(f"{said} and {places[key.strip()]} are two values for one thing")
        else:
            problems += _put(changed, parts, value, said)
            places[key.strip()] = said
    return changed, places, problems


def _put(content: dict[str, Any], parts: Sequence[str], value: str, said: str) -> list[str]:
    try:
        parsed = load(value)
    except yaml.YAMLError as error:
        return [f"{said}: its value is not YAML: {' '.join(str(error).split())}"]
    within: Any = content
    for depth, part in enumerate(parts[:-1], 1):
        if within.get(part) is None:
            within[part] = {}
        within = within[part]
        if not isinstance(within, dict):
            return [f"{said}: '{'.'.join(parts[:depth])}' holds one value and no keys"]
    within[parts[-1]] = parsed
    return []
