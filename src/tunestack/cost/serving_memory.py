"""Memory that a model takes where it answers: served by vLLM, without a GPU, or in the gate's evaluation.

Terms and estimates are those of `gpu_memory`; docs/gpu-memory.md has the sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunestack.azure_facts import USABLE, Gpu
from tunestack.cost.gpu_memory import FLASH_CAPABILITY, Estimate, Term, layer, overhead, term_of
from tunestack.recipes.architecture import Architecture

OVERHEAD = 1.5  # GiB: CUDA, graphs, the activations of a step
LOGITS = 6  # bytes per s·V of the gate: 16 bit, and float32 of a part at a time
HALF, WHOLE = frozenset({"half", "float16"}), frozenset({"float", "float32"})  # of DTYPE, which is bfloat16 else
SLOW_WITHOUT_GPU = 1e9  # rough: with more weights a machine without a GPU answers slower than people read


@dataclass(frozen=True)
class Serving:
    """One machine that serves: how many GPUs share one copy of the model, tokens of one request, part of a GPU."""

    ways: int
    context: int
    part: float
    estimate: Estimate

    def usable(self, gpu: Gpu) -> float:
        """GiB of one GPU that vLLM may take."""
        return self.part * gpu.memory

    def contexts(self, gpu: Gpu) -> int:
        """Requests of full length that fit in the KV cache at once."""
        fixed = sum(term.most for term in self.estimate.gpu if term.name != "KV cache")
        (cache,) = (term.most for term in self.estimate.gpu if term.name == "KV cache")
        return max(int((self.usable(gpu) - fixed) / cache), 0)


def serving(shape: Architecture, gpus: int, environment: Mapping[str, str] | None = None) -> Serving:
    """The foundation-model-inference image (vLLM) with one request of full length; `environment` is the deployment's.

    DTYPE float32 doubles weights and cache, and with QUANTIZATION, which has many kinds, weights count from a quarter.
    TENSOR_PARALLEL is lowered until it divides both head counts. Without it the image takes 1 for type phi3, whose
    head counts are the table's fused ones, and all GPUs for the others.
    """
    told = environment or {}
    asked = _count(told.get("TENSOR_PARALLEL")) or (1 if shape.fused else gpus)
    ways = next(width for width in range(max(min(asked, gpus), 1), 0, -1) if shape.splits(width))
    context = _count(told.get("MAX_MODEL_LEN")) or shape.max_position_embeddings
    width = 4 if _dtype(told) in WHOLE else 2
    weights, least = width * shape.parameters / ways, 0.5 if "QUANTIZATION" in told else width
    cache = shape.kv_bytes(width) * context / ways
    over = f" over {ways} GPUs" if ways > 1 else ""
    shown = f"{least:g} to {width}" if least < width else f"{width}"
    estimate = Estimate(
        (
            term_of("weights", least * weights / width, weights, f"{shown}·P bytes{over}, P = {shape.parameters:,}"),
            term_of("KV cache", cache, cache, f"{shape.kv_bytes(width) / 1024:g} KiB · {context:,} tokens{over}"),
            Term("overhead", OVERHEAD, OVERHEAD, "CUDA, graphs, a step's activations"),
        )
    )
    return Serving(ways, context, part(told), estimate)


def starts(gpu: Gpu, environment: Mapping[str, str]) -> bool:
    """Whether the GPU has the numbers that vLLM is told to compute in: bfloat16 came with Ampere."""
    return gpu.capability >= FLASH_CAPABILITY or _dtype(environment) in HALF | WHOLE


def _dtype(environment: Mapping[str, str]) -> str:
    return str(environment.get("DTYPE", "")).lower()


def part(environment: Mapping[str, str]) -> float:
    """The part of a GPU's memory that vLLM takes: 0.9 unless GPU_MEMORY_UTILIZATION is a number up to 1."""
    try:
        found = float(environment.get("GPU_MEMORY_UTILIZATION", USABLE))
    except ValueError:
        return USABLE
    return found if 0 < found <= 1 else USABLE


def evaluation(shape: Architecture, longest: int, answers: int, answer_tokens: int) -> Estimate:
    """The gate's step: one model in 16 bit, the longest row at least (batches are halved), and its answers at once."""
    weights, each = 2 * shape.parameters, layer(shape)[1]
    cache = shape.kv_bytes() * answers * (longest + answer_tokens)
    said = f"s {longest:,}, h {shape.hidden_size:,}"
    logits = LOGITS * longest * shape.vocab_size
    return Estimate(
        (
            term_of("weights", weights, weights, f"2·P bytes, P = {shape.parameters:,}"),
            term_of("activations", each * longest, each * longest, f"{each / shape.hidden_size:.0f}·s·h, {said}"),
            term_of("logits", 0, logits, f"up to 6·s·V bytes, of answer tokens only, V {shape.vocab_size:,}"),
            term_of("KV cache", 0, cache, f"{answers} answers of up to {longest + answer_tokens:,} tokens"),
            overhead(),
        )
    )


def on_cpu(shape: Architecture, context: int) -> Estimate:
    """A machine without a GPU that serves: float32 weights and cache, in its own memory."""
    weights, cache = 4 * shape.parameters, shape.kv_bytes(4) * context
    terms = (
        term_of("weights", weights, weights, f"4·P bytes, P = {shape.parameters:,}"),
        term_of("KV cache", cache, cache, f"{shape.kv_bytes(4) / 1024:g} KiB · {context:,} tokens"),
        Term("overhead", OVERHEAD, OVERHEAD, "Python, torch"),
    )
    return Estimate((), terms)


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() and int(text) > 0 else None
