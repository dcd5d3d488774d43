"""What several stores write in a unit is stored together, once, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import NoReturn, TypeVar, cast
from unittest.mock import Mock

import pytest

from flask_forge_jobs.errors import (
    InvalidInputError,
    QueueExistsError,
    QueueNotFoundError,
    StorageBusyError,
    StorageError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.model.audit import AuditFilter, AuditRecord
from flask_forge_jobs.model.bulk import DeleteOutcome
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.model.instants import from_micros, to_micros
from flask_forge_jobs.model.jobs import EnqueueResult, JobFilter, NewJob
from flask_forge_jobs.model.links import LinkEnd
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.storage.base import OVERVIEW_QUERY, Storage
from flask_forge_jobs.storage.database import (
    Database,
    Parameter,
    Row,
    Transaction,
    TransientError,
)
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.request_batches import RequestBatches
from flask_forge_jobs.storage.units import Unit
from tests.support.jobs import QUEUE
from tests.support.lossy import LossyDatabase, repeated
from tests.support.sql import SECOND_US, Sql

T = TypeVar("T")
RECORD = AuditRecord("ada", "act", None, "192.0.2.1", "r-1", 200, 1, "{}")
KEYED = NewJob("k", queue_name=QUEUE, dedupe_key="one")


def _expected(job_id: str | None) -> AuditRecord:
    return AuditRecord("ada", "enqueue", job_id, "192.0.2.1", "r-1", 200, 1, "{}")


def _unit(storage: Storage, database: Database | None = None) -> tuple[Unit, Storage]:
    """Return a unit, and the stores whose changes belong to it."""
    unit = Unit(database or storage.database, _expected, wait=lambda _: None)
    return unit, storage.within(unit)


def _records(storage: Storage) -> list[AuditRecord]:
    return [entry.record for entry in storage.audit.page(AuditFilter(), 99)]


class LosesAnswers(LossyDatabase):
    """Commits what a unit does; the answers of its first tries get lost."""

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


class LosesCommits(LossyDatabase):
    """Loses a unit's first commit on its way to the database."""

    def __init__(
        self, inner: Database, error: type[StorageError] = StorageOutcomeUnknownError
    ) -> None:
        super().__init__(inner)
        self._error = error

    @contextlib.contextmanager
    def begin(self, attempt: int) -> Iterator[Transaction]:
        """Open a transaction for a block."""
        with contextlib.suppress(KeyError), self._inner.begin(attempt) as transaction:
            yield transaction
            if not attempt:
                raise KeyError
        if not attempt:
            raise TransientError(self._error())


def test_everything_is_stored_at_the_end(storage: Storage, sql: Sql) -> None:
    unit, stores = _unit(storage)

    def work() -> str:
        assert stores.queues.ensure("mail")
        stored = stores.jobs.enqueue(KEYED).id
        stores.audit.append(RECORD)
        # It sees what it has written, and nobody else does.
        assert stores.queues.get("mail").name == "mail"
        assert stores.job_reader.get(stored).kind == "k"
        assert sql.value("SELECT count(*) FROM forge_queue WHERE name = 'mail'") == 0
        assert storage.recorder.take() == {}
        return stored

    job_id = unit.run(work)

    assert storage.job_reader.get(job_id).kind == "k"
    assert storage.queues.get("mail").name == "mail"
    assert _records(storage) == [RECORD]


@pytest.mark.parametrize(
    "error", [InvalidInputError("x", "refused"), OSError(5, "not the database's")]
)
def test_error_leaves_nothing_behind(storage: Storage, error: Exception) -> None:
    woken: list[str | None] = []
    done: list[str] = []
    unit, stores = _unit(storage)

    def work() -> NoReturn:
        stores.queues.ensure("mail")
        stores.jobs.enqueue(KEYED)
        stores.when_stored(done.append, "stored")
        raise error

    storage.open()
    listener = storage.database.listen(woken.append)
    with pytest.raises(type(error)) as caught:
        unit.run(work)
    listener.stop()

    assert caught.value is error
    assert storage.queues.all() == []
    assert storage.recorder.take() == {}
    assert (QUEUE in woken, done) == (False, [])
    # Nothing is known of the queue that was not registered after all.
    assert storage.jobs.enqueue(KEYED).queue_created


