"""Writes the tables of docs/policy.md from the pack: `python -m infra.policy.page`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from infra.policy.pack import NOUNS, RULES
from infra.policy.rule import AnyRule

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "policy.md"
BEGIN, END = "<!-- tables: python -m infra.policy.page -->\n", "<!-- /tables -->\n"


def tables() -> str:
    """One table per noun: what is asked, by whom, and where `infra` does it."""
    parts = []
    for noun in NOUNS:
        title = noun.__name__.rpartition(".")[2].capitalize()
        rows = [f"| `{rule.name}` | {rule.asks} | {_where(rule)} | {_sources(rule)} |" for rule in noun.RULES]
        parts.append("\n".join([f"### {title}\n", "| rule | asks | set in | source |", "|---|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _where(rule: AnyRule) -> str:
    file, words = rule.sets
    return f"[{Path(file).stem}](../{file}) `{words.rstrip('=(')}`" if file else "nothing of this kind is made"


def _sources(rule: AnyRule) -> str:
    return "; ".join(f"[{source.title}]({source.url})" for source in rule.sources)


def line_of(rule: AnyRule) -> int | None:
    """The line of the file that `sets` names; None where the words are not in it."""
    file, words = rule.sets
    lines = (ROOT / file).read_text().splitlines() if (ROOT / file).is_file() else []
    return next((number for number, line in enumerate(lines, 1) if words in line), None)


def current(page: str) -> str:
    """The page with its tables as the pack has them now."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{tables()}\n{END}{tail}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.policy.page", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is out of date")
    parser.add_argument("--lines", action="store_true", help="print each rule with the line that sets it")
    options = parser.parse_args()
    if options.lines:
        for rule in RULES:
            place = f"{rule.sets[0]}:{line_of(rule)}" if rule.sets[0] else "-"
            print(f"| `{rule.name}` | {place} | {rule.sources[0].title} |")
        return 0
    before = PAGE.read_text("utf-8")
    after = current(before)
    if options.check:
        if before != after:
            print(f"error: '{PAGE.name}' is out of date; write it anew: python -m infra.policy.page", file=sys.stderr)
        return int(before != after)
    PAGE.write_text(after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
