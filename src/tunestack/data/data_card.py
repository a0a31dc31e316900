"""The card of a data folder: what is in it and what was left out, as a record and as a page with a text histogram.

No time and no machine stands in it: the same data gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tunestack.data.data_folder import SPLITS, DataFolder
from tunestack.data.row_filter import COMPARED
from tunestack.data.row_pass import RowPass
from tunestack.sources.batches import SourceTables

SCHEMA = 1
_BAR = 40


def make(made: DataFolder, tables: SourceTables, done: RowPass) -> dict[str, Any]:
    """The card as plain values. `rejected.percent` counts rows with a fault of their own, as the recipe's limit.

    `test_questions` are the first questions of the test split that differ: the clusters that the gate counts.
    """
    statistics, rejects = done.statistics, done.rejects
    counted, lengths = done.tokens.record(statistics)
    return {
        "schema": SCHEMA,
        "name": made.name,
        "source": made.source,
        "licence": getattr(tables, "licence", None),
        "percent": made.percent,
        "sampling": made.settings.get("sampling"),
        "seed": made.settings.get("seed"),
        "hash": made.hash,
        "test_hash": made.test_hash,
        "read": done.read,
        "rows": dict(made.rows),
        "test_questions": done.chosen.test_questions,
        "text_bytes": {split: found.total for split, found in sorted(statistics.lengths.items())},
        "turns": {
            split: {str(turns): rows for turns, rows in sorted(found.items())}
            for split, found in sorted(statistics.turns.items())
        },
        "tokens": counted,
        "lengths": lengths,
        "rejected": {
            "rows": sum(rejects.counts.values()),
            "wrong": rejects.wrong,
            "percent": round(100 * rejects.wrong / done.read, 2) if done.read else 0,
            "reasons": rejects.record,
        },
        "reported": statistics.reported,
        "notes": list(tables.notes),
    }


def page(card: Mapping[str, Any]) -> str:
    """The card as Markdown that one can read as it is."""
    tokens, lengths, rejected = card["tokens"], card["lengths"], card["rejected"]
    parts = [
        f"# {card['name']}",
        "",
        *_table(("", ""), _facts(card)),
        "",
        "## Rows",
        "",
        *_table(("split", "rows", "bytes of text", "tokens"), _splits(card)),
        "",
        f"Tokens are {tokens['how']}." + (f" Tokenizer: `{tokens['tokenizer']}`." if tokens["tokenizer"] else ""),
        *_cuts(tokens),
        "",
        "## Lengths of the rows of train, in tokens",
        "",
        f"Half have at most {lengths['median']:,}, 95 % at most {lengths['p95']:,}, the longest has "
        f"{lengths['longest']:,}" + ("." if lengths["exact"] else " (none of it counted row by row)."),
        "",
        "```text",
        *_histogram([(f"{part['from']:,}", part["rows"]) for part in lengths["histogram"]]),
        "```",
        "",
        "## Turns of the rows of train",
        "",
        "```text",
        *_histogram(list(card["turns"].get("train", {}).items())),
        "```",
        "",
        "## Left out",
        "",
        f"{rejected['rows']:,} of {card['read']:,} rows; {rejected['percent']:g} % have a fault of their own. "
        "All of them are in `rejected.jsonl`.",
        *_reasons(rejected["reasons"]),
        "",
        "## Reported and kept",
        "",
        *(_reported(card["reported"]) or ["No secret and no e-mail address was found by the patterns in use."]),
        *([""] + [f"- {_cell(note)}" for note in card["notes"]] if card["notes"] else []),
    ]
    return "\n".join(parts) + "\n"


def _facts(card: Mapping[str, Any]) -> list[tuple[object, ...]]:
    return [
        ("source", f"`{card['source']}`"),
        ("licence", card["licence"] or "not said by the source"),
        ("taken", f"{card['percent']:g} %, {card['sampling']}, seed {card['seed']}"),
        ("hash", f"`{card['hash']}`"),
        ("hash of the test split", f"`{card['test_hash']}`"),
    ]


def _splits(card: Mapping[str, Any]) -> list[tuple[object, ...]]:
    sizes, tokens = card["text_bytes"], card["tokens"]
    return [
        (split, f"{card['rows'][split]:,}", f"{sizes.get(split, 0):,}", f"{tokens.get(split, 0):,}") for split in SPLITS
    ]


def _cuts(tokens: Mapping[str, Any]) -> list[str]:
    if tokens.get("maybe_too_long_rows"):
        return [
            "",
            f"**{tokens['maybe_too_long_rows']:,} rows may be longer than `max_tokens`**; an estimate drops none.",
        ]
    if tokens["limit"] is None:
        return []
    of = f"Of {tokens['sampled_rows']:,} rows counted, " + ("" if tokens["exact"] else "a sample, ")
    masked = "which tokens are trained on cannot be told from the chat template."
    if tokens["masked_rows"] is not None:
        masked = f"{tokens['masked_rows']:,} have nothing left to train on."
    cut = f"{tokens['cut_rows']:,} are cut at {tokens['limit']:,} tokens, before the token that ends an answer"
    said = f"{of}{cut}, and {masked}"
    refused = f" The chat template refuses {tokens['refused_rows']:,}: the fine-tune would fail."
    return ["", said + (refused if tokens["refused_rows"] else "")]


def _reasons(reasons: Sequence[Mapping[str, Any]]) -> list[str]:
    if not reasons:
        return []
    cells = [
        (
            found["reason"],
            f"{found['rows']:,}",
            "no" if found["reason"] in COMPARED else "yes",
            _cell(found["examples"][0]["place"]),
            _cell(found["examples"][0]["text"]),
        )
        for found in reasons
    ]
    return ["", *_table(("reason", "rows", "held against the source", "first at", "begins"), cells)]


def _reported(reported: Sequence[Mapping[str, Any]]) -> list[str]:
    if not reported:
        return []
    cells = [(found["kind"], f"{found['rows']:,}", _cell(", ".join(found["places"]))) for found in reported]
    return _table(("found", "rows", "first at"), cells)


def _histogram(found: Sequence[tuple[str, int]]) -> list[str]:
    most = max((rows for _, rows in found), default=0)
    width = max((len(label) for label, _ in found), default=0)
    return [
        f"{label:>{width}}  {'#' * max(round(_BAR * rows / most), 1 if rows else 0):<{_BAR}}  {rows:,}"
        for label, rows in found
    ]


def _table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> list[str]:
    return [_line(head), _line(["---"] * len(head)), *(_line(line) for line in lines)]


def _line(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    """A text that cannot break out of a table's cell, nor be taken for markup."""
    cleaned = text.replace("\\", "\\\\").replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
    return " ".join(cleaned.split())
