"""Batches: counts that equal their rows, and events that come once each."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from flask_forge_jobs.errors import (
    BatchEndedError,
    BatchNotFoundError,
    BatchUnfinishedError,
    InvalidInputError,
    JobNotFoundError,
)
from flask_forge_jobs.model.batches import Batch, BatchEvent, BatchState, NewBatch
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.links import LinkEnd
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, FollowUp, Outcome
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import (
    OTHER,
    OWNER,
    QUEUE,
    claim_one,
    enqueue,
    finish,
    rescue_all,
    run,
    update_for,
)
from tests.support.sql import Sql

NOBODY = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def told_of(*events: BatchEvent) -> dict[BatchEvent, FollowUp]:
    """Return a job of a kind named after each event."""
    return {e: FollowUp(e.value, "ended", "mail", 0, 5) for e in events}


ALL = told_of(*BatchEvent)


def create(
    storage: Storage, count: int = 2, *, is_sealed: bool = True, **options: Any
) -> str:
    """Create a batch of jobs that are due."""
    new = NewBatch("report", {"year": 7}, options.pop("follow_ups", ALL), **options)
    return storage.batches.create(
        new, [NewJob("part") for _ in range(count)], is_sealed=is_sealed
    ).id


def youngest_cancelled(storage: Storage) -> str:
    """Cancel two batches whose jobs run, then one whose job waits, which is left."""
    for _ in range(2):
        cancelled = create(storage, 1)
        claim_one(storage)
        storage.batches.cancel(cancelled)
    youngest = create(storage, 1)
    storage.batches.cancel(youngest, lambda: True)
    return youngest


def told(storage: Storage) -> list[str]:
    """Return the kinds of the jobs at events, the oldest first."""
    storage.batches.tend()
    page = storage.job_reader.page(JobFilter(queues=["mail"]), 50)
    return [row.kind for row in reversed(page.rows)]


def counts(storage: Storage, batch_id: str) -> tuple[int, int, int, int]:
    batch = storage.batches.get(batch_id)
    return batch.total, batch.done, batch.dead, batch.removed


def settled(storage: Storage, batch_id: str) -> Batch:
    storage.batches.tend()
    return storage.batches.get(batch_id)


def end(storage: Storage, *outcomes: Outcome) -> None:
    """Claim jobs, and end them in one write."""
    claimed = storage.jobs.claim(QUEUE, OWNER, len(outcomes))
    assert len(claimed) == len(outcomes)
    storage.jobs.finish(
        OWNER,
        [
            update_for(job, outcome, failure_delay_s=0, user_cancelled=False)
            for job, outcome in zip(claimed, outcomes, strict=True)
        ],
    )


def test_batches_are_nested_within_a_bound(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite, all of them end with the innermost, one call within the other."""
    monkeypatch.setattr("flask_forge_jobs.storage.batches.MAX_NESTED", 2)
    outer = create(storage, 1)
    inner = create(storage, 1, within=outer)

    with pytest.raises(InvalidInputError, match="nested 2 deep") as caught:
        create(storage, 1, within=inner)

    assert caught.value.field == "within"
    assert len(storage.batches.page(9)) == 2


# -- events ------------------------------------------------------------------------


def test_a_batch_ends_with_its_last_job(storage: Storage) -> None:
    batch_id = create(storage, 3)
    end(storage, Done(), Done())
    before = settled(storage, batch_id)
    assert (before.state, before.waiting, before.completed_at) == (
        BatchState.RUNNING, 1, None,
    )  # fmt: skip
    assert told(storage) == []

    end(storage, Done())

    batch = settled(storage, batch_id)
    assert (batch.state, counts(storage, batch_id)) == (BatchState.DONE, (3, 3, 0, 0))
    assert batch.completed_at == batch.finished_at == batch.succeeded_at
    assert told(storage) == ["on_finished", "on_success"]
    job = storage.jobs.claim("mail", OWNER)[0]
    assert json.loads(job.payload)["ended"] == {
        "id": batch_id, "name": "report", "data": {"year": 7}, "total": 3, "done": 3,
        "dead": 0, "removed": 0,
    }  # fmt: skip


