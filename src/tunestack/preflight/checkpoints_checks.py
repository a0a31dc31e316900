"""Checks of the run itself: evaluations, early stopping, checkpoints, interruptions, the length of rows."""

from __future__ import annotations

from tunestack.cost.fine_tune_cost import Range
from tunestack.preflight import cost_checks
from tunestack.preflight.preflight_planned import SCRIPT, Planned
from tunestack.preflight.preflight_subject import Finding, Subject, no_machines

QUOTAS = "Azure's page on quotas of 2026-01-27"
COST = "See run-cost"
GIB = 2**30
UNSET_LIMIT = 1_000_000  # a tokenizer that says more says nothing: the component takes 512


def checkpoints(subject: Subject) -> Finding:
    """After every evaluation a checkpoint is written; -1 keeps them all, with the optimizer's state."""
    check, planned = "checkpoints", subject.planned
    limit = planned.number("save_total_limit", -1)
    if planned.value("evaluation_strategy", "epoch") == "disable":
        return Finding(check, "ok", "none is written while evaluation is off", SCRIPT)
    if limit > 0:
        return Finding(check, "ok", f"at most {limit:g} are kept", SCRIPT)
    size = _checkpoint_gib(planned)
    each = f" of about {size:.1f} GiB" if size else ""
    count = _evaluations(subject)
    many = f"{count} of them" if count else "all"
    said = f"save_total_limit {limit:g} keeps a checkpoint{each} after every evaluation: {many}"
    if count and size and count * size < 1:
        return Finding(check, "ok", said, SCRIPT)
    return Finding(check, "warning", said, SCRIPT, "Say --set training.save_total_limit=1")


def _checkpoint_gib(planned: Planned) -> float | None:
    if planned.shape is None:
        return None
    if planned.is_on("apply_lora"):
        most = planned.shape.adapters(int(planned.number("lora_r", 8)))[1]
        return 12 * most / GIB
    return 14 * planned.shape.parameters / GIB


def _evaluations(subject: Subject) -> int | None:
    found = subject.estimate
    return found.evaluations if isinstance(found, Range) else None


def early_stopping(subject: Subject) -> Finding:
    """It watches evaluations, so there must be some; the best checkpoint is picked by what is computed, the loss."""
    check, planned = "early-stopping", subject.planned
    strategy = planned.value("evaluation_strategy", "epoch")
    metric = planned.value("metric_for_best_model", "loss")
    if metric != "loss":
        said = (
            f"metric_for_best_model is '{metric}', and the chat trainer computes only loss: picking a checkpoint fails"
        )
        return Finding(check, "error", said, SCRIPT, "Say --set training.metric_for_best_model=loss")
    if not planned.is_on("apply_early_stopping"):
        given = [name for name in subject.recipe.parameters if name.startswith("early_stopping_")]
        if given:
            said = f"{' and '.join(sorted(given))} without apply_early_stopping is ignored"
            return Finding(check, "warning", said, SCRIPT, "Say --set training.apply_early_stopping=true")
        return Finding(check, "ok", "off", SCRIPT)
    if strategy == "disable":
        said = "apply_early_stopping with evaluation_strategy 'disable' ends with a user error of the component"
        return Finding(check, "error", said, SCRIPT, "Say --set training.evaluation_strategy=steps")
    count = _evaluations(subject)
    patience = int(planned.number("early_stopping_patience", 1))
    if count is not None and count <= patience:
        said = f"with {count} evaluations and a patience of {patience} it can never stop anything"
        return Finding(check, "warning", said, SCRIPT, "Evaluate more often: evaluation_strategy steps, eval_steps")
    return Finding(check, "ok", f"on, with a patience of {patience} evaluations", SCRIPT)


