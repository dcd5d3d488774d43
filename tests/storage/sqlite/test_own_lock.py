"""A writer that would wait for a transaction of its own thread."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import orm

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.sqlite import shared_file
from tests.support.callers import TABLE
from tests.support.jobs import enqueue
from tests.support.threads import LIMIT_S

FLUSH = "INSERT INTO signup VALUES ('ann')"
SIGNUPS = "SELECT COUNT(*) FROM signup"


@pytest.fixture
def settings(sqlite_settings: DatabaseSettings) -> DatabaseSettings:
    """Settings with which a wait for the lock is noticed."""
    return replace(sqlite_settings, busy_timeout_s=20.0)


@pytest.fixture
def storage(settings: DatabaseSettings) -> Iterator[Storage]:
    with contextlib.closing(open_storage(settings)) as opened:
        opened.open()
        with connected(settings) as connection:
            connection.execute(TABLE)
            connection.commit()
        yield opened


@contextlib.contextmanager
def connected(settings: DatabaseSettings, **more: Any) -> Iterator[sqlite3.Connection]:
    assert settings.path is not None
    with contextlib.closing(sqlite3.connect(settings.path, **more)) as connection:
        yield connection


@contextlib.contextmanager
def engine_of(settings: DatabaseSettings) -> Iterator[sqlalchemy.Engine]:
    engine = sqlalchemy.create_engine(f"sqlite:///{settings.path}")
    try:
        yield engine
    finally:
        engine.dispose()


def refuses(storage: Storage) -> None:
    with pytest.raises(InvalidInputError, match=r"connection=db\.session") as caught:
        enqueue(storage)
    assert caught.value.field == "connection"


@pytest.mark.parametrize("bound", [True, False])
def test_a_connection_in_a_variable_is_found(
    storage: Storage, settings: DatabaseSettings, *, bound: bool
) -> None:
    with connected(settings, check_same_thread=bound) as connection:
        connection.execute(FLUSH)

        refuses(storage)

        connection.commit()
        assert connection.execute(SIGNUPS).fetchone() == (1,)
    enqueue(storage)


def test_a_connection_that_an_object_keeps_is_found(
    storage: Storage, settings: DatabaseSettings
) -> None:
    assert settings.path is not None
    g = SimpleNamespace(db=sqlite3.connect(settings.path))
    g.db.execute(FLUSH)

    refuses(storage)

    g.db.close()
    enqueue(storage)


def test_a_session_in_a_variable_is_found(
    storage: Storage, settings: DatabaseSettings
) -> None:
    with engine_of(settings) as engine, orm.Session(engine) as session:
        session.execute(sqlalchemy.text(FLUSH))

        refuses(storage)

        storage.jobs.enqueue(NewJob("noop"), connection=session)
        session.commit()


def test_a_scoped_session_is_found(
    storage: Storage, settings: DatabaseSettings
) -> None:
    with engine_of(settings) as engine:
        db = SimpleNamespace(session=orm.scoped_session(orm.sessionmaker(engine)))
        db.session.execute(sqlalchemy.text(FLUSH))

        refuses(storage)

        db.session.remove()


def test_a_new_file_whose_lock_the_thread_has_is_not_waited_for(
    settings: DatabaseSettings,
) -> None:
    with (
        contextlib.closing(open_storage(settings)) as storage,
        connected(settings) as connection,
    ):
        connection.execute(TABLE)
        connection.execute(FLUSH)

        refuses(storage)


def test_a_transaction_that_only_reads_is_waited_beside(
    storage: Storage, settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another holder of the lock releases it."""
    looked = threading.Event()
    holds = shared_file._holds

    def noting(connection: sqlite3.Connection, path: Path) -> bool:
        found = holds(connection, path)
        looked.set()
        return found

    monkeypatch.setattr(shared_file, "_holds", noting)
    is_held = threading.Event()

    def hold() -> None:
        with connected(settings) as other:
            other.execute(FLUSH)
            is_held.set()
            looked.wait(LIMIT_S)
            other.commit()

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_held.wait(LIMIT_S)
    with connected(settings, isolation_level=None) as reading:
        reading.execute("BEGIN")
        reading.execute(SIGNUPS).fetchone()

        enqueue(storage)

        assert looked.is_set()
        assert reading.in_transaction
        assert reading.execute("PRAGMA busy_timeout").fetchone() == (5000,)
    holder.join(LIMIT_S)
