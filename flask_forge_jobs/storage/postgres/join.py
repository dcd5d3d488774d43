"""Runs our work inside a caller's transaction on PostgreSQL."""

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
    """A savepoint in the caller's transaction; the caller commits."""

    def __init__(
        self, connection: Connection, known_version: int, *, is_quiet: bool
    ) -> None:
        super().__init__(
            connection, f"SAVEPOINT {SAVEPOINT}", known_version, is_quiet=is_quiet
        )
        # Rows are tuples, whatever the caller's cursor factory.
        self._cursor = connection.cursor(cursor_factory=Cursor)

    def end(self) -> None:
        """Send what is pending and release the savepoint.

        Raises:
            StorageError: A statement has failed and ``work`` swallowed the error.
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
    """Return a caller's connection if it can run a statement now.

    Raises:
        InvalidInputError: It is of another driver, closed, busy, asynchronous, or not
            in UTF-8.
        StorageError: Its transaction has failed.
    """
    if not isinstance(given, Connection):
        raise not_a("psycopg2", given)
    if given.closed:
        raise refuse("is closed")
    if given.async_:
        raise refuse("is asynchronous")
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
    """Run a unit of work in a savepoint of the caller's transaction.

    If no transaction is open, one begins. If ``work`` raises, only its own changes are
    undone. ``is_ours`` compares a row of ``whose_tables`` with that of our connections.

    Raises:
        InvalidInputError: The connection is in autocommit mode without a transaction,
            or sees other tables than ours.
        SchemaTooNewError: The schema is too new for this code.
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
        raise refuse("is to another database or schema than that of the jobs")
