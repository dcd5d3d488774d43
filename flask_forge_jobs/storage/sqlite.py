"""SQLite: one writer at a time, a connection for each thread, write-ahead log.

Every transaction that writes begins with ``BEGIN IMMEDIATE``: a deferred one that read
first fails at once when another process wrote in between, without waiting for the busy
time-out (D30). Within a process writers queue on a lock, which is fairer and cheaper
than the busy handler. Nothing opened before a fork is used after it: the handle is
forgotten, not closed, because closing would act on the parent's file.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    StorageBusyError,
    StorageCorruptError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.storage.catalogue import load_migrations
from flask_forge_jobs.storage.database import Listener, Parameter, Row, WakeCallback
from flask_forge_jobs.storage.migrate import apply_migrations
from flask_forge_jobs.storage.retrying import TransientError, run_with_retries
from flask_forge_jobs.storage.sqlite_checkpoint import (
    CheckpointGate,
    check_not_emptied,
    has_wal_reset_bug,
)
from flask_forge_jobs.storage.sqlite_schema import SqliteSchema
from flask_forge_jobs.storage.sqlite_transaction import SqliteTransaction
from flask_forge_jobs.storage.sqlite_wake import SqliteListener, WakeSockets

T = TypeVar("T")

OLDEST_SQLITE = (3, 38, 0)  # RETURNING, UPDATE … FROM and the JSON functions built in
_MEMORY = ":memory:"
# SQLite looks for a lock after 1 ms and 2 ms more, then we ask it again.
_LOOK_MS = 3
# Virtual-machine steps between two looks at the deadline of a read; about 1 ms.
_STEPS_BETWEEN_DEADLINE_CHECKS = 20_000
# These fail at once although waiting would help; plain SQLITE_BUSY has waited already.
_RETRIED_CODES = frozenset({6, 261, 262, 517, 773})
_BUSY, _LOCKED, _CORRUPT, _NOT_A_DATABASE, _INTERRUPT = 5, 6, 11, 26, 9
# Permission, I/O error, read-only, full, cannot open.
_UNAVAILABLE = frozenset({3, 8, 10, 13, 14})

# Handles inherited by a fork. Referenced for ever so that no destructor runs.
_inherited: list[object] = []


class _Token:
    """Lives as long as its thread; its end closes the thread's connection."""


class _ProcessState:
    """What one process has opened; a child starts with a new one."""

    def __init__(self, path: Path | None, wait_s: float) -> None:
        self.pid = os.getpid()
        self.write_lock = threading.RLock()
        self.local = threading.local()
        self.connections: set[sqlite3.Connection] = set()
        self.memory: sqlite3.Connection | None = None
        self.gate = CheckpointGate(path, wait_s)
        self.is_open = False
        self.callbacks: list[WakeCallback] = []


def _close_connection(state: _ProcessState, connection: sqlite3.Connection) -> None:
    if state.pid == os.getpid():
        state.connections.discard(connection)
        connection.close()


