"""Transactions on PostgreSQL, in as few round trips as possible, and schema steps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INTRANS
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.errors import MigrationError, StorageBusyError, StorageError
from flask_forge_jobs.storage.catalogue import Statement, load_statements
from flask_forge_jobs.storage.database import (
    Parameter,
    Query,
    Row,
    TransientError,
    Values,
)
from flask_forge_jobs.storage.postgres.connection import (
    lift_limits,
    warn_of_other_tables,
)
from flask_forge_jobs.storage.postgres.copying import CopySource
from flask_forge_jobs.storage.postgres.prepared import (
    PLAN_ERRORS,
    forget_settings,
    prepared,
)
from flask_forge_jobs.storage.postgres.together import (
    in_turn,
    rows_in_turn,
    taken_apart,
    together,
)

# A circle of transactions is over before the server looks for a deadlock, by default
# after 1 s.
BRIEF_WAIT_MS = 20
# Statements that would notify.
_QUIETLY = {
    "enqueue": "enqueue_quietly",
    "enqueue_early": "enqueue_quietly",
    "enqueue_early_noted": "enqueue_noted",  # stores nothing then
    "exchange": "exchange_quietly",
}
# Each a message of its own, of two commits, and the same with one. Between them the
# server may cancel it, or run out of something.
_EARLY = {"enqueue_early": "enqueue", "enqueue_early_noted": "enqueue_noted"}
_LATE_ERRORS = ("57014", "53", "58")
# A statement and its parameters.
_Key = tuple[object, ...]


def version_check(known_version: int) -> str:
    """Return the SQL, sent before a write, that refuses code older than the schema.

    Writers share the lock. A schema step that shuts out this code takes it exclusively:
    it waits for the writers, and later ones wait for it and are then refused.
    """
    return (
        "LOCK TABLE forge_schema IN ACCESS SHARE MODE;\n"
        f"SELECT forge_check_version({known_version})"
    )


@cache
def _that_knows(sql: str, known_version: int) -> str:
    """Return a statement with the constant version in place of its parameter."""
    return sql.replace("%(known)s", str(known_version))


@cache
def _that_may_notify(sql: str, is_quiet: bool) -> str:  # noqa: FBT001  # the value
    return sql.replace("%(quiet)s", str(is_quiet))


class PostgresTransaction:
    """An open transaction on an idle connection; implements :class:`.Transaction`.

    ``begin`` is the SQL that opens it, empty for a single message, and ``check`` comes
    next unless the only statement checks the schema itself. With ``is_quiet`` it
    notifies nobody; see :class:`.NotifyPause`.
    """

    def __init__(
        self,
        connection: Connection,
        begin: str,
        known_version: int,
        attempt: int = 0,
        *,
        check: str = "",
        is_quiet: bool = False,
    ) -> None:
        self.attempt = attempt
        self._check = check
        self._is_quiet = is_quiet
        self.woken: dict[str, None] = {}
        self._connection = connection
        self._statements = load_statements("postgres")
        self._begin = begin
        self._pending: list[str] = []
        self._expected: dict[_Key, str] = {}
        self._rows_ahead: dict[_Key, list[Row]] = {}
        self._known_version = known_version
        self._is_begun = False
        self._is_committing = False
        self._cursor = connection.cursor()

    def _execute(self, name: str, parameters: dict[str, Parameter]) -> None:
        if self._statements[name].is_prepared and self._run_prepared(name, parameters):
            return
        if self._pending:  # its values may look like parameters
            self._cursor.execute(self._unsent(self._text(name, parameters)))
        elif self._is_begun:
            self._cursor.execute(self._sql(name), parameters)
        else:
            if self._statements[name].uses_known:
                self._check = ""
            self._cursor.execute(self._unsent(self._sql(name)), parameters)

    def _run_prepared(self, name: str, parameters: dict[str, Parameter]) -> bool:
        """Run a statement as the session has planned it; return False if it cannot."""
        if self._pending:
            return False
        connection = self._connection
        try:
            sql = prepared(connection, self._cursor, self._statements[name])
            if sql is None:
                return False
            self._cursor.execute(self._unsent(sql), parameters)
        except PLAN_ERRORS as error:
            forget_settings(connection)
            busy = StorageBusyError("the session's plans became invalid")
            raise TransientError(busy) from error
        return True

    def _unsent(self, *last: str) -> str:
        """Return ``BEGIN`` if due, the pending SQL and ``last`` as one text."""
        return ";\n".join(self._texts_unsent(*last))

    def _texts_unsent(self, *last: str) -> list[str]:
        begin = () if self._is_begun else filter(None, (self._begin, self._check))
        texts = [*begin, *self._pending, *last]
        self._pending.clear()
        self._is_begun = True
        return texts

    def _sql(self, name: str) -> str:
        if self._is_quiet:
            name = _QUIETLY.get(name, name)
        elif name in _EARLY and not self._is_early(name):
            name = _EARLY[name]
        statement = self._statements[name]
        sql = statement.sql
        if statement.uses_known:
            sql = _that_knows(sql, self._known_version)
        if statement.uses_quiet:
            sql = _that_may_notify(sql, self._is_quiet)
        return sql

    def all(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run a statement and return its rows."""
        if self._expected or self._rows_ahead:
            return self._all_together(name, parameters)
        try:
            self._execute(name, parameters)
        except psycopg2.Error as error:
            if self._is_early(name) and (error.pgcode or "").startswith(_LATE_ERRORS):
                return self._stored_early(parameters["id"], error)
            raise
        return self._cursor.fetchall()

    def _is_early(self, name: str) -> bool:
        """Return whether it is such a statement, and all of its message."""
        if name not in _EARLY or self._is_quiet:
            return False
        return not (self._begin or self._check or self._pending)

    def _stored_early(self, job_id: Parameter, error: psycopg2.Error) -> list[Row]:
        """Return the rows of an enqueue that has failed after its first commit."""
        try:
            self._execute("enqueued_early", {"id": job_id})
        except psycopg2.Error:
            self._connection.close()  # nobody knows, as after a lost answer
            raise
        rows: list[Row] = self._cursor.fetchall()
        if not rows:
            raise error
        return rows

    def all_in_turn(self, *statements: Query) -> list[list[Row]]:
        """Run statements as one message and return the rows of each."""
        if len(statements) == 1:
            ((name, values),) = statements
            return [self.all(name, **values)]
        parts = [
            (self._text(name, values), self._part(name).returns_change)
            for name, values in statements
        ]
        self._cursor.execute(self._unsent(*in_turn(parts)))
        return rows_in_turn(self._cursor.fetchall()[0])

    def all_noted(
        self, name: str, values: Values, entry: Values, *behind: Query
    ) -> list[list[Row]]:
        """Run a change with its entry as one statement, then those behind it."""
        noted = {"is_repeated": self.attempt > 0, **values, **entry}
        rows, *others = self.all_in_turn((f"{name}_noted", noted), *behind)
        # A procedure that has stored nothing returns a row, too.
        return [[] if rows == [(None,)] else rows, *others]

    def expect(self, name: str, /, **parameters: Parameter) -> None:
        """Read a statement with the next one; see :meth:`.Transaction.expect`."""
        self._expected[_key(name, parameters)] = self._text(name, parameters)

    def _all_together(self, name: str, parameters: dict[str, Parameter]) -> list[Row]:
        key = _key(name, parameters)
        if key in self._rows_ahead:
            return self._rows_ahead.pop(key)
        query = self._expected.pop(key, None) or self._text(name, parameters)
        keys, texts = list(self._expected), list(self._expected.values())
        self._expected.clear()
        if not texts:
            self._cursor.execute(self._unsent(query))
            return self._cursor.fetchall()
        self._cursor.execute(self._unsent(together(query, texts)))
        rows, ahead = taken_apart(self._cursor.fetchall(), len(texts))
        self._rows_ahead |= zip(keys, ahead, strict=True)
        return rows

    def _part(self, name: str) -> Statement:
        """Return the statement that runs by a name as a part of a message."""
        return self._statements[_EARLY.get(name, name)]

    def _text(self, name: str, parameters: Values) -> str:
        sql = self._sql(self._part(name).name)
        return self._cursor.mogrify(sql, parameters).decode("utf-8")

    def run(self, name: str, /, **parameters: Parameter) -> int:
        """Run a statement and return how many rows it changed."""
        self._execute(name, parameters)
        return self._cursor.rowcount

    def defer(self, name: str, /, **parameters: Parameter) -> None:
        """Send a statement with the next one or with the commit."""
        self._send_ahead(self._text(name, parameters))

    def _send_ahead(self, text: str) -> None:
        """Send SQL with the next statement."""
        self._pending.append(text)

    def copy_rows(self, name: str, rows: Iterable[Sequence[Parameter]], /) -> None:
        """Insert rows by ``COPY``."""
        if self._pending or not self._is_begun:
            self._cursor.execute(self._unsent())
        self._cursor.copy_expert(self._statements[name].sql, CopySource(rows))

    @contextlib.contextmanager
    def brief_waits(self) -> Iterator[None]:
        """Give up within the block when another transaction has a lock for a while.

        Raises:
            TransientError: It had the lock for :data:`BRIEF_WAIT_MS`.
        """
        self._send_ahead(f"SET LOCAL lock_timeout = {BRIEF_WAIT_MS}")
        yield
        self._send_ahead("SET LOCAL lock_timeout = 0")

    def wake(self, queue_name: str) -> None:
        """Wake the workers of a queue; the server notifies them at the commit."""
        if queue_name not in self.woken:
            self.woken[queue_name] = None
            if not self._is_quiet:
                self.defer("notify", queue_name=queue_name)

    def end(self) -> None:
        """Send pending statements and commit.

        Raises:
            StorageError: A statement has failed and the block swallowed the error;
                ``COMMIT`` would roll back without an error.
        """
        if self._is_begun:
            status = self._connection.info.transaction_status
            if status != TRANSACTION_STATUS_INTRANS:
                raise StorageError("the transaction failed before its commit")
        elif not self._pending:
            return  # nothing was sent
        self._is_committing = True
        self._cursor.execute(self._unsent("COMMIT"))

    def may_be_stored(self, *, ends_itself: bool) -> bool:
        """Return whether a commit was sent; a single message is one."""
        return self._is_committing or (ends_itself and self._is_begun)

    def undo(self) -> None:
        """Roll back if the transaction is open."""
        connection = self._connection
        if not self._is_begun or connection.closed:
            return
        if connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
            with contextlib.suppress(psycopg2.Error):
                self._cursor.execute("ROLLBACK")


