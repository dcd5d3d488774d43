"""Callers' transactions on sqlite3."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import sys
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import sqlalchemy

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    InvalidInputError,
    MigrationError,
    StorageBusyError,
    StorageError,
)
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.sqlite.database import SqliteDatabase
from flask_forge_jobs.storage.sqlite.join import CommitWakes
from tests.support.callers import TABLE, sign_up
from tests.support.clocks import MovingClock
from tests.support.costs import no_hang
from tests.support.runtimes import LIMIT_S
from tests.support.sql import Sql

JOBS = "SELECT COUNT(*) FROM forge_job"


@pytest.fixture
def path(sqlite: Storage, sqlite_settings: DatabaseSettings) -> Path:
    """The file, with our tables and the application's."""
    sqlite.open()
    Sql(sqlite_settings).run(TABLE)
    assert sqlite_settings.path is not None
    return sqlite_settings.path


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """The caller's, which waits for no lock."""
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as opened:
        yield opened


@pytest.fixture
def engine() -> Iterator[sqlalchemy.Engine]:
    """An engine of some application's."""
    engine = sqlalchemy.create_engine("sqlite://")
    yield engine
    engine.dispose()


def count(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as beside:
        number: int = beside.execute(JOBS).fetchone()[0]
    return number


@pytest.mark.parametrize("level", ["", "DEFERRED", "IMMEDIATE", "EXCLUSIVE"])
def test_every_level_that_begins_by_itself_is_joined(
    sqlite: Storage, path: Path, level: Any
) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=level)) as caller:
        sqlite.jobs.enqueue(NewJob("noop"), connection=caller)
        caller.rollback()
        with caller:
            sqlite.jobs.enqueue(NewJob("noop"), connection=caller)

    assert count(path) == 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="has no autocommit attribute")
def test_a_connection_that_is_always_in_a_transaction_is_joined(
    sqlite: Storage, path: Path
) -> None:
    caller: Any = sqlite3.connect(path, autocommit=False)  # type: ignore[call-overload,unused-ignore]  # Python 3.12
    with contextlib.closing(caller):
        sqlite.jobs.enqueue(NewJob("noop"), connection=caller)
        caller.rollback()
        sqlite.jobs.enqueue(NewJob("noop"), connection=caller)
        caller.commit()

    assert count(path) == 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="has no autocommit attribute")
def test_the_autocommit_attribute_is_refused(sqlite: Storage, path: Path) -> None:
    caller: Any = sqlite3.connect(path, autocommit=True)  # type: ignore[call-overload,unused-ignore]  # Python 3.12
    with contextlib.closing(caller):
        with pytest.raises(InvalidInputError, match="autocommit"):
            sqlite.jobs.enqueue(NewJob("noop"), connection=caller)
        caller.execute("BEGIN")
        sqlite.jobs.enqueue(NewJob("noop"), connection=caller)
        caller.execute("COMMIT")

    assert count(path) == 1


def patient(settings: DatabaseSettings) -> DatabaseSettings:
    """Settings with a lock time-out far longer than any test."""
    return replace(settings, busy_timeout_s=2 * LIMIT_S)


def test_nothing_waits_for_the_lock_that_the_caller_holds(
    path: Path, sqlite_settings: DatabaseSettings, connection: sqlite3.Connection
) -> None:
    """Not even the first use of a storage in a process."""
    sign_up(connection, "ann")

    with contextlib.closing(open_storage(patient(sqlite_settings))) as fresh:
        with no_hang():
            fresh.jobs.enqueue(NewJob("noop", queue_name="new"), connection=connection)
        connection.commit()

    assert count(path) == 1


