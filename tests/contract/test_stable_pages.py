"""Pages stay together while jobs are stored, run, finished and deleted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_forge_jobs.model.jobs import JobFilter, NewJob
from flask_forge_jobs.model.ordering import JobOrder, Position, SortColumn
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import OWNER, finish
from tests.support.sql import Sql

QUEUES = ("a", "b")
OUTCOMES: tuple[Outcome, ...] = (Done(), Failed("no"), Dead("no"))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["enqueue", "claim", "finish", "delete", "page", "page"]),
        st.integers(0, 10**6),
    ),
    max_size=40,
)
MANY = settings(
    max_examples=25,
    deadline=None,
    # The database is emptied by the test itself.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Shop:
    """Jobs that change, and somebody who reads them a page at a time."""

    def __init__(self, storage: Storage, wanted: JobFilter, order: JobOrder) -> None:
        self.storage, self.wanted, self.order = storage, wanted, order
        self.claimed: list[Any] = []
        self.stored: list[str] = []
        self.deleted: set[str] = set()
        self.seen: list[str] = []
        self.after: Position | None = None
        self.is_read = False

    def enqueue(self, number: int) -> None:
        """Store a job."""
        new = NewJob("k", queue_name=QUEUES[number % 2], priority=number % 3)
        self.stored.append(self.storage.jobs.enqueue(new).id)

    def claim(self, number: int) -> None:
        """Begin some jobs."""
        self.claimed += self.storage.jobs.claim(QUEUES[number % 2], OWNER, number % 3)

    def finish(self, number: int) -> None:
        """End a job."""
        if self.claimed:
            job = self.claimed.pop(number % len(self.claimed))
            if job.id not in self.deleted:
                finish(self.storage, job, OUTCOMES[number % 3])

    def delete(self, number: int) -> None:
        """Delete a job that does not run."""
        running = {job.id for job in self.claimed}
        free = [job_id for job_id in self.stored if job_id not in running]
        if free:
            self.deleted.add(free[number % len(free)])
            self.storage.job_admin.delete(free[number % len(free)])

    def page(self, number: int) -> None:
        """Read the next page."""
        if not self.is_read:
            limit = number % 3 + 1
            find = self.storage.job_reader.find
            page = find(self.wanted, self.order, limit, self.after)
            self.seen += [job.id for job in page.rows]
            self.after = page.end
            self.is_read = page.end is None


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize(
    "wanted", [JobFilter(), JobFilter(queues=["a"])], ids=["all", "queue"]
)
@given(steps=STEPS)
@MANY
def test_no_job_is_skipped_or_repeated_while_others_come_and_go(
    storage: Storage, sql: Sql, wanted: JobFilter, *, descending: bool, steps: Any
) -> None:
    """By age, which never changes: what was there all the while is seen once."""
    sql.run("DELETE FROM forge_job")
    shop = Shop(storage, wanted, JobOrder(descending=descending))
    for number in range(12):
        shop.enqueue(number)
    there = [
        job_id
        for number, job_id in enumerate(shop.stored)
        if not wanted.queues or QUEUES[number % 2] in wanted.queues
    ]

    for step, number in steps:
        getattr(shop, step)(number)
    while not shop.is_read:
        shop.page(2)

    assert len(shop.seen) == len(set(shop.seen))
    throughout = [job_id for job_id in there if job_id not in shop.deleted]
    assert [job_id for job_id in shop.seen if job_id in set(throughout)] == (
        throughout[::-1] if descending else throughout
    )


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("column", [SortColumn.PRIORITY, SortColumn.SCHEDULED_AT])
@given(steps=STEPS)
@MANY
def test_no_job_whose_place_stays_is_skipped_or_repeated(
    storage: Storage, sql: Sql, column: SortColumn, *, descending: bool, steps: Any
) -> None:
    """By priority and waiting time: what was there and was not failed meanwhile."""
    sql.run("DELETE FROM forge_job")
    shop = Shop(storage, JobFilter(), JobOrder(column, descending=descending))
    for number in range(12):
        shop.enqueue(number)
    places = {
        job_id: getattr(storage.job_reader.get(job_id), column)
        for job_id in shop.stored
    }

    for step, number in steps:
        getattr(shop, step)(number)
    while not shop.is_read:
        shop.page(2)

    for job_id, place in places.items():
        if job_id in shop.deleted:
            continue
        if getattr(storage.job_reader.get(job_id), column) == place:
            assert shop.seen.count(job_id) == 1
