"""From submission to verdict and back again, with a step that trains nothing and a gate whose word depends on min_gain.

The pipeline is the real one of `submit_finetune`, through the real SDK; only what its two nodes do is stood in for.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import HANG_SECONDS
from tests.scripts.conftest import RECIPE, ROOT, Ended, Script, Stack
from tunestack import cli, connect, registry
from tunestack.jobs import evaluation_job, finetune
from tunestack.jobs.run_history import RunHistory
from tunestack.preflight import preflight
from tunestack.preflight.preflight import Report
from tunestack.recipes.parameters import Input

CONTENT = yaml.safe_load(RECIPE.read_text())
PARAMETERS = [*CONTENT["training"], *CONTENT["optimization"], "number_of_gpu_to_use_finetuning"]
COMPUTES = [f"compute_{part}" for part in ("model_import", "preprocess", "finetune")]
ENVIRONMENT = "azureml://registries/azureml/environments/acft-hf-nlp-gpu/versions/112"
TRAIN = {
    "type": "command",
    "name": "train",
    "version": "1",
    "inputs": {
        **{f"{split}_file_path": {"type": "uri_file"} for split in ("train", "validation", "test")},
        "mlflow_model_path": {"type": "mlflow_model"},
        **{name: {"type": "string", "optional": True} for name in (*PARAMETERS, *COMPUTES)},
    },
    "outputs": {"mlflow_model_folder": {"type": "mlflow_model"}},
    "environment": ENVIRONMENT,
    # One of the seeds never ends by itself, and one fails.
    "command": "if [ x$[[${{inputs.seed}}]] = x600 ]; then sleep 600; fi; "
    "if [ x$[[${{inputs.seed}}]] = x13 ]; then exit 13; fi; "
    "echo 'flavors: {hftransformersv2: {task_type: chat-completion}}' > ${{outputs.mlflow_model_folder}}/MLmodel; "
    "cp ${{inputs.train_file_path}} ${{outputs.mlflow_model_folder}}/model.safetensors",
}
GATE = ("min_gain", "max_regression", "min_clusters", "max_rows", "samples", "max_new_tokens", "max_seq_length")
JUDGE = {
    "type": "command",
    "name": "judge",
    "version": "1",
    "inputs": {
        "test_file": {"type": "uri_file"},
        **{name: {"type": "mlflow_model", "optional": True} for name in ("base_model", "serving_model")},
        "tuned_model": {"type": "mlflow_model"},
        "regression_file": {"type": "uri_file", "optional": True},
        "run_folder": {"type": "uri_folder", "optional": True},
        **{name: {"type": "string", "optional": True} for name in ("training_run", "huggingface_id")},
        **{name: {"type": "number", "default": 0.0} for name in (*GATE, "attempt", "seed")},
    },
    "outputs": {"evaluation": {"type": "uri_folder"}},
    "code": "code",
    "environment": ENVIRONMENT,
    "command": "python judge.py ${{inputs.test_file}} ${{inputs.min_gain}} ${{inputs.attempt}} ${{inputs.max_rows}} "
    "${{outputs.evaluation}} $[[${{inputs.run_folder}}]] $[[${{inputs.regression_file}}]]",
}
CODE = """
import hashlib, json, pathlib, sys, time
test, least, attempt, rows, out, about, *questions = sys.argv[1:]
for line in pathlib.Path(questions[0]).read_text().splitlines() if questions else ():
    if not line.startswith("{"):
        sys.exit(f"not JSON: {line}")
passed = float(least) < 0.3
gate = {"min_gain": float(least), "max_regression": 0.05, "min_clusters": 30, "attempt": int(float(attempt))}
if float(rows) == 600:
    time.sleep(600)
