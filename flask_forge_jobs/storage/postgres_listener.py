"""Wake-ups from PostgreSQL: ``LISTEN`` on a connection of its own.

A pooler in transaction mode accepts ``LISTEN`` and delivers nothing, so the listener
first sends itself a notification. If that does not arrive, the workers poll; work is
found either way, only later.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import select
import threading
import time
from collections.abc import Callable

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.storage.database import WakeCallback

logger = logging.getLogger(__name__)

CHANNEL = "forge_jobs_wake"
SELF_TEST_LIMIT_S = 2.0
RECONNECT_S = 1.0
# A peer that vanished without a word is noticed by asking it something.
PING_PERIOD_S = 10.0
_TEST_PREFIX = "?"  # not allowed in a queue's name


class PostgresListener:
    """A thread that waits for notifications; see :class:`Listener`.

    Args:
        callback: Called with a queue's name, or None after a gap.
        forget: Ends the subscription within this process.
        connect: Opens a connection that is not behind a transaction pooler.
        is_own: Whether a server process serves this very process, whose workers were
            woken before the notification came.
    """

    def __init__(
        self,
        callback: WakeCallback,
        *,
        forget: Callable[[], None],
        connect: Callable[[], Connection],
        is_own: Callable[[int], bool],
    ) -> None:
        self._callback = callback
        self._forget = forget
        self._connect = connect
        self._is_own = is_own
        self._pushing = False
        self._has_warned = False
        self._stop_reader, self._stop_writer = os.pipe()
        self._thread = threading.Thread(
            target=self._run, name="forge-jobs-wake", daemon=True
        )
        self._thread.start()

    def is_pushing(self) -> bool:
        """Whether notifications arrive."""
        return self._pushing

    def _run(self) -> None:
        while True:
            try:
                if not self._listen():
                    return
            except (psycopg2.Error, StorageUnavailableError, OSError) as error:
                self._pushing = False
                logger.warning("wake-ups are down, polling meanwhile: %s", error)
            if self._is_stopped(RECONNECT_S):
                return

    def _is_stopped(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self._stop_reader], [], [], timeout_s)
        return bool(ready)

    def _listen(self) -> bool:
        """Serve one connection until it breaks; return False when stopped."""
        with contextlib.closing(self._connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(f"LISTEN {CHANNEL}")
            self._test(connection)
            # Whatever was enqueued while nobody listened.
            self._callback(None)
            while True:
                watched: list[int | Connection] = [self._stop_reader, connection]
                ready, _, _ = select.select(watched, [], [], PING_PERIOD_S)
                if self._stop_reader in ready:
                    return False
                if not ready:
                    cursor.execute("SELECT 1")
                connection.poll()
                self._deliver(connection)

    def _test(self, connection: Connection) -> None:
        nonce = _TEST_PREFIX + secrets.token_hex(8)
        connection.cursor().execute("SELECT pg_notify(%s, %s)", (CHANNEL, nonce))
        ends_at = time.monotonic() + SELF_TEST_LIMIT_S
        while (remaining_s := ends_at - time.monotonic()) > 0:
            connection.poll()
            heard = any(note.payload == nonce for note in connection.notifies)
            self._deliver(connection)
            if heard:
                self._pushing = True
                return
            select.select([connection], [], [], remaining_s)
        self._pushing = False
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "LISTEN is accepted but notifications do not arrive, probably because "
                "of a transaction pooler; polling instead (set FORGE_JOBS_LISTEN_URL)"
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
        """End the subscription and the thread."""
        with contextlib.suppress(ValueError):
            self._forget()
        os.write(self._stop_writer, b"x")
        if self._thread is not threading.current_thread():
            self._thread.join()
        os.close(self._stop_reader)
        os.close(self._stop_writer)