def test_unit_that_is_undone_wakes_nobody(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("k"))  # from now on its queue is known
    woken: list[str | None] = []
    unit, stores = _unit(storage)

    def work() -> NoReturn:
        stores.queues.ensure("mail")
        stores.jobs.enqueue(NewJob("k"))
        raise InvalidInputError("x", "refused")

    listener = storage.database.listen(woken.append)
    with pytest.raises(InvalidInputError):
        unit.run(work)
    listener.stop()

    assert QUEUE not in woken


def test_change_that_failed_cannot_be_passed_over(storage: Storage) -> None:
    unit, stores = _unit(storage)

    def work() -> None:
        stores.queues.ensure("mail")
        with contextlib.suppress(QueueNotFoundError):
            stores.queues.change("none", {"paused": True})

    with pytest.raises(StorageError, match="a write failed"):
        unit.run(work)

    assert storage.queues.all() == []


def test_reads_before_the_first_change_hold_nothing(storage: Storage) -> None:
    unit, stores = _unit(storage)

    def work() -> list[bool]:
        stores.queues.all()
        before = unit.has_begun
        stores.queues.ensure("mail")
        return [before, unit.has_begun]

    assert unit.run(work) == [False, True]


def test_other_stores_are_not_a_part_of_it(storage: Storage) -> None:
    """As those of a signal handler, which may come between two calls of a request"""
    unit, stores = _unit(storage)
    handled: list[str] = []

    def work() -> NoReturn:
        handled.append(storage.jobs.enqueue(NewJob("handler")).id)
        stores.queues.ensure("mail")
        with pytest.raises(StorageBusyError, match="signal handler"):
            storage.jobs.enqueue(NewJob("handler"))
        raise InvalidInputError("x", "refused")

    with pytest.raises(InvalidInputError):
        unit.run(work)

    assert storage.job_reader.ids_in(handled) == handled
    assert storage.job_reader.total(JobFilter()) == 1
    assert [queue.name for queue in storage.queues.all()] == ["default"]


@pytest.mark.parametrize("job", [NewJob("k", queue_name=QUEUE), KEYED])
def test_lone_job_and_its_entry_travel_together(storage: Storage, job: NewJob) -> None:
    storage.jobs.enqueue(NewJob("k", queue_name=QUEUE))  # registers the queue
    unit, stores = _unit(storage)

    def work() -> list[object]:
        job_id = stores.jobs.enqueue(job).id
        assert unit.is_noted
        return [job_id, *_records(storage)]

    job_id, *records = unit.run(work)

    assert records == [_expected(str(job_id))]


@pytest.mark.parametrize("key", [None, "one"])
def test_lone_job_whose_answer_is_lost_leaves_one_entry(
    storage: Storage, key: str | None
) -> None:
    """The statement is sent again, with its entry, and changes nothing."""
    storage.jobs.enqueue(NewJob("k", queue_name=QUEUE))  # registers the queue
    unit, stores = _unit(storage, LossyDatabase(storage.database))

    def work() -> EnqueueResult:
        job = NewJob("other", queue_name=QUEUE, dedupe_key=key)
        result = stores.jobs.enqueue(job)
        if not unit.is_noted:
            stores.audit.append(_expected(result.id))
        return result

    assert not unit.run(work).is_deduped
    assert not unit.is_noted  # the second try has met the job of the first
    assert storage.job_reader.total(JobFilter(kinds=("other",))) == 1
    assert len(_records(storage)) == 1


@pytest.mark.parametrize("is_lost", [False, True])
def test_few_jobs_and_their_entry_travel_together(
    storage: Storage, is_lost: bool
) -> None:
    storage.jobs.enqueue(NewJob("k", queue_name=QUEUE))  # registers the queue
    database = LossyDatabase(storage.database) if is_lost else storage.database
    unit, stores = _unit(storage, database)
    jobs = [NewJob("few", queue_name=QUEUE, delay=timedelta(hours=n)) for n in range(3)]

    def work() -> list[EnqueueResult]:
        results = stores.jobs.enqueue_many(jobs)
        if not unit.is_noted:
            stores.audit.append(replace(RECORD, changed=len(results)))
        return results

    results = unit.run(work)

    assert unit.is_noted == (storage.database.backend == "postgres")
    ids = sorted(each.id for each in results)
    assert sorted(storage.job_reader.ids_in(ids)) == ids
    assert storage.job_reader.total(JobFilter(kinds=("few",))) == 3
    for each in results:
        stored = storage.job_reader.get(each.id).scheduled_at
        assert (to_micros(stored), each.is_deduped) == (each.scheduled_at_us, False)
    assert [record.changed for record in _records(storage)] == [3]
    tallies = storage.recorder.take().items()
    assert [t.enqueued for (_, _, kind), t in tallies if kind == "few"] == [3]


