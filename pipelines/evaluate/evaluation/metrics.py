"""What metrics.json holds: every figure of the run under its name, ready for JSON (no infinities, no NaN)."""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evaluation import chat_model, file_hashes, generation
from evaluation.bootstrap import CONFIDENCE, RESAMPLES, Interval
from evaluation.comparison import Comparison
from evaluation.generation import Answer
from evaluation.measuring import Measured, Sheet
from evaluation.sample import Sample
from evaluation.settings import Settings
from evaluation.verdict import Verdict

SCHEMA = 1
METRIC = "loss of the reference answers, tuned minus base, nats per token; paired bootstrap over questions"
OTHER_TOKENS = "the tokenizers differ: whole answers are compared, per token of the {0}'s"


@dataclass(frozen=True)
class Found:
    """The comparisons, their intervals, and the verdict."""

    verdict: Verdict
    gain: Comparison
    regression: Comparison
    over_serving: Comparison | None
    gain_interval: Interval
    regression_interval: Interval
    over_serving_interval: Interval | None
    questions_file: Path


def as_metrics(
    settings: Settings,
    found: Found,
    models: dict[str, Measured],
    sample: Sequence[Sample],
    skipped: Mapping[str, Counter[str]],
    files: list[dict[str, Any]],
    seconds: float,
) -> dict[str, Any]:
    """The whole document; docs/evaluation.md says what each figure means. `skipped` is by file and by reason."""
    base = models["base"]
    metrics: dict[str, Any] = {
        "schema": SCHEMA,
        "verdict": found.verdict.verdict,
        "reasons": found.verdict.reasons,
        "labels": [*found.verdict.labels, *_about_tokens(found)],
        "gate": {
            **asdict(settings.gate),
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "seed": settings.seed,
            "chance_of_a_false_pass": settings.gate.chance_of_a_false_pass,
        },
        "models": {name: {"source": model.folder.source, **_losses(model.test)} for name, model in models.items()},
        "gain": _interval(found.gain_interval, found.gain),
    }
    if found.over_serving and found.over_serving_interval:
        metrics["gain_over_serving"] = _interval(found.over_serving_interval, found.over_serving)
    return {
        **metrics,
        "regression": {
            **_described(found.questions_file, packaged=settings.regression_file is None),
            "metric": METRIC,
            **_interval(found.regression_interval, found.regression),
            "models": {name: _losses(model.questions) for name, model in models.items()},
            "skipped": _left_out(skipped["regression"], base.questions, found.regression),
        },
        "generation": _generation(base, models, sample),
        "test": {
            "sha256": file_hashes.of_file(settings.test_file),
            "rows": len(found.gain.lines),
            "clusters": found.gain_interval.clusters,
            "tokens": sum(found.gain.tokens),
            "cut": sum(each.cut for each in base.test.encoded.values()),
            "limit": base.limit,
            "skipped": _left_out(skipped["test"], base.test, found.gain),
        },
        "files": file_hashes.summary(files),
        "seconds": round(seconds, 1),
        "versions": versions(),
    }


def row_losses(found: Found, models: Mapping[str, Measured]) -> Iterator[dict[str, Any]]:
    """What the bounds rest on, row by row: nats of each model that read it, and the base's answer tokens."""
    for name, of in (("test", found.gain), ("questions", found.regression)):
        sheets: dict[str, Sheet] = {model: getattr(measured, name) for model, measured in models.items()}
        for line, tokens, cluster in zip(of.lines, of.tokens, of.clusters, strict=True):
            nats = {model: _number(sheet.losses[line]) for model, sheet in sheets.items() if line in sheet.losses}
            yield {"set": name, "line": line, "cluster": cluster, "tokens": tokens, "nats": nats}


def versions() -> dict[str, str]:
    """Of what computes the figures, and the kind of numbers that it computes with."""
    found = {"python": platform.python_version()}
    for name in ("torch", "transformers", "tokenizers", "numpy"):
        found[name] = importlib.metadata.version(name)
    return {**found, "numbers": str(chat_model.kind_of_numbers()).removeprefix("torch.")}


def _losses(sheet: Sheet) -> dict[str, Any]:
    tokens = sum(len(each.answers) for each in sheet.encoded.values())
    total = sum(sheet.losses.values())
    loss = total / tokens
    return {
        "loss": _number(loss),
        "perplexity": _number(math.exp(loss) if loss < 700 else math.inf),
        "loss_per_byte": _number(total / max(1, sum(each.bytes for each in sheet.encoded.values()))),
        "tokens": tokens,
        "rows": len(sheet.encoded),
    }


def _left_out(skipped: Counter[str], base: Sheet, compared: Comparison) -> dict[str, int]:
    alone = len(base.encoded) - len(compared.lines)
    found = skipped + Counter({"that the tuned model does not read whole": alone})
    return dict(sorted(found.items()))


def _interval(found: Interval, of: Comparison) -> dict[str, Any]:
    return {
        "estimate": _number(found.estimate),
        "lower": found.lower,
        "upper": found.upper,
        "clusters": found.clusters,
        "effective_clusters": found.effective and round(found.effective, 1),
        "rows": len(of.lines),
        "tokens": sum(of.tokens),
        "same_tokens": of.same_tokens,
    }


def _described(file: Path, *, packaged: bool) -> dict[str, Any]:
    licence = "CC0-1.0" if packaged else "not known: the file was given"
    return {"set": file.name, "licence": licence, "sha256": file_hashes.of_file(file)}


def _generation(base: Measured, models: dict[str, Measured], sample: Sequence[Sample]) -> dict[str, Any]:
    if not sample:
        return {}
    lengths = [len(base.tokenizer(each.reference, add_special_tokens=False)["input_ids"]) for each in sample]
    written = [Answer(each.reference, length, False) for each, length in zip(sample, lengths, strict=True)]
    return {
        "data": generation.statistics(written),
        **{name: generation.statistics(model.answers) for name, model in models.items()},
    }


def _about_tokens(found: Found) -> list[str]:
    said = [] if found.gain.same_tokens else [OTHER_TOKENS.format("base model")]
    if found.over_serving and not found.over_serving.same_tokens:
        said.append(f"serving model: {OTHER_TOKENS.format('serving model')}")
    return said


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
