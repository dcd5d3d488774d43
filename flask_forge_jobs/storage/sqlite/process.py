"""What one process has opened of a SQLite database; a child starts with a new one.

Every thread has a connection of its own, closed when the thread ends; a database in
memory has one for all. SQLite notes for the whole process which files are open and
which locks it has, and a child inherits the notes without the locks: what it commits is
lost when the parent, thinking itself alone, deletes the log. So a fork finds all of
them closed, and a child that inherits one nevertheless must not open the file.
"""

from __future__ import annotations

import contextlib
import math
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType

from flask_forge_jobs import forks
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    StorageBusyError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.storage.database import WakeCallback, left_s
from flask_forge_jobs.storage.payload_search import finds
from flask_forge_jobs.storage.sqlite.checkpoint import CheckpointGate, has_wal_reset_bug
from flask_forge_jobs.storage.sqlite.connection import SqliteConnection
from flask_forge_jobs.storage.sqlite.files import create_privately

_HOPELESS_FOR_S = 1.0
# A commit of somebody else takes a millisecond or two: this outlasts several.
_SHORT_LIMIT_S = 0.015


class Hold:
    """A reentrant lock that can tell whether its own thread holds it already."""

    __slots__ = ("_depth", "_lock")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0

    def acquire(self, limit_s: float = -1) -> bool:
        """Take the lock; return False when it was not free in time."""
        if not self._lock.acquire(timeout=limit_s):
            return False
        self._depth += 1
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._depth -= 1
        self._lock.release()

    def acquire_at_rest(self, ends_at: float) -> bool:
        """Take the lock, unless the calling thread is in the middle of something.

        Args:
            ends_at: Reading of the monotonic clock at which it gives up.
        """
        if not self.acquire(max(ends_at - time.monotonic(), 0.0)):
            return False
        if self._depth == 1:
            return True
        self.release()
        return False


class WritersTurn(Hold):
    """Lets one thread write at a time.

    A thread waits for the others and for other processes together, and for no longer
    than the limit. Where that time has just run out for one of them, the next wait for
    a moment only, until one succeeds: with more clients than threads each would
    otherwise wait the whole time after the one before it, the last one for minutes.

    Args:
        limit_s: Seconds that a writer waits.
    """

    def __init__(self, limit_s: float) -> None:
        super().__init__()
        self._limit_s = limit_s
        self._gave_up_at = -math.inf

    def __enter__(self) -> float:
        """Begin a turn.

        Returns:
            Reading of the monotonic clock at which this writer gives up.

        Raises:
            StorageBusyError: Another thread has had the turn for too long.
        """
        came_at = time.monotonic()
        limit_s = left_s(self._limit_s)
        # As acquire() and release() do, without the calls: every write comes by here.
        if not self._lock.acquire(timeout=limit_s):
            raise StorageBusyError("another thread has been writing for too long")
        self._depth += 1
        now = time.monotonic()
        ends_at = came_at + limit_s
        is_hopeless = now - self._gave_up_at < _HOPELESS_FOR_S
        return min(ends_at, now + _SHORT_LIMIT_S) if is_hopeless else ends_at

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the turn."""
        is_busy = isinstance(error, StorageBusyError)
        self._gave_up_at = time.monotonic() if is_busy else -math.inf
        self._depth -= 1
        self._lock.release()


_MEMORY = ":memory:"


def refuse_inherited(path: Path | None) -> StorageError:
    """Return the error of a child that must not open what its parent had open."""
    if path is None:
        return StorageError(
            "the jobs are in the memory of the process that this one was forked from"
        )
    return StorageError(
        f"{path} was open in the process that this one was forked from, so what it "
        "stored there might be lost; close every connection to the file before the "
        "fork, or fork before the first use (uWSGI: lazy-apps)"
    )


class _Token:
    """Lives as long as its thread; its end closes the thread's connection."""


