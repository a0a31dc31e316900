"""What one fine-tune of a recipe may cost: a range of hours from rows, tokens and the GPU's peak, with its assumptions.

A range and no figure: what a GPU reaches of its peak differs threefold, and how long rows are is seen only in the data.
"""

from __future__ import annotations

from dataclasses import dataclass

from tunestack import azure_facts
from tunestack.azure_facts import Figure
from tunestack.recipe import Recipe

# Passes over the weights per token: forward, backward through frozen ones; more with recomputation or without LoRA.
FEWEST_PASSES, MOST_PASSES = 4, 8
# What training reaches of a GPU's peak, and how full rows are of `max_seq_length`.
BEST_USE, WORST_USE = 0.5, 0.15
LEAST_FILLED, MOST_FILLED = 0.5, 1.0
# Around the training itself: machines start, images are pulled, the model is fetched, converted and evaluated.
LEAST_AROUND, MOST_AROUND = 0.4, 1.5
LEAST_CPU, MOST_CPU = 0.3, 1.0
SEQUENCE = 2048
EPOCHS = 1


@dataclass(frozen=True)
class Range:
    """From the least to the most, dollars and hours of the fine-tuning machine, and what it rests on."""

    dollars: tuple[float, float]
    hours: tuple[float, float]
    assumes: str


@dataclass(frozen=True)
class Machines:
    """The sizes that a stack runs the recipe's parts on, and their prices."""

    gpu_size: str
    gpu: Figure | None
    cpu: Figure | None


def of_recipe(recipe: Recipe, machines: Machines, rows: int | None = None) -> Range | str:
    """The range, or in words what must be known for it and is not: model size, rows, the GPU, its price."""
    billions = azure_facts.facts()["parameters"].get(recipe.model.name)
    peak = azure_facts.teraflops(machines.gpu_size)
    known = rows if rows is not None else _rows(recipe)
    trained = _steps(recipe, machines.gpu_size) or (round(known * _epochs(recipe)) if known is not None else None)
    unknown = []
    if billions is None:
        unknown.append(f"how large '{recipe.model.name}' is stands not in azure_facts.yml, under parameters")
    if peak is None:
        unknown.append(f"how fast a GPU of size '{machines.gpu_size}' is stands not in azure_facts.yml")
    if trained is None:
        unknown.append(f"how many rows '{recipe.data.source}' has is not known: give --rows")
    if machines.gpu is None or machines.cpu is None:
        unknown.append("the price of its machines is not known")
    if billions is None or peak is None or trained is None or machines.gpu is None or machines.cpu is None:
        return "; ".join(unknown)
    gpus = azure_facts.gpus(machines.gpu_size) or 1
    longest = int(recipe.parameters.get("max_seq_length", SEQUENCE))
    work = trained * longest * billions * 1e9 / (peak * 1e12 * gpus * 3600)
    hours = (
        work * LEAST_FILLED * FEWEST_PASSES / BEST_USE + LEAST_AROUND,
        work * MOST_FILLED * MOST_PASSES / WORST_USE + MOST_AROUND,
    )
    dollars = (
        hours[0] * machines.gpu.dollars + LEAST_CPU * machines.cpu.dollars,
        hours[1] * machines.gpu.dollars + MOST_CPU * machines.cpu.dollars,
    )
    return Range((round(dollars[0], 2), round(dollars[1], 2)), hours, _assumes(trained, longest, hours, machines))


def _assumes(trained: int, longest: int, hours: tuple[float, float], machines: Machines) -> str:
    return (
        f"assumes {hours[0]:.1f} to {hours[1]:.1f} hours on one {machines.gpu_size}: {trained:,} rows trained on, "
        f"{LEAST_FILLED:.0%} to {MOST_FILLED:.0%} of {longest:,} tokens each, {WORST_USE:.0%} to {BEST_USE:.0%} of the "
        f"GPU's peak, {LEAST_AROUND:g} to {MOST_AROUND:g} hours around it"
    )


def _steps(recipe: Recipe, size: str) -> int | None:
    """Rows that `max_steps` amounts to; None where the recipe counts epochs."""
    steps = int(recipe.parameters.get("max_steps", -1))
    batch = int(recipe.parameters.get("per_device_train_batch_size", 1))
    kept = int(recipe.parameters.get("gradient_accumulation_steps", 1))
    return max(int(steps * batch * kept * (azure_facts.gpus(size) or 1)), 1) if steps > 0 else None


def _rows(recipe: Recipe) -> int | None:
    """Rows that are trained on in one epoch: the part that the recipe takes, less what it validates with."""
    whole = azure_facts.facts()["rows"].get(recipe.data.source)
    if whole is None:
        return None
    return int(whole * recipe.data.percent / 100 * (1 - recipe.data.validation_percent / 100))


def _epochs(recipe: Recipe) -> float:
    return float(recipe.parameters.get("num_train_epochs", EPOCHS))
