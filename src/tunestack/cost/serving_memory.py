"""Memory that a model takes where it answers: served by vLLM, without a GPU, or in the gate's evaluation.

Terms and estimates are those of `gpu_memory`; docs/gpu-memory.md has the sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tunestack.azure_facts import Gpu
from tunestack.cost.gpu_memory import LAYER, LOGITS_ONLY, Estimate, Term, overhead, term_of
from tunestack.recipes.architecture import Architecture

OVERHEAD = 1.5  # GiB: CUDA, graphs, the activations of a step
SLOW_WITHOUT_GPU = 1e9  # rough: with more weights a machine without a GPU answers slower than people read


@dataclass(frozen=True)
class Serving:
    """One machine that serves: how many GPUs share one copy of the model, and tokens that one request may have."""

    ways: int
    context: int
    estimate: Estimate

    def contexts(self, gpu: Gpu) -> int:
        """Requests of full length that fit in the KV cache at once."""
        fixed = sum(term.most for term in self.estimate.gpu if term.name != "KV cache")
        (cache,) = (term.most for term in self.estimate.gpu if term.name == "KV cache")
        return max(int((gpu.usable - fixed) / cache), 0)


def serving(shape: Architecture, gpus: int, environment: Mapping[str, str] | None = None) -> Serving:
    """The foundation-model-inference image (vLLM) with one request of full length; `environment` is the deployment's.

    TENSOR_PARALLEL is lowered until it divides both head counts. Without it the image takes 1 for type phi3, whose
    head counts are the table's fused ones, and all GPUs for the others.
    """
    told = environment or {}
    asked = _count(told.get("TENSOR_PARALLEL")) or (1 if shape.fused else gpus)
    ways = next(width for width in range(max(min(asked, gpus), 1), 0, -1) if shape.splits(width))
    context = _count(told.get("MAX_MODEL_LEN")) or shape.max_position_embeddings
    weights = 2 * shape.parameters / ways
    cache = shape.kv_bytes() * context / ways
    over = f" over {ways} GPUs" if ways > 1 else ""
    estimate = Estimate(
        (
            term_of("weights", weights, weights, f"2·P bytes{over}, P = {shape.parameters:,}"),
            term_of("KV cache", cache, cache, f"{shape.kv_bytes() / 1024:g} KiB · {context:,} tokens{over}"),
            Term("overhead", OVERHEAD, OVERHEAD, "CUDA, graphs, a step's activations"),
        )
    )
    return Serving(ways, context, estimate)


def evaluation(shape: Architecture, longest: int, answers: int, answer_tokens: int) -> Estimate:
    """The gate's step: one model in 16 bit, the longest row at least (batches are halved), and its answers at once."""
    weights, row = 2 * shape.parameters, longest * shape.hidden_size
    cache = shape.kv_bytes() * answers * (longest + answer_tokens)
    logits = LOGITS_ONLY * longest * shape.vocab_size
    return Estimate(
        (
            term_of("weights", weights, weights, f"2·P bytes, P = {shape.parameters:,}"),
            term_of("activations", LAYER * row, LAYER * row, f"34·s·h, s {longest:,}, h {shape.hidden_size:,}"),
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
