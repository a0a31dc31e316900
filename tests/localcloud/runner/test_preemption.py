"""Nodes that are taken away in the middle of a step: the step starts again, and a fine-tune goes on where it was."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from localcloud.components.chat_completion import finetune
from localcloud.components.chat_completion.finetune import Folders
from localcloud.components.chat_completion.metrics import Metrics
from localcloud.components.chat_completion.model_import import BaseModel, import_model
from localcloud.components.chat_completion.preprocess import DataInputs, preprocess
from localcloud.components.chat_completion.settings import Settings
from localcloud.runner.locations import local
from localcloud.runner.preemption import MOST
from localcloud.runner.runs import Run, runs_of
from tests.localcloud.runner.conftest import WORKSPACE, Jobs, Maker, make_cluster, runs
from tests.tiny_model import make_rows, make_tiny_model, write_rows

# Half of the work, then a long wait; the second start finds the first half, and nothing else of the first node.
HALVES = (
    "test ! -e mine && touch mine && if [ -e ${{outputs.out}}/half ]; then echo second; "
    "else touch ${{outputs.out}}/half; echo first; sleep 600 & wait; fi"
)


@pytest.fixture
def cheap(jobs: Jobs) -> Jobs:
    make_cluster(jobs.cloud, "cheap", "Standard_NC24ads_A100_v4", low_priority=True)
    make_cluster(jobs.cloud, "gpu", "Standard_NC24ads_A100_v4")
    return jobs


@pytest.fixture
def halves(command_job: Maker) -> Any:
    from azure.ai.ml import Output

    def make(compute: str = "cheap", line: str = HALVES) -> Any:
        return command_job(line, outputs={"out": Output(type="uri_folder")}, compute=compute)

    return make


def run_of(jobs: Jobs, name: str) -> Run:
    run = runs_of(jobs.cloud.cloud).find(WORKSPACE, name)
    assert run
    return run


def output(jobs: Jobs, name: str) -> Path:
    """Where the job's output `out` is written, while it runs as well."""
    return local(jobs.cloud.cloud, WORKSPACE, run_of(jobs, name).outputs["out"]["uri"])


def kill_when(jobs: Jobs, name: str, said: str) -> int:
    """Kill the job's process when its log says so, as a node that goes does; the process that it was."""
    run = run_of(jobs, name)
    jobs.until(lambda: run.pid is not None and said in jobs.log(name))
    pid = run.pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    return pid


def arm(jobs: Jobs, **body: Any) -> None:
    running = jobs.cloud.running
    running.call("PUT", "127.0.0.1", "/localcloud/faults/job.preempt", body, running.secret)


def test_a_step_whose_process_is_killed_starts_again_with_the_outputs_that_it_had(cheap: Jobs, halves: Any) -> None:
    job = cheap.submit(halves())
    first = kill_when(cheap, job.name, said="first")
    assert cheap.finish(job.name).status == "Completed"
    said = cheap.log(job.name)
    assert re.search(r"first\n.*The node was preempted.*in the queue again.*\(1 of at most 9\)", said)
    assert "second" in said
    assert run_of(cheap, job.name).properties["localcloud.preemptions"] == "1"
    assert not runs(first)


def test_the_fault_takes_the_node_when_the_log_says_so_and_no_process_is_left(cheap: Jobs, halves: Any) -> None:
    arm(cheap, at="first")
    job = cheap.submit(halves())
    assert cheap.finish(job.name).status == "Completed"
    assert cheap.log(job.name).count("The node was preempted") == 1
    assert cheap.cloud.cloud.faults.armed == {}


def test_an_output_that_is_uploaded_at_the_end_is_lost_with_the_node(cheap: Jobs, command_job: Maker) -> None:
    from azure.ai.ml import Output

    mark = cheap.folder / "mark"
    line = (
        f"[ -e {mark} ] && again=yes; touch {mark}; ls ${{{{outputs.out}}}}; echo half > ${{{{outputs.out}}}}/half; "
        "echo begun; [ $again ] || { sleep 600 & wait; }"
    )
    arm(cheap, at="begun")
    job = command_job(line, outputs={"out": Output(type="uri_folder", mode="upload")}, compute="cheap")
    done = cheap.run(job)
    assert done.status == "Completed"
    assert cheap.log(done.name).count("begun") == 2
    assert "half" not in cheap.log(done.name)


def test_a_dedicated_node_is_never_taken_and_a_killed_process_fails_its_step(cheap: Jobs, halves: Any) -> None:
    arm(cheap, at="first", times=2)
    job = cheap.submit(halves("gpu"))
    kill_when(cheap, job.name, said="first")
    assert cheap.finish(job.name).status == "Failed"
    assert "exited with signal 9" in cheap.error(job.name)
    assert cheap.cloud.cloud.faults.shown() == {"job.preempt": {"times": 2, "at": "first"}}