class SqliteDatabase:
    """One SQLite file, or one database in memory, as a Database.

    Args:
        settings: Where it is and how it is opened.
        clock: Source of every stored instant.
        may_migrate: Whether opening may change the schema.
        wait: Waits for some seconds between retries.
    """

    backend = "sqlite"

    def __init__(
        self,
        settings: DatabaseSettings,
        clock: Clock,
        *,
        may_migrate: bool = True,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._wait = wait
        self._path = None if settings.path is None else settings.path.absolute()
        self._sockets = None if self._path is None else WakeSockets(self._path)
        self._current = _ProcessState(self._path, self._settings.busy_timeout_s)
        self._may_migrate = may_migrate

    @property
    def _state(self) -> _ProcessState:
        if self._current.pid != os.getpid():
            _inherited.append(self._current)
            self._current = _ProcessState(self._path, self._settings.busy_timeout_s)
        return self._current

    # -- connections ---------------------------------------------------------------

    def open(self) -> None:
        """Connect, check the file and bring the schema up to date."""
        state = self._state
        if state.is_open:
            return
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            wanted = ".".join(map(str, OLDEST_SQLITE))
            raise StorageError(
                f"SQLite {sqlite3.sqlite_version} is too old; {wanted} is needed"
            )
        with state.write_lock:
            if not state.is_open:
                run_with_retries(lambda _: self._open(state), self._wait)

    def _open(self, state: _ProcessState) -> None:
        with self._translated(is_retried=True):
            if self._path is not None:
                check_not_emptied(self._path)
            connection = self._connection(state)
            with state.gate.writing():
                apply_migrations(
                    SqliteSchema(connection, self._clock.now_us()),
                    load_migrations("sqlite"),
                    may_change=self._may_migrate,
                )
        state.is_open = True

    def _connection(self, state: _ProcessState) -> sqlite3.Connection:
        if self._path is None:
            if state.memory is None:
                state.memory = self._connect(state)
            return state.memory
        connection: sqlite3.Connection | None = getattr(state.local, "connection", None)
        if connection is None:
            connection = self._connect(state)
            state.local.connection = connection
            state.local.token = token = _Token()
            weakref.finalize(token, _close_connection, state, connection)
        return connection

    def _connect(self, state: _ProcessState) -> sqlite3.Connection:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._path or _MEMORY,
            timeout=self._settings.busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            self._configure(connection)
        except BaseException:
            connection.close()
            raise
        state.connections.add(connection)
        return connection

    def _configure(self, connection: sqlite3.Connection) -> None:
        if self._path is not None:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StorageUnavailableError(
                    f"{self._path}: the journal mode stays {mode!r}; "
                    "a write-ahead log needs a local file system"
                )
            if has_wal_reset_bug():
                connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA synchronous = {self._settings.synchronous}")
        connection.execute("PRAGMA journal_size_limit = 67108864")

    @contextlib.contextmanager
    def _translated(self, *, is_retried: bool = False) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            fault = self._translate(error)
            if isinstance(fault, TransientError) and not is_retried:
                fault = fault.surfaced
            raise fault from error
        except OSError as error:
            raise StorageUnavailableError(f"{self._path}: {error.strerror}") from error

    def _translate(self, error: sqlite3.Error) -> Exception:
        code = getattr(error, "sqlite_errorcode", None) or 0
        primary = code & 0xFF
        where = self._path or "the database in memory"
        if primary in (_BUSY, _LOCKED):
            busy = StorageBusyError(f"{where} is locked by another writer")
            return TransientError(busy) if code in _RETRIED_CODES else busy
        if primary in (_CORRUPT, _NOT_A_DATABASE):
            return StorageCorruptError(
                f"{where} is not a sound SQLite database: {error}"
            )
        if primary == _INTERRUPT:
            limit = self._settings.statement_timeout_s
            return StorageUnavailableError(f"a read took longer than {limit} s")
        if primary in _UNAVAILABLE:
            return StorageUnavailableError(f"{where}: {error}")
        return StorageError(f"{where}: {error}")

    # -- transactions --------------------------------------------------------------

    def write(
        self, work: Callable[[SqliteTransaction], T], *, urgent: bool = False
    ) -> T:
        """Run a unit of work in one immediate transaction and commit it."""
        del urgent  # every thread has a connection of its own
        self.open()
        return run_with_retries(lambda attempt: self._write(work, attempt), self._wait)

    def _write(self, work: Callable[[SqliteTransaction], T], attempt: int) -> T:
        state = self._state
        # One wait for the threads of this process and for other processes together.
        ends_at = time.monotonic() + self._settings.busy_timeout_s
        if not state.write_lock.acquire(timeout=self._settings.busy_timeout_s):
            raise StorageBusyError("another thread has been writing for too long")
        try:
            with self._translated(is_retried=True):
                connection = self._connection(state)
                with state.gate.writing():
                    self._begin(connection, ends_at)
                    transaction = SqliteTransaction(
                        connection, self._clock.now_us(), attempt
                    )
                    try:
                        result = work(transaction)
                        connection.execute("COMMIT")
                    except BaseException:
                        if connection.in_transaction:
                            connection.execute("ROLLBACK")
                        raise
            state.gate.checkpoint_if_due(connection)
        finally:
            state.write_lock.release()
        for queue_name in transaction.woken:
            self.wake(queue_name)
        return result

    def _begin(self, connection: sqlite3.Connection, ends_at: float) -> None:
        """Begin to write; look for the lock every few milliseconds.

        Left to itself SQLite looks ever more rarely, up to every 100 ms, and whoever
        has waited for long loses to whoever has just come.
        """
        connection.execute(f"PRAGMA busy_timeout = {_LOOK_MS}")
        try:
            while True:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    is_locked = error.sqlite_errorcode == _BUSY
                    if not is_locked or time.monotonic() >= ends_at:
                        raise
                else:
                    return
        finally:
            limit_ms = int(self._settings.busy_timeout_s * 1000)
            connection.execute(f"PRAGMA busy_timeout = {limit_ms}")

    def single(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run one writing statement as a transaction of its own."""
        return self.write(lambda transaction: transaction.all(name, **parameters))

    def read(self, work: Callable[[SqliteTransaction], T]) -> T:
        """Run reads against one snapshot."""
        self.open()
        return run_with_retries(lambda _: self._read(work), self._wait)

    def _read(self, work: Callable[[SqliteTransaction], T]) -> T:
        state = self._state
        guard = state.write_lock if self._path is None else contextlib.nullcontext()
        with guard, self._translated(is_retried=True):
            connection = self._connection(state)
            if connection.in_transaction:
                raise StorageError("a read cannot start inside a transaction")
            ends_at = self._clock.monotonic() + self._settings.statement_timeout_s
            connection.set_progress_handler(
                lambda: self._clock.monotonic() > ends_at,
                _STEPS_BETWEEN_DEADLINE_CHECKS,
            )
            connection.execute("BEGIN")
            try:
                return work(SqliteTransaction(connection, self._clock.now_us()))
            finally:
                connection.set_progress_handler(None, 0)
                _end_read(connection)

    # -- wake-ups ------------------------------------------------------------------

    def wake(self, queue_name: str) -> None:
        """Wake the workers of a queue, in this process and in others."""
        for callback in list(self._state.callbacks):
            callback(queue_name)
        if self._sockets is not None:
            self._sockets.send(queue_name)

    def listen(self, callback: WakeCallback) -> Listener:
        """Call ``callback`` at each wake-up until the listener is stopped."""
        self.open()
        callbacks = self._state.callbacks
        callbacks.append(callback)
        return SqliteListener(
            callback,
            forget=lambda: callbacks.remove(callback),
            sockets=self._sockets,
            data_version=self._data_version if self._path is not None else None,
        )

    def _data_version(self) -> int:
        """Return a number that moves when another connection has committed."""
        with self._translated():
            row = (
                self._connection(self._state).execute("PRAGMA data_version").fetchone()
            )
        version: int = row[0]
        return version

    # -- facts ---------------------------------------------------------------------

    def schema_versions(self) -> tuple[int, int] | None:
        """Return (stored, newest known) without touching the file, or None."""
        newest = load_migrations("sqlite")[-1].version
        if self._path is None or not self._path.exists():
            return None
        with (
            self._translated(),
            contextlib.closing(
                sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)
            ) as connection,
        ):
            known = SqliteSchema(connection, 0).applied()
        return (known[-1][0], newest) if known else None

    def describe(self) -> tuple[tuple[str, str], ...]:
        """Return what the live connection says of itself."""

        def pragma(name: str) -> str:
            row = self._connection(self._state).execute(f"PRAGMA {name}").fetchone()
            return str(row[0])

        self.open()
        with self._translated():
            busy_timeout_s = int(pragma("busy_timeout")) / 1000
            return (
                ("sqlite_version", sqlite3.sqlite_version),
                ("journal_mode", pragma("journal_mode")),
                ("busy_timeout_secs", f"{busy_timeout_s:g}"),
                ("write_pool_max", "1"),
                ("read_pool_max", "1 per thread"),
                ("driver", f"sqlite3 {sqlite3.sqlite_version}"),
            )

    @property
    def directory(self) -> Path | None:
        """The folder of the file; None in memory."""
        return None if self._path is None else self._path.parent

    def log_bytes(self) -> int:
        """Return the size of the log, which is gone when nobody has the file open."""
        if self._path is None:
            return 0
        try:
            return self._path.with_name(f"{self._path.name}-wal").stat().st_size
        except OSError:
            return 0

    def close(self) -> None:
        """Close every connection this process opened."""
        state = self._state
        with state.write_lock:
            for connection in list(state.connections):
                connection.close()
            state.connections.clear()
            state.gate.close()
            if self._sockets is not None:
                self._sockets.close()
            self._current = _ProcessState(self._path, self._settings.busy_timeout_s)


def _end_read(connection: sqlite3.Connection) -> None:
    # An interrupted statement may have ended the transaction already.
    if connection.in_transaction:
        connection.execute("COMMIT")
