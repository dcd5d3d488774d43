"""Which filters and orders are searched, and what a search returns."""

from __future__ import annotations

import pytest

from flask_forge_jobs.handlers.job_search import is_searched, search_jobs
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.storage.base import Storage


@pytest.mark.parametrize(
    ("job_filter", "sort", "is_one"),
    [
        (JobFilter(), "-enqueued_at", False),
        (JobFilter(statuses=[JobStatus.FAILED]), "scheduled_at", False),
        (JobFilter(statuses=[JobStatus.DEAD]), "-completed_at", False),
        (JobFilter(schedule_name="nightly"), "-enqueued_at", False),
        (JobFilter(schedule_name="nightly"), "scheduled_at", True),
        (JobFilter(), "priority", True),
        (JobFilter(queues=["mail"]), "-attempts", True),
        (JobFilter(error_search="out"), "-enqueued_at", True),
        (JobFilter(payload_search="out"), "-enqueued_at", True),
        (JobFilter(min_attempts=1), "-enqueued_at", True),
        (JobFilter(ending=Ending.CANCELLED), "-enqueued_at", True),
        (JobFilter(slot_id="slot-1"), "-enqueued_at", True),
    ],
)
def test_a_search_is_for_what_no_index_answers(
    job_filter: JobFilter, sort: str, *, is_one: bool
) -> None:
    assert is_searched(job_filter, sort) is is_one


def test_pages_of_a_search_follow_one_another(storage: Storage) -> None:
    storage.jobs.enqueue_many([NewJob("send", priority=n) for n in range(5)])
    found, cursor = [], None
    for _ in range(3):
        page = search_jobs(
            storage, JobFilter(), sort="-priority", limit=2, cursor=cursor,
            is_bounded=True, redactor=Redactor(()),
        )  # fmt: skip
        found += [job.priority for job in page.rows]
        cursor = page.next_cursor
        assert (page.counts.total, page.searched) == (5, None)

    assert (found, cursor) == ([4, 3, 2, 1, 0], None)
