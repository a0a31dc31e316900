"""Our memory figures beside published ones: the tables of docs/gpu-memory.md, written here and checked by a test.

.venv/bin/python -m tests.tunestack.cost.memory_table
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tunestack.cost import gpu_memory, serving_memory
from tunestack.cost.gpu_memory import Estimate, Training
from tunestack.recipes import architecture
from tunestack.recipes.architecture import Architecture

PAGE = Path(__file__).parents[3] / "docs" / "gpu-memory.md"
REFERENCE = "facts collected of the pipeline, computed"
FACTORY = "LLaMA-Factory's README, estimated, for 7B and 14B"
VLLM = "a start-up log of vLLM, measured"
LONG = "LongLoRA (2309.12307), measured"
LAYER = "a layer of transformers, counted by our tests"
GB = 1e9 / 2**30  # what tables in GB mean, in GiB


@dataclass(frozen=True)
class Row:
    """One figure: ours from least to most in its unit, the published one, and how far apart they may be."""

    model: str
    what: str
    ours: tuple[float, float]
    published: tuple[float, float]
    tolerance: float
    source: str
    unit: str = "GiB"

    @property
    def agrees(self) -> bool:
        """Both ends within the tolerance, a part of the published figure."""
        return all(
            abs(mine - theirs) <= self.tolerance * theirs
            for mine, theirs in zip(self.ours, self.published, strict=True)
        )

    @property
    def cells(self) -> str:
        return (
            f"| {self.model} | {self.what} | {_span(self.ours)} | {_span(self.published)} | {self.unit} | "
            f"{self.tolerance:.0%} | {self.source} |"
        )


def _span(values: tuple[float, float]) -> str:
    low, high = (f"{value:.3g}" for value in values)
    return low if low == high else f"{low} to {high}"


def shape(name: str, kind: str = "phi3mini") -> Architecture:
    """A model of the table as of a type: `phi3mini` gets gradient checkpointing from the component, `phi3` none."""
    found = architecture.of_name(name)
    assert found
    return found if found.type else replace(found, type=kind)


# Not in our table of models: what somebody measured it with stands in the log.
QWEN = architecture.of_config(
    {
        "num_hidden_layers": 40,
        "hidden_size": 5120,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "intermediate_size": 17408,
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
        "head_dim": 128,
        "model_type": "qwen3",
    },
    "config.json of Qwen/Qwen3-14B",
)
_PHIS = ("Phi-3-mini-4k-instruct", "Phi-4")
_LLAMA, _LLAMAS_LAYER = "Llama-2-7b-chat", (34.2, 41.6, 45.5)
_TRAINED = ("adapters on the attention's inputs", "adapters on all layers", "all weights")
LORA = Training(lora=True, precision=16, stage=2, sequence=4096)


def rows() -> Iterator[Row]:
    """Every comparison, in the order of the page."""
    for name, weights, wide, kv, full, served in (
        (_PHIS[0], 7.1, 14.2, 384, 1.5, 10.1),
        (_PHIS[1], 27.3, 54.6, 200, 3.1, 32),
    ):
        own = shape(name)
        yield _one(name, "weights, bf16", 2 * own.parameters / 2**30, weights, 0.01)
        yield _one(name, "weights, fp32", 4 * own.parameters / 2**30, wide, 0.01)
        yield _one(name, "KV cache of a token", own.kv_bytes() / 1024, kv, 0.001, unit="KiB")
        yield _one(name, "KV cache, full context", own.kv_bytes() * own.max_position_embeddings / 2**30, full, 0.02)
        yield _one(name, "serving, one full context", serving_memory.serving(own, 1).estimate.most, served, 0.01)
    for name, few, many in ((_PHIS[0], 3.1, 12.6), (_PHIS[1], 4.1, 27.9)):
        least, most = shape(name).adapters(8)
        yield Row(
            name, "LoRA r 8, qkv to all layers", (least / 1e6, most / 1e6), (few, many), 0.02, REFERENCE, "million"
        )
    for name, counted in (*zip(_PHIS, ((34.1, 43.4, 47.4), (36.1, 47.1, 51.0)), strict=True), (_LLAMA, _LLAMAS_LAYER)):
        for what, figure, ours in zip(_TRAINED, counted, layers(shape(name)), strict=True):
            yield _one(name, f"a layer, {what}", ours, figure, 0.05, source=LAYER, unit="bytes·b·s·h")
    for what, sequence, kind, published, tolerance in (
        ("LoRA, bf16, ZeRO-2, s 2048, checkpointing on", 2048, "phi3mini", (10, 32), 0.05),
        ("LoRA, bf16, ZeRO-2, s 2048, checkpointing off", 2048, "phi3", (16, 45), 0.2),
        ("LoRA, bf16, ZeRO-2, s 4096, checkpointing on", 4096, "phi3mini", (12, 36), 0.05),
        ("LoRA, bf16, ZeRO-2, s 4096, checkpointing off", 4096, "phi3", (23, 60), 0.2),
    ):
        for name, figure in zip(_PHIS, published, strict=True):
            found = gpu_memory.training(shape(name, kind), replace(LORA, sequence=sequence), None)
            yield _one(name, what, _as_collected(found)[1], figure, tolerance)
    for name, figure in zip(_PHIS, (20, 65), strict=True):
        found = gpu_memory.training(shape(name), replace(LORA, precision=32), None)
        yield _one(name, "LoRA, precision 32, s 4096, on", _as_collected(found)[1], figure, 0.05)
    for name, on_gpu, on_host in ((_PHIS[0], (6, 8), 8), (_PHIS[1], (10, 12), 29)):
        found = gpu_memory.training(shape(name), replace(LORA, stage=3), None)
        yield Row(name, "LoRA, ZeRO-3 with offload, s 4096, on", _as_collected(found), on_gpu, 0.05, REFERENCE)
        yield _one(name, "the same, in the machine's memory, at least", found.host_most, on_host, 0.12)
    for name, on_gpu, in_host in ((_PHIS[0], (12, 19), (43, 57)), (_PHIS[1], (35, 63), (164, 218))):
        found = gpu_memory.training(shape(name), replace(LORA, lora=False), None)
        yield Row(name, "all weights, ZeRO-2, s 4096, on", _as_collected(found), on_gpu, 0.05, REFERENCE)
        ours = found.host_least, found.host_most
        yield Row(name, "the same, in the machine's memory", ours, in_host, 0.02, REFERENCE)
    yield from _measured()


def layers(own: Architecture) -> tuple[float, float, float]:
    """Our bytes per b·s·h of a layer at 16 bit: adapters on the attention's inputs, on all layers, all weights."""
    few, many = gpu_memory.layer(own, lora=True)
    return few / own.hidden_size, many / own.hidden_size, gpu_memory.layer(own)[0] / own.hidden_size


