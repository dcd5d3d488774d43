"""Wake-ups from PostgreSQL: quick, back after a cut, and honest when there are none."""

from __future__ import annotations

import contextlib
import dataclasses
import select
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.storage import postgres_listener
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.connect import open_storage
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.postgres_listener import CHANNEL, PostgresListener
from flask_forge_jobs.storage.postgres_pool import connect
from tests.support.jobs import enqueue
from tests.support.processes import output_of, start_python
from tests.support.sql import Sql
from tests.support.threads import Heard

QUICK_S = 0.1
LISTENING = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    "AND query LIKE '%pg_notify%' AND pid <> pg_backend_pid()"
)


def nobody(_: int) -> bool:
    """Say that no server process is our own."""
    return False


def listener_of(settings: DatabaseSettings, heard: Heard) -> PostgresListener:
    """Return a listener that has passed its test."""
    listener = PostgresListener(
        heard,
        forget=lambda: None,
        connect=lambda: connect(settings),
        is_own=nobody,
    )
    assert heard.wait_for(None)
    return listener


def test_an_enqueue_in_another_process_wakes_within_100_ms(
    postgres_settings: DatabaseSettings,
) -> None:
    """listen_notify_wakes_wait_for_work"""
    heard = Heard()
    listener = listener_of(postgres_settings, heard)
    script = """
storage.jobs.enqueue(NewJob("noop", queue_name="first"))
for line in sys.stdin:
    storage.jobs.enqueue(NewJob("noop", queue_name=line.strip()))
    print("stored", flush=True)
storage.close()
"""
    producer = start_python(postgres_settings, script)
    assert producer.stdin is not None
    assert producer.stdout is not None
    assert heard.wait_for("first", 30)

    waits = []
    for number in range(5):
        producer.stdin.write(f"queue {number}\n")
        producer.stdin.flush()
        assert producer.stdout.readline() == "stored\n"
        started = time.monotonic()
        assert heard.wait_for(f"queue {number}")
        waits.append(time.monotonic() - started)

    assert listener.is_pushing()
    assert min(waits) < QUICK_S
    producer.stdin.close()
    producer.stdin = None
    output_of(producer)
    listener.stop()


def test_a_rolled_back_job_wakes_nobody(
    postgres: Storage, postgres_settings: DatabaseSettings
) -> None:
    """D32"""
    heard = Heard()
    listener = listener_of(postgres_settings, heard)

    def work(transaction: Transaction) -> None:
        transaction.wake("lost")
        transaction.all("all_queues")
        raise LookupError

    with pytest.raises(LookupError):
        postgres.database.write(work)
    enqueue(postgres, queue_name="last")

    assert heard.wait_for("last")
    assert "lost" not in heard.names
    listener.stop()


def test_a_wake_up_of_our_own_is_not_delivered_twice(
    postgres: Storage, postgres_settings: DatabaseSettings
) -> None:
    heard = Heard()
    listener = postgres.database.listen(heard)
    assert heard.wait_for(None)
    heard.clear()

    enqueue(postgres, queue_name="mail")
    with contextlib.closing(open_storage(postgres_settings)) as other:
        enqueue(other, queue_name="last")

    assert heard.wait_for("last")
    assert heard.names == ["mail", "last"]
    listener.stop()


def test_a_cut_listener_comes_back_and_says_that_it_was_away(
    postgres: Storage,
    postgres_settings: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(postgres_listener, "RECONNECT_S", 0.01)
    heard = Heard()
    listener = listener_of(postgres_settings, heard)
    heard.clear()

    cut = Sql(postgres_settings).run(
        f"SELECT pg_terminate_backend(pid) FROM ({LISTENING}) AS listening"
    )

    assert cut
    assert heard.wait_for(None)  # whatever was missed meanwhile
    assert "polling meanwhile" in caplog.text
    enqueue(postgres, queue_name="after")
    assert heard.wait_for("after")
    assert listener.is_pushing()
    listener.stop()


def test_a_server_that_is_away_is_tried_again(
    postgres_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_listener, "RECONNECT_S", 0.01)
    heard = Heard()
    tries: list[int] = []

    def connect_at_last() -> object:
        tries.append(1)
        if len(tries) < 4:
            raise StorageUnavailableError("away")
        return connect(postgres_settings)

    listener = PostgresListener(
        heard,
        forget=lambda: None,
        connect=connect_at_last,  # type: ignore[arg-type]  # returns a connection at last
        is_own=nobody,
    )

    assert heard.wait_for(None)
    assert listener.is_pushing()
    listener.stop()


class DeafConnection:
    """Accepts LISTEN and NOTIFY and delivers nothing, like a transaction pooler."""

    def __init__(self, inner: object) -> None:
        self._inner = inner
        self.notifies: list[SimpleNamespace] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


def test_a_listener_that_hears_nothing_says_so(
    postgres_settings: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(postgres_listener, "SELF_TEST_LIMIT_S", 0.05)
    heard = Heard()

    listener = PostgresListener(
        heard,
        forget=lambda: None,
        connect=lambda: DeafConnection(  # type: ignore[arg-type,return-value]  # a fake
            connect(postgres_settings)
        ),
        is_own=nobody,
    )

    assert heard.wait_for(None)
    assert not listener.is_pushing()
    assert caplog.text.count("notifications do not arrive") == 1
    listener.stop()


def test_a_stopped_listener_forgets_and_ends_its_session(
    postgres_settings: DatabaseSettings,
) -> None:
    heard, forgotten = Heard(), Heard()
    listener = PostgresListener(
        heard,
        forget=lambda: forgotten(None),
        connect=lambda: connect(postgres_settings),
        is_own=nobody,
    )
    assert heard.wait_for(None)

    listener.stop()

    assert forgotten.names == [None]
    assert not listener._thread.is_alive()


def test_a_listener_can_be_stopped_while_the_server_is_away() -> None:
    def refuse() -> object:
        raise StorageUnavailableError("away")

    listener = PostgresListener(
        Heard(),
        forget=lambda: None,
        connect=refuse,  # type: ignore[arg-type]  # never returns
        is_own=nobody,
    )

    listener.stop()

    assert not listener.is_pushing()


def test_a_quiet_connection_is_pinged(
    postgres: Storage,
    postgres_settings: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_listener, "PING_PERIOD_S", 0.01)
    pings = Heard()
    inner: Callable[..., tuple[list[int], list[int], list[int]]] = select.select

    def watching(*arguments: object) -> object:
        found = inner(*arguments)
        if arguments[-1] == 0.01 and not found[0]:
            pings("ping")
        return found

    monkeypatch.setattr(select, "select", watching)
    heard = Heard()
    listener = listener_of(postgres_settings, heard)

    assert pings.wait_for("ping")
    enqueue(postgres, queue_name="after the ping")
    assert heard.wait_for("after the ping")
    listener.stop()


def test_another_url_can_be_listened_to(postgres_settings: DatabaseSettings) -> None:
    """The database is behind a transaction pooler, the listener is not."""
    direct = postgres_settings
    url = (
        f"postgresql:///{direct.database}?host={direct.host}&port={direct.port}"
        f"&user={direct.username}"
    )
    settings = dataclasses.replace(direct, listen_url=url)
    with contextlib.closing(open_storage(settings)) as storage:
        heard = Heard()
        listener = storage.database.listen(heard)
        assert heard.wait_for(None)

        Sql(settings).run("SELECT pg_notify(?, 'mail')", CHANNEL)

        assert heard.wait_for("mail")
        listener.stop()
