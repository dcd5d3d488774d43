from __future__ import annotations

from typing import Any

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.job_search import SORTS, JobsFound, find_jobs
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.jobs import JobFilter, NewJob
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import enqueue, run

ASKED: dict[str, Any] = {
    "sort": "-enqueued_at", "limit": 2, "cursor": None, "count": "exact",
}  # fmt: skip


def find(storage: Storage, wanted: JobFilter | None = None, **asked: Any) -> JobsFound:
    return find_jobs(
        storage, wanted or JobFilter(), redactor=Redactor(), **(ASKED | asked)
    )


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


def test_error_texts_are_masked(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("k"))
    run(storage, Dead("password=c4n4ry"))

    [job] = find(storage).rows

    assert job.last_error == "password=[redacted]"


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
