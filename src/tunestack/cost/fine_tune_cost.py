"""What one run of a recipe may take: steps, hours and dollars as ranges, part by part, with what each assumes.

Ranges and no figures: what a GPU reaches of its peak differs threefold, and how long rows are is seen only in the data.
Waiting for machines comes on top of the hours and is not billed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tunestack import azure_facts
from tunestack.azure_facts import Figure, Gpu
from tunestack.cost import gpu_memory
from tunestack.cost.gpu_memory import Span, Training
from tunestack.data.data_folder import DataFolder
from tunestack.recipes import architecture, model_defaults
from tunestack.recipes.architecture import Architecture
from tunestack.recipes.recipe import Recipe

# Floating point operations per weight and token: forward 2, backward 2 through frozen weights and 4 where they learn,
# 2 more where checkpointing runs the forward pass again.
FORWARD, FROZEN, LEARNING, AGAIN = 2, 2, 4, 2
BEST_USE, WORST_USE = 0.5, 0.15  # what training reaches of a GPU's peak
# Of the 16-bit peak, without tensor cores: A100 19.5 of 312 teraflops; T4 8.1 of 65, V100 15.7 of 125.
FLOAT32_PART, OLDER_PART = 0.06, 0.125
CORE_TERAFLOPS = 0.08  # rough: a core with AVX2 at 2.5 GHz, float32
FILLED: Span = (0.5, 1.0)  # of `max_seq_length`, where the rows were not looked at
COUNTED_SLACK, ESTIMATED_SLACK = 0.02, 0.25  # of the card's tokens: counted by the model's tokenizer, or estimated
PCIE: Span = (15e9, 25e9)  # bytes a second that ZeRO-3 fetches weights with, per GPU
FETCHES: Span = (2, 3)  # forward and backward; once more with checkpointing
# Seconds of a step for 1e9 weights that ZeRO's Adam updates in the machine's memory: of what users measured, 7.7 s of
# a step for 7e9 weights (DeepSpeed's issue 3901), and 2.4 to 3.1 s for the whole step of 3e9 (its pull request 7474).
OFFLOADED_ADAM: Span = (0.5, 1.5)
AROUND: Span = (0.3, 1.2)  # hours of the training machine: start, image, model, conversion
CPU_HOURS: Span = (0.3, 1.0)  # import and preprocessing, start included
GATE_AROUND: Span = (0.2, 0.8)  # hours of the evaluating machine: start, image, models
GENERATED: Span = (8, 40)  # tokens a second, one answer after the other
REGRESSION_ROWS, REGRESSION_TOKENS = 120, 100  # of the packaged set
MODELS_COMPARED: Span = (2, 3)  # base and tuned, and the one that serves
PREEMPTED = 1.5  # low priority, at most: what was lost since the last checkpoint runs again


@dataclass(frozen=True)
class Part:
    """Hours and dollars of one part of a run, at least and at most, and what they assume."""

    name: str
    size: str
    hours: Span
    dollars: Span
    assumes: str

    @property
    def text(self) -> str:
        low, high = self.hours
        return f"{self.name}, {low:.1f} to {high:.1f} hours on one {self.size}: {self.assumes}"

    @property
    def record(self) -> dict[str, Any]:
        return {
            "part": self.name,
            "size": self.size,
            "hours": [round(hour, 2) for hour in self.hours],
            "dollars": [round(dollar, 2) for dollar in self.dollars],
            "assumes": self.assumes,
        }


@dataclass(frozen=True)
class Range:
    """A whole run: steps, rows trained on, evaluations on the way, hours and dollars at least and at most, parts."""

    steps: int
    rows: int
    evaluations: int
    hours: Span
    dollars: Span
    parts: tuple[Part, ...]

    @property
    def assumes(self) -> str:
        return "assumes " + "; ".join(part.text for part in self.parts)

    @property
    def text(self) -> str:
        return (
            f"{self.steps:,} steps over {self.rows:,} rows, {self.hours[0]:.1f} to {self.hours[1]:.1f} hours, "
            f"{self.dollars[0]:,.2f} to {self.dollars[1]:,.2f} dollars"
        )

    @property
    def record(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "rows": self.rows,
            "hours": [round(hour, 2) for hour in self.hours],
            "dollars": list(self.dollars),
            "parts": [part.record for part in self.parts],
            "text": self.text,
        }


@dataclass(frozen=True)
class Machines:
    """The sizes that a stack runs the recipe's parts on, and their prices by the hour."""

    gpu_size: str
    gpu: Figure | None
    cpu: Figure | None
    cpu_size: str = ""
    is_low_priority: bool = False


