"""Transactions on SQLite and the schema steps they apply."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import StorageOutcomeUnknownError
from flask_forge_jobs.storage.caller_transaction import SAVEPOINT
from flask_forge_jobs.storage.catalogue import load_statements
from flask_forge_jobs.storage.database import (
    Parameter,
    Query,
    Row,
    SchemaVersions,
    Values,
)
from flask_forge_jobs.storage.sqlite.checkpoint import (
    PAGES_BEFORE_A_START,
    PAGES_BETWEEN_CHECKPOINTS,
)
from flask_forge_jobs.storage.sqlite.faults import SqliteFaults
from flask_forge_jobs.storage.sqlite.process import SqliteProcess

# Changes nothing. Before a transaction has read, SQLite waits for the lock of writers;
# afterwards it fails at once if another connection writes, or has written since.
TAKE_LOCK = "DELETE FROM forge_schema WHERE FALSE"


class SqliteTransaction:
    """An open transaction; implements :class:`.Transaction`.

    Attributes:
        woken: The queues to wake after the commit.
        has_claimed: Whether jobs start after the commit.
        has_met: Whether it has found stored jobs, which the disk may lack.
    """

    def __init__(
        self,
        connection: sqlite3.Connection | sqlite3.Cursor,
        now_us: int,
        known_version: int,
        attempt: int = 0,
    ) -> None:
        self.attempt = attempt
        self.woken: dict[str, None] = {}
        self.has_claimed = self.has_met = False
        self._connection = connection
        self._statements = load_statements("sqlite")
        self._now_us = now_us
        self._known_version = known_version

    def check_version(self) -> None:
        """Raise SchemaTooNewError if the schema is too new for this code."""
        newest = self.all("newest_version")
        if newest and newest[-1][1] > self._known_version:
            SchemaVersions.of(newest, self._known_version).require_readable()

    def all(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run a statement and return its rows."""
        statement = self._statements[name]
        if statement.uses_now:
            parameters["now"] = self._now_us
        if statement.uses_known:
            parameters["known"] = self._known_version
        cursor = self._connection.execute(statement.sql, parameters)
        rows = cursor.fetchall()
        if not rows:
            # One without rows stands for its instant, once for each row that it stores.
            return [(self._now_us,)] * cursor.rowcount
        if statement.starts_jobs:
            self.has_claimed = True
        if statement.reports_stored:
            self.has_met = True
        return rows

    def run(self, name: str, /, **parameters: Parameter) -> int:
        """Run a statement and return how many rows it changed."""
        statement = self._statements[name]
        if statement.uses_now:
            parameters["now"] = self._now_us
        if statement.uses_known:
            parameters["known"] = self._known_version
        return self._connection.execute(statement.sql, parameters).rowcount

    def defer(self, name: str, /, **parameters: Parameter) -> None:
        """Run a statement now; there is no round trip to save."""
        # A transaction cannot commit before its statements have returned all rows.
        self.all(name, **parameters)

    def all_in_turn(self, *statements: Query) -> list[list[Row]]:
        """Run statements one after the other and return the rows of each."""
        return [self.all(name, **values) for name, values in statements]

    def all_noted(
        self, name: str, values: Values, entry: Values, *behind: Query
    ) -> list[list[Row]]:
        """Run a change, its entry if it returns rows, and the statements behind it."""
        rows = self.all(name, **values)
        if rows:
            name = "append_audit_once" if self.attempt else "append_audit"
            self.all(name, **{**entry, "changed": len(rows)})
        return [rows, *self.all_in_turn(*behind)]

    def expect(self, name: str, /, **parameters: Parameter) -> None:
        """Do nothing; there is no round trip to save."""

    def copy_rows(self, name: str, rows: Iterable[Sequence[Parameter]], /) -> None:
        """Insert rows one by one; there is no round trip to save."""
        self._connection.executemany(self._statements[name].sql, rows)

    def brief_waits(self) -> AbstractContextManager[None]:
        """Return an empty context: a file has one writer at a time."""
        return contextlib.nullcontext()

    def wake(self, queue_name: str) -> None:
        """Wake the workers of a queue after the commit."""
        self.woken[queue_name] = None


