#!/usr/bin/env python3
"""Prepare a data set: four splits as JSON lines in the ultrachat_200k schema, N percent of each.

Prints the folder. Sources: hub:OWNER/NAME, a file or folder, package:chatterbot-corpus.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tunestack import cli
from tunestack.errors import UsageError


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    flags.add_argument("--recipe", type=Path, metavar="FILE", help="take source and percentage from a recipe")
    flags.add_argument("--source", metavar="SOURCE", help="take the data from here instead")
    flags.add_argument("--percent", type=cli.percent, metavar="N", help="take N percent of each split instead")
    flags.add_argument("--output", type=Path, metavar="FOLDER", help="write here (else build/data/NAME)")
    flags.add_argument("--dry-run", action="store_true", help="say what would be read and written, do nothing")
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    from tunestack import data_folder, data_preparation, recipe, sources, tables

    data = recipe.read(options.recipe).data if options.recipe else None
    if not (options.source or data) or not (options.percent or data):
        raise UsageError("no data is named", fix="Give --recipe, or --source and --percent")
    source = sources.Source.parse(options.source or (data.source if data else ""))
    percent = options.percent or (data.percent if data else 0)
    folder = options.output or Path("build/data") / f"{source.name}-{percent:g}"
    cli.note(f"{percent:g} % of {source} into '{folder}'")
    if options.dry_run:
        return cli.Result(str(folder), {"folder": str(folder), "source": str(source), "percent": percent})
    made, changed = data_preparation.write(folder, source, percent, sources.splits(source, percent))
    head = [(row["prompt"], row["messages"][-1]["content"], row["prompt_id"][:12]) for row in data_folder.head(folder)]
    tables.show(
        "head of train",
        ("prompt", "last message", "prompt_id"),
        [[" ".join(cell.split())[:160] for cell in row] for row in head],
    )
    tables.show("rows", tuple(made.rows), [tuple(made.rows.values())])
    cli.note(f"data hash {made.hash[:16]}: {'written' if changed else 'as it was'}")
    return cli.Result(str(folder), {"folder": str(folder), **made.record})


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
