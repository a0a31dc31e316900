"""The small folder that travels with a run: the recipe as it ran, the data card, facts for the report, preflight.

The evaluation step shows it, and a later evaluation of the same job takes the recipe from it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunestack import stored_files
from tunestack.errors import UsageError
from tunestack.recipes import recipe
from tunestack.recipes.recipe import Recipe

if TYPE_CHECKING:
    from tunestack.connect import Connection

RECIPE, CARD, FACTS, PREFLIGHT = "recipe.yml", "card.json", "run.json", "preflight.json"
INPUT = "run_folder"


@dataclass(frozen=True)
class RunFolder:
    """What is written: a recipe, and three JSON objects; an empty one is not written."""

    recipe: Recipe
    card: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    preflight: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write into a folder, which is made; the files that the recipe names go beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        head = f"# The recipe '{self.recipe.name}' as it ran, every default written out.\n"
        (folder / RECIPE).write_text(head + recipe.as_yaml(_beside(self.recipe)), encoding="utf-8")
        for file in (self.recipe.finetune_config_file, self.recipe.regression_file):
            if file and file.is_file():
                shutil.copyfile(file, folder / file.name)
        for name, content in ((CARD, self.card), (FACTS, self.facts), (PREFLIGHT, self.preflight)):
            if content:
                (folder / name).write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
        return folder


def _beside(found: Recipe) -> Recipe:
    """The recipe with its files named as they lie beside it in the folder."""
    config, questions = found.finetune_config_file, found.regression_file
    gate = found.evaluation.model_copy(update={"regression_set": questions.name if questions else None})
    return found.model_copy(update={"finetune_config": config.name if config else None, "evaluation": gate})


def of_job(connection: Connection, body: Mapping[str, Any]) -> RunFolder:
    """What a job of `submit_finetune` ran with. UsageError where it carries no such folder."""
    name = str(body["name"])
    uri = str(((body["properties"].get("inputs") or {}).get(INPUT) or {}).get("uri") or "")
    place = stored_files.folder(connection, uri) if "/datastores/" in uri or uri.startswith("azureml://d") else None
    text = place.read(RECIPE) if place else None
    if place is None or text is None:
        raise UsageError(
            f"job '{name}' carries no recipe", fix="Only jobs of submit_finetune do; name it: --recipe FILE"
        )
    called = str((body["properties"].get("tags") or {}).get("recipe") or "recipe")
    found = recipe.from_text(text.decode(), f"the recipe of job '{name}'", called)
    return RunFolder(
        found, *(_json(place.read(file), f"'{file}' of job '{name}'") for file in (CARD, FACTS, PREFLIGHT))
    )


def _json(content: bytes | None, what: str) -> dict[str, Any]:
    if content is None:
        return {}
    try:
        found = json.loads(content)
    except ValueError as error:
        raise UsageError(f"{what} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{what} is not a JSON object")
    return found
