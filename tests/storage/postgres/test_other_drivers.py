"""Transactions of psycopg 3, and of other drivers below SQLAlchemy."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

import psycopg
import pytest
import sqlalchemy
from psycopg.rows import dict_row
from psycopg.types.string import ByteaLoader
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    DuplicateJobError,
    InvalidInputError,
    SchemaTooNewError,
    StorageBusyError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.postgres.other_drivers import literal
from tests.support.callers import TABLE
from tests.support.jobs import QUEUE, claim_one
from tests.support.later_steps import BREAKING, migrated
from tests.support.sql import Sql
from tests.support.threads import Heard
from tests.support.waiting import wait_until

JOBS = "SELECT COUNT(*) FROM forge_job"
SIGNUPS = "SELECT COUNT(*) FROM signup"
SIGN_UP = "INSERT INTO signup VALUES ('ann')"
PID = "SELECT pg_backend_pid()"
#: Every character that means something to some driver, or to PostgreSQL.
HARD = """{"a":"it's 100% %s %(b)s :c $1 {} ?","b":"\\\\ \\""}"""


class Level(IntEnum):
    """A number whose text is another."""

    LOW = -5


pytestmark = pytest.mark.usefixtures("sql")

Connect = Callable[..., contextlib.AbstractContextManager[Any]]


def _psycopg3(url: str, **options: Any) -> contextlib.AbstractContextManager[Any]:
    return contextlib.closing(psycopg.connect(url, **options))


def _sqlalchemy(driver: str) -> Connect:
    @contextlib.contextmanager
    def connect(url: str, **options: Any) -> Iterator[sqlalchemy.Connection]:
        if options.pop("autocommit", False):
            options["isolation_level"] = "AUTOCOMMIT"
        address = sqlalchemy.make_url(url).set(drivername=f"postgresql+{driver}")
        if driver == "pg8000":  # knows a socket by another name
            socket = f"{address.query['host']}/.s.PGSQL.5432"
            address = address.set(query={"unix_sock": socket})
        engine = sqlalchemy.create_engine(address, **options)
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    return connect


DRIVERS: dict[str, Connect] = {
    "psycopg3": _psycopg3,
    "sqlalchemy-psycopg": _sqlalchemy("psycopg"),
    "sqlalchemy-pg8000": _sqlalchemy("pg8000"),
}


@pytest.fixture(params=DRIVERS)
def connect(request: pytest.FixtureRequest) -> Connect:
    """Opens a connection of a driver to an address."""
    return DRIVERS[request.param]


@pytest.fixture
def sql(postgres: Storage, postgres_settings: DatabaseSettings) -> Sql:
    """SQL beside the stores, and a table of the application's."""
    postgres.open()
    sql = Sql(postgres_settings)
    sql.run(TABLE)
    sql.run("DELETE FROM signup")
    return sql


@pytest.fixture
def connection(connect: Connect, postgres_database: str) -> Iterator[Any]:
    """The caller's, not in autocommit mode."""
    with connect(postgres_database) as opened:
        yield opened


def run(connection: Any, statement: str) -> Any:
    """Run a statement of the application's."""
    if isinstance(connection, sqlalchemy.Connection):
        return connection.exec_driver_sql(statement)
    return connection.execute(statement)


def test_a_commit_brings_the_job(postgres: Storage, connection: Any, sql: Sql) -> None:
    run(connection, SIGN_UP)
    job = NewJob("gr'eet\\ ☃", HARD, dedupe_key="%s'\\", priority=-3)
    result = postgres.jobs.enqueue(job, connection=connection)
    assert sql.value(JOBS) == 0

    connection.commit()

    stored = postgres.job_reader.get(claim_one(postgres).id)
    assert (stored.id, stored.kind, stored.payload) == (result.id, job.kind, HARD)
    assert (stored.dedupe_key, stored.priority) == ("%s'\\", -3)
    assert sql.value(SIGNUPS) == 1


def test_a_rollback_leaves_nothing(
    postgres: Storage, connection: Any, sql: Sql
) -> None:
    jobs = [NewJob("noop", queue_name="new"), NewJob("noop", dedupe_key="once")]
    run(connection, SIGN_UP)
    postgres.jobs.enqueue(jobs[0], connection=connection)
    postgres.jobs.enqueue_many(jobs, connection=connection)

    connection.rollback()

    assert (sql.value(JOBS), sql.value(SIGNUPS)) == (0, 0)
    assert sql.value("SELECT COUNT(*) FROM forge_queue") == 0


def test_many_jobs_join(postgres: Storage, connection: Any, sql: Sql) -> None:
    held = postgres.jobs.enqueue(NewJob("noop", dedupe_key="held"))
    keys = [None, "new", "held", "new", None]
    jobs = [NewJob("noop", HARD, dedupe_key=key) for key in keys]
    large = NewJob("noop", f'"{"x" * 600_000}"')

    results = postgres.jobs.enqueue_many([*jobs, large, large], connection=connection)
    connection.commit()

    assert [each.is_deduped for each in results[:5]] == [
        False,
        False,
        True,
        True,
        False,
    ]
    assert (results[2].id, results[3].id) == (held.id, results[1].id)
    assert postgres.job_reader.get(results[0].id).payload == HARD
    assert postgres.job_reader.get(results[6].id).payload == large.payload
    assert sql.value(JOBS) == 6


def test_a_refused_call_is_undone_and_the_callers_work_stays(
    postgres: Storage, connection: Any, sql: Sql
) -> None:
    postgres.jobs.enqueue(NewJob("greet", dedupe_key="shared"))
    run(connection, SIGN_UP)
    run(connection, "SAVEPOINT mine")
    jobs = [NewJob("noop"), NewJob("bill", dedupe_key="shared")]

    with pytest.raises(DuplicateJobError):
        postgres.jobs.enqueue_many(jobs, connection=connection)
    run(connection, "RELEASE SAVEPOINT mine")
    kept = postgres.jobs.enqueue(NewJob("noop"), connection=connection)
    connection.commit()

    assert sql.value(SIGNUPS) == 1
    assert sql.run("SELECT id FROM forge_job WHERE kind = 'noop'") == [(kept.id,)]


def test_a_savepoint_of_the_callers_takes_the_job_with_it(
    postgres: Storage, connection: Any, sql: Sql
) -> None:
    run(connection, SIGN_UP)
    run(connection, "SAVEPOINT mine")
    postgres.jobs.enqueue(NewJob("noop"), connection=connection)
    run(connection, "ROLLBACK TO SAVEPOINT mine")
    connection.commit()

    assert (sql.value(JOBS), sql.value(SIGNUPS)) == (0, 1)


def test_workers_hear_of_the_commit(postgres: Storage, connection: Any) -> None:
    heard = Heard()
    listener = postgres.database.listen(heard)
    try:
        wait_until(listener.is_pushing, "it listens")
        postgres.jobs.enqueue(NewJob("noop", queue_name="mail"), connection=connection)
        assert "mail" not in heard.names
        connection.commit()
        assert heard.wait_for("mail")
    finally:
        listener.stop()


# -- refused -----------------------------------------------------------------------


def _refusal(postgres: Storage, connection: object) -> str:
    with pytest.raises(InvalidInputError) as caught:
        postgres.jobs.enqueue(NewJob("noop"), connection=connection)
    assert caught.value.field == "connection"
    return caught.value.message


def test_autocommit_is_refused(
    postgres: Storage, connect: Connect, sql: Sql, postgres_database: str
) -> None:
    with connect(postgres_database, autocommit=True) as connection:
        assert "autocommit" in _refusal(postgres, connection)
        run(connection, SIGN_UP)

    assert (sql.value(JOBS), sql.value(SIGNUPS)) == (0, 1)


def test_another_database_is_refused(
    postgres: Storage, connect: Connect, postgres_server: str
) -> None:
    with connect(postgres_server) as connection:
        assert "another database" in _refusal(postgres, connection)
        run(connection, "SELECT 1")  # it still works


def test_another_schema_is_refused(
    postgres: Storage, connection: Any, sql: Sql
) -> None:
    run(connection, "CREATE SCHEMA twin")
    run(connection, "SET LOCAL search_path = twin")
    assert "schema" in _refusal(postgres, connection)
    connection.rollback()

    assert sql.value(JOBS) == 0


def test_a_closed_connection_is_refused(
    postgres: Storage, connect: Connect, postgres_database: str
) -> None:
    with connect(postgres_database) as connection:
        connection.close()

        # SQLAlchemy says it in its own way.
        with pytest.raises((InvalidInputError, StorageError), match=r"(?i)closed"):
            postgres.jobs.enqueue(NewJob("noop"), connection=connection)


def test_a_transaction_that_has_failed_raises(
    postgres: Storage, connection: Any, sql: Sql
) -> None:
    """M4: its commit would return normally and store nothing."""
    with pytest.raises(Exception, match="missing"):
        run(connection, "SELECT 1 FROM missing")

    with pytest.raises(StorageError, match="has failed"):
        postgres.jobs.enqueue(NewJob("noop"), connection=connection)
    connection.rollback()
    postgres.jobs.enqueue(NewJob("noop"), connection=connection)
    connection.commit()

    assert sql.value(JOBS) == 1


def test_a_key_that_was_taken_after_the_snapshot_is_busy(
    postgres: Storage, connection: Any, sql: Sql
) -> None:
    run(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    run(connection, JOBS)
    keyed = NewJob("noop", dedupe_key="once")
    postgres.jobs.enqueue(keyed)

    with pytest.raises(StorageBusyError):
        postgres.jobs.enqueue(keyed, connection=connection)
    run(connection, SIGN_UP)
    connection.commit()

    assert (sql.value(JOBS), sql.value(SIGNUPS)) == (1, 1)


def test_a_schema_that_is_too_new_is_refused(
    postgres: Storage, connection: Any, postgres_settings: DatabaseSettings
) -> None:
    with migrated(postgres_settings, BREAKING):
        with pytest.raises(SchemaTooNewError, match="upgrade"):
            postgres.jobs.enqueue(NewJob("noop"), connection=connection)
        connection.rollback()


def test_a_connection_that_was_cut_is_unavailable(
    postgres: Storage, connection: Any, sql: Sql
) -> None:
    pid = run(connection, PID).fetchone()[0]
    sql.run("SELECT pg_terminate_backend(?)", pid)

    with pytest.raises(StorageUnavailableError, match="lost"):
        postgres.jobs.enqueue(NewJob("noop"), connection=connection)
    lost = None
    with contextlib.suppress(AttributeError):
        lost = connection.connection.dbapi_connection._usock
    with contextlib.suppress(Exception):  # pg8000 cannot close a lost connection
        connection.invalidate()
    if lost is not None:  # nor its socket
        os.close(lost.detach())


# -- psycopg 3 ---------------------------------------------------------------------


def test_rows_of_other_types_do_not_matter(
    postgres: Storage, sql: Sql, postgres_database: str
) -> None:
    with psycopg.connect(postgres_database, row_factory=dict_row) as connection:
        postgres.jobs.enqueue(NewJob("noop"), connection=connection)

    assert sql.value(JOBS) == 1


def test_loaders_of_the_callers_do_not_matter(
    postgres: Storage, sql: Sql, postgres_database: str
) -> None:
    with psycopg.connect(postgres_database) as connection:
        for name in ("int8", "int4", "text", "bool"):
            connection.adapters.register_loader(name, ByteaLoader)
        result = postgres.jobs.enqueue(NewJob("noop"), connection=connection)

    assert isinstance(result.scheduled_at_us, int)
    assert sql.value("SELECT id FROM forge_job") == result.id


def test_a_block_of_psycopg3_is_a_transaction(
    postgres: Storage, sql: Sql, postgres_database: str
) -> None:
    with psycopg.connect(postgres_database, autocommit=True) as connection:
        with pytest.raises(ZeroDivisionError), connection.transaction():  # noqa: PT012
            postgres.jobs.enqueue(NewJob("noop"), connection=connection)
            raise ZeroDivisionError
        with connection.transaction():
            postgres.jobs.enqueue(NewJob("noop"), connection=connection)

    assert sql.value(JOBS) == 1


def test_a_refused_call_ends_the_transaction_that_it_began(
    postgres: Storage, postgres_database: str
) -> None:
    postgres.jobs.enqueue(NewJob("greet", dedupe_key="shared"))
    with psycopg.connect(postgres_database) as connection:
        with pytest.raises(DuplicateJobError):
            postgres.jobs.enqueue(
                NewJob("bill", dedupe_key="shared"), connection=connection
            )

        idle = psycopg.pq.TransactionStatus.IDLE
        assert connection.info.transaction_status == idle


def test_a_pipeline_is_refused(postgres: Storage, postgres_database: str) -> None:
    with psycopg.connect(postgres_database) as connection, connection.pipeline():
        assert "pipeline" in _refusal(postgres, connection)


def test_another_encoding_is_refused(postgres: Storage, postgres_database: str) -> None:
    with psycopg.connect(postgres_database, client_encoding="latin1") as connection:
        assert "encoding iso8859-1" in _refusal(postgres, connection)


def test_a_text_beyond_the_encoding_of_the_connection_is_refused(
    postgres: Storage, sql: Sql, postgres_database: str
) -> None:
    """Of a driver that does not say which encoding it has."""
    with DRIVERS["sqlalchemy-pg8000"](postgres_database) as connection:
        run(connection, "SET client_encoding = 'LATIN1'")
        run(connection, SIGN_UP)
        with pytest.raises(InvalidInputError, match="encoding"):
            postgres.jobs.enqueue(NewJob("日本語"), connection=connection)
        connection.commit()

    assert (sql.value(JOBS), sql.value(SIGNUPS)) == (0, 1)


def test_psycopg3_is_not_imported() -> None:
    script = (
        "import sys, flask_forge_jobs.storage.postgres.other_drivers\n"
        "sys.exit('psycopg' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# -- asynchronous ------------------------------------------------------------------


def test_an_asynchronous_connection_is_refused_and_its_synchronous_side_joined(
    postgres: Storage, sql: Sql, postgres_database: str
) -> None:
    address = postgres_database.replace("postgresql:", "postgresql+psycopg_async:")

    postgres.queues.ensure(QUEUE)  # two transactions would wait for each other

    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(postgres_database) as bare:
            assert "asynchronous" in _refusal(postgres, bare)
        engine = create_async_engine(address)
        async with AsyncSession(engine) as session, engine.connect() as connection:
            for given in (session, connection):
                assert "run_sync" in _refusal(postgres, given)
                await given.run_sync(
                    lambda joined: postgres.jobs.enqueue_many(
                        [NewJob("noop", HARD)] * 2, connection=joined
                    )
                )
            await session.commit()
        await engine.dispose()

    asyncio.run(main())

    assert sql.value(JOBS) == 2


# -- values ------------------------------------------------------------------------


@pytest.mark.parametrize("is_standard", ["on", "off"])
def test_a_value_arrives_as_it_is(sql: Sql, is_standard: str) -> None:
    values = [None, "", "it's", "\\", "\\'", "'\\''; --", "%s %%", "☃\n\t", -5, 2**62,
              0.1, -1e300, float("inf"), Level.LOW, True, False]  # fmt: skip
    with contextlib.closing(sql.connect()) as server:
        cursor = server.cursor()
        cursor.execute("SET escape_string_warning = off")
        cursor.execute(f"SET standard_conforming_strings = {is_standard}")
        cursor.execute(f"SELECT {', '.join(map(literal, values))}, 1 -{literal(-1)}")
        *found, difference = cursor.fetchone() or ()

    assert [
        float(f) if isinstance(v, float) else f
        for f, v in zip(found, values, strict=True)
    ] == values
    assert difference == 2


def test_a_value_that_postgresql_cannot_store_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"U\+0000"):
        literal("a\0b")
