"""Command jobs through the real SDK: real processes, logs, inputs, outputs and their end."""

from __future__ import annotations

import itertools
import sys

import pytest

from localcloud.cloud import Cloud
from localcloud.services.ml import history
from tests.localcloud.runner.conftest import WORKSPACE, Jobs, Maker, runs

TRAIN = """
import json, pathlib, sys
rows = pathlib.Path(sys.argv[1]).read_text().splitlines()
out = pathlib.Path(sys.argv[2])
(out / "model.json").write_text(json.dumps({"rows": len(rows), "rate": float(sys.argv[3])}))
print(f"trained on {len(rows)} rows")
"""


def test_a_command_runs_with_code_data_and_output_and_everything_can_be_downloaded(
    jobs: Jobs, command_job: Maker
) -> None:
    from azure.ai.ml import Input, Output

    data = jobs.folder / "rows.jsonl"
    data.write_text("1\n2\n3\n")
    job = command_job(
        "python train.py ${{inputs.rows}} ${{outputs.model}} ${{inputs.rate}}",
        code=jobs.code(train=TRAIN),
        inputs={"rows": Input(type="uri_file", path=str(data)), "rate": 0.5},
        outputs={"model": Output(type="uri_folder")},
        experiment_name="first",
    )
    done = jobs.run(job)
    assert done.status == "Completed"
    assert done.experiment_name == "first"
    assert done.properties["startTimeUtc"] <= done.properties["endTimeUtc"]
    assert "trained on 3 rows" in jobs.log(done.name)

    jobs.client.jobs.download(done.name, download_path=str(jobs.folder / "down"), all=True)
    model = jobs.folder / "down" / "named-outputs" / "model" / "model.json"
    assert model.read_text() == '{"rows": 3, "rate": 0.5}'
    logs = list((jobs.folder / "down" / "artifacts").rglob("std_log.txt"))
    assert len(logs) == 1
    assert "trained on 3 rows" in logs[0].read_text()


def test_registered_data_a_download_and_a_chosen_output_path(jobs: Jobs, command_job: Maker) -> None:
    from azure.ai.ml import Input, Output
    from azure.ai.ml.entities import Data

    (jobs.folder / "rows").mkdir()
    (jobs.folder / "rows" / "a.txt").write_text("one")
    jobs.client.data.create_or_update(Data(name="rows", version="1", type="uri_folder", path=str(jobs.folder / "rows")))
    job = command_job(
        "cat ${{inputs.rows}}/a.txt > ${{outputs.out}}/b.txt; echo ${{inputs.where}}",
        inputs={
            "rows": Input(type="uri_folder", path="azureml:rows:1", mode="download"),
            "where": Input(type="uri_folder", path="azureml:rows:1", mode="direct"),
        },
        outputs={"out": Output(type="uri_folder", path="azureml://datastores/workspaceblobstore/paths/chosen/")},
    )
    done = jobs.run(job)
    assert done.status == "Completed", jobs.log(done.name)
    chosen = jobs.cloud.cloud.blobs / "sttest"
    assert [path.read_text() for path in chosen.glob("*/chosen/b.txt")] == ["one"]
    assert "/data/rows/versions/1" in jobs.log(done.name)


def test_stream_prints_the_log_while_the_job_runs(
    jobs: Jobs, command_job: Maker, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    go = jobs.folder / "go"
    asked = itertools.count(1)
    names = history.artifact_names

    def counted(cloud: Cloud, workspace: str, run: str) -> list[str]:
        # The first call comes before the client's loop, the second is the first whose logs it reads.
        if next(asked) == 3:
            go.touch()
        return names(cloud, workspace, run)

    monkeypatch.setattr(history, "artifact_names", counted)
    job = jobs.submit(command_job(f"echo hello from the job; until [ -e {go} ]; do sleep 0.05; done"))
    jobs.client.jobs.stream(job.name)
    shown = capsys.readouterr().out
    assert "hello from the job" in shown
    assert "Execution Summary" in shown


def test_a_job_that_is_canceled_ends_with_its_processes(jobs: Jobs, command_job: Maker) -> None:
    ready = jobs.folder / "ready"
    job = jobs.submit(command_job(f"sleep 600 & echo $! > {ready}.part; mv {ready}.part {ready}; wait"))
    jobs.until(ready.exists)
    assert jobs.cluster_nodes() == 1
    jobs.client.jobs.begin_cancel(job.name).result()
    assert jobs.client.jobs.get(job.name).status == "Canceled"
    assert not runs(int(ready.read_text()))
    assert jobs.cluster_nodes() == 0


def test_a_job_that_takes_too_long_is_stopped_and_says_so(jobs: Jobs, command_job: Maker) -> None:
    job = command_job("sleep 600")
    job.set_limits(timeout=1)
    done = jobs.run(job)
    assert done.status == "Failed"
    assert "longer than its limit of 1 seconds" in jobs.error(done.name)


def test_optional_inputs_and_fragments_of_the_command(jobs: Jobs, command_job: Maker) -> None:
    job = jobs.run(command_job("echo [${{inputs.a}}] $[[b=${{inputs.a}}]]", inputs={"a": "x"}))
    assert "[x] b=x" in jobs.log(job.name)


def test_the_process_has_the_variables_of_a_job_on_azure(jobs: Jobs, command_job: Maker) -> None:
    line = "env | sort; python -c 'import sys; print(sys.executable)'"
    job = jobs.run(command_job(line, environment_variables={"MINE": "yes"}))
    lines = jobs.log(job.name).splitlines()
    assert f"AZUREML_RUN_ID={job.name}" in lines
    assert f"AZUREML_ROOT_RUN_ID={job.name}" in lines
    assert f"MLFLOW_RUN_ID={job.name}" in lines
    assert f"MLFLOW_TRACKING_URI=azureml://eastus.api.azureml.ms/mlflow/v1.0{WORKSPACE}" in lines
    assert "MINE=yes" in lines
    assert sys.executable in lines


def test_a_failed_command_says_why(jobs: Jobs, command_job: Maker) -> None:
    from azure.ai.ml.exceptions import JobException

    job = jobs.run(command_job("echo before; echo 'UserError: no rows in the file' >&2; exit 1"))
    assert job.status == "Failed"
    details = jobs.cloud.arm("GET", f"{WORKSPACE}/jobs/{job.name}?api-version=2024-01-01-preview")
    assert details["properties"]["status"] == "Failed"
    with pytest.raises(JobException, match="no rows in the file"):
        jobs.client.jobs.stream(job.name)
