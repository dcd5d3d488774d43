"""A new job goes straight to a free slot of a worker in the producer's process."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import ClaimedJob, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Released, settle
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.database import Parameter, Row
from tests.support.jobs import OTHER, OWNER, QUEUE, claim_one, enqueue
from tests.support.lossy import lossy_jobs
from tests.support.sql import Sql

JOB = NewJob("noop")


class OneSlot:
    """A worker with a free slot, until it has a job; its own offer as well."""

    owner = OWNER

    def __init__(self) -> None:
        self.is_free = True
        self.asked: list[str] = []
        self.taken: list[list[ClaimedJob]] = []

    def offer(self, queue_name: str) -> OneSlot | None:
        self.asked.append(queue_name)
        return self if self.is_free else None

    def take(self, jobs: Sequence[ClaimedJob]) -> None:
        self.is_free = not jobs
        self.taken.append([*jobs])


@pytest.fixture
def slot(storage: Storage) -> OneSlot:
    """A worker's free slot; the queue is known, so that a job is one statement."""
    storage.jobs.claim(QUEUE, OTHER)
    enqueue(storage)
    claim_one(storage, owner=OTHER)
    taker = OneSlot()
    storage.jobs.takers.add(taker)
    return taker


def test_the_job_is_claimed_in_the_commit_that_stores_it(
    storage: Storage, slot: OneSlot
) -> None:
    result = storage.jobs.enqueue(JOB)

    ((claimed,),) = slot.taken
    stored = storage.job_reader.get(result.id)
    assert (claimed.id, claimed.attempts) == (result.id, 1)
    assert (stored.status, stored.process_id) == (JobStatus.IN_PROGRESS, OWNER)
    assert result.scheduled_at_us == claimed.scheduled_at_us
    assert to_micros(stored.scheduled_at) == result.scheduled_at_us
    assert not result.is_deduped
    # Together, so at one instant: the time is that of the transaction.
    assert stored.started_at == stored.enqueued_at


def test_who_has_no_free_slot_gets_nothing(storage: Storage, slot: OneSlot) -> None:
    slot.is_free = False

    waiting = storage.jobs.enqueue(JOB).id

    assert slot.taken == []
    assert storage.job_reader.get(waiting).status is JobStatus.PENDING


def test_nobody_is_asked_who_has_left(storage: Storage, slot: OneSlot) -> None:
    storage.jobs.takers.discard(slot)

    storage.jobs.enqueue(JOB)

    assert slot.asked == []


def test_the_first_who_offers_gets_it(storage: Storage, slot: OneSlot) -> None:
    second = OneSlot()
    storage.jobs.takers.add(second)

    storage.jobs.enqueue(JOB)
    storage.jobs.enqueue(JOB)

    assert [len(jobs) for jobs in (*slot.taken, *second.taken)] == [1, 1]


def test_a_job_for_later_is_not_offered(storage: Storage, slot: OneSlot) -> None:
    storage.jobs.enqueue(NewJob("noop", run_at=datetime(2999, 1, 1, tzinfo=UTC)))

    assert slot.asked == []


def test_who_comes_first_in_the_queue_is_claimed(
    storage: Storage, slot: OneSlot
) -> None:
    storage.jobs.takers.discard(slot)
    waiting = enqueue(storage)
    storage.jobs.takers.add(slot)
    woken: list[str | None] = []
    listener = storage.database.listen(woken.append)

    result = storage.jobs.enqueue(JOB)
    listener.stop()

    assert [job.id for jobs in slot.taken for job in jobs] == [waiting]
    assert storage.job_reader.get(result.id).status is JobStatus.PENDING
    assert QUEUE in woken
    assert claim_one(storage).id == result.id


def test_a_better_priority_is_claimed_before_those_that_wait(
    storage: Storage, slot: OneSlot
) -> None:
    storage.jobs.takers.discard(slot)
    enqueue(storage)
    storage.jobs.takers.add(slot)

    urgent = storage.jobs.enqueue(NewJob("noop", priority=-1)).id

    assert [job.id for jobs in slot.taken for job in jobs] == [urgent]


def test_a_paused_queue_hands_out_nothing(storage: Storage, slot: OneSlot) -> None:
    storage.queues.set_paused(QUEUE, paused=True)

    result = storage.jobs.enqueue(JOB)

    assert slot.taken == [[]]
    assert storage.job_reader.get(result.id).status is JobStatus.PENDING
    assert not result.is_deduped


def test_a_job_with_a_key_is_not_offered(storage: Storage, slot: OneSlot) -> None:
    """It may wait for the transaction of whoever holds the key."""
    storage.jobs.enqueue(NewJob("noop", dedupe_key="once"))

    assert slot.asked == []


def test_a_job_that_waits_is_stored_although_its_queue_is_full_by_now(
    storage: Storage, slot: OneSlot, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.queues.set_paused(QUEUE, paused=True)
    bound = "UPDATE forge_queue SET max_pending = 1"
    monkeypatch.setattr(slot, "take", lambda _: sql.run(bound))

    result = storage.jobs.enqueue(JOB)

    stored = storage.job_reader.get(result.id)
    assert stored.status is JobStatus.PENDING
    assert to_micros(stored.scheduled_at) == result.scheduled_at_us


def test_a_job_whose_answer_got_lost_is_taken_by_the_next_try(storage: Storage) -> None:
    jobs = lossy_jobs(storage.database)
    jobs.enqueue(JOB)  # from here on the queue is known
    claim_one(storage, owner=OTHER)
    taker = OneSlot()
    jobs.takers.add(taker)

    result = jobs.enqueue(JOB)

    stored = storage.job_reader.get(result.id)
    assert not result.is_deduped
    assert (stored.status, stored.process_id) == (JobStatus.IN_PROGRESS, OWNER)
    assert [[job.id for job in each] for each in taker.taken] == [[result.id]]
    assert taker.taken[0][0].attempts == 1


def test_a_job_that_was_claimed_again_meanwhile_is_left_to_that_claim(
    storage: Storage,
) -> None:
    """The worker of that claim may be running it."""

    def give_back() -> None:
        (gone,) = [job for job in storage.jobs.held(OWNER) if job.kind == "mine"]
        settlement = settle(gone, Released(), failure_delay_s=1.0, user_cancelled=False)
        assert storage.jobs.finish(OWNER, [settlement]) == []
        assert storage.jobs.claim(QUEUE, OWNER)[0].id == gone.id

    lossy_jobs(storage.database).enqueue(JOB)
    claim_one(storage, owner=OTHER)
    jobs = lossy_jobs(storage.database, give_back)
    jobs._enqueuer._queues.remember([QUEUE], {})
    taker = OneSlot()
    jobs.takers.add(taker)

    jobs.enqueue(NewJob("mine"))

    assert taker.taken == [[]]


def test_the_slot_comes_back_when_the_database_fails(
    storage: Storage, slot: OneSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = type(storage.database.at_once(_transaction_of))

    def fail(*_: object, **__: Parameter) -> list[Row]:
        raise StorageError("the disk is full")

    monkeypatch.setattr(opened, "all", fail)
    with pytest.raises(StorageError, match="the disk is full"):
        storage.jobs.enqueue(JOB)
    monkeypatch.undo()

    assert slot.taken == [[]]
    assert storage.jobs.claim(QUEUE, OTHER, 5) == []


def _transaction_of(transaction: object) -> object:
    return transaction
