"""What a run is sent where nobody asks the registry: the recipe's parameters over the dated defaults of its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunestack import azure_facts
from tunestack.recipe import Recipe


def of_model(name: str) -> dict[str, Any] | None:
    """`model_specific_defaults` as the table has them; None for a model whose tags nobody wrote down."""
    found = azure_facts.facts()["defaults"].get(name)
    return dict(found) if found is not None else None


def merged(recipe: Recipe, defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The recipe's value where it has one, else the model's; `defaults` of the live registry go before the table's."""
    base = defaults if defaults is not None else (None if recipe.model.is_hub else of_model(recipe.model.name))
    return {**(base or {}), **recipe.parameters}