def test_the_first_dead_job_is_told_of_once(storage: Storage) -> None:
    create(storage, 3)

    end(storage, Dead("no"))
    assert told(storage) == ["on_dead"]
    end(storage, Dead("no"), Done())

    assert told(storage) == ["on_dead", "on_finished"]


def test_the_jobs_at_events_have_the_ids_that_were_minted(storage: Storage) -> None:
    batch = storage.batches.get(create(storage, 1))
    end(storage, Done())
    told(storage)

    for completion in (batch.on_finished, batch.on_success):
        assert completion is not None
        job = storage.job_reader.get(completion.job_id)
        assert job.kind == completion.follow_up.kind


@pytest.mark.parametrize("outcome", [Dead("no"), Failed("no")])
def test_every_end_of_a_job_counts(storage: Storage, outcome: Outcome) -> None:
    batch_id = create(storage, 4)
    first, second = storage.jobs.claim(QUEUE, OWNER, 2)
    storage.job_admin.cancel(first.id)
    finish(storage, first, outcome)
    storage.job_admin.cancel(second.id)
    rescue_all(storage)
    third, fourth = storage.batches.jobs(batch_id, status=JobStatus.PENDING)
    storage.job_admin.cancel(third.id)
    storage.job_admin.delete(fourth.id)

    assert counts(storage, batch_id) == (4, 0, 3, 1)
    assert settled(storage, batch_id).state is BatchState.DEAD
    assert told(storage) == ["on_dead", "on_finished"]


def test_an_empty_batch_ends_at_once(storage: Storage) -> None:
    batch_id = create(storage, 0)

    assert settled(storage, batch_id).state is BatchState.DONE
    assert told(storage) == ["on_finished", "on_success"]


def test_a_batch_of_removed_jobs_has_succeeded(storage: Storage) -> None:
    batch_id = create(storage, 2)

    storage.job_admin.step(JobAction.DELETE, JobFilter(kinds=["part"]))

    assert settled(storage, batch_id).state is BatchState.DONE
    assert counts(storage, batch_id) == (2, 0, 0, 2)
    assert told(storage) == ["on_finished", "on_success"]


def test_a_retry_reopens_the_counts_and_no_event(storage: Storage) -> None:
    """GoodJob #1450: an end after a retry is an end."""
    batch_id = create(storage, 2)
    end(storage, Done(), Dead("no"))
    assert told(storage) == ["on_dead", "on_finished"]

    assert storage.batches.retry(batch_id) == 1

    batch = settled(storage, batch_id)
    assert (batch.completed_at, batch.state) == (None, BatchState.RUNNING)
    assert counts(storage, batch_id) == (2, 1, 0, 0)
    end(storage, Dead("no"))
    assert told(storage) == ["on_dead", "on_finished"]
    storage.batches.retry(batch_id)
    end(storage, Done())
    assert told(storage) == ["on_dead", "on_finished", "on_success"]
    assert settled(storage, batch_id).state is BatchState.DONE


def test_a_failed_job_that_is_retried_by_hand_counts_once(storage: Storage) -> None:
    batch_id = create(storage, 1)
    job = run(storage, Failed("no"))

    assert storage.job_admin.requeue(job.id)

    assert counts(storage, batch_id) == (1, 0, 0, 0)
    end(storage, Done())
    assert counts(storage, batch_id) == (1, 1, 0, 0)


# -- adding ------------------------------------------------------------------------


def test_an_open_batch_does_not_end(storage: Storage) -> None:
    batch_id = create(storage, 1, is_sealed=False)
    end(storage, Done())
    batch = settled(storage, batch_id)
    assert (batch.state, told(storage)) == (BatchState.OPEN, [])

    storage.batches.add(batch_id, [NewJob("part")])
    storage.batches.seal(batch_id)
    storage.batches.seal(batch_id)
    end(storage, Done())

    assert settled(storage, batch_id).state is BatchState.DONE
    assert told(storage) == ["on_finished", "on_success"]


