"""Checks of how training uses the GPUs: precision, gradient checkpointing, DeepSpeed, LoRA, one process per GPU.

Each is a trap that ends a run late, makes it dear, or changes it without a word.
"""

from __future__ import annotations

from dataclasses import replace

from tunestack.cost import gpu_memory
from tunestack.preflight.preflight_planned import SCRIPT, Planned
from tunestack.preflight.preflight_subject import Finding, Subject, no_machines


def precision(subject: Subject) -> Finding:
    """Left out it is 32: twice the memory, no flash attention; 16 is bfloat16, which older GPUs only emulate."""
    check, planned = "precision", subject.planned
    bits = planned.value("precision", "32")
    if bits == "32":
        left_out = "precision" not in planned.sent
        said = f"precision is 32{', as it is left out' if left_out else ''}: twice the memory and no flash attention"
        small = planned.shape is not None and planned.shape.parameters < 1e9
        if small and not left_out:
            return Finding(check, "ok", f"{said}; the model is small", SCRIPT)
        return Finding(check, "warning", said, SCRIPT, "Say --set optimization.precision=16")
    gpu = planned.gpu
    if gpu and gpu.capability < gpu_memory.FLASH_CAPABILITY:
        said = f"a {gpu.name} has no bfloat16; torch says that it has and emulates it, slowly, without flash attention"
        return Finding(check, "warning", said, SCRIPT, "Take an Ampere GPU or newer: A10, A100, H100")
    return Finding(check, "ok", f"precision {bits}: bfloat16", SCRIPT)


def checkpointing(subject: Subject) -> Finding:
    """LoRA without DeepSpeed never has gradient checkpointing, and memory jumps."""
    check, planned = "gradient-checkpointing", subject.planned
    run, shape = planned.training, planned.shape
    if run is None or shape is None:
        said = "as long as training-memory is unknown, so is this"
        return Finding(check, "unknown", said, SCRIPT, "See training-memory", "training-memory")
    on = gpu_memory.checkpointing(shape, run)
    if on:
        return Finding(check, "ok", f"on, as the component does for type '{shape.type}'", SCRIPT)
    if run.lora and run.stage == 0:
        said = "LoRA without DeepSpeed: gradient checkpointing stays off, and all activations are kept"
        if _activations(planned) < 1:
            return Finding(check, "ok", f"{said}; here that is less than 1 GiB", SCRIPT)
        return Finding(check, "warning", said, SCRIPT, "Say --set optimization.apply_deepspeed=true")
    if on is None:
        said = "the type of the registry's artifact is not public, so whether it is on; both are counted"
        return Finding(check, "ok", said, SCRIPT)
    said = f"off: the component does not switch it on for type '{shape.type}'"
    if _activations(planned) < 1:
        return Finding(check, "ok", f"{said}; here that is less than 1 GiB", SCRIPT)
    fix = 'Say it in the finetune_config: "hf_trainer_args": {"gradient_checkpointing": true}'
    return Finding(check, "warning", said, SCRIPT, fix)


def _activations(planned: Planned) -> float:
    assert planned.shape
    assert planned.training
    found = gpu_memory.training(planned.shape, planned.training, planned.gpu)
    return sum(term.most for term in found.gpu if term.name == "activations")


def deepspeed(subject: Subject) -> Finding:
    """What DeepSpeed cannot be combined with, and stage 3 where stage 2 would do."""
    check, planned = "deepspeed", subject.planned
    on = planned.is_on("apply_deepspeed")
    if on and planned.is_on("auto_find_batch_size"):
        said = "apply_deepspeed with auto_find_batch_size ends with a user error of the component"
        return Finding(check, "error", said, SCRIPT, "Leave one of the two out")
    if not on:
        if "deepspeed_stage" in subject.recipe.parameters:
            said = "deepspeed_stage without apply_deepspeed is ignored"
            return Finding(check, "warning", said, SCRIPT, "Say --set optimization.apply_deepspeed=true")
        return Finding(check, "ok", "off", SCRIPT)
    run, shape, gpu = planned.training, planned.shape, planned.gpu
    if run is not None and shape is not None and gpu is not None and run.stage == 3:
        less = gpu_memory.training(shape, replace(run, stage=2), gpu)
        if less.most <= gpu.usable:
            said = (
                f"stage 3 fetches all weights from the machine's memory for every micro batch; stage 2 fits as well: "
                f"{gpu_memory.span(less.least, less.most)} of {gpu.usable:.1f} GiB"
            )
            return Finding(check, "warning", said, SCRIPT, "Say --set optimization.deepspeed_stage=2")
    return Finding(check, "ok", f"stage {planned.stage}", SCRIPT)


def lora(subject: Subject) -> Finding:
    """Which layers get adapters: of a hub model only its finetune_config can say."""
    check, planned = "lora", subject.planned
    model = subject.recipe.model
    if not planned.is_on("apply_lora"):
        if planned.shape is not None and planned.shape.parameters > 1e9:
            said = f"apply_lora is off: all {planned.shape.parameters / 1e9:.1f} billion weights are trained"
            return Finding(check, "warning", said, SCRIPT, "Say --set optimization.apply_lora=true")
        return Finding(check, "ok", "off: all weights are trained", SCRIPT)
    if model.is_hub and not planned.config.get("lora_target_modules"):
        kind = (planned.shape.type if planned.shape else None) or "unknown"
        if kind in ("llama", "falcon"):
            return Finding(check, "ok", f"type '{kind}' is one that the component knows layers of", SCRIPT)
        said = f"finetune_config names no lora_target_modules, and the component knows no layers of type '{kind}'"
        fix = 'Write "lora_algo": "peft" and "lora_target_modules": [...] into the finetune_config'
        return Finding(check, "error", said, SCRIPT, fix)
    rank, alpha = planned.number("lora_r", 8), planned.number("lora_alpha", 128)
    said = f"rank {rank:g}, alpha {alpha:g}: adapters count {alpha / rank:g} times" if rank else "rank 0"
    if rank and alpha / rank > 64:
        return Finding(check, "warning", said, SCRIPT, "Set lora_alpha to 1 to 16 times lora_r")
    return Finding(check, "ok", said, SCRIPT)


def processes(subject: Subject) -> Finding:
    """One process for each GPU: fewer are paid for and idle, more do not start."""
    check, planned = "gpus", subject.planned
    machines = subject.training
    if machines is None:
        return no_machines(check)
    there = planned.gpus_of(machines.size)
    nodes = int(planned.number("num_nodes_finetune", 1))
    asked = planned.gpus
    if there is None:
        if asked is None:
            said = f"how many GPUs size '{machines.size}' has is not known"
            return Finding(check, "unknown", said, "azure_facts.yml", "Say number_of_gpu_to_use_finetuning")
        return Finding(
            check, "warning", f"{asked} processes, on a size that nobody at hand knows", "azure_facts.yml", "Ask online"
        )
    if asked is not None and asked > max(there, 1):
        said = f"number_of_gpu_to_use_finetuning is {asked}, and '{machines.size}' has {there}"
        return Finding(check, "error", said, "azure_facts.yml", f"Take {max(there, 1)}, or leave it out")
    if asked is not None and asked < there:
        said = f"{asked} of {there} GPUs of '{machines.size}' work; the others are paid for"
        return Finding(check, "warning", said, "azure_facts.yml", "Leave number_of_gpu_to_use_finetuning out")
    word = "process" if there <= 1 else "processes"
    return Finding(check, "ok", f"{max(there, 1)} {word} on {nodes} of '{machines.size}'", "azure_facts.yml")
