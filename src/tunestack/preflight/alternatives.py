"""Other sizes that would do, cheapest first: allowed, to be had, with enough memory, and what they cost.

For training and for serving. What is not known of a size keeps it off the list, but for quota and region, which are
shown as they are known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from tunestack import azure_facts
from tunestack.azure_facts import Gpu, Purpose
from tunestack.cost import fine_tune_cost, gpu_memory, quota, serving_memory
from tunestack.cost.gpu_memory import Span
from tunestack.errors import CloudError
from tunestack.preflight import models_checks, sizes_checks
from tunestack.preflight.preflight_subject import Subject

PURPOSES = ("training", "serving")


@dataclass(frozen=True)
class Alternative:
    """One size: GiB needed and usable per GPU, dollars an hour, hours and dollars of a run (None when it serves)."""

    purpose: str
    size: str
    needs: Span
    usable: float
    hourly: float
    hours: Span | None
    dollars: Span | None
    family: str
    cores: int
    free_cores: int | None
    region: bool | None
    is_chosen: bool

    @property
    def has_quota(self) -> bool:
        """Whether quota is there for it, as far as anybody could say."""
        return self.free_cores is None or self.cores <= self.free_cores

    @property
    def text(self) -> str:
        """`Standard_NC24ads_A100_v4 fits, 3.67 $/h, 1.5 to 4 h, 6 to 15 $; needs 24 cores of ...`."""
        parts = [f"{self.size} fits", f"{self.hourly:,.2f} $/h"]
        if self.hours and self.dollars:
            low, high = self.dollars
            money = f"{low:,.2f} to {high:,.2f} $" if high < 10 else f"{low:,.0f} to {high:,.0f} $"
            parts += [f"{self.hours[0]:.1f} to {self.hours[1]:.1f} h", money]
        parts.append(f"{gpu_memory.span(*self.needs)} of {self.usable:.0f} GiB")
        free = "" if self.free_cores is None else f" ({self.free_cores} free)"
        both = " for blue plus green" if self.purpose == "serving" else ""
        return f"{', '.join(parts)}; needs {self.cores} cores of {self.family}{both}{free}"

    @property
    def record(self) -> dict[str, Any]:
        return {
            "purpose": self.purpose,
            "size": self.size,
            "chosen": self.is_chosen,
            "gib": [round(part, 1) for part in self.needs],
            "usable_gib": round(self.usable, 1),
            "dollars_per_hour": round(self.hourly, 3),
            "hours": [round(hour, 1) for hour in self.hours] if self.hours else None,
            "dollars": list(self.dollars) if self.dollars else None,
            "quota": {"family": self.family, "cores": self.cores, "free": self.free_cores},
            "offered_in_region": self.region,
            "text": self.text,
        }


def of_subject(subject: Subject) -> tuple[Alternative, ...]:
    """All that fit, those for training first, each kind cheapest first."""
    training = sorted(_training(subject), key=lambda one: (one.dollars or (one.hourly, one.hourly))[::-1])
    serving = sorted(_serving(subject), key=lambda one: one.hourly)
    return (*training, *serving)


def worth_showing(found: tuple[Alternative, ...], stopped: Collection[str] = ()) -> tuple[Alternative, ...]:
    """Of each purpose what fits and has quota, up to the chosen size; all others where that one is stopped."""
    shown: list[Alternative] = []
    for purpose in PURPOSES:
        own = [one for one in found if one.purpose == purpose]
        chosen = next((place for place, one in enumerate(own) if one.is_chosen), None)
        if purpose in stopped:
            chosen = None
        shown += [one for one in own[:chosen] if one.has_quota and not one.is_chosen]
    return tuple(shown)


def _training(subject: Subject) -> Iterator[Alternative]:
    planned, own = subject.planned, subject.training
    if planned.shape is None or planned.training is None:
        return
    cheap = subject.machines("cpu")
    cpu = subject.prices.size(cheap.size) if cheap else None
    low = bool(own and own.is_low_priority)
    sent = {name: value for name, value in planned.sent.items() if name != "number_of_gpu_to_use_finetuning"}
    for size, gpu, count in _usable(subject, "finetune"):
        if gpu is None:  # the component's fine-tune step ends with an error without one
            continue
        needs = gpu_memory.training(planned.shape, replace(planned.training, gpus=count), gpu)
        ram = azure_facts.ram(size)
        if needs.most > gpu.usable or (ram is not None and needs.host_most > 0.9 * ram):
            continue
        price = subject.prices.size(size, low_priority=low)
        if price is None:
            continue
        machines = fine_tune_cost.Machines(size, price, cpu or price, cheap.size if cheap else "", low)
        cost = fine_tune_cost.of_recipe(subject.recipe, machines, data=subject.data, parameters=sent)
        if isinstance(cost, str):
            continue
        is_own = own is not None and own.size.lower() == size.lower()
        family, cores = _cores(size, planned.training.nodes)
        family = quota.LOW_PRIORITY if low else family
        yield Alternative(
            "training", size, (needs.least, needs.most), gpu.usable, price.dollars, cost.hours, cost.dollars, family,
            cores, _free(subject, family), _region(subject, size), is_own,
        )  # fmt: skip


def _serving(subject: Subject) -> Iterator[Alternative]:
    planned, settings = subject.planned, subject.deployment
    if planned.shape is None or settings is None:
        return
    told = settings.environment_variables
    count = subject.serving.count if subject.serving else settings.instance_count
    for size, gpu, gpus in _usable(subject, "inference"):
        price, usable = subject.prices.size(size), 0.9 * (azure_facts.ram(size) or 0)
        if gpu:
            own = serving_memory.serving(planned.shape, gpus, told)
            found, usable = own.estimate, own.usable(gpu)
            needs, runs = (found.least, found.most), serving_memory.starts(gpu, told)
        else:
            served = serving_memory.serving(planned.shape, 1, told)
            found = serving_memory.on_cpu(planned.shape, served.context)
            needs, runs = (
                (found.host_least, found.host_most),
                planned.shape.parameters < serving_memory.SLOW_WITHOUT_GPU,
            )
        if not runs or needs[1] > usable or price is None:
            continue
        family, cores = _cores(size, quota.SLOTS * quota.counted(size, count))
        yield Alternative(
            "serving", size, needs, usable, price.dollars * count, None, None, family, cores,
            _free(subject, family), _region(subject, size), settings.instance_type.lower() == size.lower(),
        )  # fmt: skip


def _usable(subject: Subject, purpose: Purpose) -> Iterator[tuple[str, Gpu | None, int]]:
    """Sizes that may be used, are not about to retire, and are offered here as far as is known, with their GPUs."""
    model = subject.recipe.model
    live = subject.live.model(model) if subject.live and not model.is_hub else None
    allowed = None if model.is_hub else azure_facts.allow_list(model.name, live.tags if live else {}, purpose)
    if allowed is None and not model.is_hub:
        return
    table = azure_facts.facts()["sizes"]
    names = allowed.sizes if allowed else tuple(fact["name"] for fact in table.values())
    for size in models_checks.usable_sizes(azure_facts.AllowList(names, ""), subject.today):
        if size.lower() in table and _offered(subject, size):
            yield table[size.lower()]["name"], azure_facts.gpu(size), azure_facts.gpus(size) or 0


def _region(subject: Subject, size: str) -> bool | None:
    """Whether the region offers a size: by its own list where that may be read, else by the table."""
    offered = subject.live.sizes if subject.live else None
    return sizes_checks.in_table(size, subject.region) if offered is None else size.lower() in offered


def _offered(subject: Subject, size: str) -> bool:
    return _region(subject, size) is not False and not (subject.live and subject.live.restriction(size))


def _cores(size: str, machines: int) -> tuple[str, int]:
    family, cores = azure_facts.cores(size) or ("", 0)
    return family, cores * machines


def _free(subject: Subject, family: str) -> int | None:
    """Cores that quota leaves now, none for a family without a row; None offline and where it may not be read."""
    if subject.live is None:
        return None
    try:
        used, limit = subject.live.quota.get(quota.key(family), (0, 0))
    except CloudError as error:
        if error.status != 403:
            raise
        return None
    return max(limit - used, 0)
