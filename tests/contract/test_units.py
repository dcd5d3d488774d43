"""What several stores write in a unit is stored together, once, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NoReturn

import pytest

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    InvalidInputError,
    QueueNotFoundError,
    StorageError,
    StorageOutcomeUnknownError,
)
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.audit import AuditFilter, AuditRecord
from flask_forge_jobs.model.jobs import JobFilter, NewJob
from flask_forge_jobs.storage.audit import AuditLog
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.database import Transaction, TransientError
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.units import (
    Batches,
    Unit,
    UnitExecutor,
    present,
    when_stored,
    write_batch,
)
from tests.support.jobs import QUEUE
from tests.support.lossy import LossyDatabase
from tests.support.sql import Sql

RECORD = AuditRecord("ada", "act", None, "192.0.2.1", "r-1", 200, 1, "{}")
KEYED = NewJob("k", queue_name=QUEUE, dedupe_key="one")


def _expected(job_id: str) -> AuditRecord:
    return AuditRecord("ada", "enqueue", job_id, "192.0.2.1", "r-1", 200, 1, "{}")


def _unit() -> Unit:
    return Unit(_expected, wait=lambda _: None)


def _records(storage: Storage) -> list[AuditRecord]:
    return [entry.record for entry in storage.audit.page(AuditFilter(), 99)]


class LosesAnswers(LossyDatabase):
    """Commits what a unit does; the answers of its first tries get lost.

    Args:
        storage: Where it is stored.
        lost: How many get lost.
    """

    def __init__(self, storage: Storage, lost: int) -> None:
        super().__init__(storage.database)
        self._lost = lost

    @contextlib.contextmanager
    def begin(self, attempt: int) -> Iterator[Transaction]:
        """Open a transaction for a block."""
        with self._inner.begin(attempt) as transaction:
            yield transaction
        if attempt < self._lost:
            raise TransientError(StorageOutcomeUnknownError())


def _losing(storage: Storage, lost: int) -> tuple[JobQueue, AuditLog]:
    clock = SystemClock()
    database = UnitExecutor(LosesAnswers(storage, lost))
    ids = UlidGenerator(clock)
    jobs = JobQueue(database, ids, clock, recorder=storage.recorder)
    return jobs, AuditLog(database)


def test_everything_is_stored_at_the_end(storage: Storage, sql: Sql) -> None:
    def work() -> str:
        assert storage.queues.ensure("mail")
        stored = storage.jobs.enqueue(KEYED).id
        storage.audit.append(RECORD)
        # It sees what it has written, and nobody else does.
        assert storage.queues.get("mail").name == "mail"
        assert storage.job_reader.get(stored).kind == "k"
        assert sql.value("SELECT count(*) FROM forge_queue WHERE name = 'mail'") == 0
        assert storage.recorder.take() == {}
        return stored

    job_id = _unit().run(work)

    assert storage.job_reader.get(job_id).kind == "k"
    assert storage.queues.get("mail").name == "mail"
    assert _records(storage) == [RECORD]
    assert present.unit is None


@pytest.mark.parametrize(
    "error", [InvalidInputError("x", "refused"), OSError(5, "not the database's")]
)
def test_error_leaves_nothing_behind(storage: Storage, error: Exception) -> None:
    woken: list[str | None] = []
    done: list[str] = []

    def work() -> NoReturn:
        storage.queues.ensure("mail")
        storage.jobs.enqueue(KEYED)
        when_stored(lambda: done.append("stored"))
        raise error

    storage.open()
    listener = storage.database.listen(woken.append)
    with pytest.raises(type(error)) as caught:
        _unit().run(work)
    listener.stop()

    assert caught.value is error
    assert storage.queues.all() == []
    assert storage.recorder.take() == {}
    assert (QUEUE in woken, done) == (False, [])
    # Nothing is known of the queue that was not registered after all.
    assert storage.jobs.enqueue(KEYED).queue_created


def test_change_that_failed_cannot_be_passed_over(storage: Storage) -> None:
    def work() -> None:
        storage.queues.ensure("mail")
        with contextlib.suppress(QueueNotFoundError):
            storage.queues.change("none", {"paused": True})

    with pytest.raises(StorageError, match="nothing is stored"):
        _unit().run(work)

    assert storage.queues.all() == []


def test_reads_before_the_first_change_hold_nothing(storage: Storage) -> None:
    unit = _unit()

    def work() -> list[bool]:
        storage.queues.all()
        before = unit.has_begun(storage.database)
        storage.queues.ensure("mail")
        return [before, unit.has_begun(storage.database)]

    assert unit.run(work) == [False, True]


def test_lone_job_and_its_entry_travel_together(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("k", queue_name=QUEUE))  # registers the queue
    unit = _unit()

    def work() -> list[object]:
        job_id = storage.jobs.enqueue(NewJob("k", queue_name=QUEUE)).id
        assert unit.is_noted
        return [job_id, *_records(storage)]

    job_id, *records = unit.run(work)

    assert records == [_expected(str(job_id))]


def test_lone_job_whose_answer_is_lost_leaves_one_entry(storage: Storage) -> None:
    """The statement is sent again, with its entry."""
    clock = SystemClock()
    database = UnitExecutor(LossyDatabase(storage.database))
    jobs = JobQueue(database, UlidGenerator(clock), clock)
    jobs.enqueue(NewJob("k", queue_name=QUEUE))  # registers the queue
    unit = _unit()

    unit.run(lambda: jobs.enqueue(NewJob("other", queue_name=QUEUE)))

    assert unit.is_noted
    assert storage.job_reader.total(JobFilter(kinds=("other",))) == 1
    assert len(_records(storage)) == 1


def test_another_database_is_not_a_part_of_it(storage: Storage) -> None:
    settings = DatabaseSettings()
    with contextlib.closing(open_storage(settings)) as other:

        def work() -> NoReturn:
            storage.queues.ensure("mail")
            other.queues.ensure("mail")
            raise InvalidInputError("x", "refused")

        with pytest.raises(InvalidInputError):
            _unit().run(work)

        assert [queue.name for queue in other.queues.all()] == ["mail"]
        assert storage.queues.all() == []


@pytest.mark.parametrize("lost", [1, 3])
def test_repetition_stores_the_same_once(storage: Storage, lost: int) -> None:
    """The ids are those of the first try."""
    jobs, audit = _losing(storage, lost)
    minted: list[list[str]] = []

    def work() -> None:
        results = jobs.enqueue_many([NewJob("k"), NewJob("k"), KEYED])
        minted.append([result.id for result in results])
        audit.append(RECORD)

    _unit().run(work)

    assert len(minted) == lost + 1
    assert len({tuple(ids) for ids in minted}) == 1
    assert sorted(storage.job_reader.ids_in(minted[0])) == sorted(minted[0])
    assert storage.job_reader.total(JobFilter()) == 3
    assert _records(storage) == [RECORD]
    [tally] = [
        tally
        for (_, queue_name, _), tally in storage.recorder.take().items()
        if queue_name == QUEUE
    ]
    assert tally.enqueued == 3


def test_lost_outcome_names_the_jobs(storage: Storage) -> None:
    jobs, _ = _losing(storage, lost=9)
    minted: list[str] = []

    with pytest.raises(StorageOutcomeUnknownError) as caught:
        _unit().run(lambda: minted.append(jobs.enqueue(KEYED).id))

    assert set(caught.value.job_ids) == set(minted)


def test_batches_leave_an_entry_each_if_they_change_something(
    storage: Storage,
) -> None:
    storage.queues.ensure("mail")
    batches = Batches(
        lambda changed: AuditRecord("ada", "act", None, "", "r-1", 200, changed, "{}")
    )

    with batches.running():
        for changed in (3, 0, 2):
            write_batch(
                storage.database.write, lambda tx: len(tx.all("all_queues")),
                lambda _, changed=changed: changed,  # type: ignore[misc]  # bound
            )  # fmt: skip
    write_batch(storage.database.write, lambda _: 1, lambda _: 1)

    assert [record.changed for record in _records(storage)] == [2, 3]
    assert batches.entries == 2
