"""The whole step on tiny models, and what it says when something is missing or broken."""

from __future__ import annotations

import errno
import html
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from evaluation import generation, measuring
from evaluation.measuring import Measured

from tests.pipelines.conftest import Evaluate, distinct_rows, lines_of
from tests.tiny_model import make_tiny_model, write_rows

Arguments = Callable[..., list[str]]


def test_all_files_are_written_and_hold_what_the_contract_names(
    evaluate: Evaluate, tmp_path: Path, tiny_models: dict[str, Path], run_folder: Path
) -> None:
    found = evaluate(serving_model=tiny_models["serving"], run_folder=run_folder, attempt=2)
    out = tmp_path / "evaluation"
    names = {"metrics.json", "losses.jsonl", "samples.jsonl", "files.json", "report.html"}
    assert {path.name for path in out.iterdir()} == names
    assert found["schema"] == 1
    assert found["versions"]["numbers"] in ("float32", "float16", "bfloat16")
    assert found["verdict"] in ("passed", "inconclusive")
    assert set(found["models"]) == {"base", "tuned", "serving"}
    assert found["gate"]["attempt"] == 2
    assert found["gate"]["chance_of_a_false_pass"] == pytest.approx(1 - 0.95**2)
    assert found["test"]["rows"] == found["test"]["clusters"] == 12
    assert found["regression"]["set"] == "general_questions.jsonl"
    assert found["regression"]["licence"] == "CC0-1.0"
    losses = {name: each["loss"] for name, each in found["models"].items()}
    assert found["gain"]["estimate"] == pytest.approx(losses["base"] - losses["tuned"])
    assert found["gain_over_serving"]["estimate"] == pytest.approx(losses["serving"] - losses["tuned"])
    assert found["gain"]["lower"] < found["gain"]["estimate"] < found["gain"]["upper"]
    asked = found["regression"]["models"]
    assert found["regression"]["estimate"] == pytest.approx(asked["tuned"]["loss"] - asked["base"]["loss"])
    assert found["models"]["base"]["perplexity"] == pytest.approx(math.exp(losses["base"]))
    assert found["models"]["base"]["tokens"] == found["models"]["serving"]["tokens"] == found["gain"]["tokens"]


def test_what_others_wrote_into_the_run_folder_costs_no_verdict(evaluate: Evaluate, run_folder: Path) -> None:
    (run_folder / "recipe.yml").unlink()
    (run_folder / "recipe.yml").mkdir()
    (run_folder / "card.json").write_text("[" * 100_000)
    (run_folder / "run.json").write_text('{"display_name": 3, "tags": [1], "workspace": NaN}')
    (run_folder / "preflight.json").write_bytes(b"\xff")
    assert evaluate(run_folder=run_folder, samples=0)["generation"] == {}


def test_samples_stand_side_by_side_with_the_data(
    evaluate: Evaluate, tmp_path: Path, tiny_models: dict[str, Path]
) -> None:
    found = evaluate(samples=3)
    samples = lines_of(tmp_path / "evaluation" / "samples.jsonl")
    assert len(samples) == 3
    for sample in samples:
        assert sample["messages"][-1]["role"] == "user"
        assert sample["reference"]
        assert set(sample["answers"]) == {"base", "tuned"}
        assert all(answer["tokens"] <= 6 for answer in sample["answers"].values())
    assert set(found["generation"]) == {"data", "base", "tuned"}


def test_a_second_run_gives_the_same_figures(evaluate: Evaluate) -> None:
    first, second = evaluate(), evaluate()
    assert {**first, "seconds": 0} == {**second, "seconds": 0}


def test_a_model_against_itself_gains_nothing_and_does_not_pass(
    evaluate: Evaluate, tiny_models: dict[str, Path]
) -> None:
    found = evaluate(tuned_model=tiny_models["base"])
    assert found["gain"]["estimate"] == found["gain"]["lower"] == found["gain"]["upper"] == 0
    assert found["regression"]["upper"] == 0
    assert found["verdict"] == "inconclusive"
    assert "clearly too small" in found["reasons"][0]


def test_few_conversations_are_inconclusive_and_below_a_hundred_a_demonstration(evaluate: Evaluate) -> None:
    found = evaluate(min_clusters=100, max_regression=50)
    assert found["verdict"] == "inconclusive"
    assert "12 clusters" in found["reasons"][0]
    found = evaluate(min_clusters=10, max_regression=50)
    assert found["verdict"] == "passed"
    assert found["labels"] == ["demonstration: 12 clusters, at least 100 are needed to mean something"]


