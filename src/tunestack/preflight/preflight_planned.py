"""What would be sent if the run started now: the component's schema, the merged parameters, the model's shape.

Online the registry answers, offline the dated tables; each thing is found out once, and nothing is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from tunestack import azure_facts
from tunestack.azure_facts import Gpu
from tunestack.cost import gpu_memory
from tunestack.cost.gpu_memory import Training
from tunestack.errors import UsageError
from tunestack.preflight.preflight_subject import Subject
from tunestack.recipes import architecture, component_facts, model_defaults, parameters
from tunestack.recipes.architecture import Architecture
from tunestack.recipes.component_facts import Schema
from tunestack.recipes.parameters import Choice

LIVE = "the registry, asked now"
SCRIPT = "the component's finetune.py, read 2026-07-31"


class Planned:
    """The run of a subject. Everything wrong with a file of the recipe is a UsageError when it is asked for."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.recipe = subject.recipe

    @cached_property
    def schema(self) -> Schema | None:
        """The component's inputs; None offline where the table has not got this version."""
        wanted = self.recipe.pipeline
        if self.subject.live is None:
            return component_facts.schema(wanted)
        found = self.subject.live.component(wanted)
        if found is None:
            name = f"az ml component list --registry-name {wanted.registry} --name {wanted.name}"
            raise UsageError(f"component '{wanted}' does not exist", fix=f"See what there is with: {name}")
        return component_facts.of_specification(found, wanted, LIVE)

    @cached_property
    def defaults(self) -> Mapping[str, Any] | None:
        """The base model's own parameters; none for a model of the hub, None where nobody knows them."""
        model = self.recipe.model
        if model.is_hub:
            return {}
        if self.subject.live:
            found = self.subject.live.model(model)
            if found is not None:
                return parameters.model_defaults(found.tags)
        return model_defaults.of_model(model.name)

    @property
    def defaults_source(self) -> str:
        if self.recipe.model.is_hub:
            return "recipe"
        return LIVE if self.subject.live else f"azure_facts.yml, defaults, of {azure_facts.facts()['as_of']}"

    @cached_property
    def objections(self) -> tuple[str, ...]:
        """Everything that is wrong with a parameter of the recipe, one sentence each."""
        schema = self.schema
        if schema is None:
            return ()
        try:
            parameters.merge(self.recipe.parameters, {}, schema.inputs)
        except UsageError as error:
            return tuple(error.problems)
        return ()

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """Each parameter with what recipe and model say; wrong ones of the recipe are left out."""
        if self.schema is None:
            return ()
        inputs = self.schema.inputs
        good = {
            name: value
            for name, value in self.recipe.parameters.items()
            if not parameters.objection(name, value, inputs)
        }
        return tuple(parameters.merge(good, self.defaults or {}, inputs))

    @cached_property
    def sent(self) -> Mapping[str, str]:
        """What travels. Without a schema, what the recipe and the model say."""
        if self.schema is None:
            told = {**(self.defaults or {}), **self.recipe.parameters}
            return {name: parameters.as_text(value) for name, value in told.items()}
        return parameters.sent(self.choices)

    def value(self, name: str, default: str) -> str:
        """A parameter as the run has it: sent, else the component's default, else what is given here."""
        known = self.schema.defaults if self.schema else {}
        return str(self.sent.get(name, known.get(name, default))).lower()

    def number(self, name: str, default: float) -> float:
        try:
            return float(self.value(name, str(default)))
        except ValueError:
            return default

    def is_on(self, name: str) -> bool:
        return self.value(name, "false") in ("true", "1")

    @property
    def stage(self) -> int:
        """ZeRO's stage: 0 without DeepSpeed. A file of one's own is no value, so that a recipe cannot pass one."""
        return int(self.number("deepspeed_stage", 2)) if self.is_on("apply_deepspeed") else 0

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """The recipe's `finetune_config`; empty without one. That of a registry model is not public."""
        return architecture.finetune_config(self.recipe)

    @cached_property
    def shape(self) -> Architecture | None:
        """The base model's; None where neither the table nor the recipe's `finetune_config` has it."""
        return architecture.of_recipe(self.recipe)

    @cached_property
    def training(self) -> Training | None:
        """What decides memory; None where a parameter is wrong, so that nothing is computed from it."""
        if self.objections:
            return None
        longest = self.shape.max_position_embeddings if self.shape else gpu_memory.UNSET
        return Training.of(self.sent, self.gpus or 1, longest, self.config)

    @cached_property
    def gpus(self) -> int | None:
        """Processes on one machine of the fine-tuning step: as asked for, else one for each GPU."""
        asked = int(self.number("number_of_gpu_to_use_finetuning", 0)) if self._asks_for_gpus else 0
        if asked:
            return asked
        machines = self.subject.training
        return self.gpus_of(machines.size) if machines else None

    @property
    def _asks_for_gpus(self) -> bool:
        return "number_of_gpu_to_use_finetuning" in self.sent

    def gpus_of(self, size: str) -> int | None:
        """GPUs of one machine: of the table, else of the region's list; None where neither has the size."""
        known = azure_facts.gpus(size)
        if known is not None or self.subject.live is None:
            return known
        listed = (self.subject.live.sizes or {}).get(size.lower())
        return int(listed.get("gpus") or 0) if listed else None

    @cached_property
    def gpu(self) -> Gpu | None:
        """One GPU of the fine-tuning machines; None without one, and where the table has not got it."""
        machines = self.subject.training
        return azure_facts.gpu(machines.size) if machines else None
