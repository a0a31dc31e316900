"""GPU memory that training takes, term by term, each with its formula; docs/gpu-memory.md has the sources.

A term is a range where something that decides it is not public. All figures are GiB; what is measured stands in
docs/gpu-memory.md, everything here is computed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tunestack.azure_facts import Gpu
from tunestack.errors import UsageError
from tunestack.recipes.architecture import Architecture

GIB = 2**30
Span = tuple[float, float]
OVERHEAD = 2.0  # CUDA's context, buffers, fragments
SCORES = 5  # bytes per b·heads·s² of one layer at 16 bit (Korthikanti et al. 2022)
LOGITS = 10, 18  # bytes per b·s·V: 16 bit, float32, log-softmax or gradient; then with the copies that the loss makes
ATTENTION_INPUTS = frozenset({"qkv_proj", "q_proj", "k_proj", "v_proj"})
GATHERED = 1e9  # ZeRO-3 file of the component: stage3_max_live_parameters, and as much again for reuse and prefetch
UNSET = 512  # tokens, where the tokenizer has no limit and the recipe gives none
FLASH_CAPABILITY = 8.0  # Ampere; bfloat16 as well


@dataclass(frozen=True)
class Term:
    """One part of the memory, at least and at most, GiB, with the formula that gave it."""

    name: str
    least: float
    most: float
    formula: str

    @property
    def record(self) -> dict[str, Any]:
        return {"name": self.name, "gib": [round(self.least, 3), round(self.most, 3)], "formula": self.formula}


@dataclass(frozen=True)
class Estimate:
    """The terms of one GPU, and those of the machine's own memory."""

    gpu: tuple[Term, ...]
    host: tuple[Term, ...] = ()

    @property
    def least(self) -> float:
        return sum(term.least for term in self.gpu)

    @property
    def most(self) -> float:
        return sum(term.most for term in self.gpu)

    @property
    def host_least(self) -> float:
        return sum(term.least for term in self.host)

    @property
    def host_most(self) -> float:
        return sum(term.most for term in self.host)

    @property
    def text(self) -> str:
        """`32.4 GiB = weights 27.3 + ...`."""
        parts = " + ".join(f"{term.name} {span(term.least, term.most)}" for term in self.gpu if term.most >= 0.005)
        return f"{span(self.least, self.most)} GiB = {parts}"

    @property
    def formula(self) -> str:
        """Every term with its formula, one after the other."""
        terms = [(term, "") for term in self.gpu] + [(term, " in the machine's memory") for term in self.host]
        return "; ".join(f"{term.name}{where} {span(term.least, term.most)} = {term.formula}" for term, where in terms)

    @property
    def record(self) -> dict[str, Any]:
        return {
            "gib": [round(self.least, 2), round(self.most, 2)],
            "terms": [term.record for term in self.gpu],
            "host_gib": [round(self.host_least, 2), round(self.host_most, 2)],
            "host_terms": [term.record for term in self.host],
        }


def span(least: float, most: float) -> str:
    """`12`, or `12 to 23` where the two differ as shown."""
    low, high = (f"{value:.1f}" if value < 100 else f"{value:.0f}" for value in (least, most))
    return low if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class Training:
    """What of a recipe decides memory; `stage` is that of ZeRO, 0 without DeepSpeed."""

    lora: bool = False
    rank: int = 8
    targets: tuple[str, ...] | None = None
    precision: int = 32
    stage: int = 0
    batch: int = 1
    eval_batch: int = 1
    sequence: int = UNSET
    gpus: int = 1
    nodes: int = 1
    optimizer: str = "adamw_torch"
    checkpointing: bool = False  # by the model's hf_trainer_args, whatever its type

    @classmethod
    def of(cls, parameters: Mapping[str, Any], gpus: int, longest: int, config: Mapping[str, Any]) -> Training:
        """From the inputs as they are sent; `longest` is the model's own limit in tokens, `config` finetune_config."""

        def text(name: str, default: str) -> str:
            return str(parameters.get(name, default)).lower()

        def count(name: str, default: str) -> int:
            try:
                return int(text(name, default))
            except ValueError as error:
                raise UsageError(f"parameter '{name}' cannot be '{text(name, default)}'") from error

        deepspeed = text("apply_deepspeed", "false") in ("true", "1")
        asked = count("max_seq_length", "-1")
        own_limit = longest if longest <= 1_000_000 else UNSET
        targets = config.get("lora_target_modules")
        forced = (config.get("hf_trainer_args") or {}).get("gradient_checkpointing", False)
        return cls(
            lora=text("apply_lora", "false") in ("true", "1"),
            rank=count("lora_r", "8"),
            targets=tuple(targets) if isinstance(targets, list) else None,
            precision=count("precision", "32"),
            stage=count("deepspeed_stage", "2") if deepspeed else 0,
            batch=count("per_device_train_batch_size", "1"),
            eval_batch=count("per_device_eval_batch_size", "1"),
            sequence=min(asked, own_limit) if asked > 0 else own_limit,
            gpus=gpus,
            nodes=count("num_nodes_finetune", "1"),
            optimizer=text("optim", "adamw_torch"),
            checkpointing=str(forced).lower() == "true",
        )


