"""Rows as the chat template renders them, what is trained on marked: in colour on a terminal, elsewhere in brackets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tunestack.cli import note
from tunestack.data import data_folder
from tunestack.tables import visible

if TYPE_CHECKING:
    from rich.text import Text

    from tunestack.data.chat_tokenizer import ChatTokenizer, Encoded

OPEN, CLOSE, CUT = "[[", "]]", "✂"


def show(folder: Path, tokenizer: ChatTokenizer | None, count: int) -> None:
    """Print the first rows of train, on stderr. Without a tokenizer the messages are shown and it is said so."""
    from rich.console import Console
    from rich.text import Text

    terminal = sys.stderr.isatty()
    console = Console(file=sys.stderr, width=None if terminal else 120, highlight=False)
    rows = data_folder.head(folder, "train", count)
    if tokenizer is None:
        note("which tokens are trained on cannot be shown without the model's tokenizer; give it with --tokenizer")
        for number, row in enumerate(rows, 1):
            console.print(Text(f"train row {number}", style="bold underline"))
            for message in row["messages"]:
                console.print(Text(visible(f"{message['role']}: {message['content']}")))
        return
    note(_marks(tokenizer, terminal))
    for number, (row, encoded) in enumerate(
        zip(rows, tokenizer.encode([row["messages"] for row in rows]), strict=True), 1
    ):
        if encoded is None:
            note(f"train row {number} ({row['prompt_id'][:12]}): the chat template refuses it")
            continue
        facts = _facts(encoded, tokenizer.marks is not None)
        console.print(Text(f"train row {number}: {facts}", style="bold underline"))
        console.print(styled(encoded) if terminal else Text(plain(encoded)), soft_wrap=True)


def spans(encoded: Encoded) -> list[tuple[str, str]]:
    """The text in pieces, each `trained`, `read` or `cut` (what does not fit): joined they are the text."""
    text = visible(encoded.text)
    kinds = ["read"] * len(text)
    for (start, end), is_trained in zip(encoded.places, encoded.trained, strict=True):
        if is_trained:
            kinds[start:end] = ["trained"] * (end - start)
    if encoded.is_cut:
        last = encoded.places[encoded.limit][0]
        kinds[last:] = ["cut"] * (len(text) - last)
    found: list[tuple[str, str]] = []
    begin = 0
    for index in range(1, len(text) + 1):
        if index == len(text) or kinds[index] != kinds[begin]:
            found.append((kinds[begin], text[begin:index]))
            begin = index
    return found


def plain(encoded: Encoded) -> str:
    """The text with brackets around what is trained on, and a sign where it is cut."""
    dressed = {"trained": (OPEN, CLOSE), "read": ("", ""), "cut": (f"{CUT} cut at {encoded.limit} tokens: ", "")}
    return "".join(f"{dressed[kind][0]}{piece}{dressed[kind][1]}" for kind, piece in spans(encoded))


def styled(encoded: Encoded) -> Text:
    """The same in colours: trained bold green, cut struck through."""
    from rich.text import Text

    styles = {"trained": "bold green", "read": "dim", "cut": "red strike"}
    return Text.assemble(*((piece, styles[kind]) for kind, piece in spans(encoded)))


def _marks(tokenizer: ChatTokenizer, is_terminal: bool) -> str:
    if tokenizer.marks is None:
        return (
            "which tokens are trained on cannot be told: the chat template does not show what opens an answer; "
            "say it in chat_special_tokens of a finetune_config"
        )
    how = "in bold green" if is_terminal else f"between {OPEN} and {CLOSE}"
    return f"trained tokens stand {how}; the marks come from {tokenizer.marks_from}"


def _facts(encoded: Encoded, is_told: bool) -> str:
    said = f"{len(encoded.ids):,} tokens" + (f", {encoded.answer_tokens:,} trained on" if is_told else "")
    if is_told and not encoded.answer_tokens:
        return f"{said}: wholly masked, the pipeline drops it"
    return f"{said}, cut before the end token at {encoded.limit:,}" if encoded.is_cut else said
