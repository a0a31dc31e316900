"""Checks of the base model: may it be started from, on which sizes, and is the dated table that says so recent."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from tunestack import azure_facts
from tunestack.azure_facts import AllowList, Purpose
from tunestack.preflight.preflight_subject import Finding, Subject, no_machines, no_settings
from tunestack.registry_id import HubId

OLDEST_DAYS = 90
SOON = timedelta(days=90)
TABLE = "azure_facts.yml"
LIVE = "the registry, asked now"


def table_age(subject: Subject) -> Finding:
    """A source read more than 90 days ago is a warning: models and sizes retire within such a time."""
    sources = azure_facts.facts()["sources"]
    name = min(sources, key=lambda one: sources[one]["read"])
    read, days = sources[name]["read"], (subject.today - sources[name]["read"]).days
    said = f"the oldest source of the table, '{name}', was read {days} days ago, on {read}"
    if days > OLDEST_DAYS:
        fix = f"Read it again, and bring src/tunestack/{TABLE} up to date"
        return Finding("table-age", "warning", said, TABLE, fix)
    return Finding("table-age", "ok", said, TABLE)


def base_model(subject: Subject) -> Finding:
    """Archived, or past a date of Azure's: a warning on managed compute, where those dates do not bind."""
    model = subject.recipe.model
    if isinstance(model, HubId):
        said = f"'{model}' is fetched from the hub when the job runs; whether it is there then, nobody can say now"
        return Finding("base-model", "warning", said, "recipe", "Take a registry model where one will do")
    fact = azure_facts.facts()["models"].get(model.name)
    source = table_source(fact)
    if subject.live:
        found = subject.live.model(model)
        if found is None:
            fix = f"See what there is with: az ml model list --registry-name {model.registry} --name {model.name}"
            return Finding("base-model", "error", f"base model '{model}' does not exist", LIVE, fix)
        lacking = [word for word in ("deprecated", "retired") if word in (fact or {}) and word not in found.lifecycle]
        source = f"{LIVE}; dates of {source}" if lacking else LIVE
        fact = {**(fact or {}), **found.lifecycle}
    if fact is None:
        fix = "Ask online, or add it to the table's models"
        return Finding("base-model", "unknown", f"nobody at hand knows whether '{model.name}' is in use", source, fix)
    return _standing(model.name, fact, subject.today, source)


def _standing(name: str, fact: dict[str, Any], today: date, source: str) -> Finding:
    retired: date | None = fact.get("retired")
    deprecated: date | None = fact.get("deprecated")
    dates = ", ".join(f"{word} {day}" for word, day in (("deprecated", deprecated), ("retired", retired)) if day)
    flaws = ["is archived in its registry"] if fact.get("archived") else []
    if retired and retired <= today:
        flaws.append(f"was retired {(today - retired).days} days ago")
    elif retired and retired - today <= SOON:
        flaws.append(f"is retired in {(retired - today).days} days")
    elif deprecated and deprecated <= today:
        flaws.append("is deprecated")
    if not flaws:
        return Finding("base-model", "ok", f"'{name}' is in use" + (f" ({dates})" if dates else ""), source)
    said = f"'{name}' {' and '.join(flaws)}" + (f" ({dates})" if dates else "")
    bound = "these dates bind serverless deployments; on managed compute a pinned version may go on working"
    live = "Take a model in use, e.g. pipelines/finetune/phi-4-ultrachat.yml"
    return Finding("base-model", "warning", f"{said}; {bound}", source, live)


def training_allow_list(subject: Subject) -> Finding:
    """The fine-tuning size against the model's list, which names retired sizes as well."""
    machines = subject.training
    if machines is None:
        return no_machines("training-allow-list")
    return _listed("training-allow-list", subject, machines.size, "finetune")


def serving_allow_list(subject: Subject) -> Finding:
    """The deployment's size against the model's list, which names retired sizes as well."""
    machines = subject.serving
    if machines is None:
        return no_settings("serving-allow-list")
    return _listed("serving-allow-list", subject, machines.size, "inference")


def _listed(check: str, subject: Subject, size: str, purpose: Purpose) -> Finding:
    model = subject.recipe.model
    if model.is_hub:
        said = f"'{model}' comes from the hub, and no registry lists sizes for it; the memory checks decide"
        return Finding(
            check, "warning", said, "recipe", "Try the size with a few steps first: --set training.max_steps"
        )
    live = subject.live.model(model) if subject.live else None
    found = azure_facts.allow_list(model.name, live.tags if live else {}, purpose)
    if found is None:
        said = f"which sizes '{model.name}' may use for {purpose} is not known: neither registry nor table lists any"
        return Finding(check, "unknown", said, TABLE, "Look it up in the model's card, then accept this check")
    usable = usable_sizes(found, subject.today)
    if size in found:
        return Finding(
            check, "ok", f"'{size}' is one of {len(found.sizes)}, {len(usable)} still to be had", found.source
        )
    said = f"'{size}' is not on the {purpose} list of '{model.name}'"
    if not usable:
        return Finding(
            check, "error", f"{said}, and none of that list can be had any more", found.source, "Take another model"
        )
    return Finding(check, "error", said, found.source, f"Take one of, cheapest first: {', '.join(usable)}")


def usable_sizes(allowed: AllowList, today: date) -> list[str]:
    """What is on the list and neither retired, nor retiring within 90 days, nor unsupported; cheapest first."""
    sizes = azure_facts.facts()["sizes"]
    found = []
    for name in allowed.sizes:
        fact = sizes.get(name.lower(), {})
        retired = fact.get("retired")
        if not fact.get("unsupported") and (retired is None or retired - today > SOON):
            found.append((float(fact.get("hour") or "inf"), name))
    return [name for _, name in sorted(found)]


def table_source(fact: dict[str, Any] | None) -> str:
    """Which source of the table speaks of a model, with its day."""
    source = azure_facts.facts()["sources"][(fact or {}).get("source", "documents")]
    return f"{TABLE}, models, read {source['read']} from {str(source['from']).partition(' (')[0]}"
