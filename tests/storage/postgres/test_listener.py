"""Wake-ups from PostgreSQL: fast, back after a cut, replaced by polling if missing."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import selectors
import signal
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.postgres import database as postgres_module
from flask_forge_jobs.storage.postgres import listener as postgres_listener
from flask_forge_jobs.storage.postgres.connection import connect as open_connection
from flask_forge_jobs.storage.postgres.connection import lift_limits
from flask_forge_jobs.storage.postgres.listener import CHANNEL, PostgresListener
from flask_forge_jobs.storage.postgres.pool import Watchdog
from tests.support.jobs import enqueue
from tests.support.processes import output_of, start_python
from tests.support.sql import UNDER_TEST, Sql
from tests.support.threads import LIMIT_S, Heard
from tests.support.waiting import wait_until

LISTENING = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    "AND query LIKE 'LISTEN %' AND pid <> pg_backend_pid()"
)


def nobody(_: int) -> bool:
    """Say that no server process is our own."""
    return False


def new_listener(
    settings: DatabaseSettings,
    heard: Heard,
    *,
    connect: Callable[[], object] | None = None,
    notify: Callable[[str], object] | None = None,
    forget: Callable[[], None] = lambda: None,
    may_be_pooled: bool = False,
) -> PostgresListener:
    """Return a listener that is about to connect."""

    def send(payload: str) -> None:
        Sql(settings).run("SELECT pg_notify(?, ?)", CHANNEL, payload)

    return PostgresListener(
        heard,
        forget=forget,
        connect=connect or (lambda: open_connection(settings)),  # type: ignore[arg-type]  # or a fake
        notify=notify or send,
        watching=Watchdog().watching,
        may_be_pooled=may_be_pooled,
        is_own=nobody,
    )


def listener_of(settings: DatabaseSettings, heard: Heard) -> PostgresListener:
    """Return a listener that has passed its test."""
    listener = new_listener(settings, heard)
    assert heard.wait_for(None)
    return listener


def test_an_enqueue_in_another_process_wakes(
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

    for number in range(5):
        producer.stdin.write(f"queue {number}\n")
        producer.stdin.flush()
        assert producer.stdout.readline() == "stored\n"
        assert heard.wait_for(f"queue {number}")

    assert listener.is_pushing()
    producer.stdin.close()
    producer.stdin = None
    output_of(producer)
    listener.stop()


def test_what_comes_while_the_session_is_prepared_is_delivered_at_once(
    postgres_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came with an answer, so the socket has nothing more to read."""
    monkeypatch.setattr(postgres_listener, "PING_PERIOD_S", LIMIT_S)
    heard, sql = Heard(), Sql(postgres_settings)

    def prepared(connection: Any) -> str:
        sql.run("SELECT pg_notify(?, 'mail')", CHANNEL)
        return lift_limits(connection)

    monkeypatch.setattr(postgres_listener, "lift_limits", prepared)
    listener = listener_of(postgres_settings, heard)

    assert heard.wait_for("mail")
    listener.stop()


@pytest.mark.usefixtures("many_descriptors")
def test_a_listener_in_a_process_with_many_connections_hears(
    postgres_settings: DatabaseSettings,
) -> None:
    heard = Heard()
    listener = listener_of(postgres_settings, heard)

    Sql(postgres_settings).run("SELECT pg_notify(?, 'mail')", CHANNEL)

    assert heard.wait_for("mail")
    listener.stop()


def test_a_rolled_back_job_wakes_nobody(
    postgres: Storage, postgres_settings: DatabaseSettings
) -> None:
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
    assert "polling until it works again" in caplog.text
    enqueue(postgres, queue_name="after")
    assert heard.wait_for("after")
    assert listener.is_pushing()
    listener.stop()


