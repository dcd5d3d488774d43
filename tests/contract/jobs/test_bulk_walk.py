"""Acting on everything that matches a filter, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flask_forge_jobs.model.batches import NewBatch
from flask_forge_jobs.model.bulk import APPLIES_TO, JobAction, Skip, SkipReason
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs import bulk_walk
from flask_forge_jobs.storage.pace import BATCH
from tests.support.jobs import (
    OWNER,
    QUEUE,
    claim_one,
    enqueue,
    having,
    job_with,
    run,
    walk,
)
from tests.support.sql import Sql


def ids_left(sql: Sql) -> set[str]:
    return {row[0] for row in sql.run("SELECT id FROM forge_job")}


@pytest.mark.parametrize(
    ("rows", "matched"),
    [
        (0, [0]),
        (1, [1]),
        (BATCH - 1, [BATCH - 1]),
        (BATCH, [BATCH]),
        (BATCH + 1, [BATCH, 1]),
        (2 * BATCH + 100, [BATCH, BATCH, 100]),
    ],
)
def test_a_walk_goes_in_batches(
    storage: Storage, sql: Sql, rows: int, matched: list[int]
) -> None:
    if rows:
        sql.seed(rows, status="dead")

    steps = walk(storage, JobAction.RETRY, having(JobStatus.DEAD))

    assert [step.matched for step in steps] == matched
    assert [step.change.changed for step in steps] == matched
    assert sql.counted_rows() == (
        {(QUEUE, "noop", "pending", False): rows} if rows else {}
    )


@pytest.mark.parametrize("read_at_once", [1, 2, 6, 500])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 500])
def test_each_job_is_visited_once_over_many_combinations(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, limit: int, read_at_once: int
) -> None:
    monkeypatch.setattr(bulk_walk, "COMBINATIONS", read_at_once)
    jobs = [
        NewJob(f"kind-{n % 3}", queue_name=f"queue-{n % 2}", priority=n)
        for n in range(23)
    ]
    storage.jobs.enqueue_many(jobs)

    steps = walk(storage, JobAction.RUN_NOW, JobFilter(), limit=limit)

    assert sum(step.matched for step in steps) == 23
    assert max(step.matched for step in steps) <= limit
    positions = [step.position for step in steps[:-1]]
    assert positions == sorted(set(positions), key=lambda each: each or ())


def test_a_step_reads_few_of_very_many_kinds(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_walk, "COMBINATIONS", 3)
    storage.jobs.enqueue_many(
        [NewJob(f"k{n}", queue_name=f"q{n % 2}") for n in range(50)]
    )
    read: list[int] = []
    page = bulk_walk._combinations

    def counted(*arguments: Any) -> Iterator[tuple[JobStatus, str, str]]:
        read.append(0)
        for each in page(*arguments):
            read[-1] += 1
            yield each

    monkeypatch.setattr(bulk_walk, "_combinations", counted)
    wanted = JobFilter(queues=("q1",), kinds=tuple(f"k{n}" for n in range(30)))

    steps = walk(storage, JobAction.DELETE, wanted, limit=5)

    assert sum(step.matched for step in steps) == 15
    assert max(read) <= 7
    assert len(storage.job_reader.kinds()) == 35


def test_a_walk_of_nothing_but_conflicts_ends(storage: Storage) -> None:
    """Short counts end nothing early, and every walk ends"""
    for n in range(5):
        enqueue(storage, key=f"key-{n}")
        run(storage, Dead("no"))
        enqueue(storage, key=f"key-{n}", priority=9)
    wanted = enqueue(storage)
    run(storage, Dead("no"))

    steps = walk(storage, JobAction.RETRY, having(JobStatus.DEAD), limit=2)

    assert [step.matched for step in steps] == [2, 2, 2]
    assert [step.change.changed for step in steps] == [0, 0, 1]
    assert storage.job_reader.get(wanted).status is JobStatus.PENDING


def test_what_fails_again_behind_the_walk_is_not_visited_again(
    storage: Storage,
) -> None:
    ids = [job_with(storage, JobStatus.DEAD) for _ in range(3)]
    wanted = having(JobStatus.DEAD)

    first = storage.job_admin.step(JobAction.RETRY, wanted, limit=1)
    run(storage, Dead("again"))
    rest = storage.job_admin.step(JobAction.RETRY, wanted, after=first.position)

    assert (first.matched, rest.matched, rest.position) == (1, 2, None)
    assert storage.job_reader.get(ids[0]).status is JobStatus.DEAD


@pytest.mark.parametrize("action", JobAction)
def test_a_walk_passes_over_states_the_action_is_not_for(
    storage: Storage, action: JobAction
) -> None:
    for status in JobStatus:
        job_with(storage, status, queue_name=status.value)

    steps = [
        storage.job_admin.step(action, having(status), run_at=from_micros(0))
        for status in JobStatus
    ]

    assert [step.matched for step in steps] == [
        int(status in APPLIES_TO[action]) for status in JobStatus
    ]
    assert all(not step.change.skipped for step in steps)


def test_all_jobs_of_a_step_have_one_state(storage: Storage) -> None:
    for status in JobStatus:
        job_with(storage, status, queue_name=status.value)

    steps = walk(storage, JobAction.DELETE, JobFilter())

    assert [step.matched for step in steps] == [1] * 5
    assert sum(step.change.stop_requested for step in steps) == 1


def test_delete_of_running_jobs_asks_them_to_stop(storage: Storage) -> None:
    ids = [enqueue(storage) for _ in range(3)]
    storage.jobs.claim(QUEUE, OWNER, 3)
    waiting = enqueue(storage)

    (step,) = walk(storage, JobAction.DELETE, having(JobStatus.IN_PROGRESS))

    assert (step.change.changed, step.change.stop_requested) == (3, 3)
    assert set(storage.jobs.cancelled(OWNER)) == set(ids)
    assert storage.job_reader.get(waiting).status is JobStatus.PENDING


def test_a_walk_keeps_to_its_filter(storage: Storage, sql: Sql) -> None:
    sql.seed(3, queue_name="mail", kind="a", prefix="mail-a")
    sql.seed(3, queue_name="mail", kind="b", prefix="mail-b")
    sql.seed(3, queue_name="other", kind="a", prefix="other-a")

    walk(storage, JobAction.DELETE, JobFilter(queues=("mail",), kinds=("a", "none")))

    assert {job_id[:7] for job_id in ids_left(sql)} == {"mail-b-", "other-a"}


def test_a_walk_keeps_to_its_window(storage: Storage, sql: Sql) -> None:
    old = enqueue(storage)
    sql.age(3600)
    young = enqueue(storage)
    middle = from_micros(sql.now_us()) - timedelta(seconds=1800)

    walk(storage, JobAction.CANCEL, JobFilter(enqueued_to=middle))
    assert storage.job_reader.get(old).status is JobStatus.DEAD
    assert storage.job_reader.get(young).status is JobStatus.PENDING

    walk(storage, JobAction.DELETE, JobFilter(enqueued_from=middle))
    assert ids_left(sql) == {old}


def test_a_window_holds_the_instants_at_its_ends(storage: Storage) -> None:
    job = storage.job_reader.get(enqueue(storage))
    window = JobFilter(enqueued_from=job.enqueued_at, enqueued_to=job.enqueued_at)

    (step,) = walk(storage, JobAction.RUN_NOW, window)

    assert step.matched == 1


def test_a_search_looks_at_a_batch_at_a_time(storage: Storage) -> None:
    storage.jobs.enqueue_many([NewJob("k", f'{{"n":"x{n}x"}}') for n in range(10)])
    wanted = JobFilter(payload_search="X7x")

    steps = walk(storage, JobAction.DELETE, wanted, limit=4)

    assert [step.matched for step in steps] == [0, 1, 0]
    assert storage.job_reader.total(wanted) == 0
    assert storage.job_reader.total(JobFilter()) == 9


def test_a_walk_goes_on_where_another_stopped(storage: Storage, sql: Sql) -> None:
    sql.seed(5, status="done")
    wanted = having(JobStatus.DONE)
    first = storage.job_admin.step(JobAction.DELETE, wanted, limit=2)
    assert first.position is not None

    elsewhere = first.position._replace(kind="zzz")
    assert (
        storage.job_admin.step(JobAction.DELETE, wanted, after=elsewhere).matched == 0
    )

    rest = storage.job_admin.step(JobAction.DELETE, wanted, after=first.position)
    assert (rest.matched, rest.position) == (3, None)


def test_a_total_is_the_number_a_walk_visits(storage: Storage, sql: Sql) -> None:
    sql.seed(7, status="dead", queue_name="mail", prefix="a")
    sql.seed(4, status="dead", kind="other", prefix="b")
    for wanted in (
        having(JobStatus.DEAD),
        having(JobStatus.DEAD, queue_name="mail"),
        having(JobStatus.DEAD, kind="other"),
        replace(having(JobStatus.DEAD), enqueued_to=from_micros(sql.now_us())),
    ):
        total = storage.job_reader.total(wanted)

        steps = walk(storage, JobAction.CANCEL, wanted)

        assert total > 0
        assert sum(step.matched for step in steps) == 0
        matched = walk(storage, JobAction.DELETE, replace(wanted, payload_search="no"))
        assert sum(step.matched for step in matched) == 0
        assert storage.job_reader.total(wanted) == total


def test_a_job_claimed_after_it_was_picked_is_left_alone(storage: Storage) -> None:
    job_id = enqueue(storage)
    assert claim_one(storage).id == job_id

    change = storage.job_admin.change(
        JobAction.DELETE, [job_id], status=JobStatus.PENDING
    )

    assert change.changed == 0
    assert storage.job_reader.get(job_id).cancel_requested_at is None


def test_a_walk_takes_the_jobs_of_a_batch(storage: Storage) -> None:
    new = [NewJob("part"), NewJob("part", queue_name="mail")]
    batch = storage.batches.create(NewBatch("report"), new)
    other = storage.jobs.enqueue(NewJob("part")).id

    (step,) = walk(storage, JobAction.CANCEL, JobFilter(batch_id=batch.id))

    assert (step.matched, step.change.changed) == (2, 2)
    assert storage.batches.get(batch.id).dead == 2
    assert storage.job_reader.get(other).status is JobStatus.PENDING


def test_a_walk_takes_the_jobs_that_wait_for_others(storage: Storage) -> None:
    parent, other = enqueue(storage), enqueue(storage)
    child = storage.jobs.enqueue(NewJob("noop", after=[parent])).id

    (step,) = walk(storage, JobAction.CANCEL, JobFilter(is_waiting=True))

    assert (step.matched, step.change.changed) == (1, 1)
    assert storage.job_reader.get(child).status is JobStatus.DEAD
    for each in (parent, other):
        assert storage.job_reader.get(each).status is JobStatus.PENDING


def family(storage: Storage) -> list[str]:
    """A job that has died, one that has died with it, and one with that."""
    parent = enqueue(storage, "second")
    child = storage.jobs.enqueue(NewJob("first", after=[parent])).id
    grandchild = storage.jobs.enqueue(NewJob("third", after=[child])).id
    run(storage, Dead("no"))
    return [parent, child, grandchild]


@pytest.mark.parametrize(("limit", "changed"), [(1, 1), (BATCH, 3)])
def test_jobs_that_died_with_another_one_wait_for_its_retry(
    storage: Storage, limit: int, changed: int
) -> None:
    """Also if the walk comes to them before it comes to the other one"""
    parent, child, grandchild = family(storage)

    steps = walk(
        storage, JobAction.RETRY, having(JobStatus.DEAD), limit=limit, dependents=True
    )

    assert sum(step.change.changed for step in steps) == changed
    assert [job.id for job in storage.jobs.claim(QUEUE, OWNER, 5)] == [parent]
    for each in (child, grandchild):
        assert storage.job_reader.get(each).is_waiting
    if limit == 1:  # the child came first, and the grandchild is not dead any more
        assert steps[0].change.skipped == [Skip(child, SkipReason.WAITING)]


def test_jobs_that_died_with_one_that_is_not_chosen_are_left(storage: Storage) -> None:
    parent, child, grandchild = family(storage)
    wanted = replace(having(JobStatus.DEAD), kinds=("first", "third"))

    (step,) = walk(storage, JobAction.RETRY, wanted, dependents=True)

    assert step.change.changed == 0
    assert step.change.skipped == [
        Skip(child, SkipReason.WAITING),
        Skip(grandchild, SkipReason.WAITING),
    ]
    assert storage.job_admin.requeue(parent)
    # Its parent is not dead any more, so that nothing else would bring it back.
    (step,) = walk(storage, JobAction.RETRY, wanted, dependents=True)
    assert step.change.changed == 2
    assert not storage.job_reader.get(child).is_waiting
    assert storage.job_reader.get(grandchild).is_waiting


def test_named_jobs_that_died_with_one_another_come_back_in_order(
    storage: Storage,
) -> None:
    parent, child, grandchild = family(storage)
    alone = storage.job_admin.change

    change = alone(JobAction.RETRY, [child, grandchild], dependents=True)

    assert (change.changed, change.skipped) == (2, [])
    assert not storage.job_reader.get(child).is_waiting  # it was named for itself
    assert storage.job_reader.get(parent).status is JobStatus.DEAD
