#!/usr/bin/env python3
"""Shift the endpoint's traffic to a slot, in steps that are checked by real requests, or roll the last shift back.

Prints the weights. A failed check puts back what was before and ends with 5.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

try:
    from tunestack import cli
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}. In the checkout run: make setup && source .venv/bin/activate")

SERVE = Path(__file__).parent.parent / "pipelines" / "serve"


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    direction = flags.add_mutually_exclusive_group(required=True)
    direction.add_argument("--to", metavar="SLOT", help="the deployment that is to get traffic")
    direction.add_argument("--rollback", action="store_true", help="put the weights before the last shift back")
    amount = flags.add_mutually_exclusive_group()
    amount.add_argument("--percent", type=cli.whole_percent, metavar="N", help="give it N percent instead of all")
    amount.add_argument("--plan", type=Path, metavar="FILE", help="step by step (a file, or a name in pipelines/serve)")
    flags.add_argument("--dry-run", action="store_true", help="print the steps, send nothing")
    flags.endpoint_flag()
    flags.workspace_flags()
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    from tunestack import connect
    from tunestack.deployments import traffic
    from tunestack.deployments.endpoint import Endpoint
    from tunestack.deployments.scoring import Scorer

    steps = traffic.CanaryPlan(steps=(options.percent or 100,))
    if options.plan:
        steps = traffic.read_plan(options.plan if options.plan.exists() else SERVE / options.plan.name)
    connection = connect.connect(options)
    endpoint = Endpoint(connection)
    before = endpoint.traffic()
    if options.dry_run:
        planned = [traffic.weights_for(before, options.to, step) for step in steps.steps] if options.to else []
        return cli.Result("; ".join(map(traffic.shown, planned)) or "roll back", {"before": before, "steps": planned})
    scorer = Scorer(connection)
    if options.rollback:
        after = traffic.roll_back(endpoint, scorer, steps.check)
    else:
        after = traffic.shift(endpoint, scorer, options.to, steps)
    return cli.Result(traffic.shown(after), {"endpoint": endpoint.name, "before": before, "traffic": after})


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
