"""Our own session is configured once, a pooled one in each transaction."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socket
import struct
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import psycopg2
import pytest
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError, StorageUnavailableError
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.postgres.connection import (
    Session,
    SessionSettings,
    connect,
    lift_limits,
)
from flask_forge_jobs.storage.postgres.transaction import PostgresSchema
from tests.support.jobs import enqueue
from tests.support.threads import LIMIT_S
from tests.support.waiting import wait_until

SETTINGS = SessionSettings(7_000, 9_000)
SAID = {
    "statement_timeout": "7s",
    "idle_in_transaction_session_timeout": "9s",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "lock_timeout": "0",
    "transaction_timeout": "0",
}


def told(session: Session, begin: str) -> dict[str, str]:
    """Return the settings and the isolation level within a transaction."""
    names = [*SAID, "transaction_isolation"]
    asked = ", ".join(f"current_setting('{name}')" for name in names)
    with session.cursor() as cursor:
        # One message, and so one transaction, as each of ours.
        cursor.execute("; ".join(filter(None, [begin, f"SELECT {asked}"])))
        values = cursor.fetchone()
        cursor.execute("ROLLBACK")
    assert values is not None
    return dict(zip(names, values, strict=True))


@pytest.fixture(params=["own", "pooled"])
def session(
    request: pytest.FixtureRequest,
    own_settings: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Session]:
    """A session of a database with defaults that do not suit us."""
    with contextlib.closing(connect(own_settings)) as owner, owner.cursor() as cursor:
        for name, value in (
            ("default_transaction_isolation", "'serializable'"),
            ("statement_timeout", "3000"),
            ("jit", "on"),
            ("lock_timeout", "20"),
            ("transaction_timeout", "4000"),
            ("idle_session_timeout", "60000"),
        ):
            database = own_settings.database
            cursor.execute(f"ALTER DATABASE {database} SET {name} = {value}")
    with contextlib.closing(connect(own_settings)) as opened:
        if request.param == "pooled":
            # A pooler makes up the ids that it gives its clients.
            made_up = SimpleNamespace(backend_pid=-opened.info.backend_pid)
            monkeypatch.setattr(Session, "info", made_up, raising=False)
        SETTINGS.configure(opened)
        assert opened.is_configured == (request.param == "own")
        yield opened


def test_every_transaction_has_its_level_and_its_limits(session: Session) -> None:
    committed, snapshot = "read committed", "repeatable read"

    alone = told(session, SETTINGS.alone.of(session))
    assert told(session, SETTINGS.write.of(session)) == SAID | {
        "transaction_isolation": committed
    }
    assert told(session, SETTINGS.read.of(session)) == SAID | {
        "transaction_isolation": snapshot
    }
    assert alone["transaction_isolation"] == committed
    assert alone["statement_timeout"] == "7s"


def test_only_a_session_of_our_own_keeps_them(session: Session) -> None:
    """The next client of a pooler's session would inherit its settings."""
    told(session, SETTINGS.write.of(session))

    kept = told(session, "")
    assert (kept["statement_timeout"] == "7s") == session.is_configured
    assert (kept["enable_seqscan"] == "off") == session.is_configured
    assert (kept["transaction_isolation"] == "read committed") == session.is_configured


def test_a_session_of_our_own_may_be_idle(session: Session) -> None:
    """A pooler looks after its sessions itself."""
    with session.cursor() as cursor:
        cursor.execute("SHOW idle_session_timeout")
        assert cursor.fetchone() == ("0" if session.is_configured else "1min",)


@pytest.mark.parametrize(
    ("version", "names"),
    [
        (120_000, {"lock_timeout"}),
        (140_000, {"lock_timeout", "idle_session_timeout"}),
        (170_000, {"lock_timeout", "idle_session_timeout", "transaction_timeout"}),
    ],
)
def test_a_server_is_told_no_setting_that_it_does_not_know(
    version: int, names: set[str]
) -> None:
    said = lift_limits(cast("Session", SimpleNamespace(server_version=version)))

    always = {"statement_timeout", "idle_in_transaction_session_timeout"}
    assert set(re.findall(r"SET (\w+) = 0", said)) == always | names


def test_a_statement_on_its_own_says_nothing_twice(session: Session) -> None:
    assert (SETTINGS.alone.of(session) == "") == session.is_configured
    assert SETTINGS.alone.then("SELECT 1").of(session).endswith("SELECT 1")


