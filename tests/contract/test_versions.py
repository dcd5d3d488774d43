"""Code beside a newer package that has migrated the database."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import MigrationError, StorageError
from flask_forge_jobs.model.audit import AuditRecord
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.postgres.transaction import PostgresSchema
from flask_forge_jobs.storage.sqlite.transaction import SqliteSchema
from flask_forge_jobs.tasks.routing import DefaultRouter
from tests.support.callers import Caller
from tests.support.jobs import OWNER, QUEUE, claim_one, enqueue, finish
from tests.support.later_steps import (
    ADDITIVE,
    BREAKING,
    later_steps,
    later_storage,
    migrated,
)
from tests.support.sql import Sql
from tests.support.waiting import wait_until

LIMIT_S = 20.0
SCHEMAS: dict[str, Any] = {"sqlite": SqliteSchema, "postgres": PostgresSchema}
WAITING = (
    "SELECT COUNT(*) FROM pg_locks INNER JOIN pg_database "
    "ON pg_database.oid = pg_locks.database "
    "WHERE datname = current_database() AND NOT granted"
)
Writes = dict[str, Callable[[], object]]


@pytest.fixture
def caller(database_settings: DatabaseSettings) -> Iterator[Caller]:
    """An application with a connection of its own."""
    with contextlib.closing(Caller(database_settings)) as opened:
        yield opened


@pytest.fixture
def writes(storage: Storage, caller: Caller) -> Writes:
    """Return one call of each sort that stores something."""
    queue = "letters"
    enqueue(storage, queue_name=queue)
    enqueue(storage, queue_name=queue)
    job = claim_one(storage, queue_name=queue)
    record = AuditRecord("ann", "pause", "queue:mail", "127.0.0.1", "r", 200, 1, "{}")

    def joined() -> None:
        with caller.connected() as connection:
            try:
                storage.jobs.enqueue(NewJob("noop"), connection=connection)
            finally:
                connection.rollback()

    def figures() -> None:
        storage.recorder.enqueued(queue, "noop")
        storage.flusher.flush()

    return {
        "enqueue": lambda: enqueue(storage, queue_name=queue),
        "enqueue into a new queue": lambda: enqueue(storage, queue_name="new"),
        "enqueue with a key": lambda: enqueue(storage, queue_name=queue, key="k"),
        "enqueue many": lambda: storage.jobs.enqueue_many([NewJob("noop")] * 2),
        "enqueue within the caller's transaction": joined,
        "claim": lambda: storage.jobs.claim(queue, OWNER),
        "claim in the short way": lambda: storage.jobs.exchange(
            OWNER, (), {queue: 1}, promote=False
        ),
        "cancel": lambda: storage.job_admin.cancel(job.id),
        "finish": lambda: finish(storage, job, Done()),
        "heartbeat of the jobs": lambda: storage.jobs.heartbeat(OWNER, {}),
        "heartbeat": lambda: storage.workers.beat("host", None, [queue], []),
        "show": lambda: storage.workers.show("host", None, [queue], []),
        "lease": lambda: storage.leases.take("lead", "host", 60.0),
        "fire": lambda: storage.cron.fire_due(DefaultRouter()),
        "sweep": lambda: storage.retention.delete(queue, JobStatus.DONE, 1),
        "pause": lambda: storage.queues.change(queue, {"paused": True}),
        "audit": lambda: storage.audit.append(record),
        "rate limit": lambda: storage.rate_limits.put("api", 5, 1.0),
        "figures": figures,
    }


def outcome_of(write: Callable[[], object]) -> str:
    """Say how a call went."""
    try:
        write()
    except MigrationError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  # compared with what is expected
        return repr(error)
    return "stored"


def test_nothing_is_stored_once_older_code_may_not_work_on_the_schema(
    writes: Writes, database_settings: DatabaseSettings, sql: Sql
) -> None:
    before = sql.run("SELECT id, status, attempts FROM forge_job ORDER BY id")

    with migrated(database_settings, BREAKING) as later:
        said = {name: outcome_of(write) for name, write in writes.items()}
        after = sql.run("SELECT id, status, attempts FROM forge_job ORDER BY id")
        queues = {queue.name for queue in later.queues.all()}
        claimed = later.jobs.claim("letters", "later")

    known = later_steps(sql.backend, BREAKING)[-1].version
    reason = (
        f"schema version {known}: this database needs code that knows schema {known} "
        f"or newer, this package knows {known - 1}; upgrade flask-forge-jobs"
    )
    assert {name: text for name, text in said.items() if text != reason} == {}
    assert after == before
    assert queues == {"letters"}
    assert len(claimed) == 1  # the newer code goes on


def test_everything_is_stored_on_a_newer_schema_that_was_only_added_to(
    writes: Writes, database_settings: DatabaseSettings
) -> None:
    with migrated(database_settings, ADDITIVE):
        said = {name: outcome_of(write) for name, write in writes.items()}

    assert set(said.values()) == {"stored"}


def test_rolling_back_over_an_additive_step_and_not_over_a_breaking_one(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    """The code of before is started anew on what the later code left."""
    with migrated(database_settings, ADDITIVE) as later:
        job_id = enqueue(later)
        with contextlib.closing(open_storage(database_settings)) as older:
            older.open()
            claimed = older.jobs.claim(QUEUE, OWNER)

    with migrated(database_settings, ADDITIVE, BREAKING) as later:
        enqueue(later)
        with (
            contextlib.closing(open_storage(database_settings)) as older,
            pytest.raises(MigrationError, match="needs code that knows schema"),
        ):
            older.jobs.claim(QUEUE, OWNER)

    assert [job.id for job in claimed] == [job_id]
    assert storage.database.schema_versions() is not None


def test_two_codes_in_one_process_do_not_share_a_verdict(
    storage: Storage, database_settings: DatabaseSettings
) -> None:
    with migrated(database_settings, BREAKING) as later:
        assert "upgrade" in outcome_of(lambda: enqueue(storage))
        assert outcome_of(lambda: enqueue(later)) == "stored"
        assert "upgrade" in outcome_of(lambda: enqueue(storage))


# -- at the very moment ------------------------------------------------------------


class HeldStep:
    """A migration that stops in its transaction, after the script of its last step."""

    def __init__(self, sql: Sql) -> None:
        self.is_reached = threading.Event()
        self.may_go_on = threading.Event()
        self._sql = sql

    def someone_waits(self) -> bool:
        """Whether a session of PostgreSQL waits; SQLite's writers look in turn."""
        return self._sql.backend == "sqlite" or bool(self._sql.value(WAITING))


