"""Runs our work inside a caller's transaction on PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psycopg2
from psycopg2.extensions import (
    TRANSACTION_STATUS_IDLE,
    TRANSACTION_STATUS_INERROR,
    TRANSACTION_STATUS_INTRANS,
)
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # likewise

from flask_forge_jobs.errors import StorageBusyError
from flask_forge_jobs.storage.caller_transaction import (
    SAVEPOINT,
    has_failed,
    in_autocommit,
    is_asynchronous,
    refuse,
)
from flask_forge_jobs.storage.database import (
    Query,
    Row,
    TransientError,
    run_with_retries,
)
from flask_forge_jobs.storage.postgres.transaction import (
    BRIEF_WAIT_MS,
    PostgresTransaction,
    version_check,
)

T = TypeVar("T")

_ENCODING = "UTF8"
_NO_TRANSACTION, _FAILED_TRANSACTION = "25P01", "25P02"
_DEADLOCK, _LOCKED = "40P01", "55P03"


class JoinedTransaction(PostgresTransaction):
    """A savepoint in the caller's transaction; the caller commits."""

    def __init__(
        self, connection: Connection, known_version: int, *, is_quiet: bool
    ) -> None:
        super().__init__(
            connection, f"SAVEPOINT {SAVEPOINT}", known_version, is_quiet=is_quiet
        )
        self._is_brief = False
        self._began_here = self._status() == TRANSACTION_STATUS_IDLE
        self._cursor = self._open_cursor()

    def _open_cursor(self) -> Any:
        # Rows are tuples, whatever the caller's cursor factory.
        return self._connection.cursor(cursor_factory=Cursor)

    def _status(self) -> int:
        return self._connection.info.transaction_status

    def _is_closed(self) -> bool:
        return bool(self._connection.closed)

    def _run(self, *texts: str) -> None:
        """Run SQL without parameters in one round trip."""
        self._cursor.execute(";\n".join(texts))

    def check_version(self) -> None:
        """Check, with the next statement, that this code may write to the schema."""
        self._send_ahead(version_check(self._known_version))

    @contextlib.contextmanager
    def brief_waits(self) -> Iterator[None]:
        """Wait only briefly within the block; the caller's own limit comes back."""
        self._run(*self._texts_unsent("SELECT current_setting('lock_timeout')"))
        ((before,),) = self._cursor.fetchall()
        self._is_brief = True
        self._send_ahead(f"SET LOCAL lock_timeout = {BRIEF_WAIT_MS}")
        yield
        self._send_ahead(f"SET LOCAL lock_timeout = '{before}'")
        self._is_brief = False

    def all_in_turn(self, *statements: Query) -> list[list[Row]]:
        """Run statements by themselves: not every connection takes several at once."""
        return [self.all(name, **values) for name, values in statements]

    def may_begin_anew(self, error: BaseException) -> bool:
        """Whether the same work may succeed once its own locks are released.

        So not after a conflict with the snapshot, which is the caller's.
        """
        if isinstance(error, TransientError):
            return True
        code = error.pgcode if isinstance(error, psycopg2.Error) else None
        return code == _DEADLOCK or (code == _LOCKED and self._is_brief)

    def end(self) -> None:
        """Send pending statements and release the savepoint.

        Raises:
            StorageError: A statement has failed and ``work`` swallowed the error.
        """
        if self._status() != TRANSACTION_STATUS_INTRANS:
            raise has_failed()
        self._run(*self._texts_unsent(f"RELEASE SAVEPOINT {SAVEPOINT}"))

    def undo(self) -> None:
        """Roll back to the savepoint, and end a transaction that began with it."""
        with contextlib.suppress(psycopg2.Error):
            if self._is_begun and not self._is_closed():
                self._run(
                    f"ROLLBACK TO SAVEPOINT {SAVEPOINT}",
                    f"RELEASE SAVEPOINT {SAVEPOINT}",
                )
        with contextlib.suppress(psycopg2.Error):
            if self._began_here and not self._is_closed():
                self._roll_back()

    def _roll_back(self) -> None:
        self._connection.rollback()


def require_usable(given: Connection) -> None:
    """Refuse a connection of psycopg2 that cannot run a statement now.

    Raises:
        InvalidInputError: It is closed, busy, asynchronous, or not in UTF-8.
        StorageError: Its transaction has failed.
    """
    if given.closed:
        raise refuse("is closed")
    if given.async_:
        raise is_asynchronous()
    if given.encoding != _ENCODING:
        raise not_utf8(given.encoding)
    require_at_rest(given.info.transaction_status)


def not_utf8(encoding: str) -> Exception:
    """Return the error for a connection that cannot carry every text."""
    return refuse(f"has the client encoding {encoding}, not {_ENCODING}")


def require_at_rest(status: int) -> None:
    """Make sure that a connection with this status of libpq takes a statement.

    Raises:
        InvalidInputError: It is busy or broken.
        StorageError: Its transaction has failed.
    """
    if status == TRANSACTION_STATUS_INERROR:
        raise has_failed()
    if status not in (TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INTRANS):
        raise refuse("is busy with another statement, or broken")


def run_joined(
    begin: Callable[[], JoinedTransaction],
    is_ours: Callable[[PostgresTransaction, Row], bool],
    work: Callable[[PostgresTransaction], T],
    wait: Callable[[float], object],
) -> T:
    """Run a unit of work in a savepoint of the caller's transaction.

    If no transaction is open, one begins. If ``work`` raises, only its own changes are
    undone; after a conflict that this may resolve, it is repeated. ``begin`` opens the
    savepoint; ``is_ours`` compares its row of ``whose_tables`` with that of our
    connections; ``wait`` sleeps before a retry.

    Raises:
        InvalidInputError: The connection is in autocommit mode without a transaction,
            or sees other tables than ours.
        SchemaTooNewError: The schema is too new for this code.
        StorageError: The transaction has failed.
    """
    return run_with_retries(lambda _: _run_once(begin(), is_ours, work), wait)


def _run_once(
    opened: JoinedTransaction,
    is_ours: Callable[[PostgresTransaction, Row], bool],
    work: Callable[[PostgresTransaction], T],
) -> T:
    try:
        _require_ours(opened, is_ours)
        opened.check_version()
        result = work(opened)
        opened.end()
    except BaseException as error:
        opened.undo()
        if opened.may_begin_anew(error) and not isinstance(error, TransientError):
            busy = StorageBusyError("the transaction conflicted with others repeatedly")
            raise TransientError(busy) from error
        raise
    return result


def _require_ours(
    opened: PostgresTransaction, is_ours: Callable[[PostgresTransaction, Row], bool]
) -> None:
    try:
        tables = opened.all("whose_tables")[0]  # sends the SAVEPOINT along
    except psycopg2.Error as error:
        if error.pgcode == _NO_TRANSACTION:
            raise in_autocommit() from error
        if error.pgcode == _FAILED_TRANSACTION:
            raise has_failed() from error
        raise
    if not is_ours(opened, tables):
        raise refuse("is to another database or schema than that of the jobs")