pathlib.Path(out, "metrics.json").write_text(json.dumps({
    "schema": 1, "verdict": "passed" if passed else "inconclusive", "reasons": [] if passed else ["too small a gain"],
    "labels": [], "gate": gate, "gain": {"estimate": 0.4, "lower": 0.3, "upper": 0.5, "clusters": 99},
    "regression": {"estimate": 0.0, "lower": -0.01, "upper": 0.01, "clusters": 99},
    "test": {"sha256": hashlib.sha256(pathlib.Path(test).read_bytes()).hexdigest(), "rows": 9, "clusters": 9},
    "files": {"bytes": 1, "count": 1, "sha256": "0" * 64},
}))
"""
Submit = Callable[..., Ended]


@pytest.fixture
def pipelines(tmp_path: Path) -> Path:
    folder = tmp_path / "pipelines"
    (folder / "evaluate" / "code").mkdir(parents=True)
    (folder / "evaluate" / "component.yml").write_text(yaml.safe_dump(JUDGE))
    (folder / "evaluate" / "code" / "judge.py").write_text(CODE)
    shutil.copytree(ROOT / "pipelines" / "serve", folder / "serve")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Rows of this test's own, so that attempts of other tests do not count."""
    folder = tmp_path / "rows"
    folder.mkdir()
    for split, count in (("train", 12), ("validation", 2), ("test", 3)):
        rows = [
            {
                "prompt": f"{split} {number}",
                "prompt_id": f"{number:064x}",
                "messages": [{"content": tmp_path.name, "role": "user"}, {"content": "b", "role": "assistant"}],
            }
            for number in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def recipe(tmp_path: Path, data: Path) -> Path:
    file = tmp_path / f"r-{tmp_path.name.replace('_', '-')[:30]}.yml"
    file.write_text(yaml.safe_dump({**CONTENT, "data": {"source": str(data), "percent": 100}}))
    return file


@pytest.fixture
def submit(stack: Stack, pipelines: Path, recipe: Path, data: Path, capsys: Any, monkeypatch: Any) -> Submit:
    """`submit_finetune` with a stand-in for the registry's component, our step, and preflight; stack is the tests'."""
    from azure.ai.ml import load_component

    folder = pipelines.parent / "train"
    folder.mkdir()
    (folder / "component.yml").write_text(yaml.safe_dump(TRAIN))
    component = load_component(folder / "component.yml")

    def train(**inputs: Any) -> Any:
        node = component(**inputs)
        node.compute = "cpu"
        return node

    known = {name: Input("string") for name in (*PARAMETERS, *COMPUTES)}
    made = registry.Component(registry.RegistryId.parse(CONTENT["component"], "components"), known, train)
    # A logger of the SDK keeps the stderr of the test that imported it first, and complains when that is closed.
    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setattr(registry, "component", lambda *_: made)
    monkeypatch.setattr(preflight, "run", lambda _: Report((), False, {}))
    monkeypatch.setattr(RunHistory, "metrics", lambda *_: {})  # tracking is off, and asking for it again takes seconds
    spec = importlib.util.spec_from_file_location("submit_finetune", ROOT / "scripts" / "submit_finetune.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.PIPELINES = pipelines

    def run(*arguments: object, alone: bool = False) -> Ended:
        given = [] if alone else ["--recipe", recipe, "--data", data]
        capsys.readouterr()
        code = cli.main(module.parser(), module.run, [str(one) for one in (*given, *arguments)])
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return run


@pytest.fixture
def history(stack: Stack) -> RunHistory:
    given = {"subscription": None, "resource_group": None, "workspace_name": None}
    return RunHistory(connect.connect(argparse.Namespace(outputs=stack.outputs, **given)))


def wait_for(history: RunHistory, job: str, node: str, status: str) -> None:
    moment, ends = threading.Event(), time.monotonic() + HANG_SECONDS
    while not any(child.node == node and child.status == status for child in history.children(job)):
        assert time.monotonic() < ends, f"step '{node}' of job '{job}' is not {status}"
        moment.wait(0.1)


def job_of(stack: Stack, name: str) -> dict[str, Any]:
    body: dict[str, Any] = stack.cloud.arm("GET", f"{stack.workspace}/jobs/{name}?api-version=2024-01-01-preview")
    return body["properties"]


def test_a_run_is_trained_and_gated_once_and_found_again(
    submit: Submit, stack: Stack, pipelines: Path, recipe: Path
) -> None:
    first = submit("--json")
    assert first.code == 0, first.err
    record = json.loads(first.out)
    name = record["job"]
    assert record["gate"]["verdict"] == "passed"
    assert "attempt 1 on this test split: a worthless model would pass by chance with 5 %" in first.err
    job = job_of(stack, name)
    assert set(job["jobs"]) == {"chat_completion_pipeline", "evaluate"}
    assert set(job["outputs"]) == {"trained_model", "evaluation"}
    tags = job["tags"]
    wanted = {"recipe", "base_model", "component", "data", "data_hash", "test_hash", "steps", "stack", "attempt"}
    assert wanted <= set(tags)
    assert (tags["attempt"], tags["stack"]) == ("1", "test")

    # Asked for again: the same job, at once, with its verdict; in other words, the same; dry, the same.
    again = submit()
    assert again.handle == name
    assert "ran this very training with this data" in again.err
    assert submit("--set", "description=other words", "--no-wait").handle == name
    taken = submit("--accept", "budget", "--why", "it is worth it", "--no-wait")
    assert taken.handle == name
    assert f"warning: --accept changes nothing: job '{name}' is there" in taken.err
    assert "--accept" not in again.err

    # Another gate buys no training. It is an answer of its own, and nothing passes by the old one.
    stricter = submit("--set", "evaluation.min_gain=0.9")
    assert (stricter.code, stricter.out.strip()) == (5, name)
    assert "is of another gate: min_gain 0.02 in place of 0.9" in stricter.err
    line = f"scripts/submit_finetune.py --evaluate {name} --recipe {recipe} --set evaluation.min_gain=0.9"
    assert line in stricter.err

    # Words beside the step buy nothing and change no verdict; its code buys no training, and is another gate.
    step = pipelines / "evaluate"
    (step / "README.md").write_text("words")
    assert submit().handle == name
    (step / "code" / "judge.py").write_text(f"{CODE}# mended\n")
    mended = submit()
    assert (mended.code, mended.out.strip()) == (5, name)
    assert "is of another gate: other rows, other questions or other code of the step" in mended.err
    (step / "code" / "judge.py").write_text(CODE)

    # The gate alone: another job, a second attempt, and its word is what counts from now on.
    no = submit("--evaluate", name, "--set", "evaluation.min_gain=0.9", alone=True)
    assert (no.code, no.out.strip()) == (5, name)
    assert "attempt 2 on this test split: a worthless model would pass by chance with 10 %" in no.err
    assert "too small a gain" in no.err
    alone = job_of(stack, f"{name}-evaluation")
    assert set(alone["jobs"]) == {"evaluate"}
    assert {tag: alone["tags"][tag] for tag in ("evaluates", "test_hash", "attempt")} == {
        "evaluates": name,
        "test_hash": tags["test_hash"],
        "attempt": "2",
    }
    assert submit().code == 5

    # The same gate again is found; the first gate again is asked anew, since its word is older than the other's.
    found = submit("--evaluate", name, "--set", "evaluation.min_gain=0.9", "--no-wait", "--json", alone=True)
    assert json.loads(found.out)["evaluation_job"] == f"{name}-evaluation"
    repeated = submit("--evaluate", name, "--recipe", recipe, "--json", alone=True)
    assert repeated.code == 0, repeated.err
    assert json.loads(repeated.out)["evaluation_job"] == f"{name}-evaluation-2"
    assert submit().handle == name

    # A new one, because somebody says so.
    new = submit("--again", "--no-wait", "--json")
    assert "attempt 4" in new.err
    record = json.loads(new.out)
    assert record["job"] == f"{name}-2"
    assert {"status", "tags", "inputs", "gate", "preflight"} <= set(record)
    assert submit("--no-wait").handle == f"{name}-2"


def test_two_submissions_at_one_moment_are_one_job(submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one looked before the first one's job was there: its own is refused, and it joins the first one's."""
    name = submit("--no-wait").handle
    monkeypatch.setattr(finetune, "existing", lambda *_: None)
    second = submit("--set", "evaluation.min_gain=0.9", "--no-wait")
    assert second.handle == name, second.err
    assert f"job '{name}' was submitted already" in second.err
    assert f"job '{name}' runs this very training" in second.err or f"job '{name}' ran this" in second.err


@pytest.mark.long
def test_who_joins_is_held_to_the_gate_that_was_asked_for(submit: Submit, monkeypatch: pytest.MonkeyPatch) -> None:
    name = submit("--no-wait").handle
    with monkeypatch.context() as before:
        before.setattr(finetune, "existing", lambda *_: None)
        second = submit("--set", "evaluation.min_gain=0.9")
    assert (second.code, second.out.strip()) == (5, name)
    assert "is of another gate: min_gain 0.02 in place of 0.9" in second.err

    # The gate alone likewise; another gate under this name is no answer.
    again = ("--evaluate", name, "--again", "--no-wait")
    assert submit(*again, alone=True).handle == name
    with monkeypatch.context() as before:
        before.setattr(evaluation_job.run_key, "next_name", lambda first, exists: first)
        joined = submit(*again, alone=True)
        assert joined.handle == name, joined.err
        assert f"job '{name}-evaluation' was submitted already" in joined.err
        other = submit(*again, "--set", "evaluation.min_gain=0.9", alone=True)
        assert f"job '{name}-evaluation' asks another gate of job '{name}'" in other.failed(1)


def test_a_run_that_somebody_archived_is_not_bought_again(submit: Submit, history: RunHistory) -> None:
    name = submit().handle
    history.connection.ml.jobs.archive(name)
    again = submit("--no-wait")
    assert again.handle == name
    assert "ran this very training" in again.err
    assert "was submitted already" not in again.err


def test_what_travels_with_a_run_is_the_recipe_as_it_ran_and_facts(submit: Submit, stack: Stack) -> None:
    name = submit("--set", "training.seed=11", "--no-wait").handle
    submit("--set", "training.seed=11")
    job = job_of(stack, name)
    place = stack.cloud.cloud.state / "blobs"
    (recipe,) = [
        file for file in place.rglob("recipe.yml") if yaml.safe_load(file.read_text())["training"]["seed"] == 11
    ]
    facts = json.loads(recipe.with_name("run.json").read_text())
    assert (facts["job"], facts["attempt"], facts["workspace"], facts["stack"]) == (name, 1, "test", "test")
    assert facts["who"] != "unknown"
    assert job["inputs"]["run_folder"]["jobInputType"] == "uri_folder"
    assert json.loads(recipe.with_name("preflight.json").read_text())["findings"] == []


def test_a_gate_that_fails_buys_no_second_training(
    submit: Submit,
    stack: Stack,
    history: RunHistory,
    script: Script,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text('{"messages": []}\n')
    bad.write_text("these are no questions\n")
    failed = submit("--set", f"evaluation.regression_set={bad}")
    said = failed.failed(4)
    assert "step 'evaluate' failed" in said
    assert "its training completed, and its model is there" in said
    assert "not JSON: these are no questions" in failed.err
    (name,) = re.findall("job '([^']+)' ended as Failed", said)
    assert f"without training again: scripts/submit_finetune.py --evaluate {name} " in said
    assert "--again" not in said

    # The same recipe again trains nothing and says what to do; nothing is registered before a gate has spoken.
    known = submit("--no-wait")
    assert "--again" not in known.failed(4)
    assert f"by: scripts/submit_finetune.py --evaluate {name} --recipe" in known.err
    assert f"job '{name}' has no evaluation of its model" in script("register_model", "--job", name).failed(2)
    assert f"--evaluate {name}" in script("register_model", "--finished", "--dry-run").err

    # With the same questions its gate fails the same way, and the line to go on with is the same.
    again = submit("--evaluate", name, alone=True).failed(4)
    assert f"job '{name}-evaluation' ended as Failed" in again
    assert f"scripts/submit_finetune.py --evaluate {name} " in again
    assert "'gone.jsonl' does not exist" in submit(
        "--evaluate", name, "--set", "evaluation.regression_set=gone.jsonl", alone=True
    ).failed(2)

    mended = ("--set", f"evaluation.regression_set={good}")
    assert submit("--evaluate", name, *mended, alone=True).handle == name
    alone = job_of(stack, f"{name}-evaluation-2")
    assert set(alone["jobs"]) == {"evaluate"}
    assert alone["inputs"]["tuned_model"]["uri"].endswith(f"/paths/tunestack/{name}/trained_model/")
    found = submit(*mended)
    assert found.handle == name
    assert f"job '{name}-evaluation-2' has gated its model" in found.err
    assert "is of another gate" in submit().err

    # The version is the moment at which the training had ended, whenever somebody asks.
    (training,) = [child for child in history.children(name) if child.node == "chat_completion_pipeline"]
    assert training.ended
    planned = script("register_model", "--finished", "--dry-run").handle.splitlines()
    handle = script("register_model", "--job", name).handle
    assert handle in planned
    assert handle.endswith(f":{int(training.ended.timestamp())}")
    again_registered = script("register_model", "--job", name)
    assert again_registered.handle == handle
    assert "is registered already" in again_registered.err
    place = f"{stack.workspace}/models/{handle.replace(':', '/versions/')}"
    model = stack.cloud.arm("GET", f"{place}?api-version=2023-08-01-preview")
    assert model["properties"]["tags"]["evaluation_job"] == f"{name}-evaluation-2"


def test_a_run_cancelled_in_its_gate_keeps_its_model_and_a_failed_training_has_none(
    submit: Submit, history: RunHistory
) -> None:
    endless = ("--set", "evaluation.max_rows=600")
    name = submit(*endless, "--no-wait").handle
    wait_for(history, name, "evaluate", "Running")
    assert submit("--cancel", name, alone=True).handle == name
    said = submit(*endless).failed(4)
    assert f"job '{name}' ended as Canceled; its training completed, and its model is there" in said.replace(
        "\nerror: ", "; "
    )
    assert f"Gate it anew, without training again: scripts/submit_finetune.py --evaluate {name} " in said
    assert submit("--evaluate", name, "--set", "evaluation.max_rows=100", alone=True).handle == name

    untrained = submit("--set", "training.seed=13")
    assert "run it again with --again" in untrained.failed(4)
    assert "--evaluate" not in untrained.err
    (name,) = re.findall("job '([^']+)' ended as Failed", untrained.err)
    assert f"job '{name}' ended as Failed" in submit("--evaluate", name, alone=True).failed(4)


def test_a_cancelled_run_is_said_so_and_a_newer_one_counts(submit: Submit) -> None:
    endless = ("--set", "training.seed=600")
    name = submit(*endless, "--no-wait").handle
    attached = submit(*endless, "--no-wait")
    assert attached.handle == name
    assert "runs this very training with this data" in attached.err
    assert "its gate is another one" not in attached.err
    assert "its gate is another one" in submit(*endless, "--no-wait", "--set", "evaluation.min_gain=0.9").err
    assert submit("--cancel", name, alone=True).handle == name
    known = submit(*endless)
    assert known.code == 4
    assert "ended as Canceled; --again makes a new one" in known.err
    assert submit(*endless, "--again", "--no-wait").handle == f"{name}-2"
    assert submit(*endless, "--no-wait").handle == f"{name}-2"
    assert submit("--cancel", f"{name}-2", alone=True).code == 0


def test_a_model_that_serves_and_has_the_same_base_is_compared_with(submit: Submit, stack: Stack, monkeypatch) -> None:
    from tunestack.deployments.endpoint import Deployment
    from tunestack.jobs import serving_model

    served = Deployment("green", f"{stack.workspace}/models/m/versions/3", "Succeeded", {}, {})
    base = {"base_model": CONTENT["base_model"]}
    of = serving_model._of
    assert of(replace(served, tags=base), CONTENT["base_model"]).model == "azureml:m:3"
    assert "another base ('unknown')" in of(served, CONTENT["base_model"]).note
    registry_model = replace(served, model="azureml://registries/shared/models/m/versions/3", tags=base)
    assert of(registry_model, CONTENT["base_model"]).model == ""
    found = serving_model.Serving("azureml:m:3", "compared with 'm:3'")
    monkeypatch.setattr(serving_model, "find", lambda *_: found)
    planned = submit("--dry-run", "--json")
    assert json.loads(planned.out)["assets"]["serving_model"] == "azureml:m:3"


def test_a_model_of_the_hub_goes_by_its_id_and_brings_its_config(
    submit: Submit, recipe: Path, tmp_path: Path, monkeypatch
) -> None:
    (tmp_path / "chat.json").write_text('{"chat_special_tokens": {}}')
    content = yaml.safe_load(recipe.read_text())
    recipe.write_text(yaml.safe_dump({**content, "base_model": "hub:own/model", "finetune_config": "chat.json"}))
    said = submit("--dry-run").failed(2)
    assert "takes no finetune_config" in said
    component = registry.component(None, None)  # type: ignore[arg-type]
    component.inputs["finetune_config_path"] = Input("uri_file")  # type: ignore[index]
    record = json.loads(submit("--dry-run", "--json").out)
    assert record["inputs"]["huggingface_id"] == record["gate"]["huggingface_id"] == "own/model"
    assert record["assets"]["finetune_config"] == str(tmp_path / "chat.json")
    assert "base_model" not in record["assets"]
    assert record["tags"]["base_model"] == "hub:own/model"
