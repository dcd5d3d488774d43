"""Connections of an application to the file of the jobs, on a SQLite with the bug."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import event

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.runtime.greeting import greet
from flask_forge_jobs.runtime.runtime import QueueRuntime
from flask_forge_jobs.sqlite import disable_autocheckpoint
from flask_forge_jobs.storage.base import Storage
from tests.support.runtimes import QuickTask, registry_of

HAS_BUG = "flask_forge_jobs.storage.sqlite.shared_file.has_wal_reset_bug"


@pytest.fixture(autouse=True)
def _affected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HAS_BUG, lambda: True)


@pytest.fixture
def path(sqlite: Storage, sqlite_settings: DatabaseSettings) -> Path:
    """The file of the jobs, in use."""
    sqlite.open()
    assert sqlite_settings.path is not None
    return sqlite_settings.path


@pytest.fixture
def engine(path: Path) -> Iterator[sqlalchemy.Engine]:
    """The application's engine for the same file."""
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    yield engine
    engine.dispose()


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of the application's to the same file."""
    with contextlib.closing(sqlite3.connect(path)) as opened:
        yield opened


def interval(connection: sqlite3.Connection) -> int:
    pages: int = connection.execute("PRAGMA wal_autocheckpoint").fetchone()[0]
    return pages


def grow(connection: sqlite3.Connection) -> None:
    """Commit several times as much as SQLite leaves in the log by itself."""
    connection.execute("CREATE TABLE IF NOT EXISTS filler (x)")
    for _ in range(4):
        connection.execute("INSERT INTO filler VALUES (zeroblob(5000000))")
        connection.commit()


def test_a_connection_that_is_told_leaves_the_checkpoints_to_the_jobs(
    path: Path, connection: sqlite3.Connection
) -> None:
    disable_autocheckpoint(connection)
    before = path.read_bytes()
    grow(connection)

    assert path.read_bytes() == before


def test_a_connection_that_is_not_told_checkpoints(
    path: Path, connection: sqlite3.Connection
) -> None:
    before = path.read_bytes()
    grow(connection)

    assert path.read_bytes() != before


def test_the_event_of_sqlalchemy_tells_each_connection(
    engine: sqlalchemy.Engine,
) -> None:
    event.listen(engine, "connect", disable_autocheckpoint)

    with engine.connect() as first, engine.connect() as second:
        for each in (first, second):
            found = each.exec_driver_sql("PRAGMA wal_autocheckpoint").scalar()
            assert found == 0


def test_other_versions_and_drivers_are_left_alone(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    disable_autocheckpoint(object())
    monkeypatch.setattr(HAS_BUG, lambda: False)
    disable_autocheckpoint(connection)

    assert interval(connection) > 0


# -- noticed -----------------------------------------------------------------------


def _warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    said = [record.getMessage() for record in caplog.records]
    return [text for text in said if "disable_autocheckpoint" in text]


def test_a_joined_connection_that_is_not_told_is_named_once(
    sqlite: Storage,
    path: Path,
    connection: sqlite3.Connection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection.row_factory = lambda _cursor, row: {"row": row}
    for _ in range(2):
        sqlite.jobs.enqueue(NewJob("noop"), connection=connection)
    connection.rollback()

    assert len(_warnings(caplog)) == 1
    assert str(path) in _warnings(caplog)[0]


def test_a_joined_connection_that_is_told_is_in_order(
    sqlite: Storage, connection: sqlite3.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    disable_autocheckpoint(connection)
    sqlite.jobs.enqueue(NewJob("noop"), connection=connection)
    connection.rollback()

    assert _warnings(caplog) == []


def _start_a_worker(storage: Storage) -> None:
    greet(QueueRuntime(storage, registry_of(QuickTask())).plan)


def test_a_worker_names_an_engine_that_is_not_told(
    sqlite: Storage, engine: sqlalchemy.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere: Any = sqlalchemy.create_engine("sqlite://")
    _start_a_worker(sqlite)

    (warning,) = _warnings(caplog)
    assert str(engine.url) in warning
    assert engine.pool.status().endswith("Current Checked out connections: 0")
    elsewhere.dispose()


@pytest.mark.parametrize(
    "options",
    [
        {"poolclass": sqlalchemy.StaticPool},
        {"poolclass": sqlalchemy.SingletonThreadPool},
        {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.01},
    ],
    ids=["static", "thread", "exhausted"],
)
def test_a_worker_does_not_touch_a_connection_in_use(
    sqlite: Storage,
    path: Path,
    options: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", **options)
    with contextlib.closing(engine.connect()) as used:
        used.exec_driver_sql("CREATE TABLE filler (x)")
        used.exec_driver_sql("INSERT INTO filler VALUES (1)")
        _start_a_worker(sqlite)
        used.commit()

        assert used.exec_driver_sql("SELECT * FROM filler").all() == [(1,)]
    engine.dispose()
    assert len(_warnings(caplog)) == 1


@pytest.mark.parametrize(
    "pool",
    [
        sqlalchemy.QueuePool,
        sqlalchemy.NullPool,
        sqlalchemy.StaticPool,
        sqlalchemy.SingletonThreadPool,
    ],
)
def test_a_worker_is_content_with_an_engine_that_is_told(
    sqlite: Storage,
    path: Path,
    pool: type[sqlalchemy.Pool],
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", poolclass=pool)
    event.listen(engine, "connect", disable_autocheckpoint)
    _start_a_worker(sqlite)

    assert _warnings(caplog) == []
    engine.dispose()
