"""Runs our work inside a caller's transaction on SQLite.

The caller's connection may hold the write lock, so nothing here waits for that lock on
a connection of our own.
"""

from __future__ import annotations

import contextlib
import sqlite3
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.storage.caller_transaction import (
    SAVEPOINT,
    in_autocommit,
    not_a,
    refuse,
)
from flask_forge_jobs.storage.catalogue import Migration, load_statements
from flask_forge_jobs.storage.migrate import apply_migrations
from flask_forge_jobs.storage.sqlite.files import is_same_file
from flask_forge_jobs.storage.sqlite.process import SqliteProcess
from flask_forge_jobs.storage.sqlite.transaction import (
    TAKE_LOCK,
    SqliteSchema,
    SqliteTransaction,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")

_ACCEPTED = (
    "a connection of sqlite3, or a connection or session of SQLAlchemy that uses it"
)
# sqlite3.LEGACY_TRANSACTION_CONTROL, which is new in Python 3.12.
_LEGACY = -1


def require_same_file(given: object, path: Path | None) -> sqlite3.Connection:
    """Return a caller's connection if it has our file open.

    Raises:
        InvalidInputError: It is of another driver, closed, or of another database.
    """
    if not isinstance(given, sqlite3.Connection):
        raise not_a(_ACCEPTED, given)
    if path is None:
        raise refuse(
            "cannot be joined because the jobs are stored in memory; name a file in "
            "FORGE_JOBS_DATABASE_URL, or in SQLALCHEMY_DATABASE_URI with db=, that "
            "both have open"
        )
    try:
        cursor = plain_cursor(given)
        rows = cursor.execute("PRAGMA database_list").fetchall()
    except sqlite3.ProgrammingError as error:
        raise refuse(f"cannot be used: {error}") from error
    files = {_text(name): _text(file) for _, name, file in rows}
    main = files.get("main") or ""
    if not main or not is_same_file(Path(main), path):
        opened = main or "a database in memory"
        raise refuse(f"is open on {opened}, but the jobs are in {path}")
    return given


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def plain_cursor(connection: sqlite3.Connection) -> sqlite3.Cursor:
    """Return a cursor with tuple rows, whatever the connection's row factory."""
    cursor = connection.cursor(sqlite3.Cursor)
    cursor.row_factory = None
    return cursor


def migrate_joined(
    connection: sqlite3.Connection,
    now_us: int,
    steps: Sequence[Migration],
    *,
    may_change: bool,
) -> bool:
    """Bring the schema up to date in the caller's transaction, which takes the lock.

    Returns:
        Whether other connections see the schema and need no lock to open the file.
    """
    cursor = plain_cursor(connection)
    try:
        cursor.execute(TAKE_LOCK)
    except sqlite3.OperationalError as error:
        if not str(error).startswith("no such table"):
            raise
        if may_change:
            cursor.execute(load_statements("sqlite")["create_schema_table"].sql)
    schema = SqliteSchema(cursor, now_us)
    is_new = apply_migrations(schema, steps, may_change=may_change)
    return not is_new and schema.has_write_ahead_log()


def run_joined(
    connection: sqlite3.Connection,
    clock: Clock,
    known_version: int,
    work: Callable[[SqliteTransaction], T],
    state: SqliteProcess,
) -> tuple[SqliteTransaction, T]:
    """Run a unit of work in a savepoint of the caller's transaction.

    If no transaction is open, one begins, as with any writing statement. If ``work``
    raises, or a check of the file after it, only its own changes are undone.

    Raises:
        InvalidInputError: The connection is in autocommit mode without a transaction.
        SchemaTooNewError: The schema is too new for this code.
    """
    cursor = plain_cursor(connection)
    is_begun = connection.in_transaction
    if not is_begun:
        if not _begins_by_itself(connection):
            raise in_autocommit()
        # A deferred transaction fails at once if another process writes meanwhile.
        cursor.execute("BEGIN IMMEDIATE")
    # The time behind the wait for the lock, as of every other write.
    transaction = SqliteTransaction(cursor, clock.now_us(), known_version)
    try:
        cursor.execute(f"SAVEPOINT {SAVEPOINT}")
        with _text_as_text(connection):
            if is_begun:
                cursor.execute(TAKE_LOCK)
            transaction.check_version()
            result = work(transaction)
            if state.checkpoints.must_mend:
                state.checkpoints.mend_locked()
            if transaction.has_met:
                state.sync_log()
            state.check_joined()
        # Fails if an error that ``work`` swallowed has ended the transaction.
        cursor.execute(f"RELEASE {SAVEPOINT}")
    except BaseException:
        _undo(connection, cursor, is_begun=is_begun)
        raise
    return transaction, result


def _begins_by_itself(connection: sqlite3.Connection) -> bool:
    if getattr(connection, "autocommit", _LEGACY) != _LEGACY:
        return False
    return connection.isolation_level is not None


@contextlib.contextmanager
def _text_as_text(connection: sqlite3.Connection) -> Iterator[None]:
    """Read text as ``str`` for a block, whatever the caller's ``text_factory``."""
    usual = connection.text_factory
    connection.text_factory = str
    try:
        yield
    finally:
        connection.text_factory = usual


def _undo(
    connection: sqlite3.Connection, cursor: sqlite3.Cursor, *, is_begun: bool
) -> None:
    with contextlib.suppress(sqlite3.Error):
        if not connection.in_transaction:
            return  # the error has rolled back all of it
        if not is_begun:
            # A failed call must not go on blocking other writers.
            cursor.execute("ROLLBACK")
            return
        cursor.execute(f"ROLLBACK TO {SAVEPOINT}")
        cursor.execute(f"RELEASE {SAVEPOINT}")


class CommitWakes:
    """Wakes workers when a SQLAlchemy connection commits.

    SQLAlchemy's event fires just before the commit. A woken worker waits for the write
    lock and then finds the jobs.
    """

    def __init__(self, wake: Callable[[str], None]) -> None:
        self._wake = wake
        self._queues: weakref.WeakKeyDictionary[Connection, set[str]] = (
            weakref.WeakKeyDictionary()
        )

    def add(self, connection: Connection, queue_names: Iterable[str]) -> None:
        """Wake the workers of these queues when the connection commits."""
        waiting = self._queues.get(connection)
        if waiting is None:
            from sqlalchemy import event, exc

            self._queues[connection] = waiting = set()
            # In SQLAlchemy 2.0.37 and older, connections of an engine with execution
            # options have no events; workers poll.
            with contextlib.suppress(exc.InvalidRequestError):
                event.listen(connection, "commit", self._committing)
        waiting.update(queue_names)

    def _committing(self, connection: Connection) -> None:
        waiting = self._queues[connection]
        for queue_name in waiting:
            self._wake(queue_name)
        waiting.clear()
