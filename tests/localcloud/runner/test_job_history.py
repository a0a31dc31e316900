"""What clients read and change of jobs afterwards: lists, archive, texts, artifacts."""

from __future__ import annotations

from tests.localcloud.runner.conftest import Jobs, Maker


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


def test_services_of_a_job_point_at_its_page(jobs: Jobs, command_job: Maker) -> None:
    done = jobs.run(command_job("echo x"))
    assert not jobs.client.jobs.show_services(done.name)  # nothing interactive runs beside it
    assert done.name in done.studio_url