def test_a_step_that_loses_its_node_too_often_fails(cheap: Jobs, halves: Any) -> None:
    arm(cheap, times=MOST)
    done = cheap.run(halves(line="sleep 600"))
    assert done.status == "Failed"
    assert f"was preempted {MOST} times; it is not started again" in cheap.error(done.name)


def test_a_step_of_a_pipeline_says_in_the_pipelines_log_that_it_lost_its_node(cheap: Jobs, halves: Any) -> None:
    from azure.ai.ml import dsl

    make = halves().component

    @dsl.pipeline(default_compute="cheap")
    def one():
        make()

    arm(cheap, at="first")
    done = cheap.run(one())
    assert done.status == "Completed"
    log = cheap.cloud.cloud.blobs / "sttest" / "azureml" / "ExperimentRun" / f"dcid.{done.name}"
    assert "lost its node" in (log / "logs" / "azureml" / "executionlogs.txt").read_text()


def test_a_preempted_job_can_be_cancelled_and_leaves_no_process(cheap: Jobs, halves: Any) -> None:
    arm(cheap, at="again")
    again = "echo $$ >> ${{outputs.out}}/pids; sleep 600 & echo $! >> ${{outputs.out}}/pids; echo again; wait"
    job = cheap.submit(halves(line=again))
    cheap.until(lambda: run_of(cheap, job.name).preemptions == 1)
    pids = output(cheap, job.name) / "pids"
    cheap.until(lambda: len(pids.read_text().split()) == 4)
    cheap.client.jobs.begin_cancel(job.name).result()
    assert cheap.client.jobs.get(job.name).status == "Canceled"
    assert not any(runs(int(pid)) for pid in pids.read_text().split())


@pytest.mark.parametrize(
    ("body", "said"),
    [({"times": 0}, "'times' is 0"), ({"at": 3}, "'at' is 3"), ({"hold": True}, "'hold' is not known; use times, at")],
)
def test_a_preemption_that_cannot_be_is_refused(cheap: Jobs, body: dict[str, Any], said: str) -> None:
    from localcloud.client import CallFailed

    with pytest.raises(CallFailed, match=said):
        arm(cheap, **body)


# -- a real fine-tune --------------------------------------------------------------------------------------------------

# Without adapters: importing peft alone takes seconds, at each start.
SETTINGS = Settings(
    learning_rate=0.01,
    per_device_train_batch_size=4,
    max_steps=60,
    evaluation_strategy="steps",
    eval_steps=10,
    logging_steps=5,
    save_total_limit=2,
    lr_scheduler_type="cosine",
)


def losses(log: str) -> dict[tuple[str, str], str]:
    """The last value of every loss and rate at every step."""
    found = {}
    for step, values in re.findall(r"^step (\d+): (.*=.*)$", log, re.MULTILINE):
        for name, value in (pair.split("=") for pair in values.split(", ")):
            if name in ("loss", "eval_loss", "learning_rate"):
                found[step, name] = value
    return found


def test_a_preempted_fine_tune_goes_on_from_its_checkpoint_and_ends_as_if_nothing_had_been(
    cheap: Jobs, command_job: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from azure.ai.ml import Output

    imported, encoded = tmp_path / "imported", tmp_path / "encoded"
    import_model(BaseModel(mlflow_model_path=make_tiny_model(tmp_path / "tiny" / "mlflow_model_folder")), imported)
    rows = write_rows(tmp_path / "rows.jsonl", make_rows(20))
    preprocess(DataInputs(rows, rows, rows), imported, encoded)

    dials = {**dataclasses.asdict(SETTINGS), "resume_from_checkpoint": True}
    sent = [f"--{name} {value}" for name, value in dials.items() if value != getattr(Settings, name)]
    line = (
        f"python -m localcloud.components.chat_completion.finetune --model_selector_output {imported} "
        f"--preprocess_output {encoded} --pytorch_model_folder ${{{{outputs.out}}}} {' '.join(sent)}"
    )
    arm(cheap, at="step 25/60")
    job = cheap.submit(command_job(line, outputs={"out": Output(type="uri_folder")}, compute="cheap"))
    capsys.readouterr()
    finetune.finetune(Folders(imported, encoded, tmp_path / "whole"), SETTINGS, Metrics())
    undisturbed = losses(capsys.readouterr().out)
    assert cheap.finish(job.name).status == "Completed", cheap.error(job.name)

    said = cheap.log(job.name)
    assert said.count("The node was preempted") == 1
    step = re.search(r"Resumed from checkpoint-(\d+)", said)
    assert step
    assert int(step[1]) in range(20, 60, 10)
    assert f"step {step[1]}: checkpoint_load_step={step[1]}" in said
    assert len(undisturbed) == 12 * 2 + 7
    assert losses(said) == undisturbed
    mine, theirs = (folder / "model.safetensors" for folder in (output(cheap, job.name), tmp_path / "whole"))
    assert mine.read_bytes() == theirs.read_bytes()
