"""What clients read and change of jobs afterwards: lists, archive, texts, artifacts."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcloud.permissions import BLOB_CONTRIBUTOR
from localcloud.services.ml import history
from tests.conftest import HANG_SECONDS, RunningCloud
from tests.localcloud.runner.conftest import STORAGE, Jobs, Maker, connect, make_workspace


def test_a_job_can_be_archived_and_restored(jobs: Jobs, command_job: Maker) -> None:
    done = jobs.run(command_job("echo x"))
    jobs.client.jobs.archive(done.name)
    assert list(jobs.client.jobs.list()) == []
    jobs.client.jobs.restore(done.name)
    assert [job.name for job in jobs.client.jobs.list()] == [done.name]


def test_texts_of_a_finished_job_can_be_changed(jobs: Jobs, command_job: Maker) -> None:
    done = jobs.run(command_job("echo x"))
    done.tags = {"kept": "yes"}
    done.description = "the first"
    done.display_name = "First"
    jobs.client.jobs.create_or_update(done)
    again = jobs.client.jobs.get(done.name)
    assert (again.tags, again.description, again.display_name) == ({"kept": "yes"}, "the first", "First")
    assert again.status == "Completed"


@pytest.fixture
def just_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that has ended is one that has just ended, however long the client takes to ask."""
    monkeypatch.setattr(history, "JUST_OVER_SECONDS", HANG_SECONDS)


def test_the_log_of_a_job_that_took_no_time_is_streamed(
    jobs: Jobs, command_job: Maker, just_over: None, capsys: pytest.CaptureFixture[str]
) -> None:
    done = jobs.run(command_job("echo quick as a flash"))
    jobs.client.jobs.stream(done.name)
    assert "quick as a flash" in capsys.readouterr().out


def test_nothing_interactive_runs_beside_a_job(jobs: Jobs, command_job: Maker) -> None:
    done = jobs.run(command_job("echo x"))
    assert not jobs.client.jobs.show_services(done.name)


def test_a_workspace_without_keys_streams_and_downloads(
    local_cloud: RunningCloud,
    fast_sdk: None,
    tmp_path: Path,
    command_job: Maker,
    just_over: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from azure.ai.ml import Input, Output

    make_workspace(local_cloud, keyless=True)
    local_cloud.grant(BLOB_CONTRIBUTOR, STORAGE)
    jobs = Jobs(local_cloud, connect(), tmp_path)
    (tmp_path / "rows").write_text("1")
    data = Input(type="uri_file", path=str(tmp_path / "rows"))
    line = "cp ${{inputs.rows}} ${{outputs.out}}/copy; echo copied"
    job = command_job(line, inputs={"rows": data}, outputs={"out": Output(type="uri_folder")})
    name = jobs.run(job).name
    jobs.client.jobs.stream(name)
    assert "copied" in capsys.readouterr().out
    jobs.client.jobs.download(name, download_path=str(tmp_path / "down"), all=True)
    assert [path.read_text() for path in (tmp_path / "down").rglob("copy")] == ["1"]
    assert len(list((tmp_path / "down").rglob("std_log.txt"))) == 1
