"""What run_folder tells the report of the run: recipe, data card, facts and preflight, each as it is there or not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.scoring import say


@dataclass(frozen=True)
class RunFacts:
    """Empty where a file is absent or unreadable; that is said and fails nothing."""

    recipe: str = ""
    card: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    preflight: dict[str, Any] = field(default_factory=dict)


def read(folder: Path | None) -> RunFacts:
    if folder is None:
        return RunFacts()
    recipe = folder / "recipe.yml"
    return RunFacts(
        recipe.read_text(encoding="utf-8", errors="replace") if recipe.is_file() else "",
        *(_object(folder / name) for name in ("card.json", "run.json", "preflight.json")),
    )


def _object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        say(f"'{path.name}' of the run is not readable and is left out of the report: {error}")
        return {}
    return found if isinstance(found, dict) else {}
