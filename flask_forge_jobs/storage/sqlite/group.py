"""Threads that add jobs at the same time share a transaction.

A commit waits for the disk, longer than a statement takes. Threads that come meanwhile
line up, and the first that gets the turn stores the jobs of all, each with a statement
of its own. It takes them out of the line when it has the lock of the file, so that a
thread whose time is up can leave the line until then, and waits for a moment only after
that.

Only success is shared. After a statement that fails, or a transaction that cannot be
committed, each thread tries by itself and gets its own error. The id of a job was made
before, so nothing is stored twice.
"""

from __future__ import annotations

import contextlib
import sqlite3
from functools import partial
from typing import NoReturn

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import StorageOutcomeUnknownError
from flask_forge_jobs.storage.database import Parameter, Row
from flask_forge_jobs.storage.sqlite.checkpoint import PAGES_BEFORE_A_START
from flask_forge_jobs.storage.sqlite.connection import SqliteConnection, rows_of
from flask_forge_jobs.storage.sqlite.faults import BUSY, SqliteFaults
from flask_forge_jobs.storage.sqlite.process import SqliteProcess
from flask_forge_jobs.storage.sqlite.turn import Group, Waiting

# They delay the first of them by a few milliseconds.
MAX_AT_ONCE = 64


class GroupCommit:
    """Runs statements that many threads may run at the same time."""

    def __init__(self, clock: Clock, faults: SqliteFaults) -> None:
        self._clock = clock
        self._faults = faults

    def run(
        self, state: SqliteProcess, sql: str, parameters: dict[str, Parameter]
    ) -> list[Row]:
        """Run a statement with its parameters and ``now``, and commit.

        Raises:
            StorageOutcomeUnknownError: Another thread may have committed it.
        """
        turn, own = state.turn, None
        ends_at = turn.enter_if_free()
        if not ends_at:
            own = Waiting(sql, parameters)
            ends_at = turn.line_up(own)
            if own.rows is not None and own.is_stored:
                return own.rows
        try:
            connection, gate = state.writer(), state.gate
            # enter(), when_free() and rows_of() inlined: every enqueue runs this.
            try:
                gate.lock()
            except BlockingIOError:
                gate.wait(ends_at, is_patient=True)
            rows: list[Row] | None = None
            if turn.line and (own is None or own.group is None):
                own = own or Waiting(sql, parameters)
                rows = self._run_all(state, connection, own, ends_at)
            if rows is None:
                parameters["now"] = now_us = self._clock.now_us()
                cursor: sqlite3.Cursor | None = None
                if not (connection.in_transaction or connection.busy_timeout_ms):
                    try:
                        cursor = connection.execute(sql, parameters)
                    except sqlite3.OperationalError as error:
                        if error.sqlite_errorcode != BUSY:
                            raise
                if cursor is None:
                    once = partial(connection.execute, sql, parameters)
                    cursor = connection.when_free(once, ends_at, gate)
                rows = cursor.fetchall() or [(now_us,)] * cursor.rowcount
        except BaseException as error:  # noqa: BLE001  # it is raised again
            self._raise(error, own)
        state.checkpoints.make_if_due(connection, PAGES_BEFORE_A_START)
        gate.unlock()
        turn.__exit__(None, None, None)
        return rows

    def _raise(self, error: BaseException, own: Waiting | None) -> NoReturn:
        if own is not None and own.is_unclear and isinstance(error, Exception):
            raise StorageOutcomeUnknownError from error
        with self._faults:
            raise error
        raise AssertionError("the faults swallow no error")

    def _run_all(
        self,
        state: SqliteProcess,
        connection: SqliteConnection,
        own: Waiting,
        ends_at: float,
    ) -> list[Row] | None:
        """Store what waits, this thread's first; return its rows unless it fails."""
        begin = partial(connection.execute, "BEGIN IMMEDIATE")
        connection.when_free(begin, ends_at, state.gate)
        group, taken = Group(), [own]
        is_ending = False
        try:
            for each in taken:  # it grows
                self._run_in(group, connection, each)
                # Of those that line up meanwhile, too.
                if len(taken) < MAX_AT_ONCE:
                    with contextlib.suppress(IndexError):
                        taken.append(state.turn.line.popleft())
            is_ending = True
            connection.execute("COMMIT")
            group.is_stored = True
        except BaseException as error:
            is_fault = isinstance(error, sqlite3.Error) or connection.in_transaction
            if is_ending and not is_fault:
                group.is_stored = True  # a signal handler came just behind the commit
            else:
                connection.rollback()
                group.is_stored = False
            raise
        finally:
            for each in taken[1:]:
                each.call()
        return own.rows

    def _run_in(
        self, group: Group, connection: SqliteConnection, waiting: Waiting
    ) -> None:
        waiting.group = group
        waiting.parameters["now"] = now_us = self._clock.now_us()
        try:
            cursor = connection.execute(waiting.sql, waiting.parameters)
            waiting.rows = rows_of(cursor, now_us)
        except Exception:
            # SQLite has undone this statement, or all of them.
            if not connection.in_transaction:
                raise
