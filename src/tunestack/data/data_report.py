"""What a prepared folder holds, as tables on stderr."""

from __future__ import annotations

from pathlib import Path

from tunestack import tables
from tunestack.cli import note
from tunestack.data import data_folder
from tunestack.data.data_folder import CARD_PAGE, REJECTED, DataFolder

_SHOWN = 160


def show(made: DataFolder, folder: Path) -> None:
    """The first rows, rows and tokens by split, what was left out and what was found in what was kept."""
    head = [(row["prompt"], row["messages"][-1]["content"], row["prompt_id"][:12]) for row in data_folder.head(folder)]
    short = [[" ".join(cell.split())[:_SHOWN] for cell in row] for row in head]
    tables.show("head of train", ("prompt", "last message", "prompt_id"), short)
    card = made.card
    tokens = card.get("tokens", {})
    counts = [(split, f"{rows:,}", f"{tokens.get(split, 0):,}") for split, rows in made.rows.items()]
    tables.show("rows", ("split", "rows", "tokens" if tokens.get("exact") else "tokens, about"), counts)
    reasons = card.get("rejected", {}).get("reasons", [])
    left_out = [(found["reason"], f"{found['rows']:,}", found["examples"][0]["place"]) for found in reasons]
    tables.show("left out", ("reason", "rows", "first at"), left_out)
    reported = [(found["kind"], f"{found['rows']:,}", found["places"][0]) for found in card.get("reported", [])]
    tables.show("reported and kept", ("found", "rows", "first at"), reported)
    if left_out:
        note(f"what was left out is in '{folder / REJECTED}'")
    note(f"tokens: {tokens.get('how', 'not counted')}; the card is '{folder / CARD_PAGE}'")
    if cut := tokens.get("cut_rows"):
        masked = f"; {tokens['masked_rows']:,} rows have nothing left to train on" if tokens["masked_rows"] else ""
        note(
            f"warning: {cut:,} of {tokens['sampled_rows']:,} rows looked at are cut at {tokens['limit']:,} tokens, "
            f"before the end of the answer{masked}"
        )
    elif masked := tokens.get("masked_rows"):
        note(f"warning: {masked:,} of {tokens['sampled_rows']:,} rows looked at have nothing to train on")
    if refused := tokens.get("refused_rows"):
        note(f"warning: the model's chat template refuses {refused:,} rows, the fine-tune would fail on the first")
    if maybe := tokens.get("maybe_too_long_rows"):
        note(f"warning: {maybe:,} rows may be longer than max_tokens; estimated, so that none is left out")
