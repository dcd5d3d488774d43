"""Work of ours inside a transaction of the caller's, on PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import (
    TRANSACTION_STATUS_IDLE,
    TRANSACTION_STATUS_INERROR,
    TRANSACTION_STATUS_INTRANS,
)
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # likewise

from flask_forge_jobs.storage.caller_transaction import (
    SAVEPOINT,
    has_failed,
    in_autocommit,
    not_a,
    refuse,
)
from flask_forge_jobs.storage.database import Row
from flask_forge_jobs.storage.postgres.transaction import (
    PostgresTransaction,
    version_check,
)

T = TypeVar("T")

_ENCODING = "UTF8"


class JoinedTransaction(PostgresTransaction):
    """A savepoint in a transaction of the caller's; the caller commits.

    Args:
        connection: The caller's.
        known_version: The newest schema version that this code knows.
        is_quiet: Whether other processes hear nothing of it.
    """

    def __init__(
        self, connection: Connection, known_version: int, *, is_quiet: bool
    ) -> None:
        super().__init__(
            connection, f"SAVEPOINT {SAVEPOINT}", known_version, is_quiet=is_quiet
        )
        # Rows are tuples, whatever the caller's are.
        self._cursor = connection.cursor(cursor_factory=Cursor)

    def end(self) -> None:
        """Release the savepoint, together with what is still waiting to be sent.

        Raises:
            StorageError: A statement failed and somebody swallowed the error.
        """
        if self._connection.info.transaction_status != TRANSACTION_STATUS_INTRANS:
            raise has_failed()
        self._cursor.execute(self._unsent(f"RELEASE SAVEPOINT {SAVEPOINT}"))

    def undo(self) -> None:
        """Roll back to the savepoint."""
        if self._is_begun and not self._connection.closed:
            with contextlib.suppress(psycopg2.Error):
                self._cursor.execute(
                    f"ROLLBACK TO SAVEPOINT {SAVEPOINT};\nRELEASE SAVEPOINT {SAVEPOINT}"
                )


def require_usable(given: object) -> Connection:
    """Return a caller's connection if a statement may be sent through it now.

    Raises:
        InvalidInputError: It is another driver's, closed, asynchronous, or does not
            speak UTF-8.
        StorageError: Its transaction has failed.
    """
    if not isinstance(given, Connection):
        raise not_a("psycopg2", given)
    if given.closed:
        raise refuse("is closed")
    if given.async_:
        raise refuse("is an asynchronous one")
    if given.encoding != _ENCODING:
        raise refuse(f"has the client encoding {given.encoding}, not {_ENCODING}")
    status = given.info.transaction_status
    if status == TRANSACTION_STATUS_INERROR:
        raise has_failed()
    if status not in (TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INTRANS):
        raise refuse("is busy with another statement, or broken")
    return given


def run_joined(
    connection: Connection,
    is_ours: Callable[[Row], bool],
    known_version: int,
    work: Callable[[PostgresTransaction], T],
    *,
    is_quiet: bool,
) -> T:
    """Run a unit of work in a savepoint of a caller's transaction.

    Args:
        connection: The caller's; a transaction begins if none is open.
        is_ours: Tells whether the row of the statement ``whose_tables`` is what our own
            connections get.
        known_version: The newest schema version that this code knows.
        work: Undone as a whole when it raises; the caller's own work stays.
        is_quiet: Whether other processes hear nothing of it.

    Raises:
        InvalidInputError: The connection is in autocommit mode and has no transaction,
            or sees other tables than ours.
        SchemaTooNewError: This code may not work on the schema any more.
        StorageError: The transaction has failed.
    """
    is_begun = connection.info.transaction_status == TRANSACTION_STATUS_INTRANS
    opened = JoinedTransaction(connection, known_version, is_quiet=is_quiet)
    try:
        _require_ours(opened, is_ours)
        opened.send_ahead(version_check(known_version))
        result = work(opened)
        opened.end()
    except BaseException as error:
        opened.undo()
        if not is_begun and not connection.closed:
            with contextlib.suppress(psycopg2.Error):
                connection.rollback()
        if isinstance(error, errors.NoActiveSqlTransaction):
            raise in_autocommit() from error
        raise
    return result


def _require_ours(opened: PostgresTransaction, is_ours: Callable[[Row], bool]) -> None:
    if not is_ours(opened.all("whose_tables")[0]):
        raise refuse("is to another database or schema than the one the jobs are in")
