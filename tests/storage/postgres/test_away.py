"""A PostgreSQL server that hangs: waits, log messages and stored jobs."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    InvalidInputError,
    StorageError,
    StorageOutcomeUnknownError,
    StorageUnavailableError,
)
from flask_forge_jobs.handlers import readiness as readiness_module
from flask_forge_jobs.handlers.readiness import ReadyStatus, readiness
from flask_forge_jobs.handlers.snapshots import Snapshots
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.request_threads import this_thread
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.deadlines import within
from flask_forge_jobs.storage.postgres import database as postgres_module
from flask_forge_jobs.storage.postgres import pool as pool_module
from flask_forge_jobs.storage.postgres import process, request_gate, trial
from flask_forge_jobs.storage.postgres.connection import Session, connect
from flask_forge_jobs.storage.postgres.database import PostgresDatabase
from tests.support.clocks import MovingClock
from tests.support.cluster import cluster
from tests.support.jobs import OWNER, enqueue
from tests.support.outages import without_its_standby
from tests.support.proxy import Proxy, proxied
from tests.support.runtimes import LIMIT_S
from tests.support.sql import Sql
from tests.support.threads import Heard
from tests.support.waiting import wait_until

WAITING = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
STORED = "SELECT id FROM forge_job ORDER BY id"


@pytest.fixture
def proxy(postgres_settings: DatabaseSettings) -> Iterator[Proxy]:
    """A network that fails when a test wants it to."""
    with proxied(postgres_settings) as found:
        yield found


@pytest.fixture
def far(
    proxy: Proxy, postgres_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Storage]:
    """The stores by way of it, with short limits; the queue is known."""
    _shorten_limits(monkeypatch)
    # Another test's client may have made this thread one of a server's.
    monkeypatch.setattr(this_thread, "answers_requests", False)
    settings = DatabaseSettings.from_url(proxy.url_of(postgres_settings))
    settings = dataclasses.replace(settings, statement_timeout_s=2.0)
    with contextlib.closing(open_storage(settings)) as storage:
        enqueue(storage)
        yield storage


def _shorten_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_module, "_DEADLINE_SLACK_S", 0.1)
    monkeypatch.setattr(process, "_TIMED_OUT_S", 0.3)


def database_of(storage: Storage) -> PostgresDatabase:
    assert isinstance(storage.database, PostgresDatabase)
    return storage.database


def test_after_the_first_time_out_calls_fail_at_once_until_it_answers(
    far: Storage, proxy: Proxy
) -> None:
    heard = Heard()
    database_of(far)._state.callbacks.append(heard)
    proxy.weather.is_silent = True
    with pytest.raises(StorageOutcomeUnknownError):
        enqueue(far)

    for call in (lambda: enqueue(far), far.queues.all, far.takes_writes):
        with pytest.raises(StorageUnavailableError, match="not tried") as caught:
            call()
        # The outcome of the first call is not theirs.
        assert not isinstance(caught.value, StorageOutcomeUnknownError)
        assert "may or may not" not in str(caught.value)
    proxy.weather.is_silent = False

    # Workers are woken, as when a listener is back.
    assert heard.wait_for(None)
    assert enqueue(far)


def _mark() -> None:
    this_thread.answers_requests = True


@pytest.mark.long
def test_one_thread_of_a_server_does_not_wait_for_it(
    far: Storage, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise health checks would have to wait, too."""
    monkeypatch.setattr(request_gate, "YOUNG_S", 0.0)
    monkeypatch.setattr(request_gate, "SILENCE_S", 0.1)
    state = database_of(far)._state
    state.limit_s = LIMIT_S
    # Spare ones for the trial and for the thread that stores figures.
    together = threading.Barrier(6)

    def connect_all(transaction: Transaction) -> None:
        transaction.all("all_queues")
        together.wait(LIMIT_S)

    with (
        ThreadPoolExecutor(3) as others,
        ThreadPoolExecutor(3, initializer=_mark) as server,
    ):
        known = [
            pool.submit(database_of(far).read, connect_all)
            for pool in (server, others)
            for _ in range(3)
        ]
        assert not wait(known, LIMIT_S).not_done
        proxy.weather.is_silent = True
        hanging = [server.submit(enqueue, far) for _ in range(2)]
        wait_until(lambda: len(state.gate._turns) == 2, "two wait for it")

        for _ in range(3):
            with pytest.raises(StorageUnavailableError, match="nothing is stored"):
                server.submit(enqueue, far).result(LIMIT_S)
        assert not any(each.done() for each in hanging)
        proxy.weather.is_silent = False

        assert all(each.result(LIMIT_S) for each in hanging)


