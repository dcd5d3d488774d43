"""What one process has opened of a SQLite database; a child starts with a new one.

Every thread has a connection of its own, closed when the thread ends; a database in
memory has one for all.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
import time
import weakref
from pathlib import Path

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.storage.database import WakeCallback
from flask_forge_jobs.storage.sqlite_checkpoint import CheckpointGate, has_wal_reset_bug
from flask_forge_jobs.storage.sqlite_connection import SqliteConnection
from flask_forge_jobs.storage.sqlite_files import create_privately
from flask_forge_jobs.storage.sqlite_turn import WritersTurn

_MEMORY = ":memory:"
# How long the end of the process waits for a thread that writes or reads.
_LAST_WAIT_S = 1.0


class _Token:
    """Lives as long as its thread; its end closes the thread's connection."""


class SqliteProcess:
    """The connections of this process and what its writers take turns by.

    Args:
        path: The database file; None for one in memory.
        settings: How it is opened.
    """

    def __init__(self, path: Path | None, settings: DatabaseSettings) -> None:
        self.pid = os.getpid()
        self.turn = WritersTurn(settings.busy_timeout_s)
        self.gate = CheckpointGate(path)
        self.is_open = False
        self.callbacks: list[WakeCallback] = []
        self._path = path
        self._settings = settings
        self._local = threading.local()
        self._connections: set[SqliteConnection] = set()
        self._memory: SqliteConnection | None = None
        _opened.add(self)

    def connection(self) -> SqliteConnection:
        """Return the calling thread's connection.

        Raises:
            sqlite3.Error: It cannot be opened.
            StorageUnavailableError: The file system cannot hold a write-ahead log.
        """
        if self._path is None:
            if self._memory is None:
                self._memory = self._connect()
            return self._memory
        connection: SqliteConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._connect()
            self._local.connection = connection
            self._local.token = token = _Token()
            end = weakref.finalize(token, self._end, connection)
            end.atexit = False  # too early: see _close_at_exit
        return connection

    def close(self) -> None:
        """Close every connection, each after the read that is under way on it.

        Only the thread whose turn it is may call this: that keeps writes away.
        """
        for connection in list(self._connections):
            with connection.in_use:
                connection.close()
        self._connections.clear()
        self.gate.close()

    def close_at_exit(self) -> None:
        """Close what no thread is in the middle of using; wait hardly at all."""
        if self.pid != os.getpid() or not self.turn.take(_LAST_WAIT_S):
            return
        for connection in list(self._connections):
            if connection.in_use.acquire(timeout=_LAST_WAIT_S):
                connection.close()
        # Whoever comes later, as another function of the exit may, opens anew.
        self._connections.clear()
        self._local, self._memory = threading.local(), None

    def _end(self, connection: SqliteConnection) -> None:
        # Closing an inherited one would act on the parent's file.
        if self.pid == os.getpid():
            self._connections.discard(connection)
            connection.close()

    def _connect(self) -> SqliteConnection:
        if self._path is not None:
            create_privately(self._path)
        connection = sqlite3.connect(
            self._path or _MEMORY,
            timeout=self._settings.busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
            factory=SqliteConnection,
        )
        try:
            self._configure(connection)
        except BaseException:
            connection.close()
            raise
        self._connections.add(connection)
        return connection

    def _configure(self, connection: SqliteConnection) -> None:
        if self._path is not None:
            # SQLite answers at once, however long it was told to wait, when several
            # processes want to change the mode of a new file at the same moment.
            limit_s = self._settings.busy_timeout_s
            (mode,) = connection.when_free(
                lambda: connection.execute("PRAGMA journal_mode = WAL").fetchone(),
                time.monotonic() + limit_s,
            )
            connection.wait_at_most(limit_s)
            if mode != "wal":
                raise StorageUnavailableError(
                    f"{self._path}: the journal mode stays {mode!r}; "
                    "a write-ahead log needs a local file system"
                )
            if has_wal_reset_bug():
                connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA synchronous = {self._settings.synchronous}")
        connection.execute("PRAGMA journal_size_limit = 67108864")


_opened: weakref.WeakSet[SqliteProcess] = weakref.WeakSet()


def _close_at_exit() -> None:
    for process in list(_opened):
        process.close_at_exit()


# The exit calls what was registered last first. This is registered before any Flusher
# is, so the last figures find their connection open; weakref's own exit may not.
atexit.register(_close_at_exit)
