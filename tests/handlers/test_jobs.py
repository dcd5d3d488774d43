from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from flask_forge_jobs.errors import InvalidInputError, JobNotFoundError
from flask_forge_jobs.handlers.jobs import (
    MAX_KINDS,
    failed_jobs,
    inspect_job,
    list_jobs,
    list_kinds,
    scheduled_jobs,
)
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.storage.base import Storage

REDACTOR = Redactor()
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001  # the case under test
EARLY = datetime(1969, 1, 1, tzinfo=UTC)


def test_inspect_job_returns_the_payload_as_a_value(storage: Storage) -> None:
    job = storage.jobs.enqueue(NewJob("k", payload='{"token":"x","n":1}'))

    detail = inspect_job(storage, job.id, redactor=REDACTOR)

    assert detail.row.id == job.id
    assert detail.payload == {"token": "[redacted]", "n": 1}


def test_inspect_job_shows_a_damaged_payload_as_text(storage: Storage) -> None:
    job = storage.jobs.enqueue(NewJob("k").with_checked(payload='{"password":"x",'))

    detail = inspect_job(storage, job.id, redactor=REDACTOR)

    assert detail.payload == '{"password":[redacted],'


@pytest.mark.parametrize("job_id", ["", "none", "a\x00b", "\ud800", "x" * 65])
def test_inspect_job_knows_no_impossible_id(storage: Storage, job_id: str) -> None:
    with pytest.raises(JobNotFoundError):
        inspect_job(storage, job_id, redactor=REDACTOR)


def test_list_jobs_takes_states_as_text(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("k"))
    wanted = JobFilter(statuses=json.loads('["pending", "pending"]'))

    page = list_jobs(storage, wanted, limit=5, offset=0, redactor=REDACTOR)

    assert [job.status for job in page.rows] == [JobStatus.PENDING]


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (JobFilter(queues=["a\x00"]), "filter.queues[0]"),
        (JobFilter(kinds=["k", "\ud800"]), "filter.kinds[1]"),
        (JobFilter(kinds=["k"] * 1001), "filter.kinds"),
        (JobFilter(enqueued_from=NAIVE), "filter.from"),
        (JobFilter(enqueued_to=NAIVE), "filter.to"),
        (JobFilter(enqueued_to=EARLY), "filter.to"),
        (JobFilter(payload_search="a\x00b"), "filter.payload_search"),
        (JobFilter(payload_search=" x "), "filter.payload_search"),
    ],
)
def test_list_jobs_names_the_fault_in_a_filter(
    storage: Storage, wanted: JobFilter, field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        list_jobs(storage, wanted, limit=5, offset=0, redactor=REDACTOR)

    assert caught.value.field == field


@pytest.mark.parametrize(
    ("limit", "offset", "field"),
    [(-1, 0, "limit"), (1001, 0, "limit"), (1, -1, "offset")],
)
def test_list_jobs_bounds_a_page(
    storage: Storage, limit: int, offset: int, field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        list_jobs(storage, JobFilter(), limit=limit, offset=offset, redactor=REDACTOR)

    assert caught.value.field == field


def test_list_kinds_is_capped_and_tells_how_many_there_are(storage: Storage) -> None:
    storage.jobs.enqueue_many([NewJob(f"kind-{n:04}") for n in range(MAX_KINDS + 2)])

    kinds, total = list_kinds(storage, None)

    assert (len(kinds), kinds[-1], total) == (MAX_KINDS, "kind-0999", MAX_KINDS + 2)


@pytest.mark.parametrize("limit", [0, 1001])
def test_failed_and_scheduled_bound_their_page(storage: Storage, limit: int) -> None:
    with pytest.raises(InvalidInputError, match="limit"):
        failed_jobs(storage, limit=limit, redactor=REDACTOR)
    with pytest.raises(InvalidInputError, match="limit"):
        scheduled_jobs(storage, None, limit=limit, offset=0, redactor=REDACTOR)
