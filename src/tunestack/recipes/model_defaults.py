"""What a run is sent where nobody asks the registry: the recipe's parameters over the dated defaults of its model."""

from __future__ import annotations

from typing import Any

from tunestack import azure_facts
from tunestack.recipes import component_facts, parameters
from tunestack.recipes.recipe import Recipe


def of_model(name: str) -> dict[str, Any] | None:
    """`model_specific_defaults` as the table has them; None for a model whose tags nobody wrote down."""
    found = azure_facts.facts()["defaults"].get(name)
    return dict(found) if found is not None else None


def merged(recipe: Recipe) -> dict[str, Any]:
    """The recipe's value where it has one, else the model's. UsageError for a value that the component refuses."""
    known = component_facts.schema(recipe.pipeline)
    if known is not None:
        parameters.merge(recipe.parameters, {}, known.inputs)
    own = None if recipe.model.is_hub else of_model(recipe.model.name)
    return {**(own or {}), **recipe.parameters}
