from __future__ import annotations

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.state import state_of
from tests.cli.console import Console
from tests.support.jobs import job_with
from tests.support.sql import Sql

DAY_S = 86_400.0


def test_jobs_whose_retention_is_over_are_counted_and_deleted(console: Console) -> None:
    for status in (JobStatus.DONE, JobStatus.DEAD):
        job_with(console.storage, status, queue_name=status)
    young = console.text("cleanup")
    Sql(state_of(console.app).database.settings).age(31 * DAY_S)

    counted = console.text("cleanup", "--dry-run")
    (of_queue,) = console.documents("cleanup", "--queue", "done")
    rest = console.text("cleanup")

    assert young == "0 done jobs and 0 dead jobs deleted\n"
    assert counted == "1 done job and 1 dead job would be deleted\n"
    assert of_queue == {"done_deleted": 1, "dead_deleted": 0}
    assert rest == "0 done jobs and 1 dead job deleted\n"
    assert console.entries()[0].action == "queue_cleanup"
