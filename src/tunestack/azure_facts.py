"""What Azure offers: sizes with their quota families, retirements and prices, and which of them a model may run on.

All figures stand in the dated table `azure_facts.yml` beside this file, with their sources. A model's registry tags are
asked first. Prices of today, where the network is there, are `prices.py`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml

Purpose = Literal["finetune", "inference"]
USABLE = 0.9  # of a GPU's memory: what vLLM takes by default; the rest is the driver's and fragments


def _read(text: str) -> Any:
    """With the C parser where it is: it takes a twentieth of the time."""
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def facts() -> dict[str, Any]:
    """The table, with size names in lower case."""
    table: dict[str, Any] = _read(files("tunestack").joinpath("azure_facts.yml").read_text())
    table["sizes"] = {name.lower(): {**fact, "name": name} for name, fact in table["sizes"].items()}
    return table


@dataclass(frozen=True)
class Figure:
    """Dollars per `per`, and who says so: the source with the day it was read."""

    dollars: float
    per: str
    source: str
    is_rough: bool = False


def price_of_size(size: str, *, low_priority: bool = False) -> Figure | None:
    """An hour of one machine in East US; None for a size without a price."""
    fact = facts()["sizes"].get(size.lower(), {})
    if "hour" not in fact:
        return None
    full = Figure(float(fact["hour"]), "hour", *_source(fact["source"]))
    if not low_priority:
        return full
    cut = facts()["low_priority"]
    return Figure(round(full.dollars * cut["part"], 4), "hour", *_source(cut["source"]))


def price_of_meter(meter: str) -> Figure:
    """What is no machine, by its name in the table; East US."""
    fact = facts()["meters"][meter]
    return Figure(float(fact["price"]), fact["per"], *_source(fact["source"]))


def _source(name: str) -> tuple[str, bool]:
    return f"table, {name} of {facts()['sources'][name]['read']}", name == "rough"


def cores(size: str) -> tuple[str, int] | None:
    """The quota family of a size and what one machine takes from it; None where the table does not say."""
    fact = facts()["sizes"].get(size.lower(), {})
    return (str(fact["family"]), int(fact["cores"])) if "family" in fact else None


@dataclass(frozen=True)
class Gpu:
    """One GPU of a size: its name, GiB as software sees them, compute capability, and peak of 16 bit in teraflops."""

    name: str
    memory: float
    capability: float
    teraflops: float

    @property
    def usable(self) -> float:
        """What is counted on, GiB."""
        return USABLE * self.memory


def gpu(size: str) -> Gpu | None:
    """The GPUs of a machine; None for a machine without one and for an unknown one."""
    name = str(facts()["sizes"].get(size.lower(), {}).get("gpu", ""))
    fact = facts()["gpus"].get(name)
    return Gpu(name, float(fact["memory"]), float(fact["capability"]), float(fact["teraflops"])) if fact else None


def ram(size: str) -> float | None:
    """GiB of memory of one machine; None where the table does not say."""
    found = facts()["sizes"].get(size.lower(), {}).get("ram")
    return float(found) if found else None


def teraflops(size: str) -> float | None:
    """Peak of one GPU of a size, 16 bit; None for a machine without one and for an unknown one."""
    found = gpu(size)
    return found.teraflops if found else None


@dataclass(frozen=True)
class AllowList:
    """The sizes that a model may use, and who says so."""

    sizes: tuple[str, ...]
    source: str

    def __contains__(self, size: str) -> bool:
        return size.lower() in {known.lower() for known in self.sizes}


def allow_list(model: str, tags: Mapping[str, Any], purpose: Purpose) -> AllowList | None:
    """What the registry's tags say, else the table, else None: then nobody knows, and the caller says so."""
    tag = f"{purpose}_compute_allow_list"
    if tags.get(tag):
        return AllowList(tuple(_names(tags[tag])), f"registry tag {tag}")
    listed = facts()["models"].get(model, {}).get(purpose)
    if listed:
        return AllowList(tuple(listed), f"azure_facts.yml of {facts()['sources']['documents']['read']}")
    return None


def _names(value: Any) -> list[str]:
    """A list tag travels as its Python text; a plain comma list is taken as well."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            value = value.split(",")
    return [str(item).strip() for item in ([value] if isinstance(value, str) else value) if str(item).strip()]


def gpus(size: str) -> int | None:
    """GPUs of one machine; None for a size that the table does not have."""
    fact = facts()["sizes"].get(size.lower())
    return int(fact["gpus"]) if fact else None


def objections(size: str, allowed: AllowList | None, purpose: Purpose, model: str, today: date) -> list[str]:
    """Every reason against a size, each one sentence; none when all is well."""
    found = []
    fact = facts()["sizes"].get(size.lower(), {})
    retired = fact.get("retired")
    if retired and retired <= today:
        found.append(f"size '{size}' was retired by Azure on {retired}")
    if fact.get("unsupported"):
        found.append(f"size '{size}' is not supported here: {fact['unsupported']}")
    if allowed is not None and size not in allowed:
        found.append(
            f"size '{size}' is not on the {purpose} allow-list of '{model}' "
            f"({allowed.source}): {', '.join(allowed.sizes)}"
        )
    return found