def test_a_running_job_adds_to_its_batch(storage: Storage) -> None:
    batch_id = create(storage, 1)
    job = claim_one(storage)

    storage.batches.add(batch_id, [NewJob("part")])
    finish(storage, job, Done())

    assert settled(storage, batch_id).unfinished == 1
    end(storage, Done())
    assert settled(storage, batch_id).state is BatchState.DONE


def test_a_batch_that_ended_takes_no_more(storage: Storage) -> None:
    batch_id = create(storage, 1)
    end(storage, Done())
    storage.batches.tend()

    with pytest.raises(BatchEndedError):
        storage.batches.add(batch_id, [NewJob("part")])
    with pytest.raises(BatchEndedError):
        storage.batches.create(NewBatch("inner", within=batch_id))
    with pytest.raises(BatchNotFoundError):
        storage.batches.add(NOBODY, [NewJob("part")])
    with pytest.raises(BatchNotFoundError):
        storage.batches.create(NewBatch("inner", within=NOBODY))
    with pytest.raises(BatchNotFoundError):
        storage.batches.seal(NOBODY)
    assert storage.job_reader.page(JobFilter(kinds=["part"]), 5).total == 1


def test_a_worker_that_has_lost_its_job_adds_nothing_to_an_ended_batch(
    storage: Storage,
) -> None:
    batch_id = create(storage, 1)
    lost = claim_one(storage)
    rescue_all(storage)
    storage.job_admin.run_now(lost.id)
    job = claim_one(storage, owner=OTHER)
    finish(storage, job, Done(), owner=OTHER)
    storage.batches.tend()

    with pytest.raises(BatchEndedError):
        storage.batches.add(batch_id, [NewJob("part")])

    assert not finish(storage, lost, Done())
    assert counts(storage, batch_id) == (1, 1, 0, 0)


def test_a_retried_job_may_add_to_its_batch(storage: Storage) -> None:
    batch_id = create(storage, 1)
    end(storage, Dead("no"))
    storage.batches.tend()
    storage.batches.retry(batch_id)
    claim_one(storage)

    storage.batches.add(batch_id, [NewJob("part")])

    assert counts(storage, batch_id) == (2, 0, 0, 0)


def test_a_duplicate_is_not_counted(storage: Storage) -> None:
    other = enqueue(storage, "part", key="k")

    created = storage.batches.create(
        NewBatch("report"), [NewJob("part", dedupe_key="k"), NewJob("part")]
    )

    assert [each.is_deduped for each in created.results] == [True, False]
    assert created.results[0].id == other
    assert counts(storage, created.id) == (1, 0, 0, 0)
    job = next(j for j in storage.jobs.claim(QUEUE, OWNER, 5) if j.id != other)
    finish(storage, job, Done())
    assert settled(storage, created.id).state is BatchState.DONE


def test_a_job_with_a_key_is_counted(storage: Storage) -> None:
    jobs = [NewJob("part", dedupe_key=f"k{n % 2}") for n in range(4)]

    created = storage.batches.create(NewBatch("report"), jobs)

    assert counts(storage, created.id)[0] == 2
    end(storage, Done(), Done())
    assert settled(storage, created.id).state is BatchState.DONE


def test_nothing_is_stored_of_a_batch_with_a_wrong_job(storage: Storage) -> None:
    with pytest.raises(JobNotFoundError):
        storage.batches.create(
            NewBatch("report"), [NewJob("part"), NewJob("part", after=[NOBODY])]
        )

    assert storage.batches.page(5) == []
    assert storage.job_reader.page(JobFilter(), 5).total == 0


def test_a_batch_that_is_stored_again_is_stored_once(storage: Storage) -> None:
    batch_id = create(storage, 1)
    with pytest.raises(InvalidInputError, match="another batch"):
        create(storage, 1, batch_id=batch_id)
    assert counts(storage, batch_id) == (1, 0, 0, 0)


