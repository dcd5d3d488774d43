"""Threads that add jobs at the same time share a transaction.

A commit waits for the disk, longer than a statement takes. Threads that come meanwhile
line up, and the first that gets the turn stores the jobs of all, each with a statement
of its own. It takes them out of the line when it has the lock of the file, so that a
thread whose time is up can leave the line until then, and waits for a moment only after
that.

The commit does not wait for the disk. Behind it the next writer gets the turn and the
gate, and workers wake up; then the threads whose jobs it has stored wait for the disk.
A worker's claim waits for the disk too, and the log has the claim behind the job, so no
job starts that a power failure could undo.

A worker of another process takes longer to wake up than a thread that is alone to store
its job. So it is woken just before the statement, and its claim comes to the gate as
the job is stored, or waits there. One that passes the gate by may come too early; its
listener sees the commit then, see :mod:`.wake`.

Only success is shared. After a statement that fails, or a transaction that cannot be
committed, each thread tries by itself and gets its own error. The id of a job was made
before, so nothing is stored twice.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import StorageError, StorageOutcomeUnknownError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.storage.database import Parameter, Row
from flask_forge_jobs.storage.sqlite.checkpoint import PAGES_BEFORE_A_START
from flask_forge_jobs.storage.sqlite.connection import SqliteConnection, sync
from flask_forge_jobs.storage.sqlite.faults import BUSY, SqliteFaults
from flask_forge_jobs.storage.sqlite.process import SqliteProcess
from flask_forge_jobs.storage.sqlite.turn import Group, Waiting

logger = get_logger(__name__)

# They delay the first of them by a few milliseconds.
MAX_AT_ONCE = 64
_Given = dict[str, Parameter]


class GroupCommit:
    """Runs statements that add jobs, as many threads may at the same time.

    Attributes:
        send: Gets the queue of each job for the workers of other processes; None for a
            database in memory.
    """

    def __init__(
        self,
        clock: Clock,
        faults: SqliteFaults,
        send: Callable[[str], object] | None,
    ) -> None:
        self._clock = clock
        self._faults = faults
        self.send = send

    def run(
        self, state: SqliteProcess, sql: str, parameters: _Given, *, alone: bool = False
    ) -> list[Row]:
        """Run a statement with its parameters and ``now``, and commit.

        It has enter() and _execute() inlined: every enqueue runs this.

        Raises:
            StorageOutcomeUnknownError: Another thread may have committed it, or the
                disk may lack it.
        """
        turn, own, rows = state.turn, None, None
        taken, early = list[Waiting](), ""
        ends_at = turn.enter_if_free()
        if not ends_at:
            own = Waiting(sql, parameters)
            ends_at = turn.line_up(own)
            if own.rows is not None and own.is_stored:
                return own.rows
        try:
            connection, gate, send = state.early_writer(), state.gate, self.send
            try:
                gate.lock()
            except BlockingIOError:
                gate.wait(ends_at, is_patient=True)
                send = None
            is_slow = turn.line or state.checkpoints.must_mend
            if not (is_slow or connection.in_transaction or connection.busy_timeout_ms):
                try:
                    if send is not None:
                        early = str(parameters["queue_name"])
                        send(early)
                    parameters["now"] = now_us = self._clock.now_us()
                    cursor = connection.execute(sql, parameters)
                    rows = cursor.fetchall() or [(now_us,)] * cursor.rowcount
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != BUSY:
                        raise
                    early = ""  # the worker may be in time for a lock that we are not
            if rows is None:
                own = own or Waiting(sql, parameters)
                taken = self._run_slowly(state, connection, own, ends_at, alone=alone)
                rows = own.rows
        except BaseException as error:  # noqa: BLE001  # it is raised again
            self._raise(state, error, own)
        self._end(state, connection, parameters if rows else None, taken, early)
        # Without rows once more, for its own error.
        return self.run(state, sql, parameters, alone=True) if rows is None else rows

    def _run_slowly(
        self,
        state: SqliteProcess,
        connection: SqliteConnection,
        own: Waiting,
        ends_at: float,
        *,
        alone: bool,
    ) -> list[Waiting]:
        """Run a statement with those of other threads, or wait for SQLite's lock.

        Return what was run with it, and the statement itself first; nothing if it was
        alone.
        """
        if state.checkpoints.must_mend:
            state.checkpoints.mend(connection, ends_at)
        if state.turn.line and not alone and own.group is None:
            return self._run_all(state, connection, own, ends_at)
        once = partial(self._execute, connection, own.sql, own.parameters)
        own.rows = connection.when_free(once, ends_at, state.gate)
        return []

    def _end(
        self,
        state: SqliteProcess,
        connection: SqliteConnection,
        stored: _Given | None,
        taken: Sequence[Waiting],
        early: str,
    ) -> None:
        """End the turn, wake workers, wait for the disk, and tell the other threads."""
        state.checkpoints.make_if_due(connection, PAGES_BEFORE_A_START)
        group, fault = taken[0].group if taken else None, None
        names = [] if stored is None else [str(stored["queue_name"])]
        if group is not None:
            names = _queues_of(taken)
        connection.in_use.acquire()  # nobody closes the log meanwhile
        try:
            if group is not None:
                group.is_at_disk = True
            state.gate.unlock()
            state.turn.__exit__(None, None, None)
            # SqliteDatabase.wake() inlined, as above.
            for name in names:
                for callback in state.callbacks.copy():
                    callback(name)
                if self.send is not None and name != early:
                    self.send(name)
            if connection.log is not None:
                sync(connection.log)
            if group is not None:
                group.is_stored = True
        except OSError as error:
            state.checkpoints.note_gap()
            fault = error
        finally:
            if group is not None:
                group.is_at_disk = False  # first, as the others wait for it
            connection.in_use.release()
            for each in taken[1:]:
                each.call()
        if fault is not None:
            self._mend(state, fault)

    def _mend(self, state: SqliteProcess, fault: OSError) -> NoReturn:
        """Mend the log at once, since other processes store behind the gap.

        If that fails, the next write of this process tries again.
        """
        logger.error("the disk has refused to write the log: %s", fault)
        try:
            with state.turn as ends_at, state.gate.until(ends_at):
                if state.checkpoints.must_mend:
                    state.checkpoints.mend(state.early_writer(), ends_at)
        except (StorageError, sqlite3.Error, OSError) as error:
            logger.error("cannot write the log anew: %s", error)  # noqa: TRY400
        raise StorageOutcomeUnknownError from fault

    def _raise(
        self, state: SqliteProcess, error: BaseException, own: Waiting | None
    ) -> NoReturn:
        state.checkpoints.note(error)
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
    ) -> list[Waiting]:
        """Store what waits, this thread's first, and commit; return all of it.

        The disk may not have it yet.
        """
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
        except BaseException as error:
            is_fault = isinstance(error, sqlite3.Error) or connection.in_transaction
            # Else a signal handler came just behind the commit, and nobody waits for
            # the disk: all try again, and meet their own jobs.
            if is_fault or not is_ending:
                connection.rollback()
                group.is_stored = False
            for each in taken[1:]:
                each.call()
            raise
        return taken

    def _execute(
        self, connection: SqliteConnection, sql: str, parameters: _Given
    ) -> list[Row]:
        """Return a statement's rows; the present time for each one if it names none.

        It takes the time behind the wait for the lock: others have written meanwhile.
        """
        parameters["now"] = now_us = self._clock.now_us()
        cursor = connection.execute(sql, parameters)
        return cursor.fetchall() or [(now_us,)] * cursor.rowcount

    def _run_in(
        self, group: Group, connection: SqliteConnection, waiting: Waiting
    ) -> None:
        waiting.group = group
        try:
            waiting.rows = self._execute(connection, waiting.sql, waiting.parameters)
        except Exception:
            # SQLite has undone this statement, or all of them.
            if not connection.in_transaction:
                raise


def _queues_of(taken: Sequence[Waiting]) -> list[str]:
    """Return the queues of the jobs that are stored."""
    names = [each.parameters["queue_name"] for each in taken if each.rows]
    return list(dict.fromkeys(map(str, names)))
