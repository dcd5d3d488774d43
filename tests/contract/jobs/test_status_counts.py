"""Counts by state; tests of the listing compare them with every filter."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.ordering import StatusCounts
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs import status_counts
from tests.support.sql import Sql


@pytest.mark.parametrize("job_filter", [JobFilter(), JobFilter(kinds=["noop"])])
@pytest.mark.parametrize("has_range", [False, True])
def test_a_due_job_is_counted_as_pending_but_not_as_scheduled(
    storage: Storage, sql: Sql, job_filter: JobFilter, *, has_range: bool
) -> None:
    now = from_micros(sql.now_us())
    for seconds in (300, 600, 900):
        storage.jobs.enqueue(NewJob("noop", run_at=now + timedelta(seconds=seconds)))
        storage.jobs.enqueue(NewJob("noop", queue_name="other"))
    sql.age(400)
    if has_range:
        job_filter = replace(job_filter, enqueued_from=now - timedelta(days=1))

    counts = storage.job_reader.counts(job_filter)

    assert (counts.pending, counts.scheduled, counts.total) == (6, 2, 6)


def test_nothing_is_counted_where_nothing_matches(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("noop"))

    for nothing in (JobFilter(queues=()), JobFilter(kinds=["none"], min_attempts=1)):
        assert storage.job_reader.counts(nothing) == StatusCounts()


def test_very_many_scheduled_jobs_of_a_range_are_not_counted(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_counts, "MAX_SCHEDULED", 2)
    storage.jobs.enqueue_many([NewJob("noop", delay=60)] * 2)
    window = JobFilter(enqueued_from=from_micros(sql.now_us()) - timedelta(days=1))

    few = storage.job_reader.counts(window)
    storage.jobs.enqueue_many([NewJob("noop", delay=60, queue_name="other")])

    many = storage.job_reader.counts(window)
    assert (few.pending, few.scheduled) == (2, 2)
    assert (many.pending, many.scheduled, many.total) == (3, None, 3)
    assert storage.job_reader.counts(replace(window, queues=["other"])).scheduled == 1


def test_counting_the_jobs_of_a_schedule_stops_at_the_bound(storage: Storage) -> None:
    jobs = [NewJob("noop", schedule_name="nightly", priority=n) for n in range(4)]
    storage.jobs.enqueue_many([*jobs, NewJob("noop", schedule_name="hourly")])
    storage.jobs.claim("default", "worker", 1)
    read, nightly = storage.job_reader, JobFilter(schedule_name="nightly")

    exact = StatusCounts(pending=3, in_progress=1)
    assert read.counts(nightly) == read.counts(nightly, 4) == exact
    assert read.counts(nightly, 3) == StatusCounts(bound=3)
    assert read.counts(JobFilter(schedule_name="none"), 3) == StatusCounts()
    running = replace(nightly, statuses=[JobStatus.IN_PROGRESS])
    assert read.counts(running, 3) == StatusCounts(in_progress=1)