def test_a_process_whose_first_sessions_take_long_has_a_database(
    postgres_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its threads, the second one to call it seems to be the last."""
    monkeypatch.setattr(request_gate, "YOUNG_S", 0.0)
    monkeypatch.setattr(request_gate, "SILENCE_S", 0.001)
    clock = MovingClock()  # a busy machine is no silence
    for module in (request_gate, trial):
        monkeypatch.setattr(module, "time", clock)
    is_tried = threading.Event()
    with (
        contextlib.closing(open_storage(postgres_settings)) as started,
        ThreadPoolExecutor(2, initializer=_mark) as server,
    ):
        state = database_of(started)._state
        connect_soon = state.pool._connect

        def connect_late() -> Session:
            if this_thread.answers_requests:
                assert is_tried.wait(LIMIT_S)
            elif not is_tried.is_set():
                asked = state.gate._trial._changed
                with asked:  # the second one waits
                    clock.move(1.0)  # more than a silence, less than CONNECT_S
                    asked.notify_all()
                is_tried.set()
            return connect_soon()

        state.pool._connect = connect_late
        first = server.submit(enqueue, started)
        wait_until(lambda: len(state.gate._turns) == 1, "the first connects")
        second = server.submit(enqueue, started)

        assert [first.result(LIMIT_S), second.result(LIMIT_S)]


def test_a_trial_whose_session_was_lost_may_take_long_for_another(
    far: Storage, proxy: Proxy
) -> None:
    state = database_of(far)._state
    connect_soon = state.pool._connect

    def connect_late() -> Session:
        time.sleep(0.5)
        return connect_soon()

    state.pool._connect = connect_late
    proxy.cut()

    assert state.trial.takes_writes(time.monotonic(), 0.4, LIMIT_S)


def test_a_call_keeps_its_turn_between_its_tries(far: Storage, proxy: Proxy) -> None:
    """Threads that sleep while a server refuses answer nobody either."""
    database = database_of(far)
    seen: list[int] = []
    database._wait = lambda _: seen.append(len(database._state.gate._turns))
    proxy.close()

    with ThreadPoolExecutor(1, initializer=_mark) as server:
        error = server.submit(enqueue, far).exception(LIMIT_S)

    assert isinstance(error, StorageUnavailableError)
    assert seen
    assert set(seen) == {1}
    assert not database._state.gate._turns


def test_a_request_that_waits_for_another_one_s_read_has_a_turn(far: Storage) -> None:
    """Else all threads of a server may wait for the same read, which hangs."""
    turns = database_of(far)._state.gate._turns
    kept = Snapshots(far.database)
    may_end = threading.Event()

    def read() -> str:
        assert may_end.wait(LIMIT_S)
        far.queues.all()
        return "value"

    with ThreadPoolExecutor(2, initializer=_mark) as server:
        asked = [server.submit(kept.get, "key", read) for _ in range(2)]
        try:
            wait_until(lambda: len(turns) == 2, "both wait")
        finally:
            may_end.set()

        assert {each.result(LIMIT_S) for each in asked} == {"value"}
    assert not turns


def test_a_request_that_would_wait_fails_at_once_while_it_is_away(far: Storage) -> None:
    kept = Snapshots(far.database)
    kept.get("key", lambda: "value")
    database_of(far)._state.availability._reason = "time-out"

    with pytest.raises(StorageUnavailableError, match="not tried"):
        kept.get("key", lambda: "anew", kept_s=0.0)
    assert kept.get("key", lambda: "anew", kept_s=LIMIT_S) == "value"


def test_a_call_whose_next_try_is_not_made_leaves_no_turn(
    far: Storage, proxy: Proxy
) -> None:
    """Once the server is back, it would count as one that hangs."""
    database = database_of(far)
    database._wait = lambda _: database._state.availability.note_away("time-out")
    proxy.close()

    with ThreadPoolExecutor(1, initializer=_mark) as server:
        error = server.submit(enqueue, far).exception(LIMIT_S)

    assert isinstance(error, StorageUnavailableError)
    assert not database._state.gate._turns


@pytest.mark.parametrize("hangs", ["everything", "commits"])
def test_readiness_waits_for_nothing_that_hangs(
    far: Storage, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    """Without its standby a server answers reads, and ends no commit."""
    monkeypatch.setattr(postgres_module, "_TRIAL_LIMIT_S", LIMIT_S)
    monkeypatch.setattr(readiness_module, "READ_LIMIT_S", LIMIT_S)
    before = readiness(far).status
    monkeypatch.setattr(postgres_module, "_TRIAL_LIMIT_S", 0.1)
    monkeypatch.setattr(postgres_module, "FRESH_S", 0.0)
    if hangs == "commits":
        monkeypatch.setattr(process, "_EMPTY_COMMIT", "SELECT pg_sleep(60)")
    else:
        proxy.weather.is_silent = True
    with ThreadPoolExecutor(1) as pool:
        # The watchdog would end it, later.
        monkeypatch.setattr(pool_module, "_cut", lambda _: None)
        found = pool.submit(readiness, far).result(LIMIT_S)
        monkeypatch.undo()

    assert before is ReadyStatus.DEGRADED  # there are no workers
    assert found.status is ReadyStatus.UNAVAILABLE
    assert found.checks[0].detail == "does not answer"
    proxy.weather.is_silent = False


def test_a_process_that_starts_while_it_hangs_fails_at_once_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else every thread waits for a connection of its own, one after the other."""
    _shorten_limits(monkeypatch)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        url = f"postgresql://forge@{host}:{port}/forge?connect_timeout=1"
        database = PostgresDatabase(DatabaseSettings.from_url(url))
        with contextlib.closing(database):
            with pytest.raises(StorageUnavailableError, match="cannot reach"):
                database.read_one("all_queues")

            with pytest.raises(StorageUnavailableError, match="not tried"):
                database.read_one("all_queues")


def test_a_callers_connection_that_works_is_enough(
    far: Storage, proxy: Proxy, postgres_settings: DatabaseSettings
) -> None:
    """After a failover it may reach the new primary before our own does."""
    sql = Sql(postgres_settings)
    proxy.weather.is_silent = True
    with pytest.raises(StorageOutcomeUnknownError):
        enqueue(far)
    state = database_of(far)._state
    # As it was on the server before.
    state.tables = ("0", *state.tables[1:])
    with contextlib.closing(sql.connect()) as connection:
        connection.autocommit = False

        stored = far.jobs.enqueue(NewJob("noop"), connection=connection)
        connection.commit()

        assert (stored.id,) in sql.run(STORED)
        state.cluster = [("another",)]
        with pytest.raises(InvalidInputError, match="another database"):
            far.jobs.enqueue(NewJob("noop"), connection=connection)


def test_a_job_whose_answer_was_lost_is_stored_once_under_its_id(
    far: Storage, proxy: Proxy, postgres_settings: DatabaseSettings
) -> None:
    database_of(far)._wait = lambda _: None
    sql = Sql(postgres_settings)
    before = sql.run(STORED)
    # The commits of all tries; the repeated ones find it stored.
    proxy.weather.loses = lambda text: b"forge_enqueue" in text
    with pytest.raises(StorageOutcomeUnknownError) as caught:
        enqueue(far)
    proxy.weather.loses = None
    (job_id,) = caught.value.job_ids
    stored = sql.run(STORED)
    heard = Heard()
    database_of(far)._state.callbacks.append(heard)
    if database_of(far)._state.availability._reason is not None:
        assert heard.wait_for(None)

    again = far.jobs.enqueue(NewJob("noop", job_id=job_id))
    (in_bulk,) = far.jobs.enqueue_many([NewJob("noop", job_id=job_id)])

    assert job_id in str(caught.value)
    assert stored == [*before, (job_id,)] == sql.run(STORED)
    assert (again.id, again.is_deduped) == (job_id, False)
    assert in_bulk.id == job_id


@pytest.mark.long
def test_nothing_more_is_sent_to_a_server_whose_commits_wait_for_a_standby(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It answers reads, and ends no session that is given up here."""
    _shorten_limits(monkeypatch)
    monkeypatch.setattr(process, "PROBE_PERIOD_S", 0.05)
    monkeypatch.setattr(process, "LONG_WAIT_S", 0.0)
    with cluster() as server:
        settings = DatabaseSettings.from_url(server.url)
        # Long enough for a busy server to come to the commit.
        settings = dataclasses.replace(settings, statement_timeout_s=2.0)
        with contextlib.closing(open_storage(settings)) as storage:
            enqueue(storage)
            availability = database_of(storage)._state.availability
            look, probes = availability._probe, list[bool]()

            def noted(writes: bool) -> object:  # as it is called
                probes.append(writes)
                return look(writes)

            availability._probe = noted
            heard = Heard()
            database_of(storage)._state.callbacks.append(heard)
            with without_its_standby(server):
                # The first ones may come before the server has read its settings.
                with pytest.raises(StorageUnavailableError):
                    list(map(enqueue, itertools.repeat(storage)))
                wait_until(lambda: len(probes) > 3 or None in heard._names, "probes")
                waiting = server.ask(WAITING)
                wait_until(lambda: len(probes) > 6 or None in heard._names, "more")

                assert None not in heard._names
                with pytest.raises(StorageUnavailableError, match="not tried"):
                    enqueue(storage)
                assert server.ask(WAITING) == waiting != [(0,)]

            assert heard.wait_for(None)
            assert enqueue(storage)


def test_what_was_never_sent_is_not_called_unknown(far: Storage, proxy: Proxy) -> None:
    database_of(far)._wait = lambda _: None
    proxy.close()

    with pytest.raises(StorageUnavailableError) as caught:
        far.jobs.heartbeat(OWNER, {})

    assert not isinstance(caught.value, StorageOutcomeUnknownError)


def test_a_call_with_a_deadline_ends_by_then(far: Storage, proxy: Proxy) -> None:
    """A heartbeat has no half minute."""
    database = database_of(far)
    database._limit_s = math.inf
    waits: list[float] = []
    database._wait = waits.append
    proxy.weather.is_silent = True

    with within(0.2), pytest.raises(StorageError):
        far.jobs.heartbeat(OWNER, {})

    assert waits == []


def test_of_several_servers_the_one_that_answers_is_used(
    proxy: Proxy, postgres_settings: DatabaseSettings
) -> None:
    there = proxy.url_of(postgres_settings)
    url = there.replace("127.0.0.1:", "127.0.0.1:1,127.0.0.1:", 1)

    with contextlib.closing(open_storage(DatabaseSettings.from_url(url))) as storage:
        assert enqueue(storage)
        assert storage.takes_writes()


def test_of_several_servers_none_without_writes_is_used(
    own_settings: DatabaseSettings,
) -> None:
    sql = Sql(own_settings)
    name = sql.value("SELECT current_database()")
    sql.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with proxied(own_settings) as proxy:
        there = proxy.url_of(own_settings)
        url = there.replace("127.0.0.1:", "127.0.0.1:1,127.0.0.1:", 1)
        database = PostgresDatabase(DatabaseSettings.from_url(url))

        with (
            contextlib.closing(database),
            pytest.raises(StorageUnavailableError, match="read-only"),
        ):
            database.open()


def test_of_several_servers_the_one_that_was_reached_is_tried_first(
    proxy: Proxy, postgres_settings: DatabaseSettings
) -> None:
    """A host that hangs would cost each new connection its time-out."""
    with socket.socket() as lost:
        lost.bind(("127.0.0.1", 0))
        there = proxy.url_of(postgres_settings)
        ports = f"127.0.0.1:{lost.getsockname()[1]},127.0.0.1:"
        url = there.replace("127.0.0.1:", ports, 1)
        settings = DatabaseSettings.from_url(url)
        with contextlib.closing(PostgresDatabase(settings)) as database:
            database.open()
            # From now on it hangs instead of refusing.
            lost.listen()
            lost.setblocking(False)

            database._state.pool.discard_idle()
            database.read_one("all_queues")
            database._probe(writes=False)

            with pytest.raises(BlockingIOError):
                lost.accept()


def test_every_server_is_named_that_took_no_connection() -> None:
    """The last one refuses; the first one has cost the time."""
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in (silent, refusing)]
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        settings = DatabaseSettings.from_url(
            f"postgresql://forge@{hosts}/forge?connect_timeout=2"
        )

        with pytest.raises(StorageUnavailableError) as caught:
            connect(settings)

    reason = str(caught.value).partition("/forge: ")[2]
    assert re.findall(r"port (\d+) failed: ([a-zC]+)", reason) == [
        (str(ports[0]), "timeout"),
        (str(ports[1]), "Connection"),
    ]
