"""SQLite: one writer at a time, a connection for each thread, write-ahead log.

A write begins with ``BEGIN IMMEDIATE``: a deferred transaction that has read fails at
once if another process wrote in between. Within a process writers queue on a lock,
which is fairer and cheaper than SQLite's busy handler. A fork closes the file first and
both sides reopen it at the next use; see :mod:`.process`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from operator import methodcaller
from pathlib import Path
from typing import TypeVar

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageBusyError, StorageError
from flask_forge_jobs.forks import LONGEST_WAIT_S, PID, PerProcess
from flask_forge_jobs.storage.caller_transaction import look_below
from flask_forge_jobs.storage.catalogue import load_migrations, load_statements
from flask_forge_jobs.storage.database import (
    Apart,
    ChoiceLog,
    Listener,
    Parameter,
    Row,
    SchemaVersions,
    WakeCallback,
    run_with_retries,
)
from flask_forge_jobs.storage.migrate import (
    OLDEST_SQLITE,
    apply_migrations,
    refuse_older,
)
from flask_forge_jobs.storage.sqlite.connection import SqliteConnection
from flask_forge_jobs.storage.sqlite.faults import SqliteFaults
from flask_forge_jobs.storage.sqlite.files import log_bytes, real, warn_of_place
from flask_forge_jobs.storage.sqlite.group import GroupCommit
from flask_forge_jobs.storage.sqlite.join import (
    CommitWakes,
    migrate_joined,
    require_same_file,
    run_joined,
)
from flask_forge_jobs.storage.sqlite.process import SqliteProcess, refuse_inherited
from flask_forge_jobs.storage.sqlite.shared_file import (
    refuse_own_lock,
    warn_of_autocheckpoint,
)
from flask_forge_jobs.storage.sqlite.transaction import (
    SqliteSchema,
    SqliteTransaction,
    Write,
)
from flask_forge_jobs.storage.sqlite.wake import SqliteListener, WakeSockets

T = TypeVar("T")
Work = Callable[[SqliteTransaction], T]

# Left open by a fork. Never released, so no destructor runs.
_inherited: set[SqliteProcess] = set()


class SqliteDatabase(PerProcess):
    """One SQLite file, or one database in memory, as a Database.

    ``in_memory`` is called before the file is opened; True opens a database in memory
    instead.
    """

    backend = "sqlite"

    def __init__(
        self,
        settings: DatabaseSettings,
        clock: Clock,
        *,
        may_migrate: bool = True,
        wait: Callable[[float], object] = time.sleep,
        in_memory: Callable[[], bool] = lambda: False,
    ) -> None:
        self._in_memory = in_memory
        self._settings = settings
        self._choice = ChoiceLog(settings)
        self._clock = clock
        self._wait = wait
        given = settings.path and settings.path.absolute()
        self._path = None if given is None else real(given)
        self._sockets = None if self._path is None else WakeSockets(self._path)
        self._wakes = CommitWakes(self.wake)
        self._current: SqliteProcess | None = None
        self._may_migrate = may_migrate
        self._steps = load_migrations("sqlite")
        self.known_version = self._steps[-1].version
        limit_s = settings.statement_timeout_s
        where = "the database in memory" if given is None else str(given)
        self._opening = SqliteFaults(where + settings.named, limit_s, is_retried=True)
        self._retried = SqliteFaults(where, limit_s, is_retried=True)
        self._surfaced = SqliteFaults(where, limit_s, is_retried=False)
        send = None if self._sockets is None else self._sockets.send
        self.turn = contextlib.nullcontext(settings.busy_timeout_s)
        self._groups = GroupCommit(clock, self._retried, send)
        self.stay_own()

    def _begin(self) -> None:
        inherited = self._current
        if inherited is not None and inherited.has_connections:
            _inherited.add(inherited)
            raise refuse_inherited(self._path)
        self._current = SqliteProcess(self._path, self._settings, refuse_own_lock)

    @property
    def _state(self) -> SqliteProcess:
        self.stay_own()
        assert self._current is not None  # noqa: S101  # for the type checker
        return self._current

    # -- connections ---------------------------------------------------------------

    def open(self) -> None:
        """Connect, check the file and bring the schema up to date."""
        self._opened()

    def _opened(self) -> SqliteProcess:
        state = self._current
        if state is None or state.pid != PID[0] or not state.is_open:
            state = self._placed()
            self._open_first(state)
        return state

    def _placed(self) -> SqliteProcess:
        """Switch to a database in memory if asked to and the file is not open."""
        state = self._state
        if state.is_open or self._path is None or not self._in_memory():
            return state
        self._path = self._sockets = self._groups.send = None
        self._settings = replace(self._settings, path=None)
        self._choice = ChoiceLog(self._settings)
        self._current = SqliteProcess(None, self._settings)
        return self._current

    def _open_first(self, state: SqliteProcess, *, is_needed: bool = True) -> None:
        self._choice.log_once()
        refuse_older("SQLite", sqlite3.sqlite_version, OLDEST_SQLITE)
        with state.turn.unless(lambda: state.is_open or not is_needed) as ends_at:
            if ends_at and not state.is_open:
                run_with_retries(lambda _: self._open(state, ends_at), self._wait)

    def _open(self, state: SqliteProcess, ends_at: float) -> None:
        with self._opening:
            connection = state.connection()
            with state.gate.until(ends_at):
                state.checkpoints.look_for_gap()
                apply_migrations(
                    SqliteSchema(connection, self._clock.now_us()),
                    self._steps,
                    may_change=self._may_migrate,
                )
            if self._path is not None:
                warn_of_place(self._path)
        state.is_open = True

    # -- transactions --------------------------------------------------------------

    def write(
        self, work: Callable[[SqliteTransaction], T], *, urgent: bool = False
    ) -> T:
        """Run a unit of work in one immediate transaction and commit it."""
        del urgent  # every thread has a connection of its own

        def unit(attempt: int) -> T:
            try:
                with self.begin(attempt) as transaction:
                    return work(transaction)
            except BaseException as error:
                self._let_go(error)
                raise

        return run_with_retries(unit, self._wait)

    def pipeline(self, work: Callable[[SqliteTransaction], T]) -> T:
        """Run a unit of work; there is no round trip to save."""
        return self.write(work)

    def begin(self, attempt: int) -> Write:
        """Open an immediate transaction for a block and commit at its end."""
        return Write(
            self._opened(),
            self._retried,
            self._clock,
            self.known_version,
            attempt,
            wake=self.wake,
        )

    def execute(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run one writing statement as a transaction of its own.

        A statement that checks the schema version itself needs no ``BEGIN IMMEDIATE``
        and ``COMMIT`` around it: it takes the same lock.
        """
        statement = load_statements("sqlite")[name]
        if not statement.uses_known:
            return self.write(methodcaller("all", name, **parameters))
        parameters["known"] = self.known_version
        try:
            state = self._current
            if state is None or state.pid != PID[0] or not state.is_open:
                state = self._opened()
            return self._groups.run(state, statement.sql, parameters)
        except BaseException as error:  # noqa: BLE001  # it is raised again
            self._let_go(error)
            return self._after(error, statement.sql, parameters)

    def _after(
        self, first: BaseException, sql: str, parameters: dict[str, Parameter]
    ) -> list[Row]:
        """Run a statement again where a first error allows it; else raise that."""

        def unit(attempt: int) -> list[Row]:
            if attempt == 0:
                raise first
            try:
                return self._groups.run(self._opened(), sql, parameters)
            except BaseException as error:
                self._let_go(error)
                raise

        try:
            return run_with_retries(unit, self._wait)
        except StorageError as error:
            if type(error) is StorageError:
                # Raises a clearer error if the schema is too new.
                self.write(SqliteTransaction.check_version)
            raise

    def _let_go(self, error: BaseException) -> None:
        state = self._current
        if state is not None and state.pid == os.getpid():
            state.let_go(error)

    def join(self, connection: object, work: Callable[[SqliteTransaction], T]) -> T:
        """Run a unit of work inside the caller's transaction."""
        given = look_below(connection)
        state = self._placed()
        if state.is_open:
            state.check_in_place()
        joined = require_same_file(given.driver, self._path)
        with self._surfaced:
            warn_of_autocheckpoint(joined, self._path)
            if not state.is_open:
                self._open_beside(joined)
            clock, version = self._clock, self.known_version
            transaction, result = run_joined(joined, clock, version, work, state)
        if given.wrapper is not None:
            self._wakes.add(given.wrapper, transaction.woken)
        return result

    def _open_beside(self, joined: sqlite3.Connection) -> None:
        """Open, or just migrate if the caller's transaction may hold the write lock."""
        may, now_us = self._may_migrate, self._clock.now_us()
        if not joined.in_transaction:
            self.open()
        elif migrate_joined(joined, now_us, self._steps, may_change=may):
            # A thread that has the turn may wait for that lock.
            self._open_first(self._state, is_needed=False)

    def read(self, work: Work[T], *, apart: Apart = False) -> T:
        """Run reads against one snapshot, or each against its own."""
        return self._read(work, is_single=apart is True)

    def read_one(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run one reading statement on its own."""
        return self._read(lambda tx: tx.all(name, **parameters), is_single=True)

    def _read(self, work: Work[T], *, is_single: bool = False) -> T:
        def once(_attempt: int) -> T:
            try:
                state = self._opened()
                guard = state.turn if self._path is None else contextlib.nullcontext()
                with guard, self._retried:
                    state.check_in_place()
                    connection = state.borrow()
                    result = self._read_from(connection, work, is_single=is_single)
                    connection.is_reading = False
                    connection.in_use.release()
            except BaseException as error:
                self._let_go(error)
                raise
            return result

        return run_with_retries(once, self._wait)

    def _read_from(
        self, connection: SqliteConnection, work: Work[T], *, is_single: bool
    ) -> T:
        if connection.in_transaction:
            raise StorageError("a read cannot start inside a transaction")
        connection.let_sqlite_wait(self._settings.busy_timeout_s)
        ends_at = self._clock.monotonic() + self._settings.statement_timeout_s
        connection.look_whether(lambda: self._clock.monotonic() > ends_at)
        connection.is_reading = True
        try:
            if not is_single:
                connection.execute("BEGIN")
            return work(
                SqliteTransaction(connection, self._clock.now_us(), self.known_version)
            )
        finally:
            try:
                connection.look_no_more()
            finally:
                # Does nothing if an interrupted statement has ended the transaction.
                connection.commit()

    # -- wake-ups ------------------------------------------------------------------

    def wake(self, queue_name: str) -> None:
        """Wake the workers of a queue, in this process and in others."""
        if self._current is not None:  # the process that has just written
            for callback in list(self._current.callbacks):
                callback(queue_name)
        if self._sockets is not None:
            self._sockets.send(queue_name)

    def listen(self, callback: WakeCallback) -> Listener:
        """Call ``callback`` at each wake-up until the listener is stopped."""
        callbacks = self._opened().callbacks
        callbacks.append(callback)
        return SqliteListener(
            callback,
            forget=lambda: callbacks.remove(callback),
            sockets=self._sockets,
            data_version=self._data_version if self._path is not None else None,
        )

    def _data_version(self) -> tuple[int, int]:
        """Return a value that changes whenever another connection has committed."""
        with self._surfaced, self._state.borrowed() as connection:
            row = connection.execute("PRAGMA data_version").fetchone()
            # Each connection counts for itself.
            return connection.number, row[0]

    # -- facts ---------------------------------------------------------------------

    def takes_writes(self) -> bool:
        """Return True; a file that is not writable cannot be opened."""
        return bool(self.read_one("takes_writes"))

    def schema_versions(self) -> SchemaVersions | None:
        """Return the versions without touching the file, or None."""
        refuse_older("SQLite", sqlite3.sqlite_version, OLDEST_SQLITE)
        if self._path is None or not self._path.exists():
            return None
        with self._surfaced, self._state.looking(self._path) as connection:
            applied = SqliteSchema(connection, 0).applied()
        return SchemaVersions.of(applied, self.known_version) if applied else None

    def describe(self) -> tuple[tuple[str, str], ...]:
        """Return facts about the live connection; the driver comes last."""
        with self._surfaced, self._opened().borrowed() as connection:
            connection.let_sqlite_wait(self._settings.busy_timeout_s)
            return connection.describe()

    @property
    def file(self) -> Path | None:
        """The database's file; None in memory."""
        return self._path

    def log_bytes(self) -> int:
        """Return the size of the log in bytes; 0 while no process has the file open."""
        return 0 if self._path is None else log_bytes(self._path)

    def close(self) -> None:
        """Close every connection this process opened.

        Raises:
            StorageBusyError: A connection stayed in use, and open, for too long.
        """
        state = self._current
        if state is None or state.pid != os.getpid():
            return  # the parent's connections are not ours to close
        if self._sockets is not None:
            self._sockets.close()
        if not state.close(time.monotonic() + LONGEST_WAIT_S):
            raise StorageBusyError(f"{self._path or 'the database'} is still in use")