class GoesAwayMeanwhile(LossyDatabase):
    """Loses an answer, has no other while that try goes on, and then none at all."""

    _is_away = False

    def execute(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Store something, and see nothing of it."""
        if self._is_away:
            raise StorageUnavailableError("away")
        self._inner.execute(name, **parameters)
        self._is_away = True
        return []


class AnswersLate(LossyDatabase):
    """Loses an answer; its repetition comes too early to see the stored jobs."""

    _is_first = True

    def pipeline(self, work: Callable[[Transaction], T]) -> T:
        """Run the statement; let the first one look as if it had returned nothing."""
        if not self._is_first:
            return self._inner.pipeline(work)
        self._is_first = False
        rows, *_ = cast("list[object]", self._inner.pipeline(repeated(work)))
        assert rows
        return cast("T", [[]])


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_few_jobs_that_are_looked_for_again_leave_one_entry(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("k", queue_name=QUEUE))  # registers the queue
    unit, stores = _unit(storage, AnswersLate(storage.database))

    unit.run(lambda: stores.jobs.enqueue_many([NewJob("k"), NewJob("k")]))

    assert unit.is_noted
    assert [record.changed for record in _records(storage)] == [2]


@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_few_jobs_whose_second_look_fails_may_be_stored(storage: Storage) -> None:
    """SQLite stores them in a transaction."""
    storage.jobs.enqueue(NewJob("k", queue_name=QUEUE))  # registers the queue
    database = GoesAwayMeanwhile(storage.database)
    stores = storage.within(RequestBatches(database, lambda _: RECORD))

    with pytest.raises(StorageOutcomeUnknownError) as caught:
        stores.jobs.enqueue_many([NewJob("k"), NewJob("k")])

    ids = sorted(caught.value.job_ids)
    assert sorted(storage.job_reader.ids_in(ids)) == ids


def test_schedule_whose_answer_is_lost_leaves_one_entry(storage: Storage) -> None:
    unit, stores = _unit(storage, LossyDatabase(storage.database))

    def work() -> None:
        created = stores.cron.create(ScheduleDefinition("tick", "k", "* * * * *"))
        if not unit.is_noted:
            stores.audit.append(_expected(created.definition.name))

    unit.run(work)

    assert [each.definition.name for each in storage.cron.all()] == ["tick"]
    assert _records(storage) == [_expected("tick")]


class GoesAway(LossyDatabase):
    """Loses the answer to a statement that is a whole request, and then all calls."""

    _is_away = False

    def pipeline(self, work: Callable[[Transaction], T]) -> T:
        """Run the statement twice, the second time as its repetition."""
        if self._is_away:
            raise StorageUnavailableError("away")
        self._is_away = True
        return super().pipeline(work)

    def begin(self, attempt: int) -> NoReturn:
        """Reach nobody."""
        del attempt
        raise TransientError(StorageUnavailableError("away"))


def test_keyed_job_whose_repetition_reaches_nobody_may_be_stored(
    storage: Storage,
) -> None:
    """Its repetition meets its own key, and nobody tells whose that is."""
    storage.jobs.enqueue(NewJob("k", queue_name=QUEUE))  # registers the queue
    unit, stores = _unit(storage, GoesAway(storage.database))

    with pytest.raises(StorageOutcomeUnknownError) as caught:
        unit.run(lambda: stores.jobs.enqueue(KEYED))

    assert storage.job_reader.get(*caught.value.job_ids).dedupe_key == "one"


def test_released_job_and_its_entry_travel_together(storage: Storage, sql: Sql) -> None:
    parent = storage.jobs.enqueue(NewJob("k")).id
    child = storage.jobs.enqueue(NewJob("child", after=(parent,))).id
    unit, stores = _unit(storage)

    def work() -> None:
        stores.links.release(child)
        if not unit.is_noted:
            stores.audit.append(_expected(None))

    unit.run(work)

    assert unit.is_noted == (storage.database.backend == "postgres")
    assert storage.job_reader.get(child).scheduled_at <= from_micros(sql.now_us())
    assert storage.links.parents_of(child)[0].ended is LinkEnd.RELEASED
    assert _records(storage) == [_expected(None)]


def test_release_whose_answer_is_lost_is_no_conflict_with_itself(
    storage: Storage,
) -> None:
    parent = storage.jobs.enqueue(NewJob("k")).id
    child = storage.jobs.enqueue(NewJob("child", after=(parent,))).id
    unit, stores = _unit(storage, LosesAnswers(storage, lost=1))

    def work() -> None:
        stores.links.release(child)
        if not unit.is_noted:
            unit.append(_expected(None))

    unit.run(work)

    assert storage.links.parents_of(child)[0].ended is LinkEnd.RELEASED
    assert _records(storage) == [_expected(None)]


def _overview(stores: Storage) -> list[str]:
    return [each.settings.name for each in stores.job_reader.snapshot().overview]


def test_query_that_is_expected_sees_the_change(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    unit, stores = _unit(storage)
    read = Mock(wraps=storage.database.read_one)
    monkeypatch.setattr(storage.database, "read_one", read)

    def create() -> list[str]:
        stores.expect(OVERVIEW_QUERY)
        stores.queues.create(QueueSettings("mail"))
        return _overview(stores)

    assert unit.run(create) == ["mail"]
    assert read.called == (storage.database.backend == "sqlite")
    # Not if the change fails.
    with pytest.raises(QueueExistsError):
        unit.run(create)


def test_query_that_is_expected_sees_a_later_change(storage: Storage) -> None:
    unit, stores = _unit(storage)

    def create() -> list[str]:
        stores.expect(OVERVIEW_QUERY)
        stores.queues.create(QueueSettings("mail"))
        stores.queues.ensure("later")
        return _overview(stores)

    assert unit.run(create) == ["later", "mail"]


def test_query_that_is_expected_comes_with_a_lone_job(storage: Storage) -> None:
    storage.jobs.enqueue(NewJob("k", queue_name=QUEUE))  # registers the queue
    unit, stores = _unit(storage)

    def work() -> list[int]:
        stores.expect(OVERVIEW_QUERY)
        stores.jobs.enqueue(NewJob("k", queue_name=QUEUE))
        assert unit.is_noted
        overview = stores.job_reader.snapshot().overview
        return [each.counts.pending for each in overview]

    assert unit.run(work) == [2]
    assert len(_records(storage)) == 1


def test_entry_says_how_many_queues_have_changed(storage: Storage) -> None:
    for name in ("a", "b", "c"):
        storage.queues.ensure(name)
    storage.queues.set_paused_many(["a"], paused=True)
    unit, stores = _unit(storage)

    changed = unit.run(lambda: stores.queues.set_paused_many(None, paused=True))

    assert (changed, unit.is_noted) == (2, True)
    assert [record.changed for record in _records(storage)] == [2]


def test_unknown_queue_among_others_keeps_them_as_they_are(storage: Storage) -> None:
    storage.queues.ensure("a")
    unit, stores = _unit(storage)

    with pytest.raises(QueueNotFoundError):
        unit.run(lambda: stores.queues.cool_down(["a", "b"], 60))

    assert storage.queues.get("a").throttled_until is None
    assert _records(storage) == []


def test_job_whose_key_is_taken_leaves_its_entry_to_the_request(
    storage: Storage,
) -> None:
    held = storage.jobs.enqueue(KEYED).id
    unit, stores = _unit(storage)

    assert unit.run(lambda: stores.jobs.enqueue(KEYED).id) == held
    assert not unit.is_noted
    assert _records(storage) == []


@pytest.mark.parametrize("lost", [1, 3])
def test_repetition_stores_the_same_once(storage: Storage, lost: int) -> None:
    """The ids are those of the first try."""
    unit, stores = _unit(storage, LosesAnswers(storage, lost))
    minted: list[list[str]] = []

    def work() -> None:
        results = stores.jobs.enqueue_many([NewJob("k"), NewJob("k"), KEYED])
        minted.append([result.id for result in results])
        stores.audit.append(RECORD)

    unit.run(work)

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
    unit, stores = _unit(storage, LosesAnswers(storage, lost=9))
    minted: list[str] = []

    with pytest.raises(StorageOutcomeUnknownError) as caught:
        unit.run(lambda: minted.append(stores.jobs.enqueue(KEYED).id))

    assert set(caught.value.job_ids) == set(minted)


def test_batches_leave_an_entry_each_if_they_change_something(storage: Storage) -> None:
    storage.queues.ensure("mail")
    batches = RequestBatches(
        storage.database,
        lambda changed: AuditRecord("ada", "act", None, "", "r-1", 200, changed, "{}"),
    )
    write_batch = batches.executor().write_batch

    for changed in (0, 3, 0, 2):
        write_batch(lambda tx: len(tx.all("all_queues")), lambda _, n=changed: n)  # type: ignore[misc]  # bound
        assert batches.has_entry == bool(_records(storage))
    StoreExecutor(storage.database).write_batch(lambda _: 1, lambda _: 1)

    assert [record.changed for record in _records(storage)] == [2, 3]
    assert batches.has_entry


def test_result_of_a_try_whose_answer_was_lost_stands(storage: Storage) -> None:
    """Its repetition would find the queue paused, and the job deleted."""
    storage.queues.ensure("mail")
    job_id = storage.jobs.enqueue(KEYED).id
    done: list[str] = []
    tried: list[int] = []
    unit, stores = _unit(storage, LosesAnswers(storage, lost=1))

    def work() -> object:
        tried.append(1)
        stores.queues.ensure("new")  # begins the transaction
        results = [
            stores.queues.set_paused_many(["mail"], paused=True),
            stores.job_admin.delete(job_id),
        ]
        stores.when_stored(done.append, "stored")
        unit.append(RECORD)
        return results

    assert unit.run(work) == [1, DeleteOutcome.DELETED]
    assert (tried, done) == ([1], ["stored"])
    assert _records(storage) == [RECORD]


def test_try_that_was_not_stored_is_made_again(storage: Storage) -> None:
    unit, stores = _unit(storage, LosesCommits(storage.database))

    def work() -> bool:
        is_new = stores.queues.ensure("mail")
        unit.append(RECORD)
        return is_new

    assert unit.run(work)
    assert storage.queues.get("mail").name == "mail"
    assert _records(storage) == [RECORD]


@pytest.mark.parametrize("error", [StorageBusyError, StorageOutcomeUnknownError])
def test_entry_of_an_equal_request_is_none_of_a_try_that_failed(
    storage: Storage, sql: Sql, error: type[StorageError]
) -> None:
    """Its client may give one id to several requests."""
    _append_equal(sql, sql.now_us() - SECOND_US)
    unit, stores = _unit(storage, LosesCommits(storage.database, error))

    def work() -> None:
        stores.queues.ensure("mail")
        unit.append(RECORD)

    unit.run(work)

    assert storage.queues.get("mail").name == "mail"


def test_entry_of_an_equal_request_meanwhile_is_none_of_a_try_that_stored_nothing(
    storage: Storage, sql: Sql
) -> None:
    """Only where nobody knows whether a try is stored does its entry tell."""
    database = LosesCommits(storage.database, StorageBusyError)
    unit, stores = _unit(storage, database)
    _append_equal(sql, sql.now_us())

    def work() -> None:
        stores.queues.ensure("mail")
        unit.append(RECORD)

    unit.run(work)

    assert storage.queues.get("mail").name == "mail"


def _append_equal(sql: Sql, at_us: int) -> None:
    """Append an entry that equals ``RECORD``, of another request."""
    sql.run(
        "INSERT INTO forge_audit (at, actor, action, address, request_id, status, "
        "changed, arguments) "
        "VALUES (?, 'ada', 'act', '192.0.2.1', 'r-1', 200, 1, '{}')",
        at_us,
    )
