#!/usr/bin/env python3
"""What a stack costs: each resource per hour and month, deployments, one fine-tune. Prints dollars a month.

Works before the stack is up: from Pulumi's plan where one can be had, else from the stack's file; at today's retail
prices, else those of the dated table. Above the stack's budget it ends with 5.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

try:
    from tunestack import cli
    from tunestack.errors import GateSaidNo, UsageError
except ModuleNotFoundError as error:
    sys.exit(f"error: {error}. In the checkout run: make setup && source .venv/bin/activate")


def parser() -> cli.Parser:
    flags = cli.Parser(__doc__)
    flags.add_argument("--stack", required=True, metavar="NAME", help="which stack's file and plan")
    flags.recipe_flags("add one fine-tune of this recipe, as a range")
    flags.add_argument(
        "--rows", type=cli.count, metavar="N", help="rows that it trains on, where its data source is not known"
    )
    flags.add_argument(
        "--deployment",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="add a deployment with these settings (repeatable)",
    )
    flags.add_argument("--lease", metavar="TIME", help="how long deployments live: 8h, never (else the stack's cap)")
    flags.add_argument("--live", action="store_true", help="add the deployments that the stack has now")
    flags.add_argument("--plan", type=Path, metavar="FILE", help="what `pulumi preview --json` wrote (else it is run)")
    flags.add_argument("--offline", action="store_true", help="ask nobody: the stack's file and the dated table")
    flags.add_argument(
        "--markdown", action="store_true", help="print the table, for a pull request, instead of the sum"
    )
    flags.workspace_flags()
    return flags


def run(options: argparse.Namespace) -> cli.Result:
    from tunestack import tables
    from tunestack.cost import cost_report, costs, stack_plan
    from tunestack.cost.prices import PriceBook
    from tunestack.deployments import leases

    idle = [name for name, value in (("--set", options.settings), ("--rows", options.rows)) if value]
    if idle and not options.recipe:
        raise UsageError(*(f"{name} was given without --recipe" for name in idle), fix="Name it with --recipe FILE")
    folder = stack_plan.project_folder(Path.cwd())
    dials = stack_plan.dials(folder, options.stack)
    items, source = stack_plan.read(folder, options.stack, dials, options.plan, offline=options.offline)
    prices = PriceBook(dials["location"], live=not options.offline)
    lease = leases.chosen(options.lease, dials["leaseCap"])
    bill = costs.bill(items, prices)
    more = [cost_report.deployment(file, lease, prices) for file in options.deployment]
    if options.live:
        more += cost_report.live(options, prices)
    if options.recipe:
        more.append(cost_report.fine_tune(options.recipe, options.settings, dials, prices, options.rows))
    report = cost_report.put_together(options.stack, dials, bill, more, [source, *prices.notes])
    tables.show(f"stack {options.stack}, {dials['location']}", cost_report.COLUMNS, report.rows())
    for note in report.notes:
        cli.note(note)
    table = report.markdown() if options.markdown else ""
    if report.is_over:
        fix = "Turn dials down, or raise it: pulumi config set budget DOLLARS"
        raise GateSaidNo(report.verdict, fix=fix, shown=table or (report.json() if options.json else ""))
    cli.note(report.verdict)
    return cli.Result(table or f"{report.bill.month:.2f}", report.record)


if __name__ == "__main__":
    sys.exit(cli.main(parser(), run))
