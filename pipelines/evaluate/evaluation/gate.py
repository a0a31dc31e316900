"""The order of the work: read, encode, score one model after the other, compare, judge, write."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evaluation import file_hashes, measuring, model_folder, rows, tracking
from evaluation.comparison import compare
from evaluation.measuring import Measured
from evaluation.metrics import Found, as_metrics, row_losses
from evaluation.model_folder import ModelFolder
from evaluation.refusal import Refusal
from evaluation.report import write_report
from evaluation.rows import Conversation
from evaluation.sample import Sample, choose_sample
from evaluation.scoring import say
from evaluation.settings import Settings
from evaluation.verdict import judge

GENERAL_QUESTIONS = Path(__file__).with_name("general_questions.jsonl")


def run(settings: Settings) -> dict[str, Any]:
    """Everything; what metrics.json holds is returned. Refusal when something is missing or broken."""
    started = time.monotonic()
    settings.evaluation.mkdir(parents=True, exist_ok=True)
    folders = find_models(settings)
    lost: list[str] = []
    skipped: Counter[str] = Counter()
    test = rows.choose(rows.read(settings.test_file, skipped), settings.max_rows, settings.seed)
    questions_file = settings.regression_file or GENERAL_QUESTIONS
    unasked: Counter[str] = Counter()
    questions = rows.choose(_questions(questions_file, unasked), settings.max_rows, settings.seed)
    models = measuring.read_all(folders, test, questions, settings.max_seq_length)
    skipped.update(models["base"].skipped)
    unasked.update(models["base"].unasked)
    if settings.serving_model:
        with _of_serving(lost):
            serving = {"serving": model_folder.find(settings.serving_model, "serving_model")}
            models |= measuring.read_all(serving, test, questions, models["base"].limit)
    readable = set.intersection(*(set(model.test.encoded) for model in models.values()))
    sample = choose_sample([each for each in test if each.line in readable], settings)
    asked = [each.asked for each in sample]
    for name in folders:
        measuring.measure(models[name], asked, settings.max_new_tokens)
    if "serving" in models:
        with _of_serving(lost):
            measuring.measure(models["serving"], asked, settings.max_new_tokens)
    if lost:
        models.pop("serving", None)
    say("hashing the files of the tuned model")
    files = file_hashes.of_folder(settings.tuned_model)
    found = compared(settings, models, test, questions, questions_file)
    metrics = as_metrics(
        settings, found, models, sample, {"test": skipped, "regression": unasked}, files, time.monotonic() - started
    )
    metrics["labels"].extend(lost)
    write(settings, metrics, models, sample, files, list(row_losses(found, models)))
    print(f"{metrics['verdict']}: {' '.join(metrics['reasons'])}", flush=True)
    return metrics


@contextmanager
def _of_serving(lost: list[str]) -> Iterator[None]:
    """The serving model decides nothing: one that cannot be measured is said in a label, and fails nothing."""
    try:
        yield
    except Exception as error:  # whatever it is that its files make torch and transformers raise
        kind = "" if isinstance(error, Refusal) else f"{type(error).__name__}: "
        first = str(error).partition("\n")[0].removesuffix(".")
        lost.append(f"not compared with the model that serves today, which cannot be measured: {kind}{first}")
        say(lost[-1])


def _questions(file: Path, unasked: Counter[str]) -> list[Conversation]:
    """The regression set. What is wrong with it is not mended where the data are."""
    try:
        return rows.read(file, unasked)
    except Refusal as error:
        why = str(error).removesuffix(" Prepare the data again.")
        raise Refusal(f"The regression set cannot be used: {why}") from None


def find_models(settings: Settings) -> dict[str, ModelFolder]:
    """Base and tuned, in the order in which they are measured."""
    if settings.base_model:
        base = model_folder.find(settings.base_model, "base_model")
    elif settings.huggingface_id:
        base = model_folder.on_hub(settings.huggingface_id)
    else:
        raise Refusal("There is no base model: give base_model or huggingface_id.")
    return {"base": base, "tuned": model_folder.find(settings.tuned_model, "tuned_model")}


def compared(
    settings: Settings,
    models: dict[str, Measured],
    test: Sequence[Conversation],
    questions: Sequence[Conversation],
    questions_file: Path,
) -> Found:
    """All intervals, and the verdict that follows from them."""
    clusters = {each.line: each.cluster for each in test}
    subjects = {each.line: each.cluster for each in questions}
    base, tuned = models["base"], models["tuned"]
    gain = compare(base.test, tuned.test, clusters)
    regression = compare(tuned.questions, base.questions, subjects)
    for comparison, file in ((gain, settings.test_file), (regression, questions_file)):
        if not comparison.lines:
            raise Refusal(f"Base and tuned model share no row of '{file.name}' that both read whole.")
    over_serving = compare(models["serving"].test, tuned.test, clusters) if "serving" in models else None
    intervals = gain.interval(settings.seed), regression.interval(settings.seed)
    return Found(
        verdict=judge(settings.gate, *intervals),
        gain=gain,
        regression=regression,
        over_serving=over_serving,
        gain_interval=intervals[0],
        regression_interval=intervals[1],
        over_serving_interval=over_serving.interval(settings.seed) if over_serving else None,
        questions_file=questions_file,
    )


def write(
    settings: Settings,
    metrics: dict[str, Any],
    models: dict[str, Measured],
    sample: Sequence[Sample],
    files: list[dict[str, Any]],
    losses: list[dict[str, Any]],
) -> None:
    """The output folder, metrics.json last: where it stands, the others do; then MLflow, whose loss fails nothing."""
    folder = settings.evaluation
    lines = [json.dumps(each.record(place, models), ensure_ascii=False) for place, each in enumerate(sample)]
    (folder / "samples.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "losses.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in losses), encoding="utf-8")
    (folder / "files.json").write_text(json.dumps(files, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    tracker = tracking.from_environment()
    write_report(settings, metrics, [json.loads(line) for line in lines], files, tracker.curves(settings.training_run))
    text = json.dumps(metrics, indent=2, allow_nan=False, ensure_ascii=False)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    tracker.log(settings, metrics)