def _as_collected(found: Estimate) -> tuple[float, float]:
    """With logits at the 10 bytes that the collected facts take, and without attention scores, which they leave out."""
    most = sum(term.least if term.name == "logits" else term.most for term in found.gpu)
    return found.least, most - sum(term.most for term in found.gpu if term.name == "attention scores")


def _measured() -> Iterator[Row]:
    """What others published: figures that were measured, and one table of estimates."""
    yield _one("Phi-4", "weights loaded for serving", 2 * shape("Phi-4").parameters / 2**30, 27.39, 0.01, source=VLLM)
    yield _one("Qwen3-14B", "weights loaded for serving", 2 * QWEN.parameters / 2**30, 27.52, 0.01, source=VLLM)
    yield _one("Qwen3-14B", "KV cache of 72,496 tokens", QWEN.kv_bytes() * 72496 / 2**30, 11.06, 0.01, source=VLLM)
    long = gpu_memory.training(shape("Llama-2-7b-chat"), replace(LORA, sequence=8192, gpus=8), None)
    yield _one("Llama-2-7b", "LoRA, ZeRO-2 on 8 GPUs, s 8192, on; our most", long.most, 25.7 * GB, 0.15, source=LONG)
    lora = Training(lora=True, precision=16, stage=2, sequence=1024)
    seven = gpu_memory.training(shape("Llama-2-7b-chat"), lora, None)
    fourteen = gpu_memory.training(shape("Phi-4"), lora, None)
    yield _one("Llama-2-7b", "LoRA, 16 bit, s 1024", seven.most, 16 * GB, 0.15, source=FACTORY)
    yield _one("Phi-4", "LoRA, 16 bit, s 1024", fourteen.most, 32 * GB, 0.15, source=FACTORY)
    whole = Training(precision=16, stage=0, sequence=1024)
    yield _one(
        "Llama-2-7b", "all weights in bf16, Adam on the GPU, s 1024",
        gpu_memory.training(shape("Llama-2-7b-chat"), whole, None).most, 60 * GB, 0.15, source=FACTORY,
    )  # fmt: skip


def _one(
    model: str,
    what: str,
    ours: float,
    published: float,
    tolerance: float,
    *,
    source: str = REFERENCE,
    unit: str = "GiB",
) -> Row:
    return Row(model, what, (ours, ours), (published, published), tolerance, source, unit)


def table() -> str:
    head = "| model | what | ours | published | unit | tolerance | published by |\n|---|---|--:|--:|---|--:|---|\n"
    return head + "\n".join(row.cells for row in rows()) + "\n"


def terms(found: Callable[[], Estimate]) -> str:
    """The terms of an estimate as a table, for the page's example."""
    lines = [f"| {term.name} | {gpu_memory.span(term.least, term.most)} | {term.formula} |" for term in found().gpu]
    return "| term | GiB | formula |\n|---|--:|---|\n" + "\n".join(lines) + "\n"


def example() -> str:
    """The walk-through: Phi-4 with LoRA and ZeRO-2, 2,048 tokens, one A100 of 80 GB."""
    own = architecture.of_name("Phi-4")
    assert own
    found = gpu_memory.training(own, replace(LORA, sequence=2048), None)
    return f"{terms(lambda: found)}\nTogether {gpu_memory.span(found.least, found.most)} GiB.\n"


def written(page: str) -> str:
    """The page with both tables as they are now."""
    for part, content in (("memory", table()), ("example", example())):
        begin, end = f"<!-- {part} -->\n", f"<!-- /{part} -->\n"
        before, rest = page.split(begin, 1)
        page = before + begin + content + end + rest.split(end, 1)[1]
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
