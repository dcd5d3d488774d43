"""Counts of batches that somebody has spoilt, on both backends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_forge_jobs.model.batches import BatchEvent, BatchState, NewBatch
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, FollowUp
from flask_forge_jobs.storage import batch_checker
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.batch_checker import BatchFault, Counts, Look, correction
from tests.support.jobs import claim_one, run
from tests.support.sql import Sql


def create(storage: Storage, jobs: int = 3, name: str = "report") -> str:
    new = NewBatch(
        name, follow_ups={BatchEvent.FINISHED: FollowUp("send", "ended", "mail", 0, 5)}
    )
    batch_id = storage.batches.create(new, [NewJob("part")] * jobs).id
    storage.batches.tend()
    return batch_id


def stale(storage: Storage, sql: Sql, jobs: int = 3, name: str = "report") -> str:
    """Create a batch of which one job is done, one dead and one waits."""
    batch_id = create(storage, jobs, name)
    run(storage, Done())
    run(storage, Dead("no"))
    storage.batches.tend()
    sql.age(61)
    return batch_id


def counts(storage: Storage, batch_id: str) -> tuple[int, int, int, int]:
    batch = storage.batches.get(batch_id)
    return batch.total, batch.done, batch.dead, batch.removed


def mend(storage: Storage) -> list[bool]:
    return [
        storage.batch_checker.correct(e) for e in storage.batch_checker.look().faults
    ]


def test_right_counts_are_no_fault(storage: Storage, sql: Sql) -> None:
    stale(storage, sql)
    with_inner = storage.batches.create(NewBatch("outer"), [NewJob("part")]).id
    storage.batches.create(NewBatch("inner", within=with_inner), [NewJob("part")])
    storage.batches.create(NewBatch("ended", within=with_inner))
    storage.batches.tend()
    sql.age(61)

    assert storage.batch_checker.look() == Look([])


@pytest.mark.parametrize(
    ("spoilt", "unfinished"),
    [
        ("total = 4", 2),
        ("done = 0", 2),
        ("dead = 0", 2),
        ("total = 5, done = 0, dead = 0", 5),
        ("done = 0, dead = 2", 1),
    ],
)
def test_spoilt_counts_are_corrected(
    storage: Storage, sql: Sql, spoilt: str, unfinished: int
) -> None:
    batch_id = stale(storage, sql)
    sql.run(f"UPDATE forge_batch SET {spoilt}")
    assert storage.batch_checker.look().faults == [
        BatchFault(batch_id, "report", unfinished, 1)
    ]
    assert counts(storage, batch_id) != (3, 1, 1, 0), "a look changes nothing"

    assert mend(storage) == [True]

    assert storage.batches.get(batch_id).unfinished == 1
    assert storage.batch_checker.look().faults == []
    run(storage, Done())
    storage.batches.tend()
    assert storage.batches.get(batch_id).state is BatchState.DEAD
    assert storage.jobs.claim("mail", "W")[0].kind == "send"


def test_a_batch_that_would_end_too_soon_is_corrected(
    storage: Storage, sql: Sql
) -> None:
    batch_id = stale(storage, sql)
    sql.run("UPDATE forge_batch SET done = 2")

    assert mend(storage) == [True]

    assert counts(storage, batch_id) == (3, 1, 1, 0)
    assert storage.batches.get(batch_id).completed_at is None


def test_a_batch_whose_last_job_was_deleted_by_hand_ends(
    storage: Storage, sql: Sql
) -> None:
    batch_id = stale(storage, sql)
    sql.run("DELETE FROM forge_job WHERE status = 'pending'")

    assert mend(storage) == [True]

    assert counts(storage, batch_id) == (3, 1, 1, 1)
    assert storage.batches.get(batch_id).completed_at is not None
    assert storage.jobs.claim("mail", "W")[0].kind == "send"


def test_an_end_that_nobody_has_noticed_is_noticed(storage: Storage, sql: Sql) -> None:
    batch_id = stale(storage, sql, jobs=2)
    sql.run("UPDATE forge_batch SET completed_at = NULL")
    [fault] = storage.batch_checker.look().faults
    assert (fault.counted, fault.unfinished) == (0, 0)

    assert storage.batch_checker.correct(fault) is False

    assert storage.batches.get(batch_id).completed_at is not None


def test_a_correction_is_made_once(storage: Storage, sql: Sql) -> None:
    batch_id = stale(storage, sql)
    sql.run("UPDATE forge_batch SET total = 9")
    [fault] = storage.batch_checker.look().faults

    assert [storage.batch_checker.correct(fault) for _ in range(2)] == [True, False]
    assert storage.batches.get(batch_id).unfinished == 1


def test_young_and_running_batches_are_left_alone(storage: Storage, sql: Sql) -> None:
    create(storage)
    sql.run("UPDATE forge_batch SET total = 9")
    assert storage.batch_checker.look().faults == []
    sql.age(61)
    claim_one(storage)
    assert storage.batch_checker.look().faults == []
    sql.run("UPDATE forge_batch SET total = 3")


def test_a_look_is_bounded_and_goes_on(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [create(storage, name=str(n)) for n in range(5)]
    sql.age(61)
    sql.run("UPDATE forge_batch SET total = 4")

    found, after = [], 0
    for _ in range(3):
        faults, after = storage.batch_checker.look(after, max_jobs=8)
        found.append([each.id for each in faults])
    assert found == [ids[:2], ids[2:4], ids[4:]]
    assert after == 0
    monkeypatch.setattr(batch_checker, "MAX_BATCHES", 3)
    faults, after = storage.batch_checker.look()
    assert [each.id for each in faults] == ids[:3]
    assert [each.id for each in storage.batch_checker.look(after).faults] == ids[3:]
    monkeypatch.setattr(batch_checker, "LARGEST", 3)
    assert storage.batch_checker.look().faults == []
    sql.run("UPDATE forge_batch SET total = 3")


def test_ended_holds_are_forgotten(storage: Storage, sql: Sql) -> None:
    parents = [storage.jobs.enqueue(NewJob("check")).id for _ in range(2)]
    held = [
        storage.jobs.enqueue(NewJob("send", after=[each], on_parent_dead="hold")).id
        for each in parents
    ]
    for _ in parents:
        run(storage, Dead("no"))
    storage.batch_checker.drop_ended_holds()
    assert len(sql.run("SELECT child_id FROM forge_hold")) == 2
    storage.links.release(held[0])

    storage.batch_checker.drop_ended_holds()

    assert sql.run("SELECT child_id FROM forge_hold") == [(held[1],)]


_NUMBERS = st.integers(0, 4)


@given(st.tuples(*[_NUMBERS] * 4), st.tuples(*[_NUMBERS] * 3))
def test_corrected_counts_leave_as_many_unfinished_jobs_as_the_rows(
    numbers: tuple[int, int, int, int], jobs: tuple[int, int, int]
) -> None:
    counted, rows = Counts(*numbers), Counts(sum(jobs), *jobs[1:])

    added, done, removed, dead = correction(counted, rows)

    after = Counts(
        counted.total + added,
        counted.done + done,
        counted.dead + dead,
        counted.removed + removed,
    )
    assert after.unfinished == rows.unfinished
    assert after.done >= rows.done
    assert after.dead >= rows.dead
    assert after.removed >= 0
    assert correction(after, rows) == (0, 0, 0, 0)
