"""What a user sees of a run: the plan before, the progress during, the metrics after."""

from __future__ import annotations

import argparse
import math
import shlex
from typing import Any

from tunestack import cli, tables
from tunestack.errors import TunestackError
from tunestack.jobs import cancelling, job_name
from tunestack.jobs.finetune import Plan
from tunestack.jobs.run_history import Run, RunHistory
from tunestack.jobs.watch import follow
from tunestack.jobs.watch_clock import Waiting

_SHOWN = ("eval_loss", "loss", "train_loss", "train_runtime")


def show_plan(plan: Plan) -> None:
    """The parameters with who decided each, and where the run goes."""
    tables.show(
        "parameters: the recipe wins over the model's defaults",
        ("parameter", "recipe", "model's default", "sent", ""),
        [(choice.name, choice.recipe, choice.default, choice.sent, choice.note) for choice in plan.choices],
    )
    for choice in plan.choices:
        if choice.sent is None:
            cli.note(f"dropped '{choice.name}': the component has no such input")
    where = plan.clusters
    cli.note(
        f"import on '{where.model_import}', preprocess on '{where.preprocess}', "
        f"fine-tune on '{where.finetune}' with {where.gpus} GPU per machine"
    )


def watch(history: RunHistory, job: str, options: argparse.Namespace) -> cli.Result:
    """Follow a job to its end; its metrics are the record. `job` is its name, its ARM id, or the studio's address."""
    job = job_name.find(history, job)
    attach = shlex.join(["scripts/submit_finetune.py", "--attach", job, *cli.workspace_words(options)])
    run = follow(history, job, attach, Waiting.of(options))
    try:
        found = metrics(history, run)
    except TunestackError as error:
        cli.note(f"warning: the metrics of job '{job}' cannot be read: {error}")
        found = {}
    _show_metrics(found)
    losses = found.get("eval_loss", {})
    if losses and losses["first_step"] != losses["last_step"]:
        cli.note(f"held-out loss went from {losses['first']:.3f} to {losses['last']:.3f}")
    spent = cancelling.cost(history, run)
    return cli.Result(
        job,
        {
            "job": job,
            "status": run.status,
            "ended": run.ended,
            "tags": run.tags,
            "metrics": found,
            "estimated_cost": round(spent.dollars, 4) if spent else None,
        },
    )


def metrics(history: RunHistory, run: Run) -> dict[str, dict[str, Any]]:
    """First, last and best value of each metric; the first `eval_loss` is the base model's where it is at step 0.

    What is no number has no place among them, nor in JSON: it is said instead.
    """
    found = {}
    for name in sorted(history.metrics(run.id)):
        told = history.metric(run.id, name)
        points = [point for point in told if math.isfinite(point.value)]
        if len(points) < len(told):
            first = next(point.step for point in told if not math.isfinite(point.value))
            count = f"{len(told) - len(points)} of {len(told)} steps"
            cli.note(f"warning: '{name}' is no number at {count}, first at step {first}")
        if points:
            found[name] = {
                "first": points[0].value,
                "first_step": points[0].step,
                "last": points[-1].value,
                "last_step": points[-1].step,
                "lowest": min(point.value for point in points),
            }
    return found


def _show_metrics(metrics: dict[str, dict[str, Any]]) -> None:
    tables.show(
        "metrics",
        ("metric", "first", "at step", "last", "at step", "lowest"),
        [
            (
                name,
                f"{metrics[name]['first']:.4g}",
                metrics[name]["first_step"],
                f"{metrics[name]['last']:.4g}",
                metrics[name]["last_step"],
                f"{metrics[name]['lowest']:.4g}",
            )
            for name in _SHOWN
            if name in metrics
        ],
    )