def test_nothing_waits_for_a_thread_that_waits_for_the_caller(
    path: Path, sqlite_settings: DatabaseSettings, connection: sqlite3.Connection
) -> None:
    """The first call of one thread waited for the first write of another."""
    sign_up(connection, "ann")

    with (
        contextlib.closing(open_storage(patient(sqlite_settings))) as fresh,
        ThreadPoolExecutor(1) as pool,
    ):
        assert isinstance(fresh.database, SqliteDatabase)
        state = fresh.database._state
        pool.submit(state.turn.acquire).result()
        with no_hang():
            fresh.jobs.enqueue(NewJob("noop"), connection=connection)
            state.is_open = True  # as if the other thread had opened it meanwhile
            fresh.database._open_first(state)
        connection.commit()
        pool.submit(state.turn.release).result()

    assert count(path) == 1


def test_a_job_is_as_old_as_the_lock_that_it_waited_for(
    path: Path, sqlite_settings: DatabaseSettings, connection: sqlite3.Connection
) -> None:
    """It was older than the jobs of the writer that it waited for."""
    del path
    clock = MovingClock()
    waited = {"BEGIN IMMEDIATE": 2.0}
    with contextlib.closing(open_storage(sqlite_settings, clock=clock)) as storage:
        connection.set_trace_callback(
            lambda sql: clock.move(waited.get(sql.strip(), 0))
        )
        job_id = storage.jobs.enqueue(NewJob("noop"), connection=connection).id
        connection.commit()
        job = storage.job_reader.get(job_id)

    assert to_micros(job.enqueued_at) == clock.now_us()


def test_a_missing_schema_is_made_in_the_callers_transaction(
    sqlite_settings: DatabaseSettings,
) -> None:
    path = sqlite_settings.path
    assert path is not None
    with (
        contextlib.closing(sqlite3.connect(path)) as caller,
        contextlib.closing(open_storage(patient(sqlite_settings))) as storage,
    ):
        caller.row_factory = lambda _cursor, row: {"row": row}
        for _ in range(2):
            caller.execute(TABLE)
            sign_up(caller, "ann")
            with no_hang():
                storage.jobs.enqueue(NewJob("noop"), connection=caller)
            caller.rollback()  # the schema goes along
        sign_up(caller, "ann")
        with no_hang():
            first = storage.jobs.enqueue(NewJob("noop"), connection=caller)
            storage.jobs.enqueue(NewJob("noop"), connection=caller)
        caller.commit()

        assert storage.job_reader.get(first.id).status == "pending"
        storage.jobs.enqueue(NewJob("noop"))

    assert count(path) == 3


def test_a_missing_schema_is_not_made_where_that_is_not_allowed(
    sqlite_settings: DatabaseSettings,
) -> None:
    assert sqlite_settings.path is not None
    with (
        contextlib.closing(sqlite3.connect(sqlite_settings.path)) as caller,
        contextlib.closing(open_storage(sqlite_settings, migrate=False)) as storage,
    ):
        caller.execute("BEGIN IMMEDIATE")
        with pytest.raises(MigrationError, match="db migrate"):
            storage.jobs.enqueue(NewJob("noop"), connection=caller)


def test_a_schema_that_is_too_new_is_refused(
    path: Path, sqlite_settings: DatabaseSettings, connection: sqlite3.Connection
) -> None:
    with Sql(sqlite_settings).newer_schema():
        sign_up(connection, "ann")
        with (
            contextlib.closing(open_storage(sqlite_settings)) as fresh,
            pytest.raises(MigrationError),
        ):
            fresh.jobs.enqueue(NewJob("noop"), connection=connection)
        connection.rollback()

    assert count(path) == 0


def test_a_snapshot_that_has_grown_old_is_busy(
    sqlite: Storage, path: Path, connection: sqlite3.Connection
) -> None:
    """A deferred transaction cannot write if another wrote after its first read."""
    connection.execute("BEGIN")
    connection.execute(JOBS).fetchall()
    sqlite.jobs.enqueue(NewJob("noop"))

    with pytest.raises(StorageBusyError, match="with BEGIN IMMEDIATE"):
        sqlite.jobs.enqueue(NewJob("noop"), connection=connection)
    connection.rollback()

    assert count(path) == 1


