"""Wake-ups from PostgreSQL: ``LISTEN`` on a connection of its own.

A pooler in transaction mode accepts ``LISTEN`` but delivers nothing, and hands the
listening session to its next client. So a listener behind a pooler does not listen
unless the settings allow it. One that does listen first tests itself with a
notification sent by another connection, because a session always hears its own. If the
test fails, workers poll and find jobs a little later.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.storage.database import Row, WakeCallback
from flask_forge_jobs.storage.postgres.connection import lift_limits

logger = get_logger(__name__)

CHANNEL = "forge_jobs_wake"
SELF_TEST_LIMIT_S = 2.0
RECONNECT_S = 1.0
# Pause after a failed self-test.
TRY_AGAIN_S = 60.0
# Only a ping reveals a server that hangs while its machine acknowledges packets.
PING_PERIOD_S = 10.0
ANSWER_LIMIT_S = 5.0
_TEST_PREFIX = "?"  # not allowed in a queue's name


def _is_readable(watched: int | Connection, timeout_s: float | None) -> bool:
    # select() fails in a process that has a thousand descriptors, and epoll needs one.
    with selectors.PollSelector() as selector:
        selector.register(watched, selectors.EVENT_READ)
        return bool(selector.select(timeout_s))


class PostgresListener:
    """A thread that waits for notifications; implements :class:`.Listener`.

    Args:
        callback: Called with a queue's name, or None after a gap.
        forget: Ends the subscription within this process.
        connect: Opens a connection.
        notify: Sends a notification with this payload from another connection.
        watching: See :meth:`.Watchdog.watching`.
        may_be_pooled: Whether to listen through a pooler.
        is_own: Whether a notifying server process is that of one of our connections:
            then our workers are awake already.
    """

    def __init__(
        self,
        callback: WakeCallback,
        *,
        forget: Callable[[], None],
        connect: Callable[[], Connection],
        notify: Callable[[str], object],
        watching: Callable[[Connection, float], AbstractContextManager[None]],
        may_be_pooled: bool,
        is_own: Callable[[int], bool],
    ) -> None:
        self._callback = callback
        self._forget = forget
        self._connect = connect
        self._notify = notify
        self._watching = watching
        self._may_be_pooled = may_be_pooled
        self._is_own = is_own
        self._pushing = False
        self._has_warned = False
        self._is_down = False
        self._pid = os.getpid()
        self._stop_reader, self._stop_writer = os.pipe()
        self._thread = threading.Thread(
            target=self._run, name="forge-jobs-wake", daemon=True
        )
        self._thread.start()

    def is_pushing(self) -> bool:
        """Whether notifications arrive."""
        return self._pushing

    def notify(self, name: str) -> None:
        """Call the callbacks of other processes with a name."""
        self._notify(name)

    def _run(self) -> None:
        while True:
            pause_s: float | None = RECONNECT_S
            try:
                pause_s = self._listen()
            except (psycopg2.Error, StorageError, OSError) as error:
                if not self._is_down:
                    logger.warning(
                        "LISTEN failed; polling until it works again: %s", error
                    )
                self._is_down = True
            finally:
                self._pushing = False
            if _is_readable(self._stop_reader, pause_s):
                return

    def _listen(self) -> float | None:
        """Serve one connection; return seconds until the next try, None for never."""
        with contextlib.closing(self._connect()) as connection:
            if not self._may_be_pooled and self._is_pooled(connection):
                self._warn("not listening through a pooler")
                self._callback(None)
                return None
            self._ask(connection, f"LISTEN {CHANNEL}")
            self._pushing = self._hears(connection)
            if not self._pushing:
                self._warn("LISTEN is accepted but notifications do not arrive")
                # A pooler would go on using the listening session.
                self._ask(connection, f"UNLISTEN {CHANNEL}")
            # Jobs may have been enqueued while nobody listened.
            self._callback(None)
            if not self._pushing:
                return TRY_AGAIN_S
            if self._is_down:
                logger.info("LISTEN works again")
            self._is_down = False
            # The session is ours, and idle most of the time. pg_stat_activity shows the
            # beginning of this text.
            self._ask(connection, f"LISTEN {CHANNEL};\n{lift_limits(connection)}")
            self._serve(connection)
        return None

    def _serve(self, connection: Connection) -> None:
        """Deliver notifications until stopped."""
        with selectors.PollSelector() as selector:
            for watched in (self._stop_reader, connection):
                selector.register(watched, selectors.EVENT_READ)
            while True:
                # First notifications that came with an answer: no event follows for
                # them.
                self._deliver(connection)
                ready = [key.fileobj for key, _ in selector.select(PING_PERIOD_S)]
                if self._stop_reader in ready:
                    return
                if not ready:
                    self._ask(connection, "SELECT 1")
                connection.poll()

    def _ask(self, connection: Connection, statement: str) -> Row:
        with self._watching(connection, ANSWER_LIMIT_S):
            cursor = connection.cursor()
            cursor.execute(statement)
            row: Row = (cursor.fetchone() or ()) if cursor.description else ()
            return row

    def _is_pooled(self, connection: Connection) -> bool:
        """Whether the session is not the one that the server announced at the start."""
        (pid,) = self._ask(connection, "SELECT pg_backend_pid()")
        return bool(pid != connection.info.backend_pid)

    def _hears(self, connection: Connection) -> bool:
        nonce = _TEST_PREFIX + secrets.token_hex(8)
        self._notify(nonce)
        ends_at = time.monotonic() + SELF_TEST_LIMIT_S
        while (remaining_s := ends_at - time.monotonic()) > 0:
            connection.poll()
            heard = any(note.payload == nonce for note in connection.notifies)
            self._deliver(connection)
            if heard:
                return True
            _is_readable(connection, remaining_s)
        return False

    def _warn(self, what: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "%s; polling instead (FORGE_JOBS_LISTEN_URL names a connection that "
                "can listen)",
                what,
            )

    def _deliver(self, connection: Connection) -> None:
        names = {
            note.payload: None
            for note in connection.notifies
            if not self._is_own(note.pid)
        }
        connection.notifies.clear()
        for name in names:
            if not name.startswith(_TEST_PREFIX):
                self._callback(name)

    def stop(self) -> None:
        """End the subscription and the thread; nothing in a forked child."""
        if os.getpid() != self._pid:  # the pipe leads to the parent's thread
            return
        with contextlib.suppress(ValueError):
            self._forget()
        os.write(self._stop_writer, b"x")
        if self._thread is not threading.current_thread():
            self._thread.join()
        os.close(self._stop_reader)
        os.close(self._stop_writer)