# -- cancelling --------------------------------------------------------------------


def test_a_cancelled_batch_ends_its_jobs(storage: Storage) -> None:
    batch_id = create(storage, 4)
    running = claim_one(storage)

    batch = storage.batches.cancel(batch_id)

    assert (batch.state, batch.dead) == (BatchState.CANCELLING, 3)
    with pytest.raises(BatchEndedError):
        storage.batches.add(batch_id, [NewJob("part")])
    assert storage.jobs.cancelled(OWNER) == [running.id]
    finish(storage, running, Failed("stopped"))
    batch = settled(storage, batch_id)
    assert (batch.state, batch.dead) == (BatchState.DEAD, 4)
    assert told(storage) == ["on_dead", "on_finished"]
    assert storage.batches.cancel(batch_id).cancel_requested_at is not None


def test_the_first_dead_job_may_cancel_the_rest(storage: Storage) -> None:
    batch_id = create(storage, 3, cancel_on_dead=True)

    end(storage, Dead("no"))

    batch = settled(storage, batch_id)
    assert (batch.state, batch.dead) == (BatchState.DEAD, 3)
    assert told(storage) == ["on_dead", "on_finished"]
    # Another chance for all of them.
    assert storage.batches.retry(batch_id) == 3
    end(storage, Done(), Done(), Done())
    assert told(storage) == ["on_dead", "on_finished", "on_success"]


def test_a_batch_without_its_producer_is_cancelled_in_the_end(
    storage: Storage, sql: Sql
) -> None:
    batch_id = create(storage, 2, is_sealed=False)
    sql.age(3000)
    assert settled(storage, batch_id).state is BatchState.OPEN
    storage.batches.add(batch_id, [NewJob("part")])
    sql.age(3000)
    assert settled(storage, batch_id).state is BatchState.OPEN

    sql.age(1000)

    assert settled(storage, batch_id).state is BatchState.DEAD
    assert counts(storage, batch_id) == (3, 0, 3, 0)
    assert told(storage) == ["on_dead", "on_finished"]


# -- batches within batches, and jobs that wait for them -------------------------------


def test_a_batch_counts_the_batches_within(storage: Storage) -> None:
    outer = create(storage, 0, is_sealed=False)
    inner = create(storage, 1, within=outer)
    storage.batches.seal(outer)
    assert storage.batches.within(outer) == [inner]
    assert [each.id for each in storage.batches.first_within(outer, 5)] == [inner]
    assert storage.batches.first_within(inner, 5) == []

    end(storage, Done())

    assert settled(storage, inner).state is BatchState.DONE
    # Its jobs at the end count, too.
    assert counts(storage, outer) == (3, 1, 0, 0)
    for job in storage.jobs.claim("mail", OWNER, 5):
        finish(storage, job, Done())
    assert settled(storage, outer).state is BatchState.DONE
    assert sorted(told(storage)) == ["on_finished"] * 2 + ["on_success"] * 2


def test_a_batch_within_that_dies_and_is_retried(storage: Storage) -> None:
    outer = create(storage, 0, is_sealed=False, follow_ups={})
    inner = create(storage, 1, within=outer, follow_ups={})
    storage.batches.seal(outer)
    end(storage, Dead("no"))
    storage.batches.tend()
    storage.batches.tend()
    assert settled(storage, outer).state is BatchState.DEAD

    assert storage.batches.retry(outer) == 1
    storage.batches.tend()

    assert counts(storage, outer) == (1, 0, 0, 0)
    end(storage, Done())
    assert settled(storage, inner).state is BatchState.DONE
    storage.batches.tend()
    assert settled(storage, outer).state is BatchState.DONE


