#!/usr/bin/env python3
"""Prepare a data set: checked, split into train, validation, test and sample, as JSON lines, with a card.

Prints the folder. Sources: hub:OWNER/NAME[@REVISION], a file or folder, package:chatterbot-corpus.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

try:
    from tunestack import cli
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}. In the checkout run: make setup && source .venv/bin/activate")


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    flags.recipe_flags("take the data from a recipe")
    flags.add_argument("--source", metavar="SOURCE", help="take the data from here instead")
    flags.add_argument("--percent", type=cli.percent, metavar="N", help="take N percent of each split instead")
    flags.add_argument("--output", type=Path, metavar="FOLDER", help="write here (else build/data/NAME-PERCENT)")
    flags.add_argument("--tokenizer", metavar="PLACE", help="the model's tokenizer: a folder, or OWNER/NAME on the hub")
    flags.add_argument(
        "--show", type=cli.count, default=0, metavar="N", help="show N rows as the model is trained on them"
    )
    flags.add_argument("--dry-run", action="store_true", help="say what would be read and written, do nothing")
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    from tunestack.data import data_request

    asked = data_request.of(options)
    folder = asked.folder
    cli.note(f"{asked.data.percent:g} % of {asked.source} into '{folder}'")
    if options.dry_run:
        return cli.Result(str(folder), {"folder": str(folder), "source": str(asked.source), **asked.settings})
    from tunestack.data import chat_rendering, data_report

    tokenizer = asked.tokenizer()
    made, changed = asked.prepare(tokenizer)
    data_report.show(made, folder)
    if options.show:
        chat_rendering.show(folder, tokenizer, options.show)
    cli.note(f"data hash {made.hash[:16]}: {'written' if changed else 'as it was'}")
    return cli.Result(str(folder), {"folder": str(folder), **made.record})


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