def test_rows_that_cannot_be_used_are_counted_by_reason(evaluate: Evaluate, tmp_path: Path) -> None:
    rows = distinct_rows(8)
    rows[1]["messages"] = []
    rows[2].pop("messages")
    rows[3]["messages"] = rows[3]["messages"][:1]
    rows[4]["messages"][1]["content"] = None
    rows[5]["messages"][0]["content"] = "long " * 300
    rows[6]["messages"][0]["content"] = "half of a sign: \ud800"
    found = evaluate(test_file=write_rows(tmp_path / "mixed.jsonl", rows), max_seq_length=120)
    assert found["test"]["rows"] == 2
    assert found["test"]["skipped"] == {
        "cut before the first answer": 1,
        "with a message that is no text": 2,
        "without an answer of the assistant": 1,
        "without messages": 2,
    }


def test_a_cut_conversation_counts_and_is_said(evaluate: Evaluate) -> None:
    found = evaluate(max_seq_length=60)
    assert found["test"]["limit"] == 60
    assert 0 < found["test"]["cut"] < found["test"]["rows"]


def test_an_own_regression_set_takes_the_place_of_the_packaged_one(evaluate: Evaluate, tmp_path: Path) -> None:
    rows: list[object] = [*distinct_rows(5), {"question": "?", "answer": "!"}, ["?", "!"]]
    rows.append({"messages": [{"content": "?"}, {"role": "assistant", "content": "!"}]})
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = evaluate(regression_file=own)["regression"]
    assert (found["set"], found["clusters"] + found["skipped"].pop("that the chat template refuses", 0)) == (
        own.name,
        6,
    )
    assert found["skipped"] == {"without messages": 2}
    assert found["licence"] != "CC0-1.0"


def test_broken_weights_are_a_no_in_words_and_never_nan_in_json(
    evaluate: Evaluate, tmp_path: Path, tiny_models: dict[str, Path]
) -> None:
    import numpy as np
    from safetensors.numpy import load_file, save_file

    broken = Path(shutil.copytree(tiny_models["tuned"], tmp_path / "broken"))
    weights = broken / "data" / "model" / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.norm.weight"] = np.full_like(tensors["model.norm.weight"], np.nan)
    save_file(tensors, weights, metadata={"format": "pt"})
    found = evaluate(tuned_model=broken)
    assert found["verdict"] == "inconclusive"
    assert "weights are broken" in found["reasons"][0]
    assert found["gain"]["estimate"] is None
    assert "NaN" not in (tmp_path / "evaluation" / "metrics.json").read_text()


def _without(folder: Path, target: Path, *names: str) -> Path:
    copy = Path(shutil.copytree(folder, target))
    for name in names:
        path = copy / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return copy


def _without_template(folder: Path, target: Path) -> Path:
    copy = Path(shutil.copytree(folder, target))
    file = copy / "data" / "tokenizer" / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    del settings["chat_template"]
    file.write_text(json.dumps(settings))
    return copy


