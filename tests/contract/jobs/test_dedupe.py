"""Keys that hold for a while, and pending jobs that take over what comes later."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import timedelta

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import DuplicateJobError
from flask_forge_jobs.model.bounds import REPLACEABLE
from flask_forge_jobs.model.instants import from_micros, to_micros
from flask_forge_jobs.model.jobs import EnqueueResult, JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome
from flask_forge_jobs.storage.base import Storage
from tests.support.callers import Caller
from tests.support.jobs import QUEUE, claim_one, enqueue, enqueued, finish, run
from tests.support.lossy import lossy_jobs
from tests.support.processes import output_of, start_python
from tests.support.sql import Sql
from tests.support.threads import Heard, race, run_together

HOUR = timedelta(hours=1)
JOBS = "SELECT COUNT(*) FROM forge_job"
Store = Callable[[Storage, NewJob], EnqueueResult]


def one(storage: Storage, job: NewJob) -> EnqueueResult:
    return storage.jobs.enqueue(job)


def among_others(storage: Storage, job: NewJob) -> EnqueueResult:
    """Store it in a bulk call."""
    jobs = [
        NewJob("other", queue_name="other"),
        job,
        NewJob("x", dedupe_key="x", queue_name="other"),
    ]
    return storage.jobs.enqueue_many(jobs)[1]


@pytest.fixture(params=[one, among_others])
def store(request: pytest.FixtureRequest) -> Store:
    """Store a job by itself, and among others."""
    chosen: Store = request.param
    return chosen


def windowed(key: str = "once", *, kind: str = "noop", payload: str = "{}") -> NewJob:
    return NewJob(kind, payload, dedupe_key=key, dedupe_for=HOUR)


# -- a window ----------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Done(), Dead("no")])
def test_a_finished_job_counts_for_as_long_as_it_is_young(
    storage: Storage, sql: Sql, store: Store, outcome: Outcome
) -> None:
    first = store(storage, windowed())
    assert not first.is_deduped
    run(storage, outcome)

    again = store(storage, windowed())
    sql.age(HOUR.total_seconds() + 1)
    later = store(storage, windowed())

    assert (again.id, again.is_deduped) == (first.id, True)
    assert again.status.value in ("done", "dead")
    assert not later.is_deduped


def test_the_age_counts_from_the_enqueueing(storage: Storage, sql: Sql) -> None:
    one(storage, windowed())
    sql.age(HOUR.total_seconds() - 60)
    run(storage, Done())
    assert one(storage, windowed()).is_deduped
    sql.age(61)

    assert not one(storage, windowed()).is_deduped


@pytest.mark.parametrize("status", ["pending", "in_progress", "failed"])
def test_an_unfinished_job_counts_however_old_it_is(
    storage: Storage, sql: Sql, store: Store, status: str
) -> None:
    first = one(storage, windowed())
    if status != "pending":
        job = claim_one(storage)
        if status == "failed":
            finish(storage, job, Failed("no"))
    sql.age(2 * HOUR.total_seconds())

    found = store(storage, windowed())

    assert (found.id, found.status) == (first.id, status)


def test_a_job_without_a_window_does_not_look_back(storage: Storage) -> None:
    one(storage, windowed())
    run(storage, Done())

    assert not enqueued(storage, key="once").is_deduped


def test_jobs_that_had_no_window_count_in_one(storage: Storage) -> None:
    first = enqueue(storage, key="once")
    run(storage, Done())

    assert one(storage, windowed()).id == first


def test_the_youngest_of_several_is_returned(storage: Storage) -> None:
    enqueue(storage, key="once")
    run(storage, Done())
    second = enqueue(storage, key="once")
    run(storage, Done())

    assert one(storage, windowed()).id == second


def test_a_finished_job_of_another_kind_is_a_conflict(
    storage: Storage, store: Store
) -> None:
    holder = enqueue(storage, "greet", key="once")
    run(storage, Done())

    with pytest.raises(DuplicateJobError) as caught:
        store(storage, windowed(kind="bill"))

    assert (caught.value.job_id, caught.value.kind) == (holder, "greet")


def test_a_bulk_call_collapses_its_own_duplicates(storage: Storage, sql: Sql) -> None:
    keys = ["b", "a", "b", "c", "a"]

    results = storage.jobs.enqueue_many([windowed(key) for key in keys])

    assert [each.is_deduped for each in results] == [False, False, True, False, True]
    assert (results[2].id, results[4].id) == (results[0].id, results[1].id)
    ids = [results[n].id for n in (0, 1, 3)]
    assert ids == sorted(ids)
    assert sql.value(JOBS) == 3


def test_a_window_that_many_want_at_once_gets_one_job(
    storage: Storage, sql: Sql
) -> None:
    """Although the job may have ended before the last of them looks."""
    storage.queues.ensure(QUEUE)

    def work() -> list[EnqueueResult]:
        results = []
        for number in range(20):
            results.append(one(storage, windowed(f"key-{number}")))
            for job in storage.jobs.claim(QUEUE, "owner", 3):
                finish(storage, job, Done(), owner="owner")
        return results

    found = [each for results in run_together([work] * 6) for each in results]

    assert sum(not each.is_deduped for each in found) == sql.value(JOBS) == 20


_PRODUCER = """
from dataclasses import replace
from datetime import timedelta
from flask_forge_jobs.model.outcomes import Done
from tests.support.jobs import finish
owner = "owner-" + sys.argv[8]
for number in range(100):
    job = NewJob("noop", dedupe_key=f"key-{number}", dedupe_for=timedelta(hours=1))
    storage.jobs.enqueue(job)
    storage.jobs.enqueue_many([job, NewJob("noop", dedupe_key=f"other-{number % 9}",
                                           dedupe_for=timedelta(hours=1))])
    for claimed in storage.jobs.claim("default", owner, 2):
        finish(storage, claimed, Done(), owner=owner)
