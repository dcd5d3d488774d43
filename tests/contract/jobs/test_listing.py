"""Pages of jobs in every order and with every condition, compared with plain Python."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flask_forge_jobs.model.instants import from_micros, to_micros
from flask_forge_jobs.model.jobs import Job, JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.ordering import JobOrder, Position, SortColumn
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.database import Row, Transaction
from flask_forge_jobs.storage.jobs import listing, streams
from tests.support.jobs import OTHER, OWNER, claim_one, finish
from tests.support.sql import Sql

ORDERS = [
    JobOrder(column, descending=descending)
    for column in SortColumn
    for descending in (True, False)
]
SECOND_US = 1_000_000
# What the plans are chosen by: with these, each of them is taken by some few jobs.
BOUNDS: dict[str, dict[str, int]] = {
    "as they are": {},
    "few combinations": {
        "MAX_COMBINATIONS": 3,
        "MAX_SOURCES": 2,
        "NEWEST_COMBINATIONS": 3,
    },
    "nothing is few": {"MAX_SORTED_ROWS": 0, "WALKED_PER_LOOK_UP": 10**6},
    "small chunks": {"_FIRST_CHUNK": 1, "_LARGEST_CHUNK": 2},
}


def bounds() -> Iterator[str]:
    """Set the bounds in turn; to make the jobs takes longer than to look at them."""
    for name, values in BOUNDS.items():
        with pytest.MonkeyPatch.context() as patch:
            for bound, value in values.items():
                module = listing if hasattr(listing, bound) else streams
                patch.setattr(module, bound, value)
            yield name


@pytest.fixture
def jobs(storage: Storage, sql: Sql) -> list[Job]:
    """Some jobs of every sort, many of them of one instant and one priority."""
    chance = random.Random(7)
    outcomes: list[Outcome | None] = [Done(), Failed("Out of 100% _memory"), Dead("no")]
    for n in range(60):
        queue = chance.choice(("a", "b", "c"))
        run_at = None
        if n % 6 == 0:
            run_at = from_micros(sql.now_us()) + timedelta(seconds=900 + n // 12)
        storage.jobs.enqueue(
            NewJob(
                chance.choice(("greet", "bill")),
                f'{{"n":{n}}}',
                queue_name=queue,
                priority=chance.choice((-1, 0, 0, 5)),
                dedupe_key=f"key-{n}" if n % 4 == 0 else None,
                schedule_name="nightly" if n % 7 == 0 else None,
                run_at=run_at,
            )
        )
        if chance.random() < 0.7 and n % 6:
            owner = chance.choice((OWNER, OTHER))
            claimed = claim_one(storage, owner=owner, queue_name=queue)
            outcome = chance.choice([*outcomes, None])
            if outcome is not None:
                finish(storage, claimed, outcome, owner=owner)
    ids = [row[0] for row in sql.run("SELECT id FROM forge_job ORDER BY id")]
    # Three jobs of each instant, in an order that is not that of the ids.
    now_us = sql.now_us() - 10_000_000_000
    at = {
        job_id: now_us - (n * 37 % 60) // 3 * SECOND_US for n, job_id in enumerate(ids)
    }
    cases = " ".join(f"WHEN '{job_id}' THEN {us}" for job_id, us in at.items())
    sql.run(f"UPDATE forge_job SET enqueued_at = CASE id {cases} END")
    sql.run("UPDATE forge_job SET dedupe_key = 'many' WHERE status IN ('done', 'dead')")
    return [storage.job_reader.get(job_id) for job_id in ids]


def sort_key(job: Job, order: JobOrder) -> tuple[bool, int, str]:
    value = getattr(job, order.column)
    is_unfinished = value is None
    if is_unfinished:
        value = job.enqueued_at
    number = value if isinstance(value, int) else to_micros(value)
    return is_unfinished, number, job.id


def expected(jobs: list[Job], order: JobOrder) -> list[str]:
    """Return ids in an order: finished first, whatever the direction."""
    found = sorted(jobs, key=lambda job: sort_key(job, order)[1:])
    if order.descending:
        found.reverse()
    return [job.id for job in sorted(found, key=lambda job: sort_key(job, order)[0])]


def walked(
    storage: Storage, wanted: JobFilter, order: JobOrder, limit: int
) -> Iterator[tuple[list[str], int | None]]:
    """Yield the ids and the total of each page."""
    after: Position | None = None
    while True:
        page = storage.job_reader.find(wanted, order, limit, after)
        yield [job.id for job in page.rows], page.total
        if page.end is None:
            return
        after = page.end


def is_scheduled(job: Job) -> bool:
    """Whether it waits for its time; those that do are due in a quarter of an hour."""
    return job.status == JobStatus.PENDING and job.scheduled_at > job.enqueued_at + (
        timedelta(seconds=10_500)
    )


FILTERS: dict[str, tuple[JobFilter, Callable[[Job], bool]]] = {
    "none": (JobFilter(), lambda _: True),
    "queue": (JobFilter(queues=["a"]), lambda job: job.queue_name == "a"),
    "queues and kind": (
        JobFilter(queues=["a", "c"], kinds=["bill"]),
        lambda job: job.queue_name in "ac" and job.kind == "bill",
    ),
    "statuses": (
        JobFilter(statuses=[JobStatus.DONE, JobStatus.FAILED]),
        lambda job: job.status in ("done", "failed"),
    ),
    "scheduled": (JobFilter(scheduled=True), is_scheduled),
    "scheduled of a kind": (
        JobFilter(scheduled=True, kinds=["greet"]),
        lambda job: is_scheduled(job) and job.kind == "greet",
    ),
    "scheduled or dead": (
        JobFilter(scheduled=True, statuses=[JobStatus.DEAD]),
        lambda job: is_scheduled(job) or job.status == "dead",
    ),
    "payload": (JobFilter(payload_search='"N":1'), lambda job: '"n":1' in job.payload),
    "error": (
        JobFilter(error_search="100% _MEM"),
        lambda job: "100% _mem" in (job.last_error or ""),
    ),
    "key": (JobFilter(dedupe_key="many"), lambda job: job.dedupe_key == "many"),
    "key and status": (
        JobFilter(dedupe_key="many", statuses=[JobStatus.DEAD]),
        lambda job: job.dedupe_key == "many" and job.status == "dead",
    ),
    "process": (JobFilter(slot_id=OWNER), lambda job: job.slot_id == OWNER),
    "schedule": (
        JobFilter(schedule_name="nightly"),
        lambda job: job.schedule_name == "nightly",
    ),
    "attempts": (JobFilter(min_attempts=1), lambda job: job.attempts >= 1),
    "unknown": (JobFilter(queues=["unknown"]), lambda _: False),
}


def test_pages_hold_every_match_once_and_in_order(
    storage: Storage, jobs: list[Job]
) -> None:
    for bound, (name, (wanted, fits)), order in (
        (bound, each, order)
        for bound in bounds()
        for each in FILTERS.items()
        for order in ORDERS
    ):
        matching = [job for job in jobs if fits(job)]
        assert bool(matching) == (name != "unknown")
        ids: list[str] = []
        for page, total in walked(storage, wanted, order, 17):
            ids += page
            assert total == len(matching), (bound, name, order)
        assert ids == expected(matching, order), (bound, name, order)


def test_counting_stops_at_a_bound(storage: Storage, jobs: list[Job]) -> None:
    by_age = sorted(job.enqueued_at for job in jobs)
    window = JobFilter(enqueued_from=by_age[9], enqueued_to=by_age[50])
    for wanted in (
        window,
        *(FILTERS[name][0] for name in ("key", "schedule", "attempts")),
    ):
        exact = storage.job_reader.counts(wanted)

        stopped = storage.job_reader.counts(wanted, exact.total - 1)

        assert (stopped.total, stopped.bound) == (exact.total - 1, exact.total - 1)
        assert storage.job_reader.counts(wanted, exact.total) == exact


def test_counts_by_state_are_those_of_the_matching_jobs(
    storage: Storage, jobs: list[Job]
) -> None:
    by_age = sorted(job.enqueued_at for job in jobs)
    window = JobFilter(enqueued_from=by_age[9], enqueued_to=by_age[50])
    done = replace(window, statuses=[JobStatus.DONE])

    def is_within(job: Job) -> bool:
        return by_age[9] <= job.enqueued_at <= by_age[50]

    cases = FILTERS | {
        "window": (window, is_within),
        "window and state": (done, lambda job: is_within(job) and job.status == "done"),
    }
    for bound, (name, (wanted, fits)) in (
        (bound, each) for bound in bounds() for each in cases.items()
    ):
        matching = [job for job in jobs if fits(job)]
        counts = storage.job_reader.counts(wanted)
        found = Counter(str(job.status) for job in matching)
        assert {each: getattr(counts, each) for each in JobStatus} == {
            each: found[each] for each in JobStatus
        }, (bound, name)
        assert counts.scheduled == sum(map(is_scheduled, matching)), (bound, name)
        assert counts.total == len(matching), (bound, name)


def test_pages_keep_to_a_range_of_instants(storage: Storage, jobs: list[Job]) -> None:
    by_age = sorted(jobs, key=lambda job: job.enqueued_at)
    first, last = by_age[12].enqueued_at, by_age[45].enqueued_at
    matching = [job for job in jobs if first <= job.enqueued_at <= last]
    wanted = JobFilter(enqueued_from=first, enqueued_to=last)

    for bound, order in ((bound, order) for bound in bounds() for order in ORDERS):
        pages = list(walked(storage, wanted, order, 7))
        ids = [job_id for page, _ in pages for job_id in page]
        assert ids == expected(matching, order), (bound, order)
        assert {total for _, total in pages} == {len(matching)}, (bound, order)
    done = replace(wanted, statuses=[JobStatus.DONE])
    for bound in bounds():
        [(ids, total)] = walked(storage, done, JobOrder(), 100)
        found = sum(job.status == "done" for job in matching)
        assert total == len(ids) == found, bound


def test_a_deep_page_is_a_slice_of_the_same_order(
    storage: Storage, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_age = sorted(job.enqueued_at for job in jobs)
    window = JobFilter(enqueued_from=by_age[9], enqueued_to=by_age[50])
    cases = [FILTERS[name] for name in ("none", "queues and kind", "statuses")]
    cases.append((window, lambda job: by_age[9] <= job.enqueued_at <= by_age[50]))

    for near, (wanted, fits) in itertools.product((0, 5, 10**6), cases):
        monkeypatch.setattr(listing, "NEAR", near)
        monkeypatch.setattr(streams, "NEAR", near)
        ids = expected([job for job in jobs if fits(job)], JobOrder())
        for offset in range(len(ids) + 3):
            page = storage.job_reader.page(wanted, 4, offset)
            found = [job.id for job in page.rows]
            assert found == ids[offset : offset + 4], (near, wanted)
            assert page.total == len(ids), (near, wanted)


@pytest.mark.usefixtures("jobs")
def test_a_total_is_counted_when_it_is_asked_for(storage: Storage) -> None:
    page = storage.job_reader.find(JobFilter(), JobOrder(), 5, with_total=False)

    assert (len(page.rows), page.total) == (5, None)


def test_the_last_page_has_no_end(storage: Storage, jobs: list[Job]) -> None:
    whole = storage.job_reader.find(JobFilter(), JobOrder(), len(jobs))
    most = storage.job_reader.find(JobFilter(), JobOrder(), len(jobs) - 1)

    assert whole.end is None
    assert most.end is not None
    rest = storage.job_reader.find(JobFilter(), JobOrder(), 5, most.end)
    assert [job.id for job in rest.rows] == expected(jobs, JobOrder())[-1:]


def test_an_overdue_job_is_not_scheduled_any_more(storage: Storage, sql: Sql) -> None:
    for seconds in (300, 600, 900):
        run_at = from_micros(sql.now_us()) + timedelta(seconds=seconds)
        storage.jobs.enqueue(NewJob("noop", run_at=run_at))
    sql.age(400)

    found = storage.job_reader.find(JobFilter(scheduled=True), JobOrder(), 5)

    assert (len(found.rows), found.total) == (2, 2)


def _with_many_kinds(storage: Storage, sql: Sql) -> list[str]:
    """Store old jobs of many kinds, and three newer ones of their own queue."""
    invented = [NewJob(f"k-{n:03}", queue_name="many") for n in range(200)]
    storage.jobs.enqueue_many(invented)
    sql.age(60)
    newer = [NewJob("greet", queue_name="mail") for _ in range(3)]
    ids = [result.id for result in storage.jobs.enqueue_many(newer)]
    sql.age(60)
    storage.job_admin.fold_counts(0)
    return ids


@pytest.mark.parametrize("read", ["jobs", "events"])
def test_a_page_of_all_queues_reads_few_of_very_many_kinds(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    newest = _with_many_kinds(storage, sql)
    transaction: Any = storage.database.read(type)
    real = transaction.all
    looked_at: list[int] = []

    def noted(self: Transaction, *args: Any, **parameters: Any) -> Sequence[Row]:
        rows: Sequence[Row] = real(self, *args, **parameters)
        looked_at.append(max(len(rows), parameters.get("max_combinations", 0)))
        return rows

    monkeypatch.setattr(transaction, "all", noted)
    if read == "jobs":
        page = storage.job_reader.page(JobFilter(), 2)
        ids, total = {job.id for job in page.rows}, page.total
    else:
        events = storage.activity.latest_events(2).events
        ids, total = {event.job_id for event in events}, 203

    assert ids < set(newest)
    assert (len(ids), total) == (2, 203)
    assert max(looked_at) <= streams.NEWEST_COMBINATIONS


# Pages that one statement reads.
AT_ONCE: dict[str, tuple[JobFilter, JobOrder]] = {
    "by age": (JobFilter(), JobOrder()),
    "by start": (
        JobFilter(scheduled=True), JobOrder(SortColumn.SCHEDULED_AT, descending=False),
    ),
    "by next try": (
        JobFilter(statuses=[JobStatus.FAILED]),
        JobOrder(SortColumn.SCHEDULED_AT, descending=False),
    ),
    "by end": (
        JobFilter(statuses=[JobStatus.DEAD]), JobOrder(SortColumn.COMPLETED_AT),
    ),
    "by age, of a schedule": (JobFilter(schedule_name="nightly"), JobOrder()),
}  # fmt: skip


def test_a_page_takes_one_statement_however_many_queues_there_are(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(12):
        for status in ("pending", "failed", "dead"):
            name, due_in_s = f"q-{n}", 900 if status != "dead" else 0
            sql.seed(
                6, queue_name=name, status=status, due_in_s=due_in_s,
                prefix=f"{name}-{status}",
            )  # fmt: skip
    sql.run("UPDATE forge_job SET schedule_name = 'nightly'")
    transaction: Any = storage.database.read(type)
    real = transaction.all
    asked: list[str] = []

    def noted(self: Transaction, name: str, /, **parameters: Any) -> Sequence[Row]:
        asked.append(name)
        rows: Sequence[Row] = real(self, name, **parameters)
        return rows

    monkeypatch.setattr(transaction, "all", noted)
    for wanted, order in AT_ONCE.values():
        asked.clear()
        page = storage.job_reader.find(wanted, order, 50, with_total=False)
        assert len(page.rows) == 50
        assert len(asked) == 1, asked


def _enqueue_in_turn(storage: Storage, sql: Sql, *kinds: str) -> list[str]:
    """Store a job of each kind, a second after the one before; return their ids."""
    ids = []
    for kind in kinds:
        sql.age(1)
        ids.append(storage.jobs.enqueue(NewJob(kind)).id)
    return ids


def _newest(storage: Storage) -> str:
    (job,) = storage.job_reader.page(JobFilter(), 1).rows
    return job.id


def test_a_page_is_right_where_the_newest_jobs_of_many_kinds_are_gone(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their counts still say that they may have the newest job"""
    monkeypatch.setattr(streams, "NEWEST_COMBINATIONS", 3)
    _enqueue_in_turn(storage, sql, *"abcdef")
    (newest,) = _enqueue_in_turn(storage, sql, "greet")
    for job_id in _enqueue_in_turn(storage, sql, *"abcdef"):
        sql.run("DELETE FROM forge_job WHERE id = ?", job_id)

    assert _newest(storage) == newest


def test_a_kind_with_an_old_job_may_have_the_newest_one(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after its counts are folded"""
    monkeypatch.setattr(streams, "NEWEST_COMBINATIONS", 3)
    *_, newest = _enqueue_in_turn(storage, sql, "greet", *"abcdef", "greet")

    assert _newest(storage) == newest
    storage.job_admin.fold_counts(0)
    assert _newest(storage) == newest


@pytest.mark.parametrize("first_seen", ["rare", "frequent"])
@pytest.mark.parametrize("descending", [True, False])
def test_a_page_has_jobs_of_more_kinds_than_it_looks_at_first(
    storage: Storage,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
    first_seen: str,
    *,
    descending: bool,
) -> None:
    """Whether those few kinds have jobs for a whole page, old ones too, or not"""
    monkeypatch.setattr(streams, "_FEW", 2)
    old = "aabb" if first_seen == "frequent" else ""
    ids = _enqueue_in_turn(storage, sql, *old, *"cdecdefab")
    ids.sort(reverse=descending)

    page = storage.job_reader.page(
        JobFilter(), 5, 2, JobOrder(SortColumn.ENQUEUED_AT, descending)
    )
    assert [job.id for job in page.rows] == ids[2:7]