def evaluation_steps(subject: Subject) -> Finding:
    """Whether the validation rows are looked at at all while training: without it no best checkpoint is picked."""
    check, planned = "evaluation-steps", subject.planned
    strategy = planned.value("evaluation_strategy", "epoch")
    own = subject.recipe.parameters
    if strategy == "disable":
        said = "evaluation is off: the last weights are taken, not the best, and there is no loss to read"
        return Finding(check, "warning", said, SCRIPT, "Say --set training.evaluation_strategy=epoch")
    part = planned.number("evaluation_steps_interval", 0.0)
    if not 0 <= part <= 1:
        said = f"evaluation_steps_interval {part:g} is no part of an epoch and is ignored"
        return Finding(check, "warning", said, SCRIPT, "Take a number above 0 and up to 1")
    if strategy != "steps":
        ignored = [name for name in ("eval_steps", "evaluation_steps_interval") if name in own]
        if ignored:
            said = f"{' and '.join(ignored)} without evaluation_strategy 'steps' is ignored"
            return Finding(check, "warning", said, SCRIPT, "Say --set training.evaluation_strategy=steps")
        return Finding(check, "ok", "after every epoch", SCRIPT)
    said = f"every {part:g} of an epoch" if part > 0 else f"every {planned.number('eval_steps', 500):g} steps"
    found = subject.estimate
    if isinstance(found, Range) and not found.evaluations:
        said = f"{said}, and the run has {found.steps} steps: nothing is ever evaluated or saved"
        fix = f"Say --set training.eval_steps={max(found.steps // 4, 1)}, without evaluation_steps_interval"
        return Finding(check, "error", said, SCRIPT, fix if part > 0 else fix.partition(",")[0])
    return Finding(check, "ok", said, SCRIPT)


def sequence_length(subject: Subject) -> Finding:
    """How many tokens of a row are read: -1 is the tokenizer's limit, which is 512 where it has none."""
    check, planned = "sequence-length", subject.planned
    asked = int(planned.number("max_seq_length", -1))
    own = planned.shape.max_position_embeddings if planned.shape else None
    if asked <= 0:
        if own is None or own > UNSET_LIMIT:
            said = "max_seq_length is left to the tokenizer, and one without a limit is taken for 512 tokens"
            return Finding(check, "warning", said, SCRIPT, "Say --set training.max_seq_length=2048")
        said = f"max_seq_length is left to the tokenizer: as far as the model's {own:,} tokens, 512 if it has no limit"
        return Finding(check, "warning", said, SCRIPT, "Say how long rows may be: --set training.max_seq_length=2048")
    if own is not None and asked > own:
        said = f"max_seq_length {asked:,} is more than the model's {own:,} tokens, which is what rows are cut to"
        return Finding(check, "warning", said, planned.shape.source if planned.shape else "", "Say the model's own")
    return Finding(check, "ok", f"rows are cut to {asked:,} tokens", SCRIPT)


def warmup(subject: Subject) -> Finding:
    """A warm-up as long as the run: the rate that the recipe names is never reached."""
    check, planned, found = "warmup", subject.planned, subject.estimate
    steps = int(planned.number("warmup_steps", 0))
    if not isinstance(found, Range):
        verdict = cost_checks.run(subject).verdict if steps else "ok"
        return Finding(check, verdict, f"{steps} steps, of a run of unknown length", SCRIPT, COST, "run-cost")
    said = f"{steps} of {found.steps:,} steps"
    if steps >= found.steps:
        return Finding(check, "warning", f"{said}: the learning rate is never reached", SCRIPT, "Lower warmup_steps")
    return Finding(check, "ok", said, SCRIPT)


def interruption(subject: Subject) -> Finding:
    """A step that Azure stops is run again, from the start unless it may resume."""
    check, planned, machines = "interruption", subject.planned, subject.training
    if machines is None:
        return no_machines(check)
    if machines.is_low_priority and not planned.is_on("resume_from_checkpoint"):
        said = "low priority, and resume_from_checkpoint is off: a step that is stopped begins anew, and is paid twice"
        return Finding(check, "warning", said, SCRIPT, "Say --set training.resume_from_checkpoint=true")
    if machines.is_low_priority:
        return Finding(check, "ok", "low priority: a step that is stopped goes on from its last checkpoint", SCRIPT)
    return Finding(check, "ok", "dedicated machines are not taken away", QUOTAS)