def _refused(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    from evaluation.__main__ import main

    assert main(arguments) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, lines
    return lines[0]


def test_every_bound_follows_from_the_losses_of_the_rows(evaluate: Evaluate, tmp_path: Path) -> None:
    """Recomputed with plain sums: a reader of the output needs nothing of ours for it."""
    found = evaluate(max_rows=120)
    rows = lines_of(tmp_path / "evaluation" / "losses.jsonl")
    for name, kind, sign in (("gain", "test", 1), ("regression", "questions", -1)):
        some = [row for row in rows if row["set"] == kind]
        differences = [sign * (row["nats"]["base"] - row["nats"]["tuned"]) for row in some]
        tokens = [row["tokens"] for row in some]
        clusters: dict[str, list[float]] = {}
        for row, difference in zip(some, differences, strict=True):
            sums = clusters.setdefault(row["cluster"], [0.0, 0.0])
            sums[0] += difference
            sums[1] += row["tokens"]
        estimate = sum(differences) / sum(tokens)
        assert found[name]["estimate"] == pytest.approx(estimate)
        assert (found[name]["clusters"], found[name]["tokens"]) == (len(clusters), sum(tokens))
        left = sum((sums[0] - estimate * sums[1]) ** 2 for sums in clusters.values())
        error = math.sqrt(len(clusters) / (len(clusters) - 1) * left) / sum(tokens)
        assert found[name]["lower"] < estimate - 1.645 * error
        assert estimate + 1.645 * error < found[name]["upper"]


def test_a_serving_model_of_a_short_context_changes_no_verdict(evaluate: Evaluate, tmp_path: Path) -> None:
    alone = evaluate()
    beside = evaluate(serving_model=make_tiny_model(tmp_path / "short", seed=2, length=60))
    assert beside["gain"] == alone["gain"]
    assert beside["regression"] == {**alone["regression"], "models": beside["regression"]["models"]}
    assert 0 < beside["gain_over_serving"]["rows"] < beside["gain"]["rows"]
    assert beside["gain_over_serving"]["same_tokens"] is True
    assert beside["labels"] == alone["labels"]


@pytest.mark.parametrize("broken", ["MLmodel", "tokenizer.json", "model.safetensors"])
def test_a_serving_model_that_is_broken_is_a_label_and_costs_no_verdict(
    evaluate: Evaluate, tmp_path: Path, tiny_models: dict[str, Path], broken: str
) -> None:
    serving = shutil.copytree(tiny_models["serving"], tmp_path / "served")
    (file,) = serving.rglob(broken)
    file.write_bytes(b"not what it says")
    found = evaluate(serving_model=serving)
    assert set(found["models"]) == set(found["generation"]) - {"data"} == {"base", "tuned"}
    assert "gain_over_serving" not in found
    (label,) = [label for label in found["labels"] if "serves today" in label]
    assert label.startswith("not compared with the model that serves today, which cannot be measured: serving_model: ")
    assert label in html.unescape((tmp_path / "evaluation" / "report.html").read_text())
    alone = evaluate()
    assert (found["verdict"], found["gain"], found["regression"]) == tuple(
        alone[name] for name in ("verdict", "gain", "regression")
    )


def test_a_serving_model_that_does_not_fit_into_the_memory_is_a_label(
    evaluate: Evaluate, tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = measuring.measure

    def measure(model: Measured, *rest: Any) -> None:
        if model.name == "serving":
            raise RuntimeError("CUDA error: device-side assert triggered\nand more")
        measured(model, *rest)

    monkeypatch.setattr(measuring, "measure", measure)
    found = evaluate(serving_model=tiny_models["serving"])
    assert found["labels"][-1].endswith("cannot be measured: RuntimeError: CUDA error: device-side assert triggered")
    assert set(found["models"]) == {"base", "tuned"}
    monkeypatch.setattr(measuring, "measure", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(serving_model=tiny_models["serving"])


def test_answers_see_the_whole_question_however_short_rows_are_cut(
    evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    plain = generation._generate
    monkeypatch.setattr(generation, "_generate", lambda *given: seen.append(given[0].limit) or plain(*given))
    assert evaluate(max_seq_length=64)["test"]["limit"] == 64
    assert set(seen) == {512}


def test_bad_models_are_refused_in_one_sentence_that_names_them(
    arguments: Arguments, tmp_path: Path, tiny_models: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    tuned = tiny_models["tuned"]
    weights = "data/model/model.safetensors"
    damaged = _without(tuned, tmp_path / "damaged")
    (damaged / weights).write_bytes(b"no tensors")
    sharded = _without(tuned, tmp_path / "sharded")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (sharded / "data/model/model.safetensors.index.json").write_text(json.dumps(index))
    other = _without(tuned, tmp_path / "other")
    (other / "MLmodel").write_text("flavors: {sklearn: {}}\n")
    settings = _without(tuned, tmp_path / "settings")
    (settings / "finetune_config.json").write_text("{torn")
    binary = _without(tuned, tmp_path / "binary")
    (binary / "MLmodel").write_bytes(b"\xff\xfe")
    torn = _without(tuned, tmp_path / "torn")
    (torn / "data/model/model.safetensors.index.json").write_text("[]")
    cases = {
        "there is no folder": tmp_path / "nothing",
        "finetune_config.json' is not readable": settings,
        "MLmodel' is not readable": binary,
        "holds no JSON object": torn,
        "holds no weights": _without(tuned, tmp_path / "w", weights),
        "no tokenizer": _without(tuned, tmp_path / "t", "data/tokenizer"),
        "holds no 'config.json'": _without(tuned, tmp_path / "c", "data/model/config.json"),
        "no chat template": _without_template(tuned, tmp_path / "n"),
        "cannot be loaded": damaged,
        "model-2.safetensors": sharded,
        "has the flavors ['sklearn']": other,
    }
    for expected, folder in cases.items():
        said = _refused(arguments(tuned_model=folder), capfd)
        assert expected in said
        assert "tuned_model" in said


def test_bad_files_and_arguments_are_refused(
    arguments: Arguments, tmp_path: Path, tiny_models: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    empty = write_rows(tmp_path / "empty.jsonl", [])
    torn = tmp_path / "torn.jsonl"
    torn.write_text('{"messages": [')
    alien = tmp_path / "alien.jsonl"
    alien.write_bytes('{"prompt": "\u00e9"}\n'.encode("latin-1"))
    deep = tmp_path / "deep.jsonl"
    deep.write_text("[" * 100_000)
    no_answers = write_rows(tmp_path / "questions.jsonl", [{"messages": [{"role": "user", "content": "?"}]}])
    cases = {
        "There is no file": {"test_file": tmp_path / "absent.jsonl"},
        "it is empty": {"test_file": empty},
        "Line 1 of 'torn.jsonl' is not JSON": {"test_file": torn},
        "not UTF-8": {"test_file": alien},
        "1 without an answer of the assistant": {"test_file": no_answers},
        "'empty.jsonl'": {"regression_file": empty},
        "base model": {"base_model": None},
        "either base_model or huggingface_id": {"huggingface_id": "a/b"},
        "max_regression is -0.1, and at least 0 is needed. attempt is 0": {"max_regression": -0.1, "attempt": 0},
        "min_gain is nan": {"min_gain": "nan"},
        "min_gain is inf": {"min_gain": "inf"},
        "seed is -1": {"seed": -1},
        "is not JSON": {"regression_file": deep},
        "'SmolLM2' is no model id": {"base_model": None, "huggingface_id": "SmolLM2"},
    }
    for expected, changed in cases.items():
        assert expected in _refused(arguments(**changed), capfd), expected


def test_a_full_disk_is_said_with_the_file(
    arguments: Arguments, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_text = Path.write_text

    def full(path: Path, *given: object, **named: object) -> int:
        if path.name == "files.json":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write_text(path, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "write_text", full)
    said = _refused(arguments(), capfd)
    assert "No space left on device" in said
    assert "files.json" in said
    assert not (tmp_path / "evaluation" / "metrics.json").exists()


def test_another_tokenizer_is_compared_over_the_same_text_and_that_is_said(evaluate: Evaluate, tmp_path: Path) -> None:
    other = make_tiny_model(tmp_path / "other", seed=5)
    file = other / "data" / "tokenizer" / "tokenizer.json"
    content = json.loads(file.read_text())
    content["model"]["merges"] = ["I t", "i s"]
    for token in ("It", "is"):
        content["model"]["vocab"][token] = len(content["model"]["vocab"])
    file.write_text(json.dumps(content))
    config = other / "data" / "model" / "config.json"
    settings = json.loads(config.read_text())
    size = len(content["model"]["vocab"])
    _grow(other / "data" / "model" / "model.safetensors", size)
    config.write_text(json.dumps({**settings, "vocab_size": size}))
    found = evaluate(tuned_model=other)
    assert found["gain"]["same_tokens"] is False
    assert any("tokenizers differ" in label for label in found["labels"])
    assert found["models"]["tuned"]["tokens"] < found["models"]["base"]["tokens"]
    assert found["gain"]["tokens"] == found["models"]["base"]["tokens"]


def _grow(weights: Path, size: int) -> None:
    import numpy as np
    from safetensors.numpy import load_file, save_file

    tensors = load_file(weights)
    table = tensors["model.embed_tokens.weight"]
    tensors["model.embed_tokens.weight"] = np.vstack([table, table[: size - len(table)]])
    save_file(tensors, weights, metadata={"format": "pt"})


def test_rows_that_only_the_base_reads_are_left_out_and_counted(
    evaluate: Evaluate, tmp_path: Path, tiny_models: dict[str, Path]
) -> None:
    picky = Path(shutil.copytree(tiny_models["tuned"], tmp_path / "picky"))
    file = picky / "data" / "tokenizer" / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    settings["chat_template"] = (
        "{% if messages | length > 3 %}{{ raise_exception('too many turns') }}{% endif %}" + settings["chat_template"]
    )
    file.write_text(json.dumps(settings))
    found = evaluate(tuned_model=picky, samples=12)
    assert found["generation"]["tuned"]["rows"] == 10
    assert found["test"]["skipped"] == {"that the tuned model does not read whole": 2}
    assert found["test"]["rows"] == found["gain"]["rows"] == 10
