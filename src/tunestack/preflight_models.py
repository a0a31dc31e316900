"""Checks of the base model: may it be started from, and is the dated table that says so recent."""

from __future__ import annotations

from datetime import date

from tunestack import azure_facts
from tunestack.preflight_subject import Finding, Subject

OLDEST_DAYS = 90


def table_age(subject: Subject) -> Finding:
    """A table older than 90 days is a warning: models and sizes retire within such a time."""
    written = azure_facts.facts()["as_of"]
    days = (subject.today - written).days
    said = f"azure_facts.yml is of {written}, {days} days ago"
    if days > OLDEST_DAYS:
        fix = "Run it online, or bring src/tunestack/azure_facts.yml up to date"
        return Finding("table-age", "warning", said, "azure_facts.yml", fix)
    return Finding("table-age", "ok", said, "azure_facts.yml")


def base_model(subject: Subject) -> Finding:
    """Archived, or past its dates: a warning on managed compute, where Azure's dates do not bind."""
    name = subject.recipe.model.name
    fact = azure_facts.facts()["models"].get(name)
    source = f"azure_facts.yml, models, read {azure_facts.facts()['sources']['documents']['read']}"
    if fact is None:
        return Finding("base-model", "unknown", f"whether '{name}' is in use or archived is not known", source)
    retired: date | None = fact.get("retired")
    if fact.get("archived") or (retired and retired <= subject.today):
        how = "is archived in its registry" if fact.get("archived") else "is past its dates"
        said = f"'{name}' {how}: retired on {retired}; Azure's dates bind serverless deployments, not managed compute"
        return Finding("base-model", "warning", said, source, "Take a live one, e.g. Phi-4")
    return Finding("base-model", "ok", f"'{name}' is neither archived nor retired", source)
