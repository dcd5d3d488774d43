"""PostgreSQL's errors: which are transient, and which end the connection."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import psycopg2.errors
import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    MigrationError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.handlers.readiness import ReadinessCheck, ReadyStatus, readiness
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.database import TransientError
from flask_forge_jobs.storage.postgres.database import PostgresDatabase
from flask_forge_jobs.storage.postgres.faults import PostgresFaults
from tests.support.jobs import OWNER, claim_one, enqueue
from tests.support.sql import Sql
from tests.support.waiting import wait_until

FULL = (
    "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "RAISE EXCEPTION 'could not extend file' USING ERRCODE = '{code}'; END $$;"
    "CREATE TRIGGER full_disk BEFORE UPDATE ON forge_job FOR EACH ROW "
    "WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION full_disk()"
)


@pytest.fixture
def own_sql(own_tables: DatabaseSettings) -> Sql:
    return Sql(own_tables)


@pytest.fixture
def own(own_tables: DatabaseSettings) -> Iterator[Storage]:
    """The stores over a database whose defaults a test may change."""
    with contextlib.closing(open_storage(own_tables, jitter=None)) as storage:
        storage.open()
        assert isinstance(storage.database, PostgresDatabase)
        storage.database._wait = lambda _: None
        yield storage


@pytest.mark.parametrize("code", ["53100", "53200", "58030"])
def test_a_server_that_lacks_something_is_away_and_not_offended(
    own: Storage, own_sql: Sql, code: str
) -> None:
    """C17: a full disk is no fault of the outcome, which is written later."""
    enqueue(own)
    job = claim_one(own)
    outcome = JobUpdate(job, JobStatus.DONE)
    own_sql.run(FULL.format(code=code))
    with pytest.raises(StorageUnavailableError, match=code):
        own.jobs.finish(OWNER, [outcome])

    own_sql.run("DROP TRIGGER full_disk ON forge_job")

    assert own.jobs.finish(OWNER, [outcome]) == []


def route_to(sql: Sql, *, read_only: bool) -> None:
    """Make the server read-only, or writable, for every new session."""
    name = sql.value("SELECT current_database()")
    with contextlib.closing(sql.connect()) as server, server.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = off")
        value = "on" if read_only else "off"
        cursor.execute(
            f"ALTER DATABASE {name} SET default_transaction_read_only={value}"
        )


def cut_all(sql: Sql) -> None:
    sql.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def test_no_session_of_a_server_without_writes_is_kept(
    own: Storage, own_sql: Sql
) -> None:
    """C13: led to a standby for a moment, and back."""
    enqueue(own)
    job = claim_one(own)
    route_to(own_sql, read_only=True)
    cut_all(own_sql)
    with pytest.raises(StorageUnavailableError):  # of the cut session, or the next one
        enqueue(own)
    with pytest.raises(StorageUnavailableError, match="takes no writes"):
        own.jobs.finish(OWNER, [JobUpdate(job, JobStatus.DONE)])

    route_to(own_sql, read_only=False)
    assert isinstance(own.database, PostgresDatabase)
    availability = own.database._state.availability
    wait_until(lambda: availability._reason is None, "it is found to be back")

    assert own.jobs.finish(OWNER, [JobUpdate(job, JobStatus.DONE)]) == []
    assert enqueue(own)


def test_a_call_that_reached_a_server_without_writes_tries_on_another_session(
    own: Storage, own_sql: Sql
) -> None:
    """C13: of one that takes them again by then."""
    own.close()
    route_to(own_sql, read_only=True)
    assert isinstance(own.database, PostgresDatabase)
    own.database._wait = lambda _: route_to(own_sql, read_only=False)

    assert enqueue(own)


@pytest.mark.parametrize(
    "code", ["08006", "25P03", "25P04", "57P01", "57P02", "57P03", "57P05"]
)
def test_a_session_that_the_server_ended_is_lost(code: str) -> None:
    """Over TCP the goodbye has its code; a Unix socket is just closed."""
    error = psycopg2.errors.lookup(code)("the server has ended the session")
    # As for an error that was pickled; the stubs do not type it.
    error.__setstate__({"pgcode": code})  # type: ignore[no-untyped-call]

    with pytest.raises(TransientError) as caught, PostgresFaults(1.0, is_retried=True):
        raise error

    assert caught.value.is_away


def test_a_server_that_takes_no_writes_is_not_ready(own: Storage, own_sql: Sql) -> None:
    own.workers.beat("H", None, ["mail"], [])
    before = readiness(own)
    route_to(own_sql, read_only=True)
    cut_all(own_sql)

    found = readiness(own)

    assert before.status is ReadyStatus.OK
    assert found.status is ReadyStatus.UNAVAILABLE
    assert found.checks[0] == ReadinessCheck("storage", False, "takes no writes")


def search(sql: Sql, path: str) -> None:
    """Change where every new session looks for tables, and end those that are open."""
    name = sql.value("SELECT current_database()")
    sql.run(f"ALTER DATABASE {name} SET search_path = {path}")
    cut_all(sql)


def test_tables_that_are_not_found_may_be_in_another_schema(
    own: Storage, own_sql: Sql
) -> None:
    """To throw the jobs away is not the first advice."""
    enqueue(own)
    search(own_sql, "elsewhere")

    with pytest.raises(StorageError, match=r"forge_\w+; the search_path") as caught:
        own.queues.all()

    assert str(caught.value).index("USAGE") < str(caught.value).index("db reset")


@pytest.mark.usefixtures("own")
def test_tables_that_are_made_beside_others_leave_a_warning(
    own_sql: Sql, own_tables: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    own_sql.run("CREATE SCHEMA shop")
    assert "made anew" not in caplog.text

    search(own_sql, "shop")
    with contextlib.closing(open_storage(own_tables)) as beside:
        beside.open()

    assert "made anew in the schema shop; those in public" in caplog.text


@pytest.mark.usefixtures("own")
def test_an_application_beside_another_one_is_not_warned(
    own_sql: Sql, own_tables: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """Its URL names its schema, or the tables are those of another role."""
    own_sql.run("CREATE SCHEMA named; CREATE SCHEMA shop; CREATE ROLE forge_test_other")
    try:
        named = replace(own_tables, libpq=(("options", "-csearch_path=named"),))
        with contextlib.closing(open_storage(named)) as beside:
            beside.open()
        own_sql.run("ALTER TABLE public.forge_schema OWNER TO forge_test_other")
        own_sql.run("ALTER TABLE named.forge_schema OWNER TO forge_test_other")
        search(own_sql, "shop")
        with contextlib.closing(open_storage(own_tables)) as beside:
            beside.open()
        places = own_sql.run("SELECT 1 FROM pg_tables WHERE tablename = 'forge_schema'")
    finally:
        own_sql.run("DROP OWNED BY forge_test_other; DROP ROLE forge_test_other")

    assert len(places) == 3
    assert "made anew" not in caplog.text


def test_a_search_path_that_leads_nowhere_is_named(
    own_sql: Sql, own_tables: DatabaseSettings
) -> None:
    search(own_sql, "nowhere")

    with (
        contextlib.closing(open_storage(own_tables)) as storage,
        pytest.raises(MigrationError, match="failed: the search_path of the role"),
    ):
        storage.open()


def test_a_right_that_is_missing_is_named(own_sql: Sql) -> None:
    own_sql.run("CREATE TABLE forge_kept (id integer)")
    own_sql.run("CREATE ROLE forge_test_nobody")
    try:
        with (
            pytest.raises(StorageError, match=r"\(42501\) about forge_kept; .*GRANT"),
            PostgresFaults(1.0, is_retried=True),
            contextlib.closing(own_sql.connect()) as session,
            session.cursor() as cursor,
        ):
            cursor.execute("SET ROLE forge_test_nobody; SELECT id FROM forge_kept")
    finally:
        own_sql.run("DROP ROLE forge_test_nobody")
