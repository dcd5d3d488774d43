"""Callers' transactions on psycopg2."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.errors
import psycopg2.extras
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import InvalidInputError, StorageBusyError, StorageError
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage
from tests.support.sql import Sql

JOBS = "SELECT COUNT(*) FROM forge_job"


@pytest.fixture
def sql(postgres: Storage, postgres_settings: DatabaseSettings) -> Sql:
    """Plain SQL."""
    postgres.open()
    return Sql(postgres_settings)


@pytest.fixture
def connection(sql: Sql) -> Iterator[Connection]:
    """The caller's, not in autocommit mode."""
    with contextlib.closing(sql.connect()) as opened:
        opened.autocommit = False
        yield opened


def test_a_transaction_whose_error_was_swallowed_raises(
    postgres: Storage, sql: Sql, connection: Connection
) -> None:
    """M4: its commit would return normally and store nothing."""
    with pytest.raises(psycopg2.errors.UndefinedTable):
        connection.cursor().execute("SELECT 1 FROM missing")

    with pytest.raises(StorageError, match="has failed"):
        postgres.jobs.enqueue(NewJob("noop"), connection=connection)
    connection.rollback()
    postgres.jobs.enqueue(NewJob("noop"), connection=connection)
    connection.commit()

    assert sql.value(JOBS) == 1


def test_an_error_of_ours_leaves_the_callers_transaction_alive(
    postgres: Storage, sql: Sql, connection: Connection
) -> None:
    cursor = connection.cursor()
    cursor.execute("CREATE TEMP TABLE mine (n INTEGER)")
    # Takes the place of ours for this connection.
    cursor.execute("SET LOCAL statement_timeout = 200")
    with contextlib.closing(sql.connect()) as other:
        other.autocommit = False
        other.cursor().execute("LOCK TABLE forge_job")

        with pytest.raises(StorageError, match="took longer"):
            postgres.jobs.enqueue(NewJob("noop"), connection=connection)

    cursor.execute("SET LOCAL statement_timeout = 0; SELECT COUNT(*) FROM mine")
    postgres.jobs.enqueue(NewJob("noop"), connection=connection)
    connection.commit()
    assert sql.value(JOBS) == 1


def test_a_block_of_an_autocommitting_connection_is_a_transaction(
    postgres: Storage, sql: Sql, connection: Connection
) -> None:
    """psycopg2 begins one with the block's first statement."""
    connection.autocommit = True
    with pytest.raises(ZeroDivisionError), connection:  # noqa: PT012
        postgres.jobs.enqueue(NewJob("noop"), connection=connection)
        raise ZeroDivisionError
    assert sql.value(JOBS) == 0
    with connection:
        postgres.jobs.enqueue(NewJob("noop"), connection=connection)

    assert sql.value(JOBS) == 1


def test_the_callers_planner_is_left_alone(
    postgres: Storage, connection: Connection
) -> None:
    def settings() -> Any:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT name, setting FROM pg_settings "
            "WHERE name ~ '^(enable|jit|statement)'"
        )
        return sorted(cursor.fetchall())

    before = settings()
    postgres.jobs.enqueue_many([NewJob("noop")] * 3, connection=connection)

    assert settings() == before


def test_the_same_tables_through_another_schema_are_not_ours(
    postgres: Storage, sql: Sql, connection: Connection
) -> None:
    connection.cursor().execute("CREATE SCHEMA twin; SET LOCAL search_path = twin")
    with pytest.raises(InvalidInputError, match="another database or schema"):
        postgres.jobs.enqueue(NewJob("noop"), connection=connection)
    connection.cursor().execute("CREATE TABLE forge_job (id TEXT)")
    with pytest.raises(InvalidInputError, match="another database or schema"):
        postgres.jobs.enqueue(NewJob("noop"), connection=connection)
    connection.rollback()

    assert sql.value(JOBS) == 0


def test_another_encoding_is_refused(postgres: Storage, connection: Connection) -> None:
    connection.set_client_encoding("LATIN1")

    with pytest.raises(InvalidInputError, match="LATIN1"):
        postgres.jobs.enqueue(NewJob("noop"), connection=connection)


def test_an_asynchronous_connection_is_refused(
    postgres: Storage, postgres_settings: DatabaseSettings
) -> None:
    with contextlib.closing(
        psycopg2.connect(**postgres_settings.connect_parameters(), async_=True)
    ) as connection:
        psycopg2.extras.wait_select(connection)
        with pytest.raises(InvalidInputError, match="asynchronous"):
            postgres.jobs.enqueue(NewJob("noop"), connection=connection)


def test_a_connection_that_was_cut_is_unavailable(
    postgres: Storage, sql: Sql, connection: Connection
) -> None:
    pid = connection.info.backend_pid
    sql.run("SELECT pg_terminate_backend(?)", pid)

    with pytest.raises(StorageError, match="lost"):
        postgres.jobs.enqueue(NewJob("noop"), connection=connection)
    with pytest.raises(InvalidInputError, match="closed"):
        postgres.jobs.enqueue(NewJob("noop"), connection=connection)


def test_an_old_snapshot_that_cannot_see_the_holder_is_busy(
    postgres: Storage, sql: Sql, connection: Connection
) -> None:
    connection.set_session(isolation_level="REPEATABLE READ")
    connection.cursor().execute(JOBS)
    postgres.jobs.enqueue(NewJob("noop", dedupe_key="once"))

    with pytest.raises(StorageBusyError):
        postgres.jobs.enqueue(NewJob("noop", dedupe_key="once"), connection=connection)

    assert sql.value(JOBS) == 1
