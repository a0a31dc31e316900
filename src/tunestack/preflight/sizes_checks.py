"""Checks of machine sizes: retired or about to be, usable by the images here, and offered in the region."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tunestack import azure_facts
from tunestack.preflight.models_checks import SOON, TABLE
from tunestack.preflight.preflight_live import Live
from tunestack.preflight.preflight_subject import Finding, Machines, Subject, no_machines, no_settings

_Missing = Callable[[str], Finding]
_WORST = ("error", "unknown", "warning", "not asked", "ok")
_READER = "Have the role Reader on the subscription, which shows you the region's sizes"


def training_size(subject: Subject) -> Finding:
    """The sizes that a run uses: a retired one is an error, one that retires within 90 days a warning."""
    return _worst(subject, lambda machines: _life("training-size", subject, machines, no_machines))


def serving_size(subject: Subject) -> Finding:
    """The deployment's size, likewise."""
    return _life("serving-size", subject, subject.serving, no_settings)


def training_region(subject: Subject) -> Finding:
    """Whether the region offers the sizes that a run uses."""
    return _worst(subject, lambda machines: _offered("training-region", subject, machines, no_machines))


def serving_region(subject: Subject) -> Finding:
    """Whether the region offers the deployment's size."""
    return _offered("serving-region", subject, subject.serving, no_settings)


def _worst(subject: Subject, of: Callable[[Machines | None], Finding]) -> Finding:
    """What is said of the fine-tuning machines, unless those that feed them are worse.

    The table has few sizes without a GPU, so that one which it does not know is a warning there.
    """
    main, *others = (of(subject.machines(role)) for role in subject.roles)
    eased = [replace(one, verdict="warning") if one.verdict == "unknown" else one for one in others]
    said = [one for one in eased if one.verdict != "not asked"]
    return min((main, *said), key=lambda one: _WORST.index(one.verdict))


def _life(check: str, subject: Subject, machines: Machines | None, missing: _Missing) -> Finding:
    if machines is None:
        return missing(check)
    size, fact = machines.size, azure_facts.facts()["sizes"].get(machines.size.lower())
    source = f"{TABLE}, sizes, of {azure_facts.facts()['as_of']}"
    mend = f"Take another size in {machines.source}"
    if fact is None:
        if subject.live and size.lower() in (subject.live.sizes or {}):
            said = f"'{size}' is offered in '{subject.region}' today; when it retires is not in the table"
            return Finding(check, "warning", said, "vmSizes, asked now", f"Add its dates to {TABLE}")
        said = f"'{size}' is not in the table, so nobody at hand knows whether it is retired"
        return Finding(check, "unknown", said, source, f"{mend}, ask online, or add it to {TABLE}")
    retired = fact.get("retired")
    if retired and retired <= subject.today:
        return Finding(check, "error", f"'{size}' was retired by Azure on {retired}", source, mend)
    if fact.get("unsupported"):
        return Finding(check, "error", f"'{size}' cannot be used here: {fact['unsupported']}", source, mend)
    if retired and retired - subject.today <= SOON:
        days = (retired - subject.today).days
        return Finding(check, "warning", f"'{size}' retires in {days} days, on {retired}", source, mend)
    until = f"; it retires on {retired}" if retired else ", and no date is announced"
    return Finding(check, "ok", f"'{size}' can be had{until}", source)


def _offered(check: str, subject: Subject, machines: Machines | None, missing: _Missing) -> Finding:
    if machines is None:
        return missing(check)
    if not subject.region:
        return Finding(check, "unknown", "the region is not known", fix="Name the stack with --stack")
    if subject.live and subject.live.sizes is not None:
        return _by_list(check, subject.live, machines.size)
    known = in_table(machines.size, subject.region)
    source = f"{TABLE}, regions, read {azure_facts.facts()['sources']['catalogue']['read']}"
    if known is None:
        said = f"which regions offer '{machines.size}' is not in the table for '{subject.region}'"
        return Finding(
            check,
            "unknown" if subject.live else "not asked",
            said,
            source,
            _READER if subject.live else "Run it online",
        )
    if not known:
        return _elsewhere(check, machines.size, subject.region, source)
    said = f"'{subject.region}' offers '{machines.size}'"
    if subject.live:
        return Finding(check, "warning", f"{said} by the table; the region's own list may not be read", source, _READER)
    return Finding(check, "ok", said, source)


def _by_list(check: str, live: Live, size: str) -> Finding:
    source = f"vmSizes of '{live.region}', asked now"
    if size.lower() not in (live.sizes or {}):
        return _elsewhere(check, size, live.region, source)
    held = live.restriction(size)
    if held:
        said = f"'{size}' is closed to this subscription: {held}"
        fix = "Ask Azure support, or take another region or size"
        return Finding(check, "error", said, "Microsoft.Compute/skus, asked now", fix)
    said = f"'{live.region}' offers '{size}'"
    if not live.shows_restrictions:
        return Finding(check, "warning", f"{said}; whether it is closed to you may not be read", source, _READER)
    return Finding(check, "ok", said, source)


def _elsewhere(check: str, size: str, region: str, source: str) -> Finding:
    family = (azure_facts.cores(size) or ("", 0))[0]
    there = azure_facts.facts()["regions"]["families"].get(family) or []
    others = [one for one in there if one != region]
    fix = f"The table has it in: {', '.join(others)}" if others else "Take another size"
    return Finding(check, "error", f"'{region}' does not offer '{size}'", source, fix)


def in_table(size: str, region: str) -> bool | None:
    """Whether a region offers a size; None where the table knows neither family nor region."""
    regions: dict[str, Any] = azure_facts.facts()["regions"]
    found = azure_facts.cores(size)
    there = regions["families"].get(found[0]) if found else None
    if there is None or region not in regions["listed"]:
        return None
    return region in there
