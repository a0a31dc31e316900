"""Check of names that are still to be made: job, model, evidence, endpoints, against Azure's lengths and letters.

Sources: Azure's resource name rules, and for endpoints and deployments its page on quotas of Machine Learning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tunestack.preflight.preflight_subject import Finding, Subject

RANDOM_DIGITS = 8  # Pulumi adds them to an endpoint's name
KEY_LETTERS = 12  # of the run key that ends a job's name
SERIES = "-99"
SLOTS = ("blue", "green")
SOURCE = "Azure's resource name rules, and its page on quotas of 2026-01-27"


@dataclass(frozen=True)
class Rule:
    """How a kind of thing may be called."""

    pattern: re.Pattern[str]
    shortest: int
    longest: int
    says: str


ASSET = Rule(re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*"), 1, 255, "letters, digits, '-', '_' and '.'")
JOB = Rule(re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*"), 1, 255, "letters, digits, '-' and '_'")
SERVED = Rule(
    re.compile(r"[A-Za-z](?:[A-Za-z0-9]|-(?!-))*"), 3, 32, "a letter first, letters, digits and single dashes"
)


def lengths(subject: Subject) -> Finding:
    """All names that the steps to come make; every one that cannot be is named."""
    made = list(_names(subject))
    wrong = [flaw for what, name, rule in made if (flaw := objection(what, name, rule))]
    if wrong:
        fix = "Rename the recipe's file or the data, shorten --stack or the dial 'endpoints'"
        return Finding("names", "error", "; ".join(wrong), SOURCE, fix)
    longest = max(made, key=lambda one: len(one[1]) / one[2].longest)
    said = (
        f"{len(made)} names fit; the tightest is {longest[0]} '{longest[1]}', {len(longest[1])} of {longest[2].longest}"
    )
    return Finding("names", "ok", said, SOURCE)


def objection(what: str, name: str, rule: Rule) -> str:
    """What is wrong with a name, or nothing."""
    if not rule.shortest <= len(name) <= rule.longest:
        return f"{what} '{name}' has {len(name)} letters, and {rule.shortest} to {rule.longest} are allowed"
    return "" if rule.pattern.fullmatch(name) else f"{what} '{name}' may have only {rule.says}"


def _names(subject: Subject) -> Iterator[tuple[str, str, Rule]]:
    recipe = subject.recipe
    yield "job", f"{recipe.name}-{'0' * KEY_LETTERS}-evaluation{SERIES}", JOB
    if data := _data(subject):
        model = f"{recipe.model.name}-{data}".replace("/", "-")
        yield "model", model, ASSET
        yield "evidence", f"{model}-evidence", ASSET
    if subject.live and subject.live.connection.workspace.endpoint_name:
        yield "endpoint", subject.live.connection.workspace.endpoint_name, SERVED
    else:
        for one in subject.dials.get("endpoints") or ():
            yield "endpoint", endpoint(str(one), subject.stack) + "0" * RANDOM_DIGITS, SERVED
    yield from (("deployment", slot, SERVED) for slot in SLOTS)


def endpoint(name: str, stack: str) -> str:
    """An endpoint's name without the digits, as `infra/naming.py` makes it: the stack in lower case, and cut."""
    words = ["tunestack", name, *re.findall(r"[a-z0-9]+", stack.lower())]
    return "-".join(words)[: SERVED.longest - RANDOM_DIGITS].rstrip("-")


def _data(subject: Subject) -> str:
    """The data's name, which ends the model's; of data that is not prepared yet, as its source will name it."""
    if subject.data:
        return subject.data.name
    from tunestack.sources.sources import Source

    return Source.parse(subject.recipe.data.source).name
