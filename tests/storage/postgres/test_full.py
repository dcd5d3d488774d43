"""A server that has no connection left for us, while those that we hold work."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import threading
from collections.abc import Iterator

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.postgres import pool
from flask_forge_jobs.storage.postgres.database import PostgresDatabase
from tests.support.postgres import fresh_database
from tests.support.sql import Sql
from tests.support.threads import LIMIT_S, Heard
from tests.support.waiting import wait_until

MOST = 3


@pytest.fixture
def database(postgres_server: str) -> Iterator[PostgresDatabase]:
    """A database of a role that may have only a few connections; none is open."""
    role, password = f"t{secrets.token_hex(4)}_few", secrets.token_hex(16)
    admin = Sql(DatabaseSettings.from_url(postgres_server))
    admin.run(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    try:
        with fresh_database(postgres_server) as url:
            settings = dataclasses.replace(
                DatabaseSettings.from_url(url), username=role, password=password
            )
            admin.run(f"ALTER DATABASE {settings.database} OWNER TO {role}")
            with contextlib.closing(PostgresDatabase(settings)) as migrator:
                migrator.open()
            # The server notices the end of a session a moment later.
            sessions = f"SELECT pid FROM pg_stat_activity WHERE usename = '{role}'"
            wait_until(lambda: not admin.run(sessions), "the migrator has left")
            admin.run(f"ALTER ROLE {role} CONNECTION LIMIT {MOST}")
            found = PostgresDatabase(settings, wait=lambda _: None)
            with contextlib.closing(found):
                found.open()
                yield found
    finally:
        admin.run(f"DROP ROLE {role}")


@contextlib.contextmanager
def every_connection_taken(database: PostgresDatabase) -> Iterator[None]:
    inside = threading.Semaphore(0)
    leave = threading.Event()

    def hold(transaction: Transaction) -> None:
        transaction.all("all_queues")
        inside.release()
        assert leave.wait(LIMIT_S)

    holders = [
        threading.Thread(target=database.read, args=[hold], daemon=True)
        for _ in range(MOST)
    ]
    for holder in holders:
        holder.start()
    try:
        for _ in holders:
            assert inside.acquire(timeout=LIMIT_S)
        yield
    finally:
        leave.set()
        for holder in holders:
            holder.join()


def test_a_server_that_refuses_one_connection_more_is_not_away(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer to one thread says nothing of the others' connections."""
    monkeypatch.setattr(pool, "_REFUSED_WITHIN_S", LIMIT_S)
    with (
        every_connection_taken(database),
        pytest.raises(StorageUnavailableError, match="cannot reach"),
    ):
        database.read_one("all_queues")

    assert database.write(lambda tx: tx.all("all_queues"), urgent=True) == []


def test_the_probe_needs_no_connection_more_than_the_pool_has_had(
    database: PostgresDatabase,
) -> None:
    with every_connection_taken(database):
        pass
    heard = Heard()
    database._state.callbacks.append(heard)

    database._state.availability.note_away("time-out")

    assert heard.wait_for(None)
    assert database.read_one("all_queues") == []