def training(shape: Architecture, run: Training, gpu: Gpu | None) -> Estimate:
    """One GPU of a machine while the component trains, and what its ZeRO files move to the machine's memory.

    `gpu` None stands for one that can do everything.
    """
    weights = shape.parameters
    wide = _width(shape, run, gpu)
    terms = [_weights(weights, wide, run.stage), *_copies(shape, run, wide)]
    host = []
    if run.stage == 3:
        kept = weights / run.nodes
        host.append(term_of("weights", wide[0] * kept, wide[1] * kept, "ZeRO-3 keeps them in pinned memory"))
    if run.lora:
        few, many = shape.adapters(run.rank, run.targets)
        each = (4 if run.precision == 16 else 8) if run.stage else 16
        said = f"{each}·N bytes, N = {few / 1e6:.1f} to {many / 1e6:.1f} million adapter weights"
        terms.append(term_of("LoRA", each * few, each * many, said))
        if run.stage:
            host.append(term_of("optimizer", 12 * few, 12 * many, "12·N bytes, offloaded Adam"))
    else:
        ours, theirs = _full(weights, wide, run)
        terms += ours
        host += theirs
    return Estimate((*terms, *_activations(shape, run, gpu), _logits(shape, run), overhead()), tuple(host))


def _width(shape: Architecture, run: Training, gpu: Gpu | None) -> tuple[int, int]:
    """Bytes per weight: DeepSpeed casts to 16 bit, flash attention loads so, else transformers 4.55 takes float32."""
    if run.precision != 16:
        return 4, 4
    if run.stage:
        return 2, 2
    can = gpu is None or gpu.capability >= FLASH_CAPABILITY
    if not can or shape.is_checkpointed is False:
        return 4, 4
    return (2, 4) if shape.is_checkpointed is None else (2, 2)


def _weights(weights: int, wide: tuple[int, int], stage: int) -> Term:
    if stage == 3:
        live = min(weights, GATHERED)
        most = min(weights, 2 * GATHERED)
        return term_of("weights in use", wide[0] * live, wide[1] * most, "ZeRO-3 gathers 1e9 to 2e9 weights at a time")
    shown = f"{wide[0]}" if wide[0] == wide[1] else f"{wide[0]} or {wide[1]}"
    return term_of("weights", wide[0] * weights, wide[1] * weights, f"{shown}·P bytes, P = {weights:,}")


def _copies(shape: Architecture, run: Training, wide: tuple[int, int]) -> list[Term]:
    """What autocast makes of float32 weights and the backward pass needs, of frozen ones too; DeepSpeed has none.

    Checkpointing makes those of frozen weights anew, layer by layer.
    """
    if run.precision != 16 or wide[1] == 2 or (run.lora and checkpointing(shape, run)):
        return []
    most = 2 * shape.parameters
    return [term_of("16-bit copies", most if wide[0] == 4 else 0, most, "2·P bytes, where weights are float32")]