def test_a_deferred_transaction_takes_the_lock_before_it_reads(
    sqlite_settings: DatabaseSettings,
) -> None:
    """Its first write failed at once if another connection wrote or had the lock."""
    path = sqlite_settings.path
    assert path is not None
    with (
        contextlib.closing(sqlite3.connect(path, timeout=0)) as beside,
        contextlib.closing(sqlite3.connect(path, timeout=0)) as caller,
        contextlib.closing(open_storage(sqlite_settings)) as storage,
    ):
        beside.executescript(f"PRAGMA journal_mode = WAL; {TABLE}")
        refused = []

        def write_beside(_: str) -> None:
            try:
                with beside:
                    sign_up(beside, "bob")
            except sqlite3.OperationalError as error:
                refused.append(error)

        for _ in range(3):  # the first makes the tables, the second opens the file
            caller.execute("BEGIN")
            caller.set_trace_callback(write_beside)
            storage.jobs.enqueue(NewJob("noop"), connection=caller)
            caller.set_trace_callback(None)
            caller.commit()

    assert refused
    assert count(path) == 3


def test_a_transaction_that_an_error_ended_is_noticed(
    sqlite: Storage, path: Path, connection: sqlite3.Connection
) -> None:
    """M4: SQLite rolls all of it back, and the caller's commit would say nothing."""
    sign_up(connection, "ann")
    connection.execute(
        "CREATE TEMP TRIGGER refuse BEFORE INSERT ON main.forge_job "
        "BEGIN SELECT RAISE(ROLLBACK, 'the disk is full'); END"
    )

    with pytest.raises(StorageError, match="the disk is full"):
        sqlite.jobs.enqueue(NewJob("noop"), connection=connection)

    assert not connection.in_transaction
    assert count(path) == 0


def test_another_name_of_the_file_is_the_same_file(
    sqlite: Storage, path: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.sqlite"
    link.symlink_to(path)
    with contextlib.closing(
        sqlite3.connect(f"file:{link}?cache=private", uri=True)
    ) as (caller):
        sqlite.jobs.enqueue(NewJob("noop"), connection=caller)
        caller.commit()

    assert count(path) == 1


def test_an_attached_file_is_not_joined(
    sqlite: Storage, path: Path, tmp_path: Path
) -> None:
    """A commit over two files is not atomic in a power failure."""
    with contextlib.closing(sqlite3.connect(tmp_path / "app.sqlite")) as caller:
        caller.execute("ATTACH ? AS queue", (str(path),))
        with pytest.raises(InvalidInputError, match=r"is open on .*app\.sqlite"):
            sqlite.jobs.enqueue(NewJob("noop"), connection=caller)


def test_another_thread_may_not_use_it(
    sqlite: Storage, connection: sqlite3.Connection
) -> None:
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(
            lambda: sqlite.jobs.enqueue(NewJob("noop"), connection=connection)
        )
        with pytest.raises(InvalidInputError, match="thread"):
            future.result(30)


# -- wake-ups ----------------------------------------------------------------------


def test_a_commit_wakes_each_queue_once(engine: sqlalchemy.Engine) -> None:
    woken: list[str] = []
    wakes = CommitWakes(woken.append)
    with engine.connect() as connection:
        wakes.add(connection, ["a", "b"])
        wakes.add(connection, ["a"])
        connection.begin()
        assert woken == []
        connection.commit()
        connection.begin()
        connection.commit()

    assert sorted(woken) == ["a", "b"]


def test_a_connection_without_events_is_joined(
    engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an engine with execution options, in older versions of SQLAlchemy."""
    error = sqlalchemy.exc.InvalidRequestError("No such event 'commit'")
    monkeypatch.setattr(sqlalchemy.event, "listen", Mock(side_effect=error))

    with engine.connect() as connection:
        CommitWakes(lambda _: None).add(connection, ["a"])


def test_a_connection_is_not_kept_for_its_wake_ups(engine: sqlalchemy.Engine) -> None:
    wakes = CommitWakes(lambda _: None)
    connection = engine.connect()
    wakes.add(connection, ["a"])
    connection.close()
    gone = weakref.ref(connection)
    del connection
    gc.collect()

    assert gone() is None
