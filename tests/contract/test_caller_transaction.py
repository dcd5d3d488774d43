"""Jobs that come with the caller's commit and go with the caller's rollback (Q7)."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
import sqlalchemy
from sqlalchemy import orm

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    DuplicateJobError,
    InvalidInputError,
    JobNotFoundError,
    QueueNotFoundError,
    StorageBusyError,
    StorageError,
)
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage import flusher
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.database import Listener
from flask_forge_jobs.storage.sqlite.wake import SLOW_LOOK_S
from tests.support.callers import TABLE, Caller, sign_up
from tests.support.jobs import QUEUE, claim_one, enqueue, enqueued
from tests.support.processes import output_of, start_python
from tests.support.sql import Sql
from tests.support.threads import LIMIT_S, Heard, run_together
from tests.support.waiting import wait_until

JOBS = "SELECT COUNT(*) FROM forge_job"
SIGNUPS = "SELECT COUNT(*) FROM signup"
KEYED = NewJob("noop", dedupe_key="once")


@pytest.fixture
def caller(database_settings: DatabaseSettings, sql: Sql) -> Iterator[Caller]:
    """An application with a table of its own in the same database."""
    sql.run(TABLE)
    sql.run("DELETE FROM signup")
    with contextlib.closing(Caller(database_settings)) as opened:
        yield opened


# -- with the caller's transaction -------------------------------------------------


def test_a_commit_brings_the_job(storage: Storage, caller: Caller, sql: Sql) -> None:
    with caller.connected() as connection:
        sign_up(connection, "ann")
        result = storage.jobs.enqueue(NewJob("greet", "[1]"), connection=connection)
        with pytest.raises(JobNotFoundError):
            storage.job_reader.get(result.id)

        connection.commit()

    assert not result.is_deduped
    assert (claim_one(storage).id, sql.value(SIGNUPS)) == (result.id, 1)
    stored = storage.job_reader.get(result.id)
    assert (stored.kind, stored.payload) == ("greet", "[1]")
    assert stored.scheduled_at == result.scheduled_at


def test_a_storage_that_joined_closes_at_once(
    storage: Storage, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another round would outlast what the end waits for the last write.
    monkeypatch.setattr(flusher, "PERIOD_S", 2 * LIMIT_S)
    with caller.connected() as connection:
        storage.jobs.enqueue(NewJob("noop"), connection=connection)
        connection.commit()

    storage.close()

    # What the last write finds to have come must not keep it up.
    assert not storage.flusher.is_running
    jobs = storage.metrics.counters().jobs
    assert [tally.enqueued for tally in jobs.values()] == [1]


def test_a_rollback_leaves_nothing(storage: Storage, caller: Caller, sql: Sql) -> None:
    jobs = [NewJob("noop", queue_name="new"), NewJob("noop", dedupe_key="once")]
    with caller.connected() as connection:
        sign_up(connection, "ann")
        first = storage.jobs.enqueue(jobs[0], connection=connection)
        storage.jobs.enqueue_many(jobs, connection=connection)
        assert first.queue_created

        connection.rollback()

    assert (sql.value(JOBS), sql.value(SIGNUPS)) == (0, 0)
    assert sql.value("SELECT COUNT(*) FROM forge_queue") == 0
    with pytest.raises(QueueNotFoundError):
        storage.queues.get("new")
    assert enqueued(storage, queue_name="new").queue_created
    assert not enqueued(storage, key="once").is_deduped


def test_a_connection_that_ends_without_a_commit_leaves_nothing(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    with caller.connected() as connection:
        storage.jobs.enqueue(NewJob("noop"), connection=connection)

    assert sql.value(JOBS) == 0


def test_a_transaction_that_began_long_before_is_joined(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    """The caller holds every lock it can hold, and nothing of ours waits for it."""
    with caller.connected() as connection:
        sign_up(connection, "ann")
        results = [
            storage.jobs.enqueue(NewJob("noop", queue_name=name), connection=connection)
            for name in ("a", "b", "a")
        ]
        connection.commit()

    assert [result.queue_created for result in results] == [True, True, False]
    assert sql.value(JOBS) == 3


def test_many_jobs_join_in_order(storage: Storage, caller: Caller, sql: Sql) -> None:
    held = enqueue(storage, key="held")
    keys = ["new", None, "new", "held", None]
    jobs = [NewJob("noop", str(n), dedupe_key=key) for n, key in enumerate(keys)]

    with caller.connected() as connection:
        results = storage.jobs.enqueue_many(jobs, connection=connection)
        assert sql.value(JOBS) == 1
        connection.commit()

    assert [each.is_deduped for each in results] == [False, False, True, True, False]
    assert (results[2].id, results[3].id) == (results[0].id, held)
    assert storage.job_reader.get(results[4].id).payload == "4"
    assert sql.value(JOBS) == 4


def test_a_refused_call_is_undone_and_the_callers_work_stays(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    enqueue(storage, "greet", key="shared")
    jobs = [NewJob("noop"), NewJob("bill", dedupe_key="shared")]

    with caller.connected() as connection:
        sign_up(connection, "ann")
        with pytest.raises(DuplicateJobError):
            storage.jobs.enqueue_many(jobs, connection=connection)
        kept = storage.jobs.enqueue(NewJob("noop"), connection=connection)
        connection.commit()

    assert sql.value(SIGNUPS) == 1
    assert sql.run("SELECT id FROM forge_job WHERE kind = 'noop'") == [(kept.id,)]


def test_a_refused_call_ends_the_transaction_that_it_began(
    storage: Storage, caller: Caller
) -> None:
    enqueue(storage, "greet", key="shared")

    with caller.connected() as connection:
        with pytest.raises(DuplicateJobError):
            storage.jobs.enqueue(
                NewJob("bill", dedupe_key="shared"), connection=connection
            )

        # Nobody is kept out, and no snapshot is held.
        assert enqueued(storage, queue_name="other").queue_created
        assert not _is_in_transaction(connection)


def _is_in_transaction(connection: Any) -> bool:
    if isinstance(connection, sqlite3.Connection):
        return connection.in_transaction
    status: int = connection.info.transaction_status
    return status != psycopg2.extensions.TRANSACTION_STATUS_IDLE


def test_a_savepoint_of_the_callers_takes_the_job_with_it(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    with caller.connected() as connection:
        sign_up(connection, "ann")
        cursor = connection.cursor()
        cursor.execute("SAVEPOINT mine")
        storage.jobs.enqueue(NewJob("noop"), connection=connection)
        cursor.execute("ROLLBACK TO SAVEPOINT mine")
        kept = storage.jobs.enqueue(NewJob("noop"), connection=connection)
        connection.commit()

    assert sql.run("SELECT id FROM forge_job") == [(kept.id,)]
    assert sql.value(SIGNUPS) == 1


def test_rows_of_other_types_do_not_matter(storage: Storage, caller: Caller) -> None:
    holder = enqueue(storage, key="once")
    options: dict[str, Any] = {}
    if caller.settings.backend == "postgres":
        options["cursor_factory"] = psycopg2.extras.RealDictCursor
    with caller.connected(**options) as connection:
        if caller.settings.backend == "sqlite":
            connection.row_factory = sqlite3.Row
            connection.text_factory = bytes

        assert storage.jobs.enqueue(KEYED, connection=connection).id == holder
        assert caller.settings.backend != "sqlite" or connection.text_factory is bytes


def test_every_thread_has_its_own_transaction(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    def sign_up_and_greet(*, keeps: bool) -> None:
        with caller.connected(**_patience(caller)) as connection:
            sign_up(connection, "ann")
            storage.jobs.enqueue(NewJob("noop"), connection=connection)
            connection.commit() if keeps else connection.rollback()

    run_together([lambda keeps=n % 2: sign_up_and_greet(keeps=keeps) for n in range(8)])  # type: ignore[misc]

    assert (sql.value(JOBS), sql.value(SIGNUPS)) == (4, 4)


def _patience(caller: Caller) -> dict[str, Any]:
    return {"timeout": 30} if caller.settings.backend == "sqlite" else {}


# -- one key in two transactions ---------------------------------------------------


@pytest.mark.parametrize("keeps", [True, False])
def test_a_key_of_an_open_transaction_is_waited_for(
    storage: Storage, caller: Caller, *, keeps: bool
) -> None:
    """I9"""
    with caller.connected() as first:
        holder = storage.jobs.enqueue(KEYED, connection=first)
        second = threading.Thread(
            target=lambda: found.append(storage.jobs.enqueue(KEYED))
        )
        found: list[Any] = []
        second.start()
        second.join(0.3)
        assert second.is_alive()

        first.commit() if keeps else first.rollback()
        second.join(20)

    assert [each.is_deduped for each in found] == [keeps]
    assert (found[0].id == holder.id) is keeps


def test_two_callers_that_want_one_key_take_turns(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    def work() -> bool:
        with caller.connected(**_patience(caller)) as connection:
            sign_up(connection, "ann")
            result = storage.jobs.enqueue(KEYED, connection=connection)
            connection.commit()
        return result.is_deduped

    deduped = run_together([work] * 6)

    assert sorted(deduped) == [False] + [True] * 5
    assert (sql.value(JOBS), sql.value(SIGNUPS)) == (1, 6)


def test_a_lock_that_is_held_too_long_is_busy(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    with caller.connected() as first, caller.connected() as second:
        storage.jobs.enqueue(KEYED, connection=first)
        if caller.settings.backend == "postgres":
            second.cursor().execute("SET lock_timeout = 200")
        with pytest.raises(StorageBusyError):
            storage.jobs.enqueue(KEYED, connection=second)
        second.rollback()
        first.commit()

    assert sql.value(JOBS) == 1


# -- connections that cannot be joined ---------------------------------------------


def _refused(storage: Storage, connection: object) -> str:
    with pytest.raises(InvalidInputError) as caught:
        storage.jobs.enqueue(NewJob("noop"), connection=connection)
    assert caught.value.field == "connection"
    return caught.value.message


def _autocommitting(caller: Caller) -> Any:
    if caller.settings.backend == "sqlite":
        return caller.connect(isolation_level=None)
    connection = caller.connect()
    connection.autocommit = True
    return connection


def test_autocommit_is_refused(storage: Storage, caller: Caller, sql: Sql) -> None:
    with contextlib.closing(_autocommitting(caller)) as connection:
        assert "autocommit" in _refused(storage, connection)
        assert not _is_in_transaction(connection)

    assert sql.value(JOBS) == 0


def test_a_transaction_begun_in_autocommit_mode_is_joined(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    with contextlib.closing(_autocommitting(caller)) as connection:
        for end in ("ROLLBACK", "COMMIT"):
            connection.cursor().execute("BEGIN")
            storage.jobs.enqueue(NewJob("noop"), connection=connection)
            connection.cursor().execute(end)

    assert sql.value(JOBS) == 1


def test_a_closed_connection_is_refused(storage: Storage, caller: Caller) -> None:
    connection = caller.connect()
    connection.close()

    assert "closed" in _refused(storage, connection)


def test_a_connection_of_another_driver_is_refused(
    storage: Storage, postgres_server: str
) -> None:
    class Connection:
        """Some driver's that we do not know."""

    wanted = {"sqlite": "sqlite3", "postgres": "psycopg2"}[storage.backend]
    other: Any = (
        psycopg2.connect(postgres_server)
        if storage.backend == "sqlite"
        else sqlite3.connect(":memory:")
    )
    with contextlib.closing(other):
        for given in (other, Connection(), "postgresql://app@localhost/app"):
            message = _refused(storage, given)
            assert f"cannot be joined; pass a connection of {wanted}" in message