def _full(weights: int, wide: tuple[int, int], run: Training) -> tuple[list[Term], list[Term]]:
    """Gradients and optimizer where all weights are trained."""
    if run.stage:
        share = run.gpus * run.nodes
        gradients = term_of("gradients", 0, wide[1] * weights / share, f"none to {wide[1]}·P bytes over {share} GPUs")
        host = term_of("optimizer", 12 * weights / run.nodes, 16 * weights / run.nodes, "12 to 16·P bytes, offloaded")
        return [gradients], [host]
    gradients = term_of("gradients", wide[0] * weights, wide[1] * weights, "as the weights")
    if run.optimizer == "adafactor":
        return [gradients, term_of("optimizer", 0, 0.5 * weights, "adafactor: rows and columns")], []
    return [
        gradients,
        term_of("optimizer", 2 * wide[0] * weights, 2 * wide[1] * weights, "Adam: twice the weights"),
    ], []


def layer(shape: Architecture, width: int = 2, *, lora: bool = False, targets: Collection[str] | None = None) -> Span:
    """Bytes per token that one layer keeps for the backward pass, at least and at most, without attention scores.

    Counted on the layers of transformers: the two norms keep their input in float32 (8·h); q, k, v and the attention's
    output, the MLP's gate and up and what comes of them, and the inputs of all that is trained, are `width` bytes wide.
    """
    hidden, inner = shape.hidden_size, shape.intermediate_size
    query, key = shape.num_attention_heads * shape.head_dim, shape.num_key_value_heads * shape.head_dim
    few = hidden + 2 * query + 2 * key + 3 * inner
    many = 2 * hidden + 3 * query + 2 * key + 4 * inner
    if not lora:
        few = many = many + 2 * hidden
    elif targets and ATTENTION_INPUTS.issuperset(targets):
        many = few
    return 8 * hidden + width * few, 8 * hidden + width * many


def _activations(shape: Architecture, run: Training, gpu: Gpu | None) -> list[Term]:
    """What the forward pass keeps; with checkpointing the inputs of all layers and one layer that is recomputed.

    An evaluation keeps one layer at a time, of its own batch.
    """
    width = 2 if run.precision == 16 else 4
    layers, hidden, tokens = shape.num_hidden_layers, shape.hidden_size, run.batch * run.sequence
    each = layer(shape, width, lora=run.lora, targets=run.targets)
    inputs = width * hidden * layers
    on, off = (tuple(inputs + one for one in each), tuple(layers * one for one in each))
    decided = checkpointing(shape, run)
    cases = [off] if decided is False else [on] if decided else [on, off]
    least, most = cases[0][0] * tokens, cases[-1][1] * tokens
    seen = run.eval_batch * run.sequence
    shown = " to ".join(dict.fromkeys(f"{one / hidden:.0f}" for one in each))
    shown = f"({shown})" if " " in shown else shown
    formulas = {on: f"({width}·L + {shown})·b·s·h with checkpointing", off: f"{shown}·L·b·s·h without checkpointing"}
    said = f"{', or '.join(formulas[one] for one in cases)}, b {run.batch}, s {run.sequence}, h {hidden}, L {layers}"
    terms = [term_of("activations", max(least, each[0] * seen), max(most, each[1] * seen), said)]
    flash = run.precision == 16 and (gpu is None or gpu.capability >= FLASH_CAPABILITY)
    if shape.remote_code and not flash:
        scores = SCORES * run.batch * shape.num_attention_heads * run.sequence**2 * width / 2
        kept = scores * (1 if decided else layers)
        terms.append(term_of("attention scores", 0, kept, "none, or 5·b·heads·s² per layer without flash attention"))
    return terms


def checkpointing(shape: Architecture, run: Training) -> bool | None:
    """Whether gradient checkpointing is on; None where the model's type decides and nobody published it.

    The component never switches it on for LoRA alone; `hf_trainer_args` of the model may.
    """
    if run.lora and run.stage == 0:
        return bool(run.checkpointing)
    return True if run.checkpointing else shape.is_checkpointed


def _logits(shape: Architecture, run: Training) -> Term:
    each = run.sequence * shape.vocab_size
    least, most = (max(trained * run.batch, LOGITS[0] * run.eval_batch) * each for trained in LOGITS)
    said = f"10 to 18·b·s·V bytes, 10·b·s·V in evaluation, V {shape.vocab_size:,}"
    return term_of("logits", least, most, said)


def overhead() -> Term:
    return Term("overhead", OVERHEAD, OVERHEAD, "CUDA and fragmentation")


def term_of(name: str, least: float, most: float, formula: str) -> Term:
    return Term(name, least / GIB, most / GIB, formula)