class SqliteProcess:
    """The connections of this process and what its writers take turns by.

    Args:
        path: The database file; None for one in memory.
        settings: How it is opened.
        on_long_wait: Called with the file by whoever has waited for its lock for long.
    """

    def __init__(
        self,
        path: Path | None,
        settings: DatabaseSettings,
        on_long_wait: Callable[[Path], object] = lambda _: None,
    ) -> None:
        self.pid = os.getpid()
        self.turn = WritersTurn(settings.busy_timeout_s)
        self.gate = CheckpointGate(path)
        self.opening = Hold()
        self.is_open = False
        self.callbacks: list[WakeCallback] = []
        self._path = path
        self._settings = settings
        self._on_long_wait = on_long_wait
        self._local = threading.local()
        self._connections: set[SqliteConnection] = set()
        self._memory: SqliteConnection | None = None
        self._held: list[Hold] = []
        forks.watch(self)

    def connection(self) -> SqliteConnection:
        """Return the calling thread's connection.

        Only its turn keeps a thread's connection open; see :meth:`borrow`.

        Raises:
            sqlite3.Error: It cannot be opened.
            StorageUnavailableError: The file system cannot hold a write-ahead log.
        """
        if self._path is None:
            if self._memory is None:
                self._memory = self._connect()
                # Python 3.13 warns of one that nobody has closed.
                weakref.finalize(self, self._memory.close).atexit = False
            return self._memory
        connection: SqliteConnection | None = getattr(self._local, "connection", None)
        if connection is None or connection.is_closed:
            connection = self._connect()
            self._local.connection = connection
            self._local.token = token = _Token()
            # At the end of the process somebody may still be using it.
            weakref.finalize(token, self._end, connection).atexit = False
        return connection

    def borrow(self) -> SqliteConnection:
        """Return the calling thread's connection to read by; errors as above.

        Nobody closes it before its ``in_use`` is released.
        """
        while True:
            connection = self.connection()
            connection.in_use.acquire()
            if not connection.is_closed:
                return connection
            connection.in_use.release()  # closed between the two lines

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[SqliteConnection]:
        """Lend the calling thread's connection to read by; errors as above."""
        connection = self.borrow()
        connection.is_reading = True
        try:
            yield connection
        finally:
            connection.is_reading = False
            connection.in_use.release()

    @contextlib.contextmanager
    def looking(self, path: Path) -> Iterator[sqlite3.Connection]:
        """Open the file for reading only, and for a moment.

        Raises:
            sqlite3.Error: It cannot be opened.
            StorageError: It must not be opened by this process.
        """
        with self._opened_alone():
            _check_own(path)
            connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
            with contextlib.closing(connection):
                yield connection

    @contextlib.contextmanager
    def _opened_alone(self) -> Iterator[None]:
        """Let no fork come in between."""
        self.opening.acquire()
        try:
            yield
        finally:
            self.opening.release()

    # -- closing ---------------------------------------------------------------------

    def close(self, ends_at: float) -> bool:
        """Close every connection, each after what is under way on it.

        Args:
            ends_at: Reading of the monotonic clock at which it waits no longer.

        Returns:
            False when something is still under way, also of the calling thread itself.
        """
        held = self._seize(ends_at)
        if not held:
            return False
        try:
            self._memory = None
            return self._close_all(ends_at)
        finally:
            _release(held)

    def before_fork(self, ends_at: float) -> None:
        """Close what can be closed and let nobody open the file again.

        A database in memory would be gone: it stays, and no thread is within it.
        """
        if self.pid == os.getpid():
            self._held = self._seize(ends_at)
            if self._held and self._path is not None:
                self._close_all(ends_at)

    def after_fork_in_parent(self) -> None:
        """Let others open the file again."""
        if self.pid == os.getpid():
            _release(self._held)

    @property
    def has_connections(self) -> bool:
        """Whether a connection is open."""
        return bool(self._connections)

    def _seize(self, ends_at: float) -> list[Hold]:
        """Keep writers away, and whoever opens a connection; nothing when too late."""
        held: list[Hold] = []
        for hold in (self.turn, self.opening):
            if not hold.acquire_at_rest(ends_at):
                _release(held)
                break
            held.append(hold)
        return held

    def _close_all(self, ends_at: float) -> bool:
        for connection in list(self._connections):
            if connection.close_at_rest(ends_at):
                self._connections.discard(connection)
        self.is_open = False
        self.gate.close()
        return not self._connections

    def _end(self, connection: SqliteConnection) -> None:
        # Closing an inherited one would act on the parent's file.
        if self.pid == os.getpid():
            with connection.in_use:
                connection.close()
            self._connections.discard(connection)

    # -- opening ---------------------------------------------------------------------

    def _connect(self) -> SqliteConnection:
        with self._opened_alone():
            connection = self._open()
            self._connections.add(connection)
        return connection

    def _open(self) -> SqliteConnection:
        if self._path is not None:
            _check_own(self._path)
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
        return connection

    def _configure(self, connection: SqliteConnection) -> None:
        if self._path is not None:
            connection.on_long_wait = partial(self._on_long_wait, self._path)
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
        connection.create_function("forge_finds", 2, finds, deterministic=True)
        connection.execute(f"PRAGMA synchronous = {self._settings.synchronous}")
        connection.execute("PRAGMA journal_size_limit = 67108864")


def _check_own(path: Path) -> None:
    """Refuse a file that a fork has left open, whoever had opened it."""
    if forks.was_inherited(path):
        raise refuse_inherited(path)


def _release(held: list[Hold]) -> None:
    while held:
        held.pop().release()