def test_a_connection_to_another_database_is_refused(
    storage: Storage, sql: Sql, postgres_server: str, tmp_path: Any
) -> None:
    for other in _elsewhere(storage, postgres_server, tmp_path):
        with contextlib.closing(other):
            assert re.search("is (to|open on) ", _refused(storage, other))
            assert not _is_in_transaction(other)

    assert sql.value(JOBS) == 0


def _elsewhere(storage: Storage, server: str, tmp_path: Any) -> list[Any]:
    if storage.backend == "postgres":
        return [psycopg2.connect(server)]
    twin = DatabaseSettings(path=tmp_path / "twin.sqlite")
    with contextlib.closing(open_storage(twin)) as other:
        other.open()
    return [sqlite3.connect(str(twin.path)), sqlite3.connect(":memory:")]


def test_jobs_in_memory_have_nobody_beside_them() -> None:
    with (
        contextlib.closing(open_storage(DatabaseSettings())) as storage,
        contextlib.closing(sqlite3.connect(":memory:")) as connection,
    ):
        assert "in memory" in _refused(storage, connection)


# -- SQLAlchemy --------------------------------------------------------------------


def test_a_connection_of_sqlalchemy_is_joined(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    with caller.engine().connect() as connection:
        # The first statement of the transaction, of which SQLAlchemy must know.
        lost = storage.jobs.enqueue(NewJob("noop"), connection=connection)
        connection.rollback()
        kept = storage.jobs.enqueue(NewJob("noop"), connection=connection)
        connection.execute(sqlalchemy.text("INSERT INTO signup VALUES ('ann')"))
        connection.commit()

    assert sql.run("SELECT id FROM forge_job") == [(kept.id,)]
    assert lost.id != kept.id
    assert sql.value(SIGNUPS) == 1


def test_a_block_of_sqlalchemy_commits_and_rolls_back(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    engine = caller.engine()
    with engine.begin() as connection:
        kept = storage.jobs.enqueue(NewJob("noop"), connection=connection)
    with pytest.raises(ZeroDivisionError), engine.begin() as connection:  # noqa: PT012
        storage.jobs.enqueue(NewJob("noop"), connection=connection)
        raise ZeroDivisionError

    assert sql.run("SELECT id FROM forge_job") == [(kept.id,)]


@pytest.mark.parametrize("is_scoped", [False, True])
def test_a_session_is_joined(
    storage: Storage, caller: Caller, sql: Sql, *, is_scoped: bool
) -> None:
    make = orm.sessionmaker(caller.engine())
    session: Any = orm.scoped_session(make) if is_scoped else make()

    for name in ("ann", "bob"):
        session.execute(sqlalchemy.text(f"INSERT INTO signup VALUES ('{name}')"))
        result = storage.jobs.enqueue(NewJob("noop"), connection=session)
        session.rollback() if name == "ann" else session.commit()
    session.close()

    assert sql.run("SELECT id FROM forge_job") == [(result.id,)]
    assert sql.run("SELECT name FROM signup") == [("bob",)]


def test_a_nested_transaction_takes_the_job_with_it(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    with orm.Session(caller.engine()) as session:
        session.execute(sqlalchemy.text("INSERT INTO signup VALUES ('ann')"))
        nested = session.begin_nested()
        storage.jobs.enqueue(NewJob("noop"), connection=session)
        nested.rollback()
        session.commit()

    assert (sql.value(JOBS), sql.value(SIGNUPS)) == (0, 1)


def test_a_connection_of_a_pool_is_joined(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    pooled = caller.engine().raw_connection()
    storage.jobs.enqueue(NewJob("noop"), connection=pooled)
    pooled.commit()
    pooled.close()

    assert sql.value(JOBS) == 1


def test_autocommit_of_sqlalchemy_is_refused(storage: Storage, caller: Caller) -> None:
    engine = caller.engine(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        assert "autocommit" in _refused(storage, connection)


def test_a_session_whose_flush_failed_raises(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    """M4: its commit would return normally, or not at all."""

    class Base(orm.DeclarativeBase):
        """The application's tables."""

    class Missing(Base):
        __tablename__ = "missing"
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)

    with orm.Session(caller.engine()) as session:
        session.add(Missing(id=1))
        with pytest.raises(sqlalchemy.exc.SQLAlchemyError):
            session.flush()
        if caller.settings.backend == "postgres":
            with pytest.raises(StorageError, match="roll"):
                storage.jobs.enqueue(NewJob("noop"), connection=session)
        session.rollback()
        storage.jobs.enqueue(NewJob("noop"), connection=session)
        session.commit()

    assert sql.value(JOBS) == 1


# -- wake-ups ----------------------------------------------------------------------


def test_workers_hear_of_a_commit(storage: Storage, caller: Caller) -> None:
    """PostgreSQL sends it; SQLite's file moves, and a listener looks at it."""
    heard = Heard()
    listener = storage.database.listen(heard)
    try:
        _settle(listener, heard)
        with caller.connected() as connection:
            storage.jobs.enqueue(NewJob("noop"), connection=connection)
            connection.commit()
        assert heard.wait_for(QUEUE if storage.backend == "postgres" else None)
    finally:
        listener.stop()


def test_workers_hear_of_a_commit_of_sqlalchemy(
    storage: Storage, caller: Caller
) -> None:
    heard = Heard()
    listener = storage.database.listen(heard)
    try:
        _settle(listener, heard)
        with caller.engine().connect() as connection:
            storage.jobs.enqueue(
                NewJob("noop", queue_name="lost"), connection=connection
            )
            connection.rollback()
            for name in ("mail", "mail", "sms"):
                storage.jobs.enqueue(
                    NewJob("noop", queue_name=name), connection=connection
                )
            assert "mail" not in heard.names
            connection.commit()
        assert heard.wait_for("mail")
        assert heard.wait_for("sms")
    finally:
        listener.stop()


def _settle(listener: Listener, heard: Heard) -> None:
    """Wait until the listener is there for sure, and has heard all there was."""
    wait_until(listener.is_pushing, "it listens")
    while heard.names:
        heard.clear()
        heard.wait_for(None, 2 * SLOW_LOOK_S)


# -- crashes -----------------------------------------------------------------------

_CRASH = """
import os, signal, sqlite3
from flask_forge_jobs.storage.sqlite.wake import SLOW_LOOK_S
from tests.support.callers import Caller, sign_up
connection = Caller(settings).connect()
sign_up(connection, "ann")
storage.jobs.enqueue(NewJob("noop", queue_name="new"), connection=connection)
if sys.argv[8] == "commit":
    connection.commit()
print("there", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("step", "jobs"), [("enqueue", 0), ("commit", 1)])
def test_a_process_that_is_killed_leaves_all_or_nothing(
    storage: Storage, caller: Caller, sql: Sql, step: str, jobs: int
) -> None:
    """I2"""
    process = start_python(caller.settings, _CRASH, step)
    output, errors = process.communicate(timeout=60)

    assert (output, errors, process.returncode) == ("there\n", "", -9)
    assert (sql.value(JOBS), sql.value(SIGNUPS)) == (jobs, jobs)
    assert len(storage.queues.all()) == jobs
    assert len(storage.jobs.claim("new", "owner", 5)) == jobs


_LOOP = """
import os
from flask_forge_jobs.storage.sqlite.wake import SLOW_LOOK_S
from tests.support.callers import Caller, sign_up
options = {"timeout": 30} if backend == "sqlite" else {}
connection = Caller(settings).connect(**options)
for number in range(60):
    sign_up(connection, "ann")
    storage.jobs.enqueue_many(
        [NewJob("noop"), NewJob("noop", dedupe_key=f"key-{number % 7}")],
        connection=connection,
    )
    connection.rollback() if number % 3 == 0 else connection.commit()
"""


def test_processes_that_join_at_once_lose_nothing(
    storage: Storage, caller: Caller, sql: Sql
) -> None:
    storage.queues.ensure(QUEUE)
    processes = [start_python(caller.settings, _LOOP) for _ in range(3)]
    for process in processes:
        output_of(process)

    assert sql.value(SIGNUPS) == 3 * 40
    assert sql.value(JOBS) == 3 * 40 + 7
