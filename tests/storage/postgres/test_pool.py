"""The pool and its watchdog, in part with fake connections."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import socket
import threading
from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INTRANS

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageBusyError, StorageUnavailableError
from flask_forge_jobs.storage.postgres import pool as postgres_pool
from flask_forge_jobs.storage.postgres.connection import _keywords, connect
from flask_forge_jobs.storage.postgres.faults import NoFurtherConnectionError
from flask_forge_jobs.storage.postgres.pool import ConnectionPool, Watchdog
from flask_forge_jobs.storage.postgres.server_order import ServerOrder
from tests.support.sql import Sql
from tests.support.threads import run_together


class FakeConnection:
    """As much of a connection as the pool looks at."""

    def __init__(self) -> None:
        self.closed = 0
        self.transaction_status = TRANSACTION_STATUS_IDLE
        self.questions = 0
        self.backend_pid = id(self)
        self.is_broken = False
        self.near, self.far = socket.socketpair()

    @property
    def info(self) -> FakeConnection:
        return self

    def fileno(self) -> int:
        return self.near.fileno()

    def cursor(self) -> contextlib.AbstractContextManager[FakeConnection]:
        return contextlib.nullcontext(self)

    def execute(self, _: str) -> None:
        self.questions += 1
        if self.is_broken:
            raise psycopg2.OperationalError("gone")

    def close(self) -> None:
        self.closed = 1
        self.near.close()
        self.far.close()


class FakeServer:
    """Hands out connections and remembers them."""

    def __init__(self) -> None:
        self.made: list[FakeConnection] = []

    def connect(self) -> FakeConnection:
        self.made.append(FakeConnection())
        return self.made[-1]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    made = FakeServer()
    yield made
    for connection in made.made:
        connection.close()


def pool_of(server: FakeServer, size: int = 2, wait_s: float = 0.05) -> ConnectionPool:
    return ConnectionPool(
        server.connect,  # type: ignore[arg-type]  # stands in for psycopg2
        size=size,
        wait_s=wait_s,
        random=lambda: 0.5,
    )


# -- lending -----------------------------------------------------------------------


def test_nothing_is_opened_before_it_is_needed(server: FakeServer) -> None:
    pool_of(server)

    assert server.made == []


def test_nobody_waits_for_a_connection_to_a_server_that_is_away(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers that were waiting already learn of it too."""
    monkeypatch.setattr(postgres_pool, "_CHECK_PERIOD_S", 0.01)

    def check() -> None:
        raise StorageUnavailableError("away")

    pool = ConnectionPool(
        server.connect,  # type: ignore[arg-type]  # stands in for psycopg2
        size=1,
        wait_s=math.inf,
        random=lambda: 0.5,
        check=check,
    )

    with pool.connection(), pytest.raises(StorageUnavailableError), pool.connection():
        pass


def test_the_warmest_connection_is_lent_again(server: FakeServer) -> None:
    pool = pool_of(server)
    with pool.connection(), pool.connection() as second:
        pass
    with pool.connection() as third:
        pass

    assert len(server.made) == 2
    assert id(third) == id(server.made[0])  # returned last
    assert id(second) == id(server.made[1])


def test_a_used_up_pool_waits_and_then_is_busy(server: FakeServer) -> None:
    pool = pool_of(server, size=1)

    with pool.connection(), pytest.raises(StorageBusyError, match=r"within 0\.05 s"):
        pool.permit(urgent=False)

    with pool.connection():
        pass


def test_a_waiting_thread_gets_the_connection_that_is_returned(
    server: FakeServer,
) -> None:
    pool = pool_of(server, size=1, wait_s=30)

    def use() -> object:
        with pool.connection() as connection:
            return connection

    used = run_together([use] * 5)

    assert len({id(each) for each in used}) == len(server.made) == 1


def test_the_reserved_connection_is_for_the_urgent_only(server: FakeServer) -> None:
    pool = pool_of(server, size=1)

    with pool.connection():
        with pool.connection(urgent=True), pytest.raises(StorageBusyError):
            pool.permit(urgent=True)
        with pool.connection(urgent=True):
            pass
        with pytest.raises(StorageBusyError):
            pool.permit(urgent=False)


def test_the_urgent_take_a_free_one_first(server: FakeServer) -> None:
    pool = pool_of(server, size=1)

    with pool.connection(urgent=True), pytest.raises(StorageBusyError):
        pool.permit(urgent=False)


# -- returning ---------------------------------------------------------------------


def test_a_closed_connection_is_thrown_away(server: FakeServer) -> None:
    pool = pool_of(server)
    with pool.connection():
        server.made[0].closed = 2

    with pool.connection() as connection:
        assert id(connection) == id(server.made[1])


