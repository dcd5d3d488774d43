"""The oldest transaction that PostgreSQL keeps old rows for (C20)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.support.sql import Sql

READS = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1"
WROTE = "BEGIN; SELECT pg_current_xact_id()"
IDLES = "BEGIN; SELECT 1"


@pytest.fixture
def alone(own_tables: DatabaseSettings) -> Iterator[Storage]:
    """Stores of a database that no other test uses."""
    with contextlib.closing(open_storage(own_tables)) as storage:
        storage.open()
        yield storage


@contextlib.contextmanager
def session(settings: DatabaseSettings, statements: str) -> Iterator[Connection]:
    with contextlib.closing(Sql(settings).connect()) as connection:
        connection.cursor().execute(statements)
        yield connection


def holder(storage: Storage) -> str | None:
    found = storage.oldest_snapshot()
    return None if found is None else found.holder


@pytest.mark.parametrize("statements", [READS, WROTE])
def test_a_transaction_that_keeps_old_rows_is_found_by_its_session(
    alone: Storage, own_tables: DatabaseSettings, statements: str
) -> None:
    with session(own_tables, statements) as open_one:
        pid = open_one.info.backend_pid
        younger = alone.oldest_snapshot()
        older = alone.oldest_snapshot()
        open_one.cursor().execute("COMMIT")
        after = alone.oldest_snapshot()

    assert younger is not None
    assert older is not None
    assert younger.holder == f"session {pid}"
    assert 0.0 < younger.age_s < older.age_s
    assert after is None


def test_of_several_the_oldest_is_told(
    alone: Storage, own_tables: DatabaseSettings
) -> None:
    with session(own_tables, READS) as first, session(own_tables, WROTE):
        assert holder(alone) == f"session {first.info.backend_pid}"


@pytest.mark.parametrize("statements", [IDLES, "SELECT 1"])
def test_a_session_that_keeps_nothing_is_not_told(
    alone: Storage, own_tables: DatabaseSettings, statements: str
) -> None:
    with session(own_tables, statements):
        assert holder(alone) is None


def test_a_snapshot_of_another_database_is_none_of_ours(
    alone: Storage, postgres_settings: DatabaseSettings
) -> None:
    with session(postgres_settings, READS):
        assert holder(alone) is None