def _key(name: str, parameters: Mapping[str, Parameter]) -> _Key:
    return (name, *sorted(parameters.items()))


# An arbitrary constant that all installs in one database share.
MIGRATION_LOCK = 7_022_013_337_001
# A step that waits for a table lock blocks later users of the table, so it gives up and
# tries again.
DDL_LOCK_TIMEOUT_MS = 3_000


class PostgresSchema:
    """Applies schema steps; implements :class:`.SchemaState`."""

    def __init__(self, connection: Connection) -> None:
        self._cursor: Any = connection.cursor()
        self._statements = load_statements("postgres")

    def applied(self) -> list[tuple[int, int]]:
        """Return (version, oldest reader) of each applied step in order."""
        # to_regclass() would answer from a cache that misses a table that another
        # session created while this one waited for the lock.
        self._cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_tables "
            "WHERE tablename = 'forge_schema' "
            "AND schemaname = ANY (current_schemas(false)))"
        )
        if not self._cursor.fetchone()[0]:
            return []
        self._cursor.execute(self._statements["applied_versions"].sql)
        return [(version, reader) for version, reader, _ in self._cursor.fetchall()]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Open a transaction that holds an advisory lock, and commit at its end."""
        # At this level the steps that another migrator applied meanwhile are visible.
        self._cursor.execute(
            "BEGIN ISOLATION LEVEL READ COMMITTED; "
            f"{lift_limits(self._cursor.connection, 'SET LOCAL')}; "
            f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
        )
        try:
            # Only now: another migrator may take long.
            self._cursor.execute(f"SET LOCAL lock_timeout = {DDL_LOCK_TIMEOUT_MS}")
            yield
        except BaseException:
            self._cursor.execute("ROLLBACK")
            raise
        self._cursor.execute("COMMIT")

    def keep_writers_out(self) -> None:
        """Take the lock that every writer shares."""
        # forge_job too, because enqueues do not lock forge_schema.
        self._cursor.execute(
            "LOCK TABLE forge_schema, forge_job IN ACCESS EXCLUSIVE MODE"
        )

    def execute_script(self, sql: str) -> None:
        """Run the statements of one step within the open transaction."""
        try:
            self._cursor.execute(sql)
        except psycopg2.errors.InsufficientPrivilege as error:
            raise MigrationError(0, "the role may not create tables") from error
        except psycopg2.errors.InvalidSchemaName as error:
            raise MigrationError(
                0, "the search_path of the role names no schema that it may use"
            ) from error
        except psycopg2.errors.LockNotAvailable as error:
            raise TransientError(
                StorageBusyError("another session blocks the schema step")
            ) from error

    def record(self, version: int, oldest_reader: int, name: str) -> None:
        """Record an applied step."""
        if version == 1:  # which makes the tables
            warn_of_other_tables(self._cursor.connection)
        self._cursor.execute(self._statements["create_schema_table"].sql)
        self._cursor.execute(
            self._statements["record_version"].sql,
            {"version": version, "oldest_reader": oldest_reader, "name": name},
        )
        self.replace_version_check(version, oldest_reader)

    def replace_version_check(self, version: int, oldest_reader: int) -> None:
        """Set which code may write from the commit on."""
        self._cursor.execute(
            self._statements["replace_version_check"].sql,
            {"version": version, "oldest_reader": oldest_reader},
        )