@dataclass(frozen=True)
class Work:
    """What is to be done, counted: rows per epoch, tokens of a row at least and at most, rows of the other splits."""

    rows: int
    tokens: Span
    validation: int
    test: int
    source: str


def of_recipe(
    recipe: Recipe,
    machines: Machines,
    rows: int | None = None,
    data: DataFolder | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Range | str:
    """The range, or in words what must be known for it and is not: model size, rows, the GPU, its price.

    `parameters` are those that are sent; without them the recipe's over the dated defaults of its model.
    """
    sent = parameters if parameters is not None else model_defaults.merged(recipe)
    shape = architecture.of_recipe(recipe)
    gpu = azure_facts.gpu(machines.gpu_size)
    peak = _peak(machines.gpu_size)
    run = Training.of(
        sent,
        _gpus(sent, machines),
        shape.max_position_embeddings if shape else 2048,
        architecture.finetune_config(recipe),
    )
    work = _work(recipe, run, rows, data)
    unknown = []
    if shape is None:
        unknown.append(f"how large '{recipe.model.name}' is stands not in azure_facts.yml, under architectures")
    if peak is None:
        unknown.append(f"how fast a machine of size '{machines.gpu_size}' is stands not in azure_facts.yml")
    if isinstance(work, str):
        unknown.append(work)
    if machines.gpu is None or machines.cpu is None:
        unknown.append("the price of its machines is not known")
    if shape is None or peak is None or isinstance(work, str) or machines.gpu is None or machines.cpu is None:
        return "; ".join(unknown)
    steps, trained = _steps(sent, run, work)
    training_peak = peak * (_part(run, gpu) if gpu else 1) * run.gpus * run.nodes
    evaluations = _evaluations(sent, steps, work, trained)
    train = _train(shape, run, work, steps, trained, evaluations * work.validation, training_peak)
    parts = (
        _priced(
            "import and preprocessing", machines.cpu_size or "CPU machine", CPU_HOURS, machines.cpu, 1, "start included"
        ),
        _priced(
            "training",
            machines.gpu_size,
            _low(train.hours, machines),
            machines.gpu,
            run.nodes,
            train.assumes + (", low priority may run parts again" if machines.is_low_priority else ""),
        ),
        _gate(recipe, shape, run, work, machines, peak),
    )
    hours, dollars = _sum(part.hours for part in parts), _cents(_sum(part.dollars for part in parts))
    return Range(steps, trained, evaluations, hours, dollars, parts)


@dataclass(frozen=True)
class _Timed:
    hours: Span
    assumes: str


def _train(
    shape: Architecture, run: Training, work: Work, steps: int, trained: int, evaluated: int, peak: float
) -> _Timed:
    """Hours of the training step on its machines; `evaluated` counts rows, `peak` is all its GPUs', teraflops."""
    again = gpu_memory.checkpointing(shape, run)
    learned = FORWARD + (FROZEN if run.lora else LEARNING)
    least, most = learned + (AGAIN if again else 0), learned + (AGAIN if again is not False else 0)
    weights = shape.parameters
    seconds = [
        (trained * tokens * operations + evaluated * tokens * FORWARD) * weights / (peak * 1e12 * use)
        for tokens, operations, use in ((work.tokens[0], least, BEST_USE), (work.tokens[1], most, WORST_USE))
    ]
    said = (
        f"{trained:,} rows in {steps:,} steps ({work.source}), {_tokens(work)}, "
        f"{least if least == most else f'{least} to {most}'} operations per weight and token, "
        f"{WORST_USE:.0%} to {BEST_USE:.0%} of {peak:,.0f} teraflops, "
        f"{evaluated:,} rows of validation, {AROUND[0]:g} to {AROUND[1]:g} hours around it"
    )
    if run.stage == 3:
        micro = math.ceil(trained / (run.batch * run.gpus * run.nodes))
        moved = 2 * weights * micro / run.gpus
        fetched = moved * FETCHES[0] / PCIE[1], moved * FETCHES[1] / PCIE[0]
        seconds = [max(seconds[0], fetched[0]), seconds[1] + fetched[1]]
        said += f", ZeRO-3 fetching all weights {FETCHES[0]:g} to {FETCHES[1]:g} times a micro batch at 15 to 25 GB/s"
    if run.stage and not run.lora:
        each = steps * weights / 1e9 / run.nodes
        seconds = [one + each * pace for one, pace in zip(seconds, OFFLOADED_ADAM, strict=True)]
        said += f", ZeRO's Adam on the CPU {OFFLOADED_ADAM[0]:g} to {OFFLOADED_ADAM[1]:g} s a step and 1e9 weights"
    return _Timed((seconds[0] / 3600 + AROUND[0], seconds[1] / 3600 + AROUND[1]), said)


def _gate(recipe: Recipe, shape: Architecture, run: Training, work: Work, machines: Machines, peak: float) -> Part:
    """The evaluation: losses of two or three models on test and regression rows, and a few answers of each."""
    on_gpu = recipe.compute.evaluate == recipe.compute.finetune or not machines.cpu_size
    size, price = (machines.gpu_size, machines.gpu) if on_gpu else (machines.cpu_size, machines.cpu)
    own_peak = peak if on_gpu else _peak(size) or CORE_TERAFLOPS
    asked = recipe.evaluation
    rows = min(asked.max_rows, work.test)
    answers = asked.samples * asked.max_new_tokens
    hours = []
    ends = zip(MODELS_COMPARED, work.tokens, (BEST_USE, WORST_USE), reversed(GENERATED), GATE_AROUND, strict=True)
    for models, tokens, use, pace, around in ends:
        read = rows * tokens + REGRESSION_ROWS * REGRESSION_TOKENS
        scored = read * FORWARD * shape.parameters / (own_peak * 1e12 * use)
        hours.append((models * (scored + answers / pace)) / 3600 + around)
    said = (
        f"{rows:,} test rows and {REGRESSION_ROWS} of the regression set by 2 to 3 models, {asked.samples} answers each"
    )
    assert price
    return _priced("evaluation", size, (hours[0], hours[1]), price, 1, said)


def _work(recipe: Recipe, run: Training, rows: int | None, data: DataFolder | None) -> Work | str:
    """Rows and their tokens: as prepared, as given, or as the table knows the data source."""
    filled = run.sequence * FILLED[0], run.sequence * FILLED[1]
    if data is not None:
        seen = _seen_tokens(data, run.sequence)
        counts = data.rows
        return Work(
            counts.get("train", 0), seen or filled, counts.get("validation", 0), counts.get("test", 0), "data folder"
        )
    part = recipe.data.validation_percent / 100
    if rows is not None:
        return Work(rows, filled, round(rows * part), recipe.evaluation.max_rows, "--rows")
    whole = azure_facts.facts()["rows"].get(recipe.data.source.partition("@")[0])
    if whole is None:
        return unprepared(recipe)
    taken = whole * recipe.data.percent / 100
    return Work(int(taken * (1 - part)), filled, int(taken * part), recipe.evaluation.max_rows, "azure_facts.yml")


def unprepared(recipe: Recipe) -> str:
    """What is said where nobody knows yet how many rows there are."""
    return f"how many rows '{recipe.data.source}' has is not known before they are prepared"


def _seen_tokens(data: DataFolder, sequence: int) -> Span | None:
    """Mean tokens of a row as the card counted them, cut at the sequence; None where the card has none."""
    mean = float((data.card.get("lengths") or {}).get("mean") or 0)
    if not mean:
        return None
    counted = data.card.get("tokens") or {}
    slack = COUNTED_SLACK if counted.get("tokenizer") else ESTIMATED_SLACK
    return min(mean * (1 - slack), sequence), min(mean * (1 + slack), sequence)


def _tokens(work: Work) -> str:
    low, high = (f"{tokens:,.0f}" for tokens in work.tokens)
    return f"{low} tokens each" if low == high else f"{low} to {high} tokens each"


def _steps(sent: Mapping[str, Any], run: Training, work: Work) -> tuple[int, int]:
    """Optimizer steps, and rows trained on; `max_steps` above 0 wins over the epochs, as in the Trainer."""
    kept = _number(sent, "gradient_accumulation_steps", 1)
    together = run.batch * run.gpus * run.nodes
    asked = _number(sent, "max_steps", -1)
    if asked > 0:
        return int(asked), int(asked * together * kept)
    epochs = _number(sent, "num_train_epochs", 1)
    each = max(math.ceil(math.ceil(work.rows / together) / kept), 1)
    return math.ceil(each * epochs), round(work.rows * epochs)


def _evaluations(sent: Mapping[str, Any], steps: int, work: Work, trained: int) -> int:
    """How often the validation rows are looked at while training."""
    epochs = max(math.ceil(trained / work.rows), 1) if work.rows else 1
    strategy = str(sent.get("evaluation_strategy", "epoch"))
    if strategy == "disable":
        return 0
    if strategy == "epoch":
        return epochs
    part = _number(sent, "evaluation_steps_interval", 0.0)
    epoch = work.rows * steps / trained if trained else steps
    each = int(part * epoch) if 0 < part <= 1 else _number(sent, "eval_steps", 500)
    return int(steps // max(each, 1))


def _gpus(sent: Mapping[str, Any], machines: Machines) -> int:
    asked = int(_number(sent, "number_of_gpu_to_use_finetuning", 0))
    return max(asked or azure_facts.gpus(machines.gpu_size) or 1, 1)


def _number(sent: Mapping[str, Any], name: str, default: float) -> float:
    return float(sent.get(name, default))


def _part(run: Training, gpu: Gpu) -> float:
    """What of a GPU's peak a run can use: 16 bit is bfloat16, which those before Ampere emulate at 32 bit."""
    if gpu.capability < gpu_memory.FLASH_CAPABILITY:
        return OLDER_PART
    return FLOAT32_PART if run.precision == 32 else 1


def _peak(size: str) -> float | None:
    """Teraflops of one GPU, or of all cores where there is none."""
    found = azure_facts.teraflops(size)
    if found or azure_facts.gpus(size) != 0:
        return found
    known = azure_facts.cores(size)
    return known[1] * CORE_TERAFLOPS if known else None


def _priced(name: str, size: str, hours: Span, price: Figure, count: int, assumes: str) -> Part:
    return Part(name, size, hours, (hours[0] * price.dollars * count, hours[1] * price.dollars * count), assumes)


def _low(hours: Span, machines: Machines) -> Span:
    return (hours[0], hours[1] * PREEMPTED) if machines.is_low_priority else hours


def _sum(spans: Any) -> Span:
    low, high = zip(*spans, strict=True)
    return sum(low), sum(high)


def _cents(span: Span) -> Span:
    return round(span[0], 2), round(span[1], 2)
