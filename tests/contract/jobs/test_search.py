"""Searches, bounded and of all jobs, compared with plain Python."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from flask_forge_jobs.model.jobs import Job, JobFilter, JobStatus
from flask_forge_jobs.model.ordering import JobOrder, Position, SortColumn, StatusCounts
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs import search
from tests.contract.jobs import test_listing
from tests.contract.jobs.test_listing import FILTERS, ORDERS, expected

jobs = test_listing.jobs


def searched(
    storage: Storage, wanted: JobFilter, order: JobOrder, *, is_bounded: bool
) -> tuple[list[str], set[int], set[int | None]]:
    """Return the ids of all pages, and their numbers: of matches, of looked at jobs."""
    ids: list[str] = []
    totals, looked_at = set(), set()
    after: Position | None = None
    while True:
        page = storage.job_search.page(wanted, order, 7, after, is_bounded=is_bounded)
        ids += [job.id for job in page.rows]
        totals.add(page.counts.total)
        looked_at.add(page.searched)
        if page.end is None:
            return ids, totals, looked_at
        after = page.end


# How many jobs are few, and how many others are looked at.
SEARCHES = {"few": (100, 0, 0), "newest": (0, 40, 0), "of each": (0, 0, 2)}


def test_a_search_is_exact_about_the_jobs_that_it_looks_at(
    storage: Storage, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    for way, is_bounded in itertools.product(SEARCHES, (False, True)):
        _check_exact(storage, jobs, monkeypatch, way, is_bounded=is_bounded)


def _check_exact(
    storage: Storage,
    jobs: list[Job],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    *,
    is_bounded: bool,
) -> None:
    few, newest, each = SEARCHES[way]
    combinations = len({(job.queue_name, job.kind, job.status) for job in jobs})
    for name, value in (
        ("MAX_FEW", few), ("NEWEST", newest), ("_SHARE", 100 if newest else 0),
        ("MAX_OF_EACH", each * combinations),
    ):  # fmt: skip
        monkeypatch.setattr(search, name, value)
    looked_at = set(jobs)
    if is_bounded and newest:
        looked_at = set(sorted(jobs, key=lambda job: job.id)[-newest:])
    if is_bounded and each:
        looked_at = set(_newest_of_each(jobs, each))

    for name in ("none", "payload", "error", "attempts", "statuses", "scheduled"):
        wanted, fits = FILTERS[name]
        matching = [job for job in looked_at if fits(job)]
        if way == "of each" and is_bounded and name != "none":
            continue  # of fewer combinations there are more
        for order in ORDERS:
            if order.column is SortColumn.COMPLETED_AT:
                continue
            ids, totals, numbers = searched(
                storage, wanted, order, is_bounded=is_bounded
            )
            asked = (way, is_bounded, name, order)
            assert ids == expected(matching, order), asked
            assert totals == {len(matching)}, asked
            is_part = is_bounded and way != "few"
            assert numbers == ({len(looked_at)} if is_part else {None}), asked


def _newest_of_each(jobs: list[Job], number: int) -> Iterator[Job]:
    combined: dict[object, list[Job]] = {}
    for job in sorted(jobs, key=lambda job: job.enqueued_at, reverse=True):
        combined.setdefault((job.queue_name, job.kind, job.status), []).append(job)
    for newest in combined.values():
        yield from newest[:number]


def test_a_search_by_end_has_finished_jobs_only(
    storage: Storage, jobs: list[Job]
) -> None:
    wanted = JobFilter(statuses=[JobStatus.DONE, JobStatus.DEAD], min_attempts=1)
    order = JobOrder(SortColumn.COMPLETED_AT)

    ids, _, _ = searched(storage, wanted, order, is_bounded=True)

    finished = [job for job in jobs if job.status in ("done", "dead") and job.attempts]
    assert ids == expected(finished, order)


def test_a_search_of_nothing_reads_nothing(storage: Storage) -> None:
    found = storage.job_search.page(JobFilter(min_attempts=1), JobOrder(), 5)

    assert (found.rows, found.end, found.searched) == ((), None, None)
    assert found.counts == StatusCounts()
