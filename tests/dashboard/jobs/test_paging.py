"""Paging: nothing twice and nothing left out, whatever is stored meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flask_forge_jobs.dashboard.jobs.listings import JOBS
from flask_forge_jobs.dashboard.jobs.paging import MAX_AHEAD, Page, page_at, reverse_of
from flask_forge_jobs.dashboard.jobs.query import JobQuery, Place
from flask_forge_jobs.handlers.cursors import to_cursor
from flask_forge_jobs.handlers.jobs import JobListing, find_jobs
from flask_forge_jobs.handlers.redaction import Unmasked
from flask_forge_jobs.model.jobs import JobFilter, NewJob
from flask_forge_jobs.model.ordering import JobOrder, Position, SortColumn
from flask_forge_jobs.storage.base import Storage

PER = 25
FIRST = JobQuery(JOBS, sort="-enqueued_at", per=PER)


def find(storage: Storage, sort: str, after: Position | None, limit: int) -> JobListing:
    order = JobOrder(
        SortColumn(sort.removeprefix("-")), descending=sort.startswith("-")
    )
    cursor = None if after is None else to_cursor(after, JobFilter(), order)
    return find_jobs(
        storage,
        JobFilter(),
        sort=sort,
        limit=limit,
        cursor=cursor,
        count="none",
        redactor=Unmasked(),
    )


def store(storage: Storage, number: int) -> None:
    storage.jobs.enqueue_many([NewJob("send", priority=n % 3) for n in range(number)])


def at(storage: Storage, query: JobQuery, place: Place | None) -> Page:
    return page_at(replace(query, place=place), lambda *asked: find(storage, *asked))


def refreshed(storage: Storage, query: JobQuery, pin: Place | None) -> Page:
    return page_at(replace(query, pin=pin), lambda *asked: find(storage, *asked))


def ids(page: Page) -> list[str]:
    return [job.id for job in page.jobs]


@pytest.mark.parametrize("sort", ["-enqueued_at", "enqueued_at", "-priority"])
def test_a_walk_there_and_back_shows_each_job_once(storage: Storage, sort: str) -> None:
    store(storage, 60)
    query = replace(FIRST, sort=sort)

    first = at(storage, query, None)
    second = at(storage, query, first.following)
    third = at(storage, query, second.following)
    back = at(storage, query, third.previous)
    start = at(storage, query, back.previous)

    assert len({*ids(first), *ids(second), *ids(third)}) == 60
    assert [first.before, second.before, third.before] == [0, 25, 50]
    assert third.following is None
    assert (ids(back), back.before) == (ids(second), 25)
    assert ids(start) == ids(first)
    assert (start.previous, start.before) == (None, 0)


def test_new_jobs_shift_nothing_and_deleted_ones_leave_no_gap(
    storage: Storage,
) -> None:
    store(storage, 60)
    first = at(storage, FIRST, None)
    store(storage, 7)
    storage.job_admin.delete(first.jobs[-1].id)

    second = at(storage, FIRST, first.following)
    third = at(storage, FIRST, second.following)
    start = at(storage, FIRST, second.previous)

    walked = [*ids(first), *ids(second), *ids(third)]
    assert len(walked) == len(set(walked)) == 60
    assert ids(start)[1:] == ids(first)[:-1]
    assert start.previous is not None


def test_a_page_before_that_is_too_short_is_the_first_one(storage: Storage) -> None:
    store(storage, 60)
    first = at(storage, FIRST, None)
    for job in first.jobs[:10]:
        storage.job_admin.delete(job.id)
    second = at(storage, FIRST, first.following)

    start = at(storage, FIRST, second.previous)

    assert ids(start) == ids(at(storage, FIRST, None))
    assert len(start.jobs) == PER
    assert (start.previous, start.before) == (None, 0)


def test_a_place_without_a_number_leaves_it_open(storage: Storage) -> None:
    store(storage, 60)
    first = at(storage, FIRST, None)
    assert first.following is not None

    second = at(storage, FIRST, replace(first.following, before=0))

    assert second.before is None
    assert second.following is not None
    assert second.following.before == 0


def test_a_page_after_the_last_job_is_empty(storage: Storage) -> None:
    far = Place(Position(0, "0"), before=60)

    page = at(storage, FIRST, far)

    assert (ids(page), page.before, page.following) == ([], 60, None)


@pytest.mark.parametrize("sort", ["-enqueued_at", "enqueued_at"])
def test_an_order_is_turned_round(sort: str) -> None:
    assert reverse_of(reverse_of(sort)) == sort != reverse_of(sort)


def test_a_refreshed_page_stays_and_counts_new_jobs(storage: Storage) -> None:
    store(storage, 60)
    first = at(storage, FIRST, None)
    store(storage, 3)
    storage.job_admin.delete(first.jobs[0].id)
    storage.job_admin.delete(first.jobs[7].id)

    again = refreshed(storage, FIRST, first.pin)

    assert (again.ahead, again.before, again.pin) == (3, 3, first.pin)
    kept = [job_id for n, job_id in enumerate(ids(first)) if n not in (0, 7)]
    assert ids(again)[:23] == kept
    assert len(ids(again)) == PER
    store(storage, 100)
    many = refreshed(storage, FIRST, first.pin)
    assert (many.ahead, many.before) == (MAX_AHEAD, None)
    assert ids(many) == ids(again)


def test_only_an_order_with_new_jobs_in_front_is_pinned(storage: Storage) -> None:
    store(storage, 3)

    assert at(storage, FIRST, None).pin is not None
    assert at(storage, replace(FIRST, sort="priority"), None).pin is None