def test_a_cancelled_batch_cancels_those_within(storage: Storage) -> None:
    outer = create(storage, 0, is_sealed=False, follow_ups={})
    inner = create(storage, 2, within=outer, follow_ups={})

    storage.batches.cancel(outer)

    assert settled(storage, inner).state is BatchState.DEAD
    assert settled(storage, outer).state is BatchState.DEAD


@pytest.mark.parametrize("policy", ["cancel", "run", "hold"])
def test_a_job_may_wait_for_a_batch(storage: Storage, policy: str) -> None:
    batch_id = create(storage, 2)
    new = NewJob("next", queue_name="next", after=[batch_id], on_parent_dead=policy)
    child = storage.jobs.enqueue(new).id
    end(storage, Done())
    storage.batches.tend()
    assert storage.job_reader.get(child).is_waiting

    end(storage, Dead("no"))
    storage.batches.tend()

    job = storage.job_reader.get(child)
    assert (job.is_waiting, job.status) == {
        "cancel": (False, JobStatus.DEAD),
        "run": (False, JobStatus.PENDING),
        "hold": (True, JobStatus.PENDING),
    }[policy]
    storage.batches.retry(batch_id)
    end(storage, Done())
    storage.batches.tend()
    assert not storage.job_reader.get(child).is_waiting
    (parent,) = storage.links.parents_of(child)
    assert (parent.id, parent.kind) == (batch_id, None)
    if policy == "hold":
        assert parent.ended is LinkEnd.DONE
        assert json.loads(str(parent.result))["done"] == 2


def test_a_dead_batch_is_named_to_the_jobs_of_its_only_queue(storage: Storage) -> None:
    batch_id = create(storage, 1, follow_ups={})
    children = [
        storage.jobs.enqueue(NewJob("next", queue_name=name, after=[batch_id])).id
        for name in ("default", "next")
    ]

    end(storage, Dead("no"))
    storage.batches.tend()

    errors = [storage.job_reader.get(child).last_error for child in children]
    assert errors == [f"parent {batch_id} is dead", "a parent is dead"]


def test_a_batch_that_has_ended_is_no_wait(storage: Storage) -> None:
    batch_id = create(storage, 1)
    end(storage, Done())
    storage.batches.tend()

    child = storage.jobs.enqueue(NewJob("next", after=[batch_id]))

    assert not storage.job_reader.get(child.id).is_waiting


def test_jobs_that_die_with_another_count(storage: Storage) -> None:
    first = storage.batches.create(NewBatch("chain"), [NewJob("a")], is_sealed=False)
    parent = first.results[0].id
    storage.batches.add(first.id, [NewJob("b", after=[parent])])
    storage.batches.seal(first.id)

    end(storage, Dead("no"))

    assert counts(storage, first.id) == (2, 0, 2, 0)
    assert settled(storage, first.id).state is BatchState.DEAD
    assert storage.batches.retry(first.id) == 1
    assert counts(storage, first.id) == (2, 0, 0, 0)
    end(storage, Done())
    end(storage, Done())
    assert settled(storage, first.id).state is BatchState.DONE


# -- deleting and retention ------------------------------------------------------------


def test_a_queue_takes_its_waiting_jobs_along(storage: Storage) -> None:
    parent = enqueue(storage, queue_name="other")
    created = storage.batches.create(
        NewBatch("report"), [NewJob("part"), NewJob("part", after=[parent])]
    )
    child = storage.jobs.enqueue(
        NewJob("next", queue_name="next", after=[created.results[1].id])
    ).id

    storage.queues.delete_with_jobs(QUEUE)

    assert counts(storage, created.id) == (2, 0, 0, 2)
    assert storage.job_reader.get(child).status is JobStatus.DEAD


