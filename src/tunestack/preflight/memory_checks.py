"""Checks of memory: does training fit, on the GPU and beside it, and does serving; each with its terms shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tunestack import azure_facts
from tunestack.azure_facts import Gpu
from tunestack.cost import gpu_memory, serving_memory
from tunestack.cost.gpu_memory import Estimate, span
from tunestack.preflight.preflight_subject import Finding, Subject, no_machines, no_settings
from tunestack.recipes.architecture import Architecture

SOURCE = "formula of docs/gpu-memory.md; GPU memory of azure_facts.yml"
TIGHT = 0.95
ASK = "Ask online, or take a size of azure_facts.yml"
LESS = "a shorter max_seq_length, a smaller batch, precision 16, DeepSpeed, or a larger size"


def estimates(subject: Subject) -> dict[str, Estimate]:
    """What can be computed: of training, the gate's evaluation and serving, each with its terms and formulas."""
    planned, shape = subject.planned, subject.planned.shape
    if shape is None:
        return {}
    found = {}
    if planned.training is not None:
        asked, longest = subject.recipe.evaluation, planned.training.sequence
        found["training"] = gpu_memory.training(shape, planned.training, planned.gpu)
        found["evaluation"] = serving_memory.evaluation(shape, longest, asked.samples, asked.max_new_tokens)
    if subject.deployment is not None:
        gpus = planned.gpus_of(subject.deployment.instance_type)
        served = serving_memory.serving(shape, gpus or 1, subject.deployment.environment_variables)
        found["serving"] = serving_memory.on_cpu(shape, served.context) if gpus == 0 else served.estimate
    return found


def training(subject: Subject) -> Finding:
    """One GPU of the fine-tuning machines against weights, LoRA or optimizer, activations, logits and overhead."""
    check = "training-memory"
    planned, machines = subject.planned, subject.training
    if machines is None:
        return no_machines(check)
    if planned.shape is None:
        return _unknown_shape(check, subject)
    if planned.training is None:
        said = "a parameter is wrong, so that nothing can be computed from it"
        return Finding(check, "unknown", said, SOURCE, "See parameters", "parameters")
    gpus = planned.gpus_of(machines.size)
    if gpus == 0:
        said = f"size '{machines.size}' has no GPU, and the component's fine-tune step ends with an error without one"
        return Finding(check, "error", said, SOURCE, "Give the role a GPU size")
    if planned.gpu is None:
        return _unknown_gpu(check, machines.size)
    found = gpu_memory.training(planned.shape, planned.training, planned.gpu)
    return _against(check, found, planned.gpu, machines.size, f"Take {LESS}")


def host(subject: Subject) -> Finding:
    """What ZeRO moves to the machine's own memory, for all its processes together."""
    check = "host-memory"
    planned, machines = subject.planned, subject.training
    if machines is None or planned.shape is None or planned.training is None:
        said = "as long as training-memory is unknown, so is this"
        return Finding(check, "unknown", said, SOURCE, "See training-memory", "training-memory")
    found = gpu_memory.training(planned.shape, planned.training, planned.gpu)
    needed = found.host_most
    if needed < 1:
        return Finding(check, "ok", "nothing of weight is moved to the machine's own memory", SOURCE)
    ram = azure_facts.ram(machines.size) or _listed_ram(subject, machines.size)
    if ram is None:
        return Finding(check, "unknown", f"how much memory '{machines.size}' has is not known", SOURCE, ASK)
    parts = " + ".join(f"{term.name} {span(term.least, term.most)}" for term in found.host)
    said = f"{span(found.host_least, needed)} GiB = {parts}, of {ram:g} GiB of '{machines.size}'"
    if needed <= 0.9 * ram:
        return Finding(check, "ok", said, SOURCE)
    fix = "Take a size with more memory, or train adapters: apply_lora"
    if found.host_least <= 0.9 * ram:
        return Finding(check, "warning", f"may not fit: {said}", SOURCE, fix)
    return Finding(check, "error", f"does not fit: {said}", SOURCE, fix)


def serving(subject: Subject) -> Finding:
    """One copy of the model with one request of full length on the deployment's machine."""
    check = "serving-memory"
    planned, settings = subject.planned, subject.deployment
    if settings is None:
        return no_settings(check)
    if planned.shape is None:
        return _unknown_shape(check, subject)
    size = settings.instance_type
    gpus = planned.gpus_of(size)
    if gpus == 0:
        context = serving_memory.serving(planned.shape, 1, settings.environment_variables).context
        return _without_gpu(check, subject, size, serving_memory.on_cpu(planned.shape, context))
    gpu = azure_facts.gpu(size)
    if gpu is None or gpus is None:
        return _unknown_gpu(check, size)
    served = serving_memory.serving(planned.shape, gpus, settings.environment_variables)
    fix = "Take a larger size, set MAX_MODEL_LEN to fewer tokens, or let more GPUs share with TENSOR_PARALLEL"
    usable = replace(gpu, memory=served.usable(gpu) / azure_facts.USABLE)
    found = _against(check, served.estimate, usable, size, fix, over=served.ways)
    if found.verdict == "error":
        return found
    flaws = _serving_flaws(settings.environment_variables, planned.shape, gpu, gpus, served.ways)
    room = f"{served.contexts(gpu)} requests of {served.context:,} tokens at once"
    if flaws:
        said = "; ".join([found.reason, room, *(flaw for flaw, _ in flaws)])
        return Finding(check, "warning", said, SOURCE, "; ".join(mend for _, mend in flaws))
    return Finding(check, found.verdict, f"{found.reason}; {room}", SOURCE, found.fix)


