"""The parts of report.html about the run: loss curves, attempts, data card, cost, recipe, and what was hashed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation import charts
from evaluation.markup import Markup, facts, join, number, table, tag
from evaluation.run_facts import RunFacts
from evaluation.tracking import Curves

_FILES_SHOWN = 200
_RUN_FACTS = {
    "job": "job",
    "experiment": "experiment",
    "workspace": "workspace",
    "stack": "stack",
    "who": "submitted by",
    "submitted": "submitted",
}
_TAGS = ("base_model", "component", "data_source", "data_hash", "commit", "steps")


def losses(found: Curves) -> Markup:
    """Training and validation loss by step."""
    head = tag("h2", "Loss while training")
    if not found.curves:
        return join([head, tag("p", f"There are no curves. {found.missing}", class_="soft")])
    drawn = tag("figure", charts.curves(found.curves, "Loss by step"), class_="card")
    last = [
        (name, number(curve[0][1]), number(curve[-1][1]), f"{curve[-1][0]:,}") for name, curve in found.curves.items()
    ]
    return join([head, tag("div", drawn, table(("loss", "first", "last", "at step"), last), class_="grid")])


def attempts(metrics: Mapping[str, Any]) -> Markup:
    """How often this test split has judged, and what that does to a pass."""
    gate = metrics["gate"]
    said = (
        f"This is attempt {gate['attempt']} on this test split. Each attempt passes a worthless model with at most "
        f"5 %, so that by now one would have passed with {100 * gate['chance_of_a_false_pass']:.0f} %. "
        "New test data starts the count again."
    )
    return join([tag("h2", "Attempts"), tag("p", said)])


def data(told: RunFacts, metrics: Mapping[str, Any]) -> Markup:
    """The data card, and what became of the test rows here."""
    card, test = told.card, metrics["test"]
    skipped = ", ".join(f"{count:,} {reason}" for reason, count in test["skipped"].items()) or "none"
    measured = facts(
        [
            ("test rows", f"{test['rows']:,} in {test['clusters']:,} clusters, {test['tokens']:,} answer tokens"),
            ("left out", skipped),
            ("cut", f"{test['cut']:,} at {test['limit']:,} tokens"),
            ("SHA-256 of the test split", tag("code", test["sha256"])),
        ]
    )
    parts: list[Any] = [tag("h2", "Data"), tag("div", tag("h3", "What was measured"), measured, class_="card")]
    if card:
        parts = [tag("h2", "Data"), tag("div", parts[1], _card(card), class_="grid")]
        bins = (card.get("lengths") or {}).get("histogram") or []
        if bins:
            drawn = charts.bars([(f"{part['from']:,}", part["rows"]) for part in bins], "Rows of train by length")
            caption = f"Rows of train by length in {card['lengths'].get('unit', 'tokens')}, from"
            parts.append(tag("figure", drawn, tag("figcaption", caption), class_="card"))
    return join(parts)


def cost(told: RunFacts, metrics: Mapping[str, Any]) -> Markup:
    """What preflight expected of hours and dollars, and who ran it; what it came to is on the bill, not here."""
    estimate = told.preflight.get("estimate") or {}
    run = estimate.get("run") or {}
    parts: list[Any] = [tag("h2", "Run and cost")]
    known = [(said, told.run.get(key)) for key, said in _RUN_FACTS.items()]
    tags = told.run.get("tags") or {}
    known += [(key.replace("_", " "), tags.get(key)) for key in _TAGS]
    known += [("evaluation took", f"{metrics['seconds']:,.0f} s"), ("expected", _expected(run))]
    known += [("budget", _dollars(estimate["budget"])) if estimate.get("budget") is not None else ("budget", None)]
    findings = told.preflight.get("findings") or []
    verdicts = [str(each.get("verdict")) for each in findings]
    counted = ", ".join(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
    known.append(("preflight", f"{told.preflight.get('verdict', '')} ({counted})" if findings else None))
    parts.append(tag("div", facts(known), class_="card"))
    if run.get("parts"):
        rows = [
            (each["part"], each["size"], _range(each["hours"]), _range(each["dollars"]), each.get("assumes", ""))
            for each in run["parts"]
        ]
        lead = "Expected before the run, as ranges. What it came to is on the bill: scripts/cost.py."
        parts += [tag("p", lead, class_="lead"), table(("part", "machine", "hours", "dollars", "assumes"), rows, 9)]
    return join(parts)


def recipe(told: RunFacts) -> Markup:
    if not told.recipe:
        return Markup("")
    return join([tag("h2", "Recipe"), tag("details", tag("summary", "as it ran"), tag("pre", told.recipe))])


def hashes(metrics: Mapping[str, Any], files: Sequence[Mapping[str, Any]]) -> Markup:
    """The tuned model's files, by which it can be known again."""
    found = metrics["files"]
    rows = [(each["path"], f"{each['bytes']:,}", tag("code", each["sha256"])) for each in files[:_FILES_SHOWN]]
    more = f" The first {_FILES_SHOWN} are shown; files.json has all." if len(files) > _FILES_SHOWN else ""
    return join(
        [
            tag("h2", "Files of the tuned model"),
            tag(
                "p",
                f"{found['count']:,} files, {found['bytes']:,} bytes, together ",
                tag("code", found["sha256"]),
                more,
            ),
            tag("details", tag("summary", "each file"), table(("file", "bytes", "SHA-256"), rows)),
        ]
    )


def _card(card: Mapping[str, Any]) -> Markup:
    rows, tokens = card.get("rows") or {}, card.get("tokens") or {}
    rejected = card.get("rejected") or {}
    reasons = ", ".join(f"{each['rows']:,} {each['reason']}" for each in rejected.get("reasons") or ())
    known = [
        ("name", card.get("name")),
        ("source", card.get("source")),
        ("licence", card.get("licence")),
        ("taken", f"{card['percent']:g} %" if isinstance(card.get("percent"), (int, float)) else None),
        ("rows", ", ".join(f"{split} {count:,}" for split, count in rows.items())),
        ("tokens of train", f"{tokens['train']:,}, {tokens.get('how', '')}" if "train" in tokens else None),
        ("left out", f"{rejected['rows']:,}" + (f": {reasons}" if reasons else "") if "rows" in rejected else None),
        ("hash", tag("code", card["hash"]) if card.get("hash") else None),
    ]
    return tag("div", tag("h3", "Data card"), facts(known), class_="card")


def _expected(run: Mapping[str, Any]) -> str | None:
    if "hours" not in run or "dollars" not in run:
        return None
    return f"{_range(run['hours'])} hours, {_range(run['dollars'])} dollars"


def _range(found: Sequence[float]) -> str:
    return f"{found[0]:,.2f} to {found[-1]:,.2f}"


def _dollars(value: float) -> str:
    return f"{value:,.2f} dollars"