def test_jobs_of_an_open_batch_are_kept(storage: Storage, sql: Sql) -> None:
    batch_id = create(storage, 2, follow_ups={})
    end(storage, Done())
    storage.batches.tend()
    assert storage.retention.delete(QUEUE, JobStatus.DONE, 0) == 0
    end(storage, Done())
    storage.batches.tend()

    assert storage.retention.delete(QUEUE, JobStatus.DONE, 0, limit=1) == 1
    assert counts(storage, batch_id) == (2, 2, 0, 0)
    assert storage.retention.delete(QUEUE, JobStatus.DONE, 0) == 1

    with pytest.raises(BatchNotFoundError):
        storage.batches.get(batch_id)
    assert sql.value("SELECT COUNT(*) FROM forge_batch_range") == 0


def test_a_batch_within_goes_first(storage: Storage, sql: Sql) -> None:
    outer = create(storage, 0, is_sealed=False, follow_ups={})
    create(storage, 1, within=outer, follow_ups={})
    storage.batches.seal(outer)
    end(storage, Done())
    storage.batches.tend()
    assert settled(storage, outer).state is BatchState.DONE

    storage.retention.delete(QUEUE, JobStatus.DONE, 0)

    assert sql.value("SELECT COUNT(*) FROM forge_batch") == 0


def test_a_batch_without_jobs_is_kept_for_a_week(storage: Storage, sql: Sql) -> None:
    create(storage, 0, follow_ups={})
    create(storage, 1, follow_ups={})
    storage.batches.tend()
    storage.retention.sweep()
    assert len(storage.batches.page(5)) == 2

    sql.age(8 * 86_400)
    storage.retention.sweep()

    assert [each.total for each in storage.batches.page(5)] == [1]


def test_a_batch_is_deleted_with_its_jobs(storage: Storage, sql: Sql) -> None:
    batch_id = create(storage, 2)
    with pytest.raises(BatchUnfinishedError, match="2 unfinished"):
        storage.batches.delete(batch_id)
    end(storage, Done(), Dead("no"))
    storage.batches.tend()

    storage.batches.delete(batch_id)

    assert storage.batches.page(5) == []
    assert storage.job_reader.page(JobFilter(kinds=["part"]), 5).total == 0
    assert sql.value("SELECT COUNT(*) FROM forge_batch_range") == 0
    empty = create(storage, 0)
    storage.batches.tend()
    storage.batches.delete(empty)
    with pytest.raises(BatchNotFoundError):
        storage.batches.get(empty)


# -- reading -----------------------------------------------------------------------


def test_a_batch_is_deleted_before_its_end_is_noticed(storage: Storage) -> None:
    batch_id = create(storage, 1)
    end(storage, Done())

    storage.batches.delete(batch_id)

    with pytest.raises(BatchNotFoundError):
        storage.batches.get(batch_id)


def test_what_is_read_of_a_batch(storage: Storage, sql: Sql) -> None:
    batch_id = create(storage, 3)
    sql.age(10)
    newer = create(storage, 0)
    storage.batches.tend()
    end(storage, Done("7"))
    job = claim_one(storage)

    batch = storage.batches.get(batch_id)

    assert (batch.running, batch.waiting, batch.unfinished) == (1, 1, 2)
    assert (batch.name, batch.data) == ("report", '{"year":7}')
    ids = [each.id for each in storage.batches.jobs(batch_id)]
    assert len(ids) == 3
    assert [e.id for e in storage.batches.jobs(batch_id, after=ids[0], limit=1)] == [
        ids[1]
    ]
    running = storage.batches.jobs(batch_id, status=JobStatus.IN_PROGRESS)
    assert [each.id for each in running] == [job.id]
    assert storage.batches.results(batch_id) == [(ids[0], "7")]
    assert [each.id for each in storage.batches.page(5)] == [newer, batch_id]
    assert [each.id for each in storage.batches.page(5, is_open=True)] == [batch_id]
    assert storage.batches.overview() == (1, 0)
    assert storage.job_reader.get(job.id).batch_id == batch_id