"""


def test_processes_that_want_the_same_windows_get_one_job_each(
    storage: Storage, database_settings: DatabaseSettings, sql: Sql
) -> None:
    storage.queues.ensure(QUEUE)
    processes = [start_python(database_settings, _PRODUCER, str(n)) for n in range(3)]
    for process in processes:
        output_of(process)

    assert sql.value(JOBS) == 109
    assert sql.value("SELECT COUNT(DISTINCT dedupe_key) FROM forge_job") == 109


def test_a_window_in_a_callers_transaction(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    first = one(storage, windowed())
    run(storage, Done())
    with contextlib.closing(Caller(database_settings).connect()) as connection:
        found = storage.jobs.enqueue(windowed(), connection=connection)
        lost = storage.jobs.enqueue(windowed("new"), connection=connection)
        connection.rollback()

    assert (found.id, found.status) == (first.id, JobStatus.DONE)
    assert not lost.is_deduped
    assert not one(storage, windowed("new")).is_deduped


# -- taking the place of what a pending job holds ----------------------------------


def replacing(
    names: Collection[str] = ("payload",),
    *,
    payload: str = "2",
    in_s: float | None = None,
    sql: Sql | None = None,
) -> NewJob:
    run_at = None
    if in_s is not None:
        assert sql is not None
        run_at = from_micros(sql.now_us()) + timedelta(seconds=in_s)
    return NewJob("noop", payload, dedupe_key="once", replace=names, run_at=run_at)


def test_a_pending_job_takes_over_the_payload(
    storage: Storage, sql: Sql, store: Store
) -> None:
    first = store(storage, replacing(payload="1"))

    again = store(storage, replacing(payload="2"))

    assert (first.is_deduped, first.is_replaced) == (False, False)
    assert (again.id, again.is_deduped, again.is_replaced) == (first.id, True, True)
    stored = storage.job_reader.get(first.id)
    assert (stored.payload, stored.scheduled_at) == ("2", first.scheduled_at)
    assert sql.value("SELECT COUNT(*) FROM forge_job WHERE kind = 'noop'") == 1


def test_a_pending_job_is_put_off(storage: Storage, sql: Sql, store: Store) -> None:
    """Debounce: it runs once nothing has come for a while."""
    names = ("run_at",)
    first = store(storage, replacing(names, payload="1", in_s=300, sql=sql))
    again = store(storage, replacing(names, payload="2", in_s=600, sql=sql))

    stored = storage.job_reader.get(first.id)
    assert again.is_replaced
    assert stored.scheduled_at == again.scheduled_at > first.scheduled_at
    assert stored.payload == "1"
    assert storage.jobs.claim(QUEUE, "owner") == []
    sql.age(601)
    assert claim_one(storage).id == first.id


def test_a_job_that_was_due_is_put_off_too(storage: Storage, sql: Sql) -> None:
    first = one(storage, replacing(("run_at",)))

    one(storage, replacing(("run_at",), in_s=300, sql=sql))

    assert storage.jobs.claim(QUEUE, "owner") == []
    assert storage.jobs.next_due_in_s([QUEUE]) == pytest.approx(300, abs=30)
    assert storage.job_reader.get(first.id).status is JobStatus.PENDING


def test_a_job_is_brought_forward_and_its_workers_hear_of_it(
    storage: Storage, sql: Sql, store: Store
) -> None:
    """No time is now, and so is one that has passed."""
    first = one(storage, replacing(in_s=300, sql=sql))
    heard = Heard()
    listener = storage.database.listen(heard)
    try:
        again = store(storage, replacing(REPLACEABLE, payload="3"))
        assert heard.wait_for(QUEUE)
    finally:
        listener.stop()

    assert again.scheduled_at < first.scheduled_at
    job = claim_one(storage)
    assert (job.id, job.payload) == (first.id, "3")


def test_a_later_job_of_the_key_tells_the_new_start(storage: Storage, sql: Sql) -> None:
    one(storage, replacing())
    put_off = replacing(("run_at",), in_s=300, sql=sql)

    first, second = storage.jobs.enqueue_many([put_off, replacing(())])

    assert (first.is_replaced, second.is_replaced) == (True, False)
    assert second.scheduled_at == first.scheduled_at
    assert storage.jobs.claim(QUEUE, "owner") == []


@pytest.mark.parametrize("status", [JobStatus.IN_PROGRESS, JobStatus.FAILED])
def test_a_job_that_has_begun_keeps_what_it_has(
    storage: Storage, store: Store, status: JobStatus
) -> None:
    first = one(storage, replacing(payload="1"))
    job = claim_one(storage)
    if status is JobStatus.FAILED:
        finish(storage, job, Failed("no"))

    again = store(storage, replacing(REPLACEABLE))

    assert (again.id, again.status, again.is_replaced) == (first.id, status, False)
    assert storage.job_reader.get(first.id).payload == "1"


def test_nothing_is_replaced_in_a_job_of_another_kind(storage: Storage) -> None:
    holder = storage.jobs.enqueue(NewJob("greet", "1", dedupe_key="once")).id

    with pytest.raises(DuplicateJobError):
        one(storage, replacing(REPLACEABLE))

    assert storage.job_reader.get(holder).payload == "1"


def test_what_else_the_holder_has_stays(storage: Storage) -> None:
    first = storage.jobs.enqueue(
        NewJob("noop", "1", queue_name="mail", priority=3, dedupe_key="once")
    )

    again = one(storage, replacing(REPLACEABLE))

    stored = storage.job_reader.get(first.id)
    assert (again.queue_name, stored.queue_name, stored.priority) == (
        "mail", "mail", 3,
    )  # fmt: skip


def test_the_last_of_a_bulk_call_wins(storage: Storage, sql: Sql) -> None:
    results = storage.jobs.enqueue_many(
        [replacing(payload=str(number)) for number in range(5)]
    )

    assert [each.is_replaced for each in results] == [False] + [True] * 4
    assert len({each.id for each in results}) == 1
    assert storage.job_reader.get(results[0].id).payload == "4"
    assert sql.value(JOBS) == 1


def test_a_finished_job_of_the_window_keeps_what_it_has(storage: Storage) -> None:
    both = NewJob("noop", "1", dedupe_key="k", dedupe_for=HOUR, replace=REPLACEABLE)
    first = one(storage, both)
    assert one(storage, both.with_checked(payload="2")).is_replaced
    run(storage, Done())

    again = one(storage, both.with_checked(payload="3"))

    assert (again.id, again.is_replaced) == (first.id, False)
    assert storage.job_reader.get(first.id).payload == "2"


def test_windows_and_replacements_of_one_call_are_as_one_by_one(
    storage: Storage, sql: Sql
) -> None:
    """Of each key its jobs meet what the ones before them have left."""
    run_all = [NewJob("noop", dedupe_key=key) for key in ("old", "older")]
    old, older = storage.jobs.enqueue_many(run_all)
    for job in storage.jobs.claim(QUEUE, "owner", 2):
        finish(storage, job, Done(), owner="owner")
    plain = NewJob("noop", dedupe_key="old")
    jobs = [
        windowed("older"),  # five, more than there are rounds
        *[windowed("older") for _ in range(4)],
        windowed("old"),
        plain,
        windowed("old"),
        windowed("new"),
        NewJob("noop", "2", dedupe_key="new", replace=REPLACEABLE),
        windowed("new", payload="3"),
    ]

    results = storage.jobs.enqueue_many(jobs)

    new, last = results[6], results[8]
    assert {each.id for each in results[:5]} == {older.id}
    assert results[5].id == old.id
    assert not new.is_deduped
    assert results[7].id == new.id
    assert not last.is_deduped
    assert [(each.id, each.is_replaced) for each in results[9:]] == [
        (last.id, True), (last.id, False),
    ]  # fmt: skip
    assert storage.job_reader.get(last.id).payload == "2"
    assert sql.value(JOBS) == 4


def test_a_replacement_in_a_callers_transaction(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    first = one(storage, replacing(payload="1"))
    with contextlib.closing(Caller(database_settings).connect()) as connection:
        for payload, end in (("2", connection.rollback), ("3", connection.commit)):
            job = replacing(payload=payload)
            assert storage.jobs.enqueue(job, connection=connection).is_replaced
            end()

    assert storage.job_reader.get(first.id).payload == "3"


@pytest.mark.parametrize("is_known", [False, True])
def test_an_unclear_commit_is_no_replacement(
    storage: Storage, sql: Sql, *, is_known: bool
) -> None:
    """The second try meets its own job."""
    jobs = lossy_jobs(storage.database)
    if is_known:
        jobs.enqueue(NewJob("other"))
    new = NewJob("noop", dedupe_key="k", replace=REPLACEABLE, dedupe_for=HOUR)

    results = [jobs.enqueue(new), *jobs.enqueue_many([replacing()])]

    assert [(each.is_deduped, each.is_replaced) for each in results] == [
        (False, False), (False, False),
    ]  # fmt: skip
    assert sql.value("SELECT COUNT(*) FROM forge_job WHERE kind = 'noop'") == 2


def test_a_claim_and_a_replacement_never_mix(storage: Storage) -> None:
    """Either the worker gets the new payload or the caller hears that it came late."""
    for _ in range(40):
        first = one(storage, replacing(payload="1"))

        claimed, again = race(
            lambda: storage.jobs.claim(QUEUE, "owner"),
            lambda: one(storage, replacing(payload="2")),
        )

        (job,) = claimed or storage.jobs.claim(QUEUE, "owner")
        assert (job.id, again.id) == (first.id, first.id)
        assert job.payload == ("2" if again.is_replaced else "1")
        assert again.is_replaced or again.status is JobStatus.IN_PROGRESS
        assert finish(storage, job, Done(), owner="owner")


def test_replacements_at_once_leave_one_job(storage: Storage, sql: Sql) -> None:
    storage.queues.ensure(QUEUE)
    keys = [f"key-{number}" for number in range(40)]
    jobs = [NewJob("noop", "1", dedupe_key=key, replace=REPLACEABLE) for key in keys]

    results = run_together(
        [
            lambda: storage.jobs.enqueue_many(jobs),
            lambda: storage.jobs.enqueue_many(jobs[::-1]),
            lambda: [one(storage, job) for job in jobs],
        ]
    )

    new = [each for batch in results for each in batch if not each.is_deduped]
    assert len(new) == len(keys) == sql.value(JOBS)
    assert all(
        each.is_replaced for batch in results for each in batch if each.is_deduped
    )


# -- keys of one queue -----------------------------------------------------------------


def of_queue(queue_name: str, kind: str = "noop", key: str = "once") -> NewJob:
    return NewJob(kind, queue_name=queue_name, dedupe_key=key, is_key_of_queue=True)


def test_a_key_of_a_queue_meets_only_others_of_that_queue(
    storage: Storage, store: Store
) -> None:
    jobs = [
        NewJob("noop", queue_name="mail", dedupe_key="once"),
        of_queue("mail"),
        of_queue("bank"),
    ]
    ids = [store(storage, job).id for job in jobs]

    assert len(set(ids)) == len(jobs)
    assert [store(storage, job) for job in jobs] == [
        EnqueueResult(job_id, True, job.queue, "noop", JobStatus.PENDING, at_us, False)
        for job_id, job in zip(ids, jobs, strict=True)
        for at_us in [to_micros(storage.job_reader.get(job_id).scheduled_at)]
    ]
    with pytest.raises(DuplicateJobError, match="'once'"):
        store(storage, of_queue("bank", kind="another"))


def test_a_key_of_a_queue_is_read_as_it_was_given(storage: Storage) -> None:
    ids = [
        one(storage, job).id
        for job in (
            NewJob("noop", queue_name="mail", dedupe_key="once"),
            of_queue("mail"),
            of_queue("bank"),
            NewJob("noop", queue_name="mail", dedupe_key="once more"),
            of_queue("bank", key="once\x01mail"),
            NewJob("noop", queue_name="bank", dedupe_key="once\x01"),
        )
    ]
    by_key = JobFilter(dedupe_key="once")

    found = storage.job_reader.page(by_key, 9)
    in_bank = storage.job_reader.page(replace(by_key, queues=["bank"]), 9)

    assert {job.id for job in found.rows} == set(ids[:3])
    assert found.total == 3
    assert {job.dedupe_key for job in found.rows} == {"once"}
    assert [job.id for job in in_bank.rows] == [ids[2]]
    keys = [storage.job_reader.get(job_id).dedupe_key for job_id in ids[2:]]
    assert keys == ["once", "once more", "once\x01mail", "once\x01"]


def test_no_other_key_looks_like_one_of_a_queue(storage: Storage) -> None:
    stored = [
        one(storage, job)
        for job in (
            of_queue("mail"),
            NewJob("noop", queue_name="mail", dedupe_key="once\x01mail"),
            NewJob("noop", queue_name="mail", dedupe_key="once\x01mail\x01"),
            of_queue("mail", key="once\x01mail"),
        )
    ]

    assert [each.is_deduped for each in stored] == [False] * 4


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.FAILED])
def test_a_key_of_a_queue_stays_behind_when_its_job_leaves(
    storage: Storage, status: JobStatus
) -> None:
    storage.queues.ensure("bank")
    kept = one(storage, NewJob("noop", queue_name=QUEUE, dedupe_key="once"))
    moved = one(storage, of_queue(QUEUE, kind="moved"))
    if status is JobStatus.FAILED:
        for _ in range(2):
            run(storage, Failed("no"))

    for job in (kept, moved):
        storage.job_admin.reschedule(job.id, priority=1, queue_name=QUEUE)
    assert one(storage, of_queue(QUEUE, kind="moved")).id == moved.id
    for job in (kept, moved):
        storage.job_admin.reschedule(job.id, queue_name="bank")

    assert storage.job_reader.get(kept.id).dedupe_key == "once"
    assert storage.job_reader.get(moved.id).dedupe_key is None
    assert not one(storage, of_queue(QUEUE, kind="moved")).is_deduped