def test_a_server_that_is_away_is_tried_again_and_told_of_once(
    postgres_settings: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(postgres_listener, "RECONNECT_S", 0.01)
    heard = Heard()
    tries: list[int] = []

    def connect_at_last() -> object:
        tries.append(1)
        if len(tries) < 4:
            raise StorageUnavailableError("away")
        return open_connection(postgres_settings)

    listener = new_listener(postgres_settings, heard, connect=connect_at_last)

    assert heard.wait_for(None)
    assert listener.is_pushing()
    assert caplog.text.count("LISTEN failed") == 1
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

    listener = new_listener(
        postgres_settings,
        heard,
        connect=lambda: DeafConnection(open_connection(postgres_settings)),
    )

    assert heard.wait_for(None)
    assert not listener.is_pushing()
    assert caplog.text.count("notifications do not arrive") == 1
    listener.stop()


def test_a_notification_of_its_own_session_proves_nothing(
    postgres_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a pooler a listener hears only its own session's notifications."""
    monkeypatch.setattr(postgres_listener, "SELF_TEST_LIMIT_S", 0.05)
    heard, sent = Heard(), Heard()

    listener = new_listener(postgres_settings, heard, notify=sent)

    assert heard.wait_for(None)
    assert len(sent.names) == 1
    assert not listener.is_pushing()
    listener.stop()


def test_a_deaf_listener_leaves_no_session_that_listens_and_tries_again(
    postgres_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_listener, "SELF_TEST_LIMIT_S", 0.05)
    monkeypatch.setattr(postgres_listener, "TRY_AGAIN_S", 0.01)
    heard, lost = Heard(), Heard()
    left: list[list[tuple[object, ...]]] = []
    session = open_connection(postgres_settings)

    def send_at_last(payload: str) -> None:
        if len(lost.names) < 2:
            lost(payload)
            return
        monkeypatch.setattr(postgres_listener, "SELF_TEST_LIMIT_S", 8.0)
        Sql(postgres_settings).run("SELECT pg_notify(?, ?)", CHANNEL, payload)

    class Kept(DeafConnection):
        """Goes back to a pool when it is closed."""

        @property
        def notifies(self) -> list[SimpleNamespace]:
            return session.notifies  # type: ignore[return-value]  # the real ones

        @notifies.setter
        def notifies(self, _: object) -> None:
            pass

        def close(self) -> None:
            with session.cursor() as cursor:
                cursor.execute("SELECT pg_listening_channels()")
                left.append(cursor.fetchall())

    listener = new_listener(
        postgres_settings, heard, connect=lambda: Kept(session), notify=send_at_last
    )

    wait_until(listener.is_pushing, "it hears at last")
    listener.stop()

    assert left == [[], [], [(CHANNEL,)]]
    session.close()


class Announced:
    """A session that is not the one which was announced, as a pooler gives one."""

    def __init__(self, inner: object) -> None:
        self._inner = inner
        self.info = SimpleNamespace(backend_pid=-1)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def fileno(self) -> int:
        """Return the number of the socket, for select()."""
        found: int = self._inner.fileno()  # type: ignore[attr-defined]  # a connection
        return found


def test_a_listener_behind_a_pooler_does_not_listen(
    postgres_settings: DatabaseSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """The pooler's next client would inherit the listening session."""
    heard, sent = Heard(), Heard()

    listener = new_listener(
        postgres_settings,
        heard,
        connect=lambda: Announced(open_connection(postgres_settings)),
        notify=sent,
    )

    assert heard.wait_for(None)
    assert not listener.is_pushing()
    assert not sent.names
    assert caplog.text.count("not listening through a pooler") == 1
    listener.stop()


def test_a_pooler_that_was_named_to_listen_through_is_believed(
    postgres_settings: DatabaseSettings,
) -> None:
    """One in session mode delivers."""
    heard = Heard()

    listener = new_listener(
        postgres_settings,
        heard,
        connect=lambda: Announced(open_connection(postgres_settings)),
        may_be_pooled=True,
    )

    assert heard.wait_for(None)
    assert listener.is_pushing()
    listener.stop()


def test_a_server_that_is_silent_is_given_up(
    postgres_settings: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its machine acknowledges our packets, so libpq would wait for ever."""
    monkeypatch.setattr(postgres_listener, "PING_PERIOD_S", 0.01)
    monkeypatch.setattr(postgres_listener, "ANSWER_LIMIT_S", 2.0)
    monkeypatch.setattr(postgres_listener, "RECONNECT_S", 0.01)
    heard = Heard()
    listener = listener_of(postgres_settings, heard)
    heard.clear()
    sql = Sql(postgres_settings)
    # Its last statement may be a question, and on a busy machine it may be another one.
    sessions = f"SELECT pid FROM pg_stat_activity WHERE {UNDER_TEST}"
    wait_until(lambda: len(sql.run(sessions)) == 1, "none but the listener is left")
    ((pid,),) = sql.run(sessions)

    os.kill(pid, signal.SIGSTOP)
    try:
        assert heard.wait_for(None)
        assert listener.is_pushing()
        assert "polling until it works again" in caplog.text
    finally:
        os.kill(pid, signal.SIGCONT)
    listener.stop()


def test_a_stopped_listener_forgets_and_ends_its_session(
    postgres_settings: DatabaseSettings,
) -> None:
    heard, forgotten = Heard(), Heard()
    listener = new_listener(postgres_settings, heard, forget=lambda: forgotten(None))
    assert heard.wait_for(None)

    listener.stop()

    assert forgotten.names == [None]
    assert not listener._thread.is_alive()


def test_a_listener_can_be_stopped_while_the_server_is_away(
    postgres_settings: DatabaseSettings,
) -> None:
    def refuse() -> object:
        raise StorageUnavailableError("away")

    listener = new_listener(postgres_settings, Heard(), connect=refuse)

    listener.stop()

    assert not listener.is_pushing()


def test_a_quiet_connection_is_pinged(
    postgres: Storage,
    postgres_settings: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_listener, "PING_PERIOD_S", 0.01)
    pings = Heard()

    class Watching(selectors.PollSelector):
        """Notes each wait that ended without a sign of life."""

        def select(self, timeout: float | None = None) -> Any:
            found = super().select(timeout)
            if timeout == 0.01 and not found:
                pings("ping")
            return found

    monkeypatch.setattr(selectors, "PollSelector", Watching)
    heard = Heard()
    listener = listener_of(postgres_settings, heard)

    assert pings.wait_for("ping")
    enqueue(postgres, queue_name="after the ping")
    assert heard.wait_for("after the ping")
    listener.stop()


def test_a_listening_url_takes_nothing_from_the_databases_own(
    postgres_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one without a port would lead to the pooler's."""
    asked = Heard()

    def connect(settings: DatabaseSettings, _: object = None) -> object:
        if settings.host == "/nowhere":
            asked(f"{settings.port} {settings.username}")
        return open_connection(settings)

    monkeypatch.setattr(postgres_module, "connect", connect)
    settings = dataclasses.replace(
        postgres_settings, listen_url="postgresql:///x?host=/nowhere"
    )
    with contextlib.closing(open_storage(settings)) as storage:
        listener = storage.database.listen(Heard())
        assert asked.wait_for("5432 None")
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