@pytest.fixture
def held(backend: str, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> HeldStep:
    """Holds the next migration."""
    step = HeldStep(sql)
    schema = SCHEMAS[backend]
    record = schema.record

    def hold(*given: Any) -> None:
        record(*given)
        step.is_reached.set()
        assert step.may_go_on.wait(LIMIT_S)

    monkeypatch.setattr(schema, "record", hold)
    return step


@pytest.mark.parametrize("verb", ["enqueue", "enqueue many", "claim"])
def test_who_waits_for_a_breaking_step_is_refused_after_it(
    verb: str,
    writes: Writes,
    database_settings: DatabaseSettings,
    sql: Sql,
    held: HeldStep,
) -> None:
    jobs = sql.run("SELECT id, status FROM forge_job ORDER BY id")

    with (
        ThreadPoolExecutor(2) as pool,
        later_storage(database_settings, BREAKING) as later,
    ):
        migrating = pool.submit(later.open)
        assert held.is_reached.wait(LIMIT_S)
        writing = pool.submit(outcome_of, writes[verb])
        wait_until(held.someone_waits, "the writer waits")
        held.may_go_on.set()
        migrating.result(LIMIT_S)
        said = writing.result(LIMIT_S)

    assert "upgrade flask-forge-jobs" in said
    assert sql.run("SELECT id, status FROM forge_job ORDER BY id") == jobs


def test_a_breaking_step_waits_for_an_open_transaction_of_a_caller(
    storage: Storage, database_settings: DatabaseSettings, caller: Caller, sql: Sql
) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        later_storage(database_settings, BREAKING) as later,
    ):
        with caller.connected() as connection:
            job_id = storage.jobs.enqueue(NewJob("noop"), connection=connection).id
            migrating = pool.submit(later.open)
            wait_until(HeldStep(sql).someone_waits, "the step waits")
            assert not migrating.done()
            connection.commit()
        migrating.result(LIMIT_S)

        # The step found the job and took it along.
        shape = "SELECT later_shape FROM forge_job WHERE id = ?"
        assert sql.value(shape, job_id) == 1
        assert later.job_reader.get(job_id).status is JobStatus.PENDING


def test_tables_from_before_the_release_have_an_error_that_says_what_to_do(
    storage: Storage, sql: Sql
) -> None:
    enqueue(storage)
    sql.run("ALTER TABLE forge_attempt RENAME COLUMN ending TO ended_how")
    try:
        with pytest.raises(StorageError, match="flask forge-jobs db reset"):
            storage.attention.facts(from_micros(sql.now_us()))
    finally:
        sql.run("ALTER TABLE forge_attempt RENAME COLUMN ended_how TO ending")
