#!/usr/bin/env python3
"""Ask the endpoint: a prompt, rows of a split, or a request file. Prints the answer.

With several slots each is asked the same, and the answers are shown side by side.
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
    what = flags.add_mutually_exclusive_group(required=True)
    what.add_argument("--prompt", metavar="TEXT", help="ask this")
    what.add_argument("--sample", type=Path, metavar="FILE", help="ask rows of this split, e.g. sample.jsonl")
    what.add_argument("--request", type=Path, metavar="FILE", help="send this JSON file as it is")
    flags.add_argument("--row", type=cli.count, metavar="N", help="with --sample: begin at row N (1)")
    flags.add_argument("--count", type=cli.count, metavar="N", help="with --sample: ask N rows (1)")
    flags.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="generation parameter")
    flags.add_argument("--slot", action="append", default=[], metavar="SLOT", help="ask this deployment (repeatable)")
    flags.add_argument("--key-file", type=Path, metavar="FILE", help="the endpoint's key (else it is fetched)")
    flags.endpoint_flag()
    flags.dry_run_flag()
    flags.workspace_flags()
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    from tunestack import connect
    from tunestack.deployments import conversation

    questions = conversation.questions(options)
    if options.dry_run:
        return cli.Result(str(questions[0].body), {"requests": [question.body for question in questions]})
    from tunestack.deployments.scoring import Scorer

    key = options.key_file.read_text().strip() if options.key_file else ""
    scorer = Scorer(connect.connect(options), key=key)
    replies = [
        conversation.Reply(question, scorer.ask(question.body, slot))
        for question in questions
        for slot in options.slot or [""]
    ]
    conversation.show(replies)
    record = {"answers": [reply.record for reply in replies]}
    several = len(replies) > 1
    return cli.Result("\n".join(reply.line if several else reply.answer.text for reply in replies), record)


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