def test_the_pool_tells_its_sessions(
    postgres_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Session] = []
    tell = SessionSettings.configure

    def tell_and_note(settings: SessionSettings, opened: Session) -> None:
        tell(settings, opened)
        seen.append(opened)

    monkeypatch.setattr(SessionSettings, "configure", tell_and_note)
    with contextlib.closing(open_storage(postgres_settings)) as storage:
        assert storage.takes_writes()

    assert [opened.is_configured for opened in seen] == [True]


def test_a_session_that_cannot_be_told_is_closed(
    postgres_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Session] = []

    def fail(_: SessionSettings, opened: Session) -> None:
        seen.append(opened)
        raise psycopg2.errors.InsufficientPrivilege("not today")

    monkeypatch.setattr(SessionSettings, "configure", fail)
    with (
        contextlib.closing(open_storage(postgres_settings)) as storage,
        pytest.raises(psycopg2.Error),
    ):
        storage.open()

    assert [opened.closed for opened in seen] == [1]


@contextlib.contextmanager
def refusing(message: bytes) -> Iterator[DatabaseSettings]:
    """A server that starts up, and says so in words of its own."""
    body = b"SFATAL\0VFATAL\0C57P03\0M" + message + b"\0\0"

    def read(client: socket.socket) -> bytes:
        (length,) = struct.unpack("!I", client.recv(4, socket.MSG_WAITALL))
        return client.recv(length - 4, socket.MSG_WAITALL)

    def refuse() -> None:
        client, _ = listening.accept()
        with client:
            while read(client)[:4] in _ENCRYPTION_REQUESTS:
                client.sendall(b"N")
            client.sendall(b"E" + struct.pack("!I", len(body) + 4) + body)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(LIMIT_S)
        thread = threading.Thread(target=refuse)
        thread.start()
        host, port = listening.getsockname()
        yield DatabaseSettings.from_url(f"postgresql://forge@{host}:{port}/forge")
        thread.join()


_ENCRYPTION_REQUESTS = [struct.pack("!I", code) for code in (80877103, 80877104)]


def test_a_server_that_refuses_in_its_own_encoding_is_away() -> None:
    """Before it knows ours it writes in that of its locale."""
    with (
        refusing("le système se lance".encode("latin-1")) as settings,
        pytest.raises(StorageUnavailableError, match=r"le syst.me se lance$"),
    ):
        connect(settings)


def test_a_server_that_gives_no_reason_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise psycopg2.OperationalError("")

    monkeypatch.setattr(psycopg2, "connect", refuse)

    with pytest.raises(StorageUnavailableError, match="no reason"):
        connect(DatabaseSettings(backend="postgres"))


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_store_every_text_is_refused(
    own_settings: DatabaseSettings, encoding: str
) -> None:
    """Some outcomes would be refused, and their jobs would run again and again."""
    name = f"{own_settings.database}_{encoding.lower()}"
    with contextlib.closing(connect(own_settings)) as owner, owner.cursor() as cursor:
        cursor.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 "
            "LC_COLLATE 'C' LC_CTYPE 'C'"
        )
        settings = dataclasses.replace(own_settings, database=name)
        try:
            with contextlib.closing(open_storage(settings)) as storage:
                for look in (storage.open, storage.database.schema_versions):
                    with pytest.raises(StorageError, match=f"{name}.* {encoding};"):
                        look()
        finally:
            # The server notices the end of a session a moment later.
            wait_until(lambda: not count_of_sessions(cursor, name), "they have ended")
            cursor.execute(f"DROP DATABASE {name}")


def count_of_sessions(cursor: Cursor, database: str) -> int:
    cursor.execute(
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = %s", [database]
    )
    (count,) = cursor.fetchone() or (0,)
    return int(count)


def test_we_speak_utf8_whatever_the_default_of_the_role(
    own_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with contextlib.closing(connect(own_settings)) as owner, owner.cursor() as cursor:
        cursor.execute(
            f"ALTER DATABASE {own_settings.database} SET client_encoding = LATIN1"
        )

    with contextlib.closing(open_storage(own_settings)) as storage:
        job_id = enqueue(storage, key="→")

        assert storage.job_reader.get(job_id).dedupe_key == "→"


def test_a_schema_step_takes_as_long_as_it_takes(
    own_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[Any] = []
    run = PostgresSchema.execute_script

    def look_and_run(schema: PostgresSchema, sql: str) -> None:
        schema._cursor.execute("SHOW statement_timeout")
        limits.extend(schema._cursor.fetchone())
        run(schema, sql)

    monkeypatch.setattr(PostgresSchema, "execute_script", look_and_run)
    bare = dataclasses.replace(own_settings, statement_timeout_s=5)
    with contextlib.closing(open_storage(bare)) as storage:
        storage.open()

    assert set(limits) == {"0"}