def evaluation(subject: Subject) -> Finding:
    """The gate holds one model at a time; on a machine too small for it the training was paid for nothing."""
    check, planned = "evaluation-memory", subject.planned
    machines = subject.machines(subject.recipe.compute.evaluate)
    if machines is None:
        return no_machines(check, "evaluate")
    if planned.shape is None:
        return _unknown_shape(check, subject)
    asked = subject.recipe.evaluation
    longest = planned.training.sequence if planned.training else planned.shape.max_position_embeddings
    gpus = planned.gpus_of(machines.size)
    if gpus == 0:
        whole = serving_memory.on_cpu(planned.shape, asked.samples * (longest + asked.max_new_tokens))
        return _without_gpu(check, subject, machines.size, whole)
    gpu = azure_facts.gpu(machines.size)
    if gpu is None:
        return _unknown_gpu(check, machines.size)
    found = serving_memory.evaluation(planned.shape, longest, asked.samples, asked.max_new_tokens)
    return _against(check, found, gpu, machines.size, "Take a larger size, or fewer evaluation.samples")


def _serving_flaws(
    told: Mapping[str, str], shape: Architecture, gpu: Gpu, gpus: int, ways: int
) -> list[tuple[str, str]]:
    """What else stands against a deployment with such variables, each with what mends it."""
    flaws = []
    asked = told.get("TENSOR_PARALLEL", "")
    if asked.isdigit() and int(asked) != ways:
        possible = ", ".join(str(width) for width in shape.widths)
        said = f"TENSOR_PARALLEL {asked} becomes {ways}, as the model can be cut to {possible} of {gpus} GPUs"
        flaws.append((said, f"Set TENSOR_PARALLEL to {ways}"))
    longest, limit = told.get("MAX_MODEL_LEN", ""), shape.max_position_embeddings
    if longest and not (longest.isdigit() and 0 < int(longest) <= limit):
        said = f"vLLM refuses to start with MAX_MODEL_LEN '{longest}', as the model takes 1 to {limit:,} tokens"
        flaws.append((said, f"Set MAX_MODEL_LEN to {limit} or less, or leave it out"))
    if not serving_memory.starts(gpu, told):
        said = f"a {gpu.name} has no bfloat16, which vLLM refuses to start with"
        flaws.append((said, "Set DTYPE to half in environment_variables"))
    if gpu.name.startswith("V100"):
        flaws.append(("CUDA 13 dropped the V100, so that the image of today does not run on it", "Take a newer GPU"))
    return flaws


def _without_gpu(check: str, subject: Subject, size: str, found: Estimate) -> Finding:
    """An estimate against a machine's own memory."""
    ram = azure_facts.ram(size) or _listed_ram(subject, size)
    if ram is None:
        return Finding(check, "unknown", f"how much memory '{size}' has is not known", SOURCE, ASK)
    parts = " + ".join(f"{term.name} {span(term.least, term.most)}" for term in found.host)
    said = f"{span(found.host_least, found.host_most)} GiB = {parts}, of {ram:g} GiB of '{size}', which has no GPU"
    if found.host_most > 0.9 * ram:
        return Finding(check, "error", said, SOURCE, "Take a size with more memory, or one with a GPU")
    if subject.planned.shape and subject.planned.shape.parameters >= serving_memory.SLOW_WITHOUT_GPU:
        return Finding(check, "warning", f"{said}; so large a model is slow there", SOURCE, "Take a GPU size")
    return Finding(check, "ok", said, SOURCE)


def _against(check: str, found: Estimate, gpu: Gpu, size: str, fix: str, over: int = 1) -> Finding:
    """An estimate against a GPU: what may or may not fit is a warning, and so is a fit with less than 5 % to spare."""
    whole = f" on each of {over} GPUs" if over > 1 else ""
    said = f"{found.text}{whole}, of {gpu.usable:.1f} usable GiB of {gpu.name} ('{size}')"
    if found.least > gpu.usable:
        return Finding(check, "error", f"does not fit: {said}", SOURCE, fix)
    if found.most > gpu.usable:
        return Finding(check, "warning", f"may not fit: {said}", SOURCE, fix)
    if found.most > TIGHT * gpu.usable:
        return Finding(check, "warning", f"fits tightly: {said}", SOURCE, fix)
    return Finding(check, "ok", f"fits: {said}", SOURCE)


def _unknown_shape(check: str, subject: Subject) -> Finding:
    said = f"the shape of '{subject.recipe.model.name}' stands not in azure_facts.yml"
    fix = "Copy its config.json into the recipe's finetune_config, under the key 'model_config'"
    after = "" if check == "training-memory" else "training-memory"
    return Finding(check, "unknown", said, "azure_facts.yml, architectures", fix, after)


def _unknown_gpu(check: str, size: str) -> Finding:
    said = f"which GPUs size '{size}' has stands not in azure_facts.yml"
    return Finding(check, "unknown", said, "azure_facts.yml, sizes", "Add the size to the table, or take one of it")


def _listed_ram(subject: Subject, size: str) -> float | None:
    found = (subject.live.sizes or {}).get(size.lower()) if subject.live else None
    return float(found["memoryGB"]) if found and found.get("memoryGB") else None