def test_open_batches_and_waiting_jobs_are_counted(storage: Storage) -> None:
    parent = storage.jobs.enqueue(NewJob("part", queue_name="mail")).id
    other = create(storage, 1)
    for queue_name in ("mail", "bank"):
        job = NewJob("late", queue_name=queue_name, after=[parent, other])
        storage.jobs.enqueue(job)
    storage.jobs.enqueue(NewJob("later", delay=timedelta(days=1)))
    assert storage.batches.overview() == (1, 2)

    end(storage, Done())
    settled(storage, other)
    assert storage.batches.overview() == (0, 2)
    run(storage, Done(), queue_name="mail")

    assert storage.batches.overview() == (0, 0)


def test_what_a_batch_may_not_be() -> None:
    with pytest.raises(InvalidInputError, match="name"):
        NewBatch("")
    with pytest.raises(InvalidInputError, match="data"):
        NewBatch("x", "y" * 70_000)
    with pytest.raises(InvalidInputError, match="within"):
        NewBatch("x", within="7")
    with pytest.raises(InvalidInputError, match="behind"):
        NewBatch("x", within=NOBODY, batch_id=NOBODY)


def test_jobs_of_a_batch_come_in_the_order_of_their_ids(
    storage: Storage, sql: Sql
) -> None:
    """Whether they were added at once or one by one, with those of others between."""
    batch_id = create(storage, 3, is_sealed=False, follow_ups={})
    ids = storage.mint(6)
    others = create(storage, 0, is_sealed=False, follow_ups={})
    storage.batches.add(batch_id, [NewJob("part")] * 3, ids=ids[::2])
    storage.batches.add(others, [NewJob("part")] * 3, ids=ids[1::2])
    own = [row.id for row in storage.batches.jobs(batch_id)]

    assert own[3:] == ids[::2]
    assert own == sorted(own)
    assert [row.id for row in storage.batches.jobs(others)] == ids[1::2]
    pages, last = [], ""
    while page := storage.batches.jobs(batch_id, after=last, limit=2):
        pages += [row.id for row in page]
        last = page[-1].id
    assert pages == own
    assert sql.value(
        "SELECT COUNT(*) FROM forge_batch_range WHERE batch_id = ?", batch_id
    ) == 4  # fmt: skip


# -- circles -----------------------------------------------------------------------


def test_a_job_cannot_wait_for_its_own_batch(storage: Storage, sql: Sql) -> None:
    batch_id = create(storage, 1, is_sealed=False, follow_ups={})

    with pytest.raises(InvalidInputError, match="neither could end"):
        storage.batches.add(batch_id, [NewJob("part", after=[batch_id])])

    assert sql.value("SELECT COUNT(*) FROM forge_link") == 0
    assert counts(storage, batch_id) == (1, 0, 0, 0)


def test_two_batches_cannot_wait_for_each_other(storage: Storage) -> None:
    first, second, third = (
        create(storage, 1, is_sealed=False, follow_ups={}) for _ in range(3)
    )
    storage.batches.add(first, [NewJob("part", after=[second])])
    storage.batches.add(second, [NewJob("part", after=[third])])

    for other in (first, second):
        with pytest.raises(InvalidInputError, match="neither could end"):
            storage.batches.add(third, [NewJob("part", after=[other])])

    assert [counts(storage, each)[0] for each in (first, second, third)] == [2, 2, 1]


def test_a_batch_cannot_wait_for_a_job_that_waits_for_it(storage: Storage) -> None:
    batch_id = create(storage, 1, is_sealed=False, follow_ups={})
    waiting = storage.jobs.enqueue(NewJob("next", after=[batch_id])).id

    with pytest.raises(InvalidInputError, match="neither could end"):
        storage.batches.add(batch_id, [NewJob("part", after=[waiting])])


def test_a_batch_within_cannot_wait_for_the_one_around_it(storage: Storage) -> None:
    outer = create(storage, 0, is_sealed=False, follow_ups={})
    inner = create(storage, 1, is_sealed=False, within=outer, follow_ups={})

    with pytest.raises(InvalidInputError, match="neither could end"):
        storage.batches.add(inner, [NewJob("part", after=[outer])])
    storage.batches.add(outer, [NewJob("part", after=[inner])])