@dataclass(eq=False)
class Write:
    """A write transaction as a ``with`` block: takes the turn, locks and commits.

    An error in the block rolls it back; driver errors become ours. This is a class
    because a generator would slow down every write.
    """

    state: SqliteProcess
    faults: SqliteFaults
    clock: Clock
    known_version: int
    attempt: int
    wake: Callable[[str], None]

    def __enter__(self) -> SqliteTransaction:
        state = self.state
        try:
            ends_at = state.turn.__enter__()
            self.connection = connection = state.connection()
            state.check_in_place()
            state.gate.enter(ends_at)
            if state.checkpoints.must_mend:
                state.checkpoints.mend(connection, ends_at)
            begin = partial(connection.execute, "BEGIN IMMEDIATE")
            connection.when_free(begin, ends_at, state.gate)
            # The time behind the wait for the lock: others may have written meanwhile.
            self.transaction = transaction = SqliteTransaction(
                connection, self.clock.now_us(), self.known_version, self.attempt
            )
            transaction.check_version()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return transaction

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        state = self.state
        try:
            with self.faults:
                if error is not None:
                    raise error  # noqa: TRY301  # for the faults
                try:
                    self.connection.execute("COMMIT")
                except sqlite3.Error as fault:
                    state.checkpoints.note(fault)
                    raise
            max_pages = PAGES_BETWEEN_CHECKPOINTS
            if self.transaction.has_claimed:
                max_pages = PAGES_BEFORE_A_START
            state.checkpoints.make_if_due(self.connection, max_pages)
            state.gate.unlock()
            state.turn.__exit__(None, None, None)
            for queue_name in self.transaction.woken:
                self.wake(queue_name)
            if self.transaction.has_met:
                # The commit has waited for no disk, unless it has stored something.
                try:
                    state.sync_log()
                except OSError as refusal:
                    raise StorageOutcomeUnknownError from refusal
        except BaseException as raised:
            state.let_go(raised)
            raise


_ALONE = ("BEGIN IMMEDIATE", "ROLLBACK", "COMMIT")
_WITHIN = tuple(
    f"{word} {SAVEPOINT}_schema" for word in ("SAVEPOINT", "ROLLBACK TO", "RELEASE")
)


class SqliteSchema:
    """Applies schema steps; implements :class:`.SchemaState`."""

    def __init__(
        self, connection: sqlite3.Connection | sqlite3.Cursor, now_us: int
    ) -> None:
        self._connection = connection
        self._statements = load_statements("sqlite")
        self._now_us = now_us

    def applied(self) -> list[tuple[int, int]]:
        """Return (version, oldest reader) of each applied step in order."""
        table = self._connection.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'forge_schema'"
        ).fetchone()
        if table is None:
            return []
        rows = self._connection.execute(self._statements["applied_versions"].sql)
        return [(version, oldest_reader) for version, oldest_reader, _ in rows]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the write lock for a block; within a caller's transaction, longer."""
        begin, undo, end = _WITHIN if self._is_within() else _ALONE
        self._connection.execute(begin)
        try:
            yield
        except BaseException:
            self._connection.execute(undo)
            raise
        self._connection.execute(end)

    def has_write_ahead_log(self) -> bool:
        """Whether the file has a write-ahead log; creating one needs the file alone."""
        row = self._connection.execute("PRAGMA journal_mode").fetchone()
        return bool(row[0] == "wal")

    def _is_within(self) -> bool:
        given = self._connection
        of = given.connection if isinstance(given, sqlite3.Cursor) else given
        return of.in_transaction

    def keep_writers_out(self) -> None:
        """Do nothing: this transaction has the write lock already."""

    def execute_script(self, sql: str) -> None:
        """Run the statements of one step within the open transaction."""
        pending = ""
        for line in sql.splitlines(keepends=True):
            pending += line
            # Semicolons within a trigger's body do not end the statement.
            if sqlite3.complete_statement(pending):
                self._connection.execute(pending)
                pending = ""

    def record(self, version: int, oldest_reader: int, name: str) -> None:
        """Record an applied step."""
        self._connection.execute(self._statements["create_schema_table"].sql)
        self._connection.execute(
            self._statements["record_version"].sql,
            {
                "version": version,
                "oldest_reader": oldest_reader,
                "name": name,
                "now": self._now_us,
            },
        )
