"""Checks of the parameters against the component: what it refuses, drops, overrides or ignores.

Further traps of the training step stand in optimization_checks.py and checkpoints_checks.py.
"""

from __future__ import annotations

from tunestack import azure_facts
from tunestack.preflight.preflight_planned import SCRIPT
from tunestack.preflight.preflight_subject import Finding, Subject


def parameters_accepted(subject: Subject) -> Finding:
    """Names, types, enums and minima of the schema, and numbers that end a run although the schema takes them."""
    check, planned = "parameters", subject.planned
    schema = planned.schema
    if schema is None:
        said = f"the inputs of '{subject.recipe.pipeline}' stand not in component_facts.yml"
        return Finding(check, "unknown", said, "component_facts.yml", "Ask online, or take the version of the table")
    if planned.objections:
        wrong = "; ".join(planned.objections)
        return Finding(check, "error", wrong, schema.source, "Change them in the recipe, or with --set")
    count = len(subject.recipe.parameters)
    return Finding(check, "ok", f"the recipe's {count} parameters are inputs with values that may be", schema.source)


def parameters_dropped(subject: Subject) -> Finding:
    """Defaults of the model that the component has no input for: the tutorial's own call breaks on them."""
    check, planned = "dropped-parameters", subject.planned
    if planned.defaults is None or planned.schema is None:
        return _nobody_knows(check, subject)
    gone = [f"{one.name} {one.default}" for one in planned.choices if one.sent is None]
    if gone:
        said = f"the model's defaults {', '.join(gone)} are no inputs of the component and are not sent"
        fix = "Nothing, if you do without them; a rate's bounds can be said with lr_scheduler_type and warmup_steps"
        return Finding(check, "warning", said, planned.defaults_source, fix)
    return Finding(check, "ok", "nothing is dropped", planned.defaults_source)


def parameters_overridden(subject: Subject) -> Finding:
    """Who wins where recipe and model differ: the recipe, but `hf_trainer_args` of the finetune_config over all."""
    check, planned = "overridden-parameters", subject.planned
    if planned.defaults is None or planned.schema is None:
        return _nobody_knows(check, subject)
    args = planned.config.get("hf_trainer_args") or {}
    lost = [
        f"{name} {planned.value(name, '')} becomes {value}"
        for name, value in args.items()
        if name in planned.schema.inputs and str(value).lower() != planned.value(name, str(value))
    ]
    if lost:
        said = f"hf_trainer_args of '{subject.recipe.finetune_config}' win over every input: {', '.join(lost)}"
        return Finding(check, "error", said, SCRIPT, "Say each value once: take it out of hf_trainer_args")
    won = [f"{one.name} {one.recipe} (model: {one.default})" for one in planned.choices if one.note == "recipe wins"]
    said = f"the recipe wins over the model: {', '.join(won)}" if won else "recipe and model do not differ"
    if not subject.recipe.model.is_hub:
        said += "; hf_trainer_args in the model's own finetune_config.json would win, and that file is not public"
    return Finding(check, "ok", said, planned.defaults_source)


def parameters_dead(subject: Subject) -> Finding:
    """Inputs that no step reads, and sizes of machines, which count only where a compute is serverless."""
    check, planned = "dead-parameters", subject.planned
    if planned.schema is None:
        return _nobody_knows(check, subject)
    own = set(subject.recipe.parameters)
    dead = sorted(own & (planned.schema.no_effect | {name for name in own if name.startswith("instance_type_")}))
    clipped, confused = "max_grad_norm" in own and planned.stage == 2, "batch_size" in own
    if dead or clipped or confused:
        parts = [f"{', '.join(dead)} {'do' if len(dead) > 1 else 'does'} nothing in the component"] if dead else []
        parts += ["max_grad_norm is not applied: the ZeRO-2 file has no gradient_clipping"] if clipped else []
        parts += (
            ["batch_size counts rows of preprocessing; training has per_device_train_batch_size"] if confused else []
        )
        return Finding(check, "warning", "; ".join(parts), SCRIPT, "Take them out of the recipe")
    return Finding(check, "ok", "every parameter of the recipe has an effect", SCRIPT)


def _nobody_knows(check: str, subject: Subject) -> Finding:
    said = f"the defaults of '{subject.recipe.model.name}' or the component's inputs are not in the dated tables"
    source = f"azure_facts.yml of {azure_facts.facts()['as_of']}"
    return Finding(check, "unknown", said, source, "Ask online")
