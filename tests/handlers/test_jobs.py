from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from flask_forge_jobs.errors import InvalidInputError, JobNotFoundError
from flask_forge_jobs.handlers.errors import list_errors
from flask_forge_jobs.handlers.job_record import read_job
from flask_forge_jobs.handlers.jobs import (
    MAX_KINDS,
    SORTS,
    JobListing,
    count_jobs,
    failed_jobs,
    find_jobs,
    inspect_job,
    list_jobs,
    list_kinds,
    scheduled_jobs,
)
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.masking import Masking
from flask_forge_jobs.model.outcomes import Dead, Done
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import OWNER, claim_one, enqueue, finish, run

REDACTOR = Redactor()
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001  # the case under test
EARLY = datetime(1969, 1, 1, tzinfo=UTC)
ASKED: dict[str, Any] = {
    "sort": "-enqueued_at", "limit": 2, "cursor": None, "count": "exact",
}  # fmt: skip


def test_inspect_job_returns_the_payload_as_a_value(storage: Storage) -> None:
    job = storage.jobs.enqueue(NewJob("k", payload='{"token":"x","n":1}'))

    detail = inspect_job(storage, job.id, redactor=REDACTOR)

    assert detail.row.id == job.id
    assert detail.payload == {"token": "[redacted]", "n": 1}


def test_inspect_job_shows_a_damaged_payload_as_text(storage: Storage) -> None:
    job = storage.jobs.enqueue(NewJob("k").with_checked(payload='{"password":"x",'))

    detail = inspect_job(storage, job.id, redactor=REDACTOR)

    assert detail.payload == '{"password":"[redacted]",'


@pytest.mark.parametrize("job_id", ["", "none", "a\x00b", "\ud800", "x" * 65])
def test_inspect_job_knows_no_impossible_id(storage: Storage, job_id: str) -> None:
    with pytest.raises(JobNotFoundError):
        inspect_job(storage, job_id, redactor=REDACTOR)


def test_list_jobs_takes_states_as_text(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("k"))
    wanted = JobFilter(statuses=json.loads('["pending", "pending"]'))

    page = list_jobs(storage, wanted, limit=5, offset=0)

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
        list_jobs(storage, wanted, limit=5, offset=0)

    assert caught.value.field == field


@pytest.mark.parametrize(
    ("limit", "offset", "field"),
    [(-1, 0, "limit"), (1001, 0, "limit"), (1, -1, "offset")],
)
def test_list_jobs_bounds_a_page(
    storage: Storage, limit: int, offset: int, field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        list_jobs(storage, JobFilter(), limit=limit, offset=offset)

    assert caught.value.field == field


def test_list_kinds_is_capped_and_tells_how_many_there_are(storage: Storage) -> None:
    storage.jobs.enqueue_many([NewJob(f"kind-{n:04}") for n in range(MAX_KINDS + 2)])

    kinds, total = list_kinds(storage, None)

    assert (len(kinds), kinds[-1], total) == (MAX_KINDS, "kind-0999", MAX_KINDS + 2)


@pytest.mark.parametrize("limit", [0, 1001])
def test_failed_and_scheduled_bound_their_page(storage: Storage, limit: int) -> None:
    with pytest.raises(InvalidInputError, match="limit"):
        failed_jobs(storage, limit=limit)
    with pytest.raises(InvalidInputError, match="limit"):
        scheduled_jobs(storage, None, limit=limit, offset=0)
    with pytest.raises(InvalidInputError, match="offset"):
        scheduled_jobs(storage, None, limit=1, offset=100_001)


def find(storage: Storage, wanted: JobFilter | None = None, **asked: Any) -> JobListing:
    arguments = ASKED | {"redactor": Redactor()} | asked
    return find_jobs(storage, wanted or JobFilter(), **arguments)


@pytest.mark.parametrize("sort", SORTS)
def test_cursors_lead_through_all_jobs(storage: Storage, sort: str) -> None:
    ids = {enqueue(storage, priority=n % 2) for n in range(5)}

    found: list[str] = []
    cursor = None
    while True:
        page = find(storage, sort=sort, cursor=cursor)
        assert page.total == 5
        found += [job.id for job in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert len(found) == 5
    assert set(found) == ids


def test_a_count_that_nobody_wants_is_not_made(storage: Storage) -> None:
    enqueue(storage)

    assert find(storage, count="none").total is None


def test_no_error_is_masked_when_it_is_read(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of them would take seconds: they are masked when they are stored."""
    job_id = enqueue(storage)
    run(storage, Dead("password=c4n4ry", "Traceback"))
    monkeypatch.delattr(Masking, "text")

    [job] = find(storage).rows
    [listed] = list_jobs(storage, JobFilter(), limit=5, offset=0).rows
    record = read_job(storage, job_id, redactor=Redactor())
    [group] = list_errors(storage).groups

    assert job.last_error == listed.last_error == "password=[redacted]"
    assert record.row.error_history[0].message == group.signature == job.last_error
    assert record.row.traceback == "Traceback"
    assert not record.redacted


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"sort": "id"}, "sort"),
        ({"sort": "--priority"}, "sort"),
        ({"sort": ""}, "sort"),
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"count": "some"}, "count"),
        ({"cursor": "x"}, "cursor"),
    ],
)
def test_what_is_out_of_bounds_is_named(
    storage: Storage, asked: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        find(storage, **asked)
    assert caught.value.field == field


def test_a_listing_shows_the_progress_of_running_jobs_only(storage: Storage) -> None:
    running, ended = enqueue(storage), enqueue(storage)
    claims = {job.id: job for job in (claim_one(storage), claim_one(storage))}
    storage.jobs.heartbeat(OWNER, dict.fromkeys(claims, '{"done":1,"token":"s"}'))
    finish(storage, claims[ended], Done())

    rows = {job.id: job for job in find(storage).rows}
    again = read_job(storage, running, redactor=Redactor())

    assert rows[running].running_progress == '{"done": 1, "token": "[redacted]"}'
    assert rows[ended].progress is None
    assert again.row.running_progress == again.row.progress == rows[running].progress
    assert read_job(storage, ended, redactor=Redactor()).row.progress is not None


def test_jobs_are_found_by_their_batch_and_by_waiting(storage: Storage) -> None:
    plain = enqueue(storage)
    first = storage.batches.create(NewBatch("b"), [NewJob("x"), NewJob("y")])
    storage.batches.add(first.id, [NewJob("x", after=[first.results[0].id])])
    other = storage.batches.create(NewBatch("b"), [NewJob("x")])
    ids = [each.id for each in storage.batches.jobs(first.id)]

    def found(**filters: Any) -> list[str]:
        page = find(storage, JobFilter(**filters), sort="enqueued_at", limit=9)
        assert page.total == len(page.rows)
        counts = count_jobs(storage, JobFilter(**filters))
        assert counts.total == page.total
        return [row.id for row in page.rows]

    assert found(batch_id=first.id) == ids
    assert found(batch_id=first.id, kinds=["y"]) == ids[1:2]
    assert found(batch_id=other.id, queues=["bank"]) == []
    assert found(is_waiting=True) == ids[2:]
    assert found(is_waiting=True, batch_id=other.id) == []
    assert found(is_waiting=True, statuses=["done"]) == []
    assert plain in found()
    with pytest.raises(InvalidInputError) as caught:
        found(batch_id="x")
    assert caught.value.field == "batch"