def test_a_connection_within_a_transaction_is_thrown_away(server: FakeServer) -> None:
    pool = pool_of(server)
    with pool.connection():
        server.made[0].transaction_status = TRANSACTION_STATUS_INTRANS

    assert server.made[0].closed
    with pool.connection() as connection:
        assert id(connection) == id(server.made[1])


def test_an_error_of_the_borrower_gives_the_permit_back(server: FakeServer) -> None:
    pool = pool_of(server, size=1)

    for _ in range(3):
        with pytest.raises(LookupError), pool.connection():
            raise LookupError

    assert len(server.made) == 1


def test_a_failed_connect_gives_the_permit_back(server: FakeServer) -> None:
    def refuse() -> FakeConnection:
        raise StorageUnavailableError("away")

    pool = pool_of(server, size=1)
    working, pool._connect = pool._connect, refuse  # type: ignore[assignment]  # a fake
    for _ in range(3):
        with pytest.raises(StorageUnavailableError), pool.connection():
            pass
    pool._connect = working

    with pool.connection():
        assert len(server.made) == 1


def test_only_a_quick_refusal_beside_a_lent_connection_says_that_no_more_is_left(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is away refuses too, or does not answer."""

    def refuse() -> FakeConnection:
        raise StorageUnavailableError("refused")

    def kind_of_refusal() -> type[StorageUnavailableError]:
        with pytest.raises(StorageUnavailableError, match="refused") as caught:
            pool.check_out()
        return caught.type

    pool = pool_of(server)
    with pool.connection():
        pool._connect = refuse  # type: ignore[assignment]  # a fake
        beside = kind_of_refusal()
        monkeypatch.setattr(postgres_pool, "_REFUSED_WITHIN_S", -1.0)
        late = kind_of_refusal()
        monkeypatch.undo()
    pool.discard_idle()

    assert beside is NoFurtherConnectionError
    assert late is kind_of_refusal() is StorageUnavailableError


# -- age ---------------------------------------------------------------------------


def test_the_pool_knows_the_server_processes_of_its_connections(
    server: FakeServer,
) -> None:
    pool = pool_of(server)
    with pool.connection():
        assert pool.backend_pids == {id(server.made[0])}
        server.made[0].closed = 2
    with pool.connection():
        assert pool.backend_pids == {id(server.made[1])}

    pool.close()

    assert pool.backend_pids == set()


def test_an_old_connection_is_replaced(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_pool, "MAX_AGE_S", -1.0)
    pool = pool_of(server)
    with pool.connection():
        pass
    with pool.connection():
        pass

    assert [bool(each.closed) for each in server.made] == [True, False]


def test_a_connection_that_was_idle_for_long_is_asked_first(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_pool, "CHECK_AFTER_IDLE_S", -1.0)
    pool = pool_of(server)
    with pool.connection():
        pass
    with pool.connection():
        assert server.made[0].questions == 1
    server.made[0].is_broken = True

    with pool.connection() as connection:
        assert id(connection) == id(server.made[1])
    assert server.made[0].closed


def test_of_several_dead_connections_only_one_is_asked(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may take seconds to fail."""
    monkeypatch.setattr(postgres_pool, "CHECK_AFTER_IDLE_S", -1.0)
    pool = pool_of(server, size=3)
    with pool.connection(), pool.connection(), pool.connection():
        pass
    for each in server.made:
        each.is_broken = True

    with pool.connection() as connection:
        assert id(connection) == id(server.made[3])

    dead = server.made[:3]
    assert sum(each.questions for each in dead) == 1
    assert all(each.closed for each in dead)


def test_close_closes_the_idle_and_the_used_once_they_come_back(
    server: FakeServer,
) -> None:
    """Else the server would keep their sessions until a garbage collection."""
    pool = pool_of(server)
    with pool.connection():
        with pool.connection():
            pass
        pool.close()

        assert [bool(each.closed) for each in server.made] == [False, True]

    assert server.made[0].closed


# -- watchdog ----------------------------------------------------------------------


def test_a_call_that_outlives_its_deadline_is_cut(server: FakeServer) -> None:
    connection = server.connect()
    connection.near.settimeout(30)

    with Watchdog().watching(connection, 0.0):  # type: ignore[arg-type]  # a fake
        assert connection.near.recv(1) == b""  # would block for ever otherwise


def test_a_call_that_ends_in_time_is_not_cut(server: FakeServer) -> None:
    watchdog = Watchdog()
    quick, slow = server.connect(), server.connect()
    slow.near.settimeout(30)
    with watchdog.watching(quick, 30):  # type: ignore[arg-type]  # a fake
        pass
    with (
        watchdog.watching(quick, 30),  # type: ignore[arg-type]  # a fake
        watchdog.watching(slow, 0.0),  # type: ignore[arg-type]  # a fake
    ):
        assert slow.near.recv(1) == b""
        quick.far.send(b"x")

        assert quick.near.recv(1) == b"x"


def test_one_thread_watches_over_all(server: FakeServer) -> None:
    watchdog = Watchdog()

    def watch() -> None:
        with watchdog.watching(server.connect(), 30):  # type: ignore[arg-type]  # a fake
            pass

    run_together([watch] * 8)

    thread = watchdog._thread
    assert thread is not None
    assert [t for t in threading.enumerate() if t is thread] == [thread]
    assert thread.daemon
    assert watchdog._watched == {}


def test_the_watchdog_of_a_closed_pool_ends_and_may_come_back(
    server: FakeServer,
) -> None:
    watchdog = Watchdog()
    connection = server.connect()
    connection.near.settimeout(30)
    with watchdog.watching(connection, 30):  # type: ignore[arg-type]  # a fake
        first = watchdog._thread
        watchdog.close()
        assert first is not None
        assert first.is_alive()
    first.join(30)

    assert not first.is_alive()
    with watchdog.watching(connection, 0.0):  # type: ignore[arg-type]  # a fake
        assert connection.near.recv(1) == b""


def test_a_watchdog_that_watches_nothing_has_ended_when_it_is_closed(
    server: FakeServer,
) -> None:
    """Python warns of a fork beside a thread, and a caller may close before a fork."""
    watchdog = Watchdog()
    with watchdog.watching(server.connect(), 30):  # type: ignore[arg-type]  # a fake
        thread = watchdog._thread

    watchdog.close()

    assert thread is not None
    assert not thread.is_alive()


def test_a_call_goes_unwatched_when_no_thread_can_start(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the end of an interpreter, where the last figures are stored."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    watchdog = Watchdog()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with watchdog.watching(server.connect(), 30):  # type: ignore[arg-type]  # a fake
            threads = [watchdog._thread]
    with watchdog.watching(server.connect(), 30):  # type: ignore[arg-type]  # a fake
        threads.append(watchdog._thread)
    watchdog.close()

    assert threads[0] is None
    assert threads[1] is not None


# -- connecting --------------------------------------------------------------------


def test_the_keywords_say_what_the_settings_say() -> None:
    settings = DatabaseSettings(
        backend="postgres", host="db", port=6432, database="jobs", username="forge",
        password="hunter2", sslmode="verify-full", application_name="mine",
        connect_timeout_s=1,
    )  # fmt: skip

    keywords = _keywords(settings, ServerOrder())

    assert keywords["sslmode"] == "verify-full"
    assert (keywords["host"], keywords["port"]) == ("db", 6432)
    assert keywords["application_name"] == "mine"
    assert keywords["connect_timeout"] == 2  # libpq takes nothing shorter
    assert keywords["tcp_user_timeout"] == 10_000
    assert "sslkey" not in keywords
    assert "options" not in keywords  # a pooler would refuse it


def test_a_connection_is_in_autocommit_mode(
    postgres_settings: DatabaseSettings,
) -> None:
    settings = dataclasses.replace(postgres_settings, application_name="named here")
    with contextlib.closing(connect(settings)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('application_name')")
            assert cursor.fetchone() == ("named here",)

        assert connection.autocommit
        assert connection.info.transaction_status == TRANSACTION_STATUS_IDLE


def test_a_wrong_database_is_named_and_the_password_is_not(
    postgres_settings: DatabaseSettings,
) -> None:
    settings = dataclasses.replace(
        postgres_settings, database="no_such_database", password="hunter2"
    )

    with pytest.raises(StorageUnavailableError, match="no_such_database") as caught:
        connect(settings)

    assert "hunter2" not in str(caught.value)


def test_a_frozen_server_process_is_cut(postgres_settings: DatabaseSettings) -> None:
    """M9"""
    pool = ConnectionPool(
        lambda: connect(postgres_settings), size=1, wait_s=1, random=lambda: 0.5
    )
    with (
        pool.connection() as connection,
        pool.watchdog.watching(connection, 0.1),
        connection.cursor() as cursor,
        pytest.raises(psycopg2.OperationalError),
    ):
        cursor.execute("SELECT pg_sleep(30)")

    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
    pool.close()
    Sql(postgres_settings).run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE query LIKE '%pg_sleep(30)%' AND pid <> pg_backend_pid()"
    )
