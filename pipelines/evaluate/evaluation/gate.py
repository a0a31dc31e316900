"""The order of the work: read, encode, score each model in turn, compare, judge, write."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluation import chat_model, encoding, file_hashes, model_folder, rows, scoring
from evaluation.bootstrap import CONFIDENCE, RESAMPLES, interval
from evaluation.settings import Settings
from evaluation.verdict import judge

GENERAL_QUESTIONS = Path(__file__).with_name("general_questions.jsonl")


def run(settings: Settings) -> dict[str, Any]:
    """Everything; what metrics.json holds is returned."""
    started = time.monotonic()
    settings.evaluation.mkdir(parents=True, exist_ok=True)
    base = (
        model_folder.find(settings.base_model, "base_model")
        if settings.base_model
        else model_folder.on_hub(settings.huggingface_id or "")
    )
    folders = {"base": base, "tuned": model_folder.find(settings.tuned_model, "tuned_model")}
    skipped: Counter[str] = Counter()
    test = rows.read(settings.test_file, skipped)
    chosen = rows.choose(test, settings.max_rows, settings.seed)
    questions = rows.read(settings.regression_file or GENERAL_QUESTIONS, Counter())
    questions = rows.choose(questions, settings.max_rows, settings.seed)
    found: dict[str, dict[int, float]] = {}
    asked: dict[str, dict[int, float]] = {}
    for name, folder in folders.items():
        chat = chat_model.load(folder, f"{name}_model")
        limit = settings.max_seq_length if settings.max_seq_length > 0 else chat.limit
        encoder = encoding.Encoder(chat.tokenizer, min(limit, chat.limit), encoding.markers_of(folder.settings))
        encoded = encoding.encode_all(encoder, chosen, skipped if name == "base" else Counter())
        general = encoding.encode_all(encoder, questions, Counter())
        found[name], asked[name] = scoring.losses(chat, encoded), scoring.losses(chat, general)
        chat.unload()
    clusters = {conversation.line: conversation.cluster for conversation in chosen}
    sizes = {line: len(each.answers) for line, each in encoded.items()}
    lines = sorted(sizes)
    gain = interval(
        [found["base"][line] - found["tuned"][line] for line in lines],
        [sizes[line] for line in lines],
        [clusters[line] for line in lines],
        seed=settings.seed,
    )
    numbers = sorted(general)
    regression = interval(
        [asked["tuned"][number] - asked["base"][number] for number in numbers],
        [len(general[number].answers) for number in numbers],
        [str(number) for number in numbers],
        seed=settings.seed,
    )
    verdict = judge(settings.gate, gain, regression)
    files = file_hashes.of_folder(settings.tuned_model)
    metrics = {
        "schema": 1,
        **asdict(verdict),
        "gate": {
            **asdict(settings.gate),
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "seed": settings.seed,
            "chance_of_a_false_pass": settings.gate.chance_of_a_false_pass,
        },
        "gain": asdict(gain),
        "regression": asdict(regression),
        "test": {
            "sha256": file_hashes.of_file(settings.test_file),
            "rows": len(lines),
            "clusters": gain.clusters,
            "skipped": dict(skipped),
        },
        "files": file_hashes.summary(files),
        "seconds": round(time.monotonic() - started, 1),
        "versions": versions(),
    }
    (settings.evaluation / "files.json").write_text(json.dumps(files, indent=1) + "\n")
    (settings.evaluation / "metrics.json").write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n")
    print(f"{verdict.verdict}: {' '.join(verdict.reasons)}", flush=True)
    return metrics


def versions() -> dict[str, str]:
    found = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "numpy", "mlflow")}
    return {"python": platform.python_version(), **found}
