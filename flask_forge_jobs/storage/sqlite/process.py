"""The SQLite connections of one process; a forked child starts with none.

Every thread has its own connection, closed when the thread ends; a database in memory
has one for all. SQLite keeps its list of files and locks in the process. A child
inherits the list but not the locks, so the parent may delete the log and lose what the
child has committed. We therefore close all connections before a fork, and a child that
inherits an open one must not open the file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from flask_forge_jobs import forks
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError, StorageUnavailableError
from flask_forge_jobs.model.payloads import finds
from flask_forge_jobs.storage.database import StorageMovedError, WakeCallback
from flask_forge_jobs.storage.sqlite.checkpoint import (
    LOG_BYTES_KEPT,
    Checkpoints,
    check_not_emptied,
    has_wal_reset_bug,
)
from flask_forge_jobs.storage.sqlite.connection import SqliteConnection
from flask_forge_jobs.storage.sqlite.faults import BUSY
from flask_forge_jobs.storage.sqlite.files import create_privately, refuse_folder
from flask_forge_jobs.storage.sqlite.gate import WritersGate
from flask_forge_jobs.storage.sqlite.turn import CountingLock, WriterLock

_MEMORY = ":memory:"


def refuse_inherited(path: Path | None) -> StorageError:
    """Return the error for a child whose parent had the database open at the fork."""
    if path is None:
        return StorageError(
            "the jobs were in memory when this process was forked; only the parent has "
            "them"
        )
    return StorageError(
        f"{path} was open when this process was forked, so its writes might be lost; "
        "close every connection to the file before the fork, or fork before the first "
        "use (uWSGI: lazy-apps)"
    )


class _Token:
    """Lives as long as its thread and the database; then its connection is closed."""


class SqliteProcess:
    """The connections of this process and the locks of its writers.

    ``on_long_wait`` gets the file from a writer that has waited for long.
    """

    def __init__(
        self,
        path: Path | None,
        settings: DatabaseSettings,
        on_long_wait: Callable[[Path], object] = lambda _: None,
    ) -> None:
        self.pid = forks.own_pid()
        self.turn = WriterLock(settings.busy_timeout_s)
        self.gate = WritersGate(path)
        self.checkpoints = Checkpoints(path, self.gate)
        self.opening = CountingLock()
        self.is_open = False
        self.callbacks: list[WakeCallback] = []
        self._path = path
        self._name = str(path)
        self._is_durable = path is not None and settings.synchronous == "FULL"
        sync_log = self.checkpoints.sync_log if self._is_durable else bool
        self.sync_log: Callable[[], object] = sync_log
        self._settings = settings
        self._on_long_wait = on_long_wait
        self._local = threading.local()
        self._connections: set[SqliteConnection] = set()
        self._memory: SqliteConnection | None = None
        self._held: list[CountingLock] = []
        self._file: tuple[int, int] | None = None
        self._has_others: bool | None = None
        # Not at exit: threads may still be using them.
        weakref.finalize(self, self.gate.close).atexit = False
        forks.watch(self)

    def connection(self) -> SqliteConnection:
        """Return the calling thread's connection.

        Outside its turn another thread may close it; see :meth:`borrow`.
        """
        if self._path is None:
            if self._memory is None:
                self._memory = self._connect()
                # Python 3.13 warns of unclosed connections.
                weakref.finalize(self, self._memory.close).atexit = False
            return self._memory
        connection: SqliteConnection | None = getattr(self._local, "connection", None)
        if connection is None or connection.is_closed:
            connection = self._connect_thread("connection")
        return connection

    def _early(self) -> SqliteConnection:
        if not self._is_durable:
            return self.connection()
        connection = self._connect_thread("early")
        connection.commit_early(self._name)
        self.checkpoints.look_for_gap()
        return connection

    def _connect_thread(self, name: str) -> SqliteConnection:
        connection, token = self._connect(), _Token()
        self._local.__dict__.update({name: connection, f"{name}_token": token})
        # Not a method: it would keep this process's state, and so the token.
        end = weakref.finalize(token, _end, self.pid, self._connections, connection)
        end.atexit = False  # a thread may still be using it
        return connection

    def early_writer(self) -> SqliteConnection:
        """Return the connection of the calling thread whose commits are early.

        See :attr:`.SqliteConnection.log` and :meth:`check_in_place`.
        """
        # Every enqueue runs this, so both methods are called only if they have to be.
        connection: SqliteConnection | None = getattr(self._local, "early", None)
        if connection is None or connection.is_closed:
            connection = self._early()
        if self._file is not None:
            try:
                facts = os.stat(self._name)  # noqa: PTH116
            except OSError:
                self.check_in_place()
            else:
                if (facts.st_dev, facts.st_ino) != self._file:
                    self.check_in_place()
        return connection

    def check_in_place(self) -> None:
        """Check that the path still leads to the file that is open.

        Raises:
            StorageMovedError: It does not; writes would be lost.
        """
        if self._file is None:
            return
        try:
            facts = os.stat(self._name)  # noqa: PTH116  # every call runs this
            if (facts.st_dev, facts.st_ino) == self._file:
                return
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:
            return  # the process may have given up its rights
        raise StorageMovedError(
            f"{self._name} was moved, deleted or replaced while this process had it "
            "open; restart the process"
        )

    def check_joined(self) -> None:
        """Check that a caller's transaction is in the file that is open here.

        Its connection tells a path, which may have led to another file when it was
        opened. It has the write lock, which two connections to one file cannot both
        have.

        Raises:
            StorageMovedError: It is not; writes would be lost.
        """
        if self._file is None or not self.is_open:
            return
        if self._has_others is None:
            self._has_others = any(
                each != self._file for each in forks.open_databases()
            )
        if not self._has_others:
            return
        with self.borrowed() as connection:
            connection.let_sqlite_wait(0)
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF == BUSY:
                    return
                raise
            connection.execute("ROLLBACK")
        raise StorageMovedError(
            f"the connection to {self._name} was opened before that file was moved, "
            "deleted or replaced; open a new one"
        )

    def borrow(self) -> SqliteConnection:
        """Return the calling thread's connection for a read, with ``in_use`` held.

        No thread closes it until the caller releases ``in_use``.
        """
        while True:
            connection = self.connection()
            connection.in_use.acquire()
            if not connection.is_closed:
                return connection
            connection.in_use.release()  # closed between the two lines

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[SqliteConnection]:
        """Lend the calling thread's connection for a read."""
        connection = self.borrow()
        connection.is_reading = True
        try:
            yield connection
        finally:
            connection.is_reading = False
            connection.in_use.release()

    @contextlib.contextmanager
    def looking(self, path: Path) -> Iterator[sqlite3.Connection]:
        """Open the file read-only for a block."""
        with self._opened_alone():
            _check_own(path)
            connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
            with contextlib.closing(connection):
                yield connection

    @contextlib.contextmanager
    def _opened_alone(self) -> Iterator[None]:
        """Keep forks out for a block."""
        self.opening.acquire()
        try:
            yield
        finally:
            self.opening.release()

    def let_go(self, error: BaseException) -> None:
        """Undo a failed call of this thread.

        A signal handler may raise anywhere, also between a lock and the note of it, so
        this rolls back and releases everything that the thread may have.
        """
        has_turn = self.turn.acquire(0)
        connection: SqliteConnection | None = getattr(self._local, "connection", None)
        early: SqliteConnection | None = getattr(self._local, "early", None)
        if has_turn and self._memory is not None:
            connection = self._memory
        for each in (connection, early):
            if each is not None:
                each.let_go()
        if has_turn:
            self.gate.unlock()
            if self.turn.depth > 1:  # not only by this method
                self.turn.__exit__(type(error), error, error.__traceback__)
            self.turn.let_go()
        self.opening.let_go()

    # -- closing ---------------------------------------------------------------------

    def close(self, ends_at: float) -> bool:
        """Close every connection that is idle by ``ends_at`` on the monotonic clock.

        Returns:
            False if one is still in use, perhaps by the calling thread itself.
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
        """Close idle connections and keep the file closed until after the fork.

        A database in memory stays open, with no thread inside it.
        """
        if self.pid == os.getpid():
            self._held = self._seize(ends_at)
            if self._held and self._path is not None:
                self._close_all(ends_at)

    def after_fork_in_parent(self) -> None:
        """Let threads open the file again."""
        if self.pid == os.getpid():
            _release(self._held)

    @property
    def has_connections(self) -> bool:
        """Whether a connection is open."""
        return bool(self._connections)

    def _seize(self, ends_at: float) -> list[CountingLock]:
        """Keep out writers and threads that connect; return [] if it takes too long."""
        held: list[CountingLock] = []
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

    # -- opening ---------------------------------------------------------------------

    def _connect(self) -> SqliteConnection:
        with self._opened_alone():
            if self._connections or self.is_open:
                self.check_in_place()
            connection = self._open()
            self._connections.add(connection)
            self.checkpoints.look_for_gap()
        return connection

    def _open(self) -> SqliteConnection:
        if self._path is not None:
            _check_own(self._path)
            check_not_emptied(self._path)
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
            if self._path is not None and not self._connections:
                facts = self._path.stat()
                self._file = facts.st_dev, facts.st_ino
                self._has_others = None
        except BaseException:
            connection.close()
            raise
        return connection

    def _configure(self, connection: SqliteConnection) -> None:
        if self._path is not None:
            connection.on_long_wait = partial(self._on_long_wait, self._path)
            # SQLite ignores the busy time-out when several processes change the mode
            # of a new file at once.
            limit_s = self._settings.busy_timeout_s
            (mode,) = connection.when_free(
                lambda: connection.execute("PRAGMA journal_mode = WAL").fetchone(),
                time.monotonic() + limit_s,
            )
            connection.let_sqlite_wait(limit_s)
            if mode != "wal":
                raise StorageUnavailableError(
                    f"{self._path}: the journal mode stays {mode!r}; "
                    "a write-ahead log needs a local file system"
                )
            if has_wal_reset_bug():
                connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.create_function("forge_finds", 2, finds, deterministic=True)
        connection.execute(f"PRAGMA synchronous = {self._settings.synchronous}")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES_KEPT}")


def _end(
    pid: int, connections: set[SqliteConnection], connection: SqliteConnection
) -> None:
    """Close the connection of a thread that has ended, or of a database let go."""
    # Closing an inherited connection would act on the parent's file.
    if pid == os.getpid():
        # Does not wait: a finalizer runs in the midst of whatever a thread is doing.
        if connection.in_use.acquire(blocking=False):
            try:
                connection.close()
            finally:
                connection.in_use.release()
        connections.discard(connection)


def _check_own(path: Path) -> None:
    """Refuse a folder, and a file that was open, by any library, at our fork."""
    refuse_folder(path)
    if forks.was_inherited(path):
        raise refuse_inherited(path)


def _release(held: list[CountingLock]) -> None:
    while held:
        held.pop().release()
