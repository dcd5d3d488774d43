"""One open transaction on PostgreSQL, in as few round trips as it takes."""

from __future__ import annotations

import contextlib

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_INTRANS
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.storage.catalogue import load_statements
from flask_forge_jobs.storage.database import Parameter, Row


class PostgresTransaction:
    """An open transaction; fulfils :class:`.Transaction`.

    Args:
        connection: In autocommit mode and idle.
        begin: Text that opens the transaction; empty for a statement on its own.
        attempt: Number of the try, from 0.
    """

    def __init__(self, connection: Connection, begin: str, attempt: int = 0) -> None:
        self.attempt = attempt
        self.woken: dict[str, None] = {}
        self._connection = connection
        self._statements = load_statements("postgres")
        self._pending = [begin] if begin else []
        self._is_begun = False
        self._cursor = connection.cursor()

    def _execute(self, name: str, parameters: dict[str, Parameter]) -> None:
        sql = self._statements[name].sql
        if self._pending:
            text = self._cursor.mogrify(sql, parameters).decode("utf-8")
            sql = ";\n".join([*self._pending, text])
            self._pending.clear()
            self._is_begun = True
            self._cursor.execute(sql)
        else:
            self._cursor.execute(sql, parameters)

    def all(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run a statement and return its rows."""
        self._execute(name, parameters)
        return self._cursor.fetchall()

    def run(self, name: str, /, **parameters: Parameter) -> int:
        """Run a statement and return how many rows it changed."""
        self._execute(name, parameters)
        return self._cursor.rowcount

    def later(self, name: str, /, **parameters: Parameter) -> None:
        """Send a statement together with the next one, or with the commit."""
        text = self._cursor.mogrify(self._statements[name].sql, parameters)
        self._pending.append(text.decode("utf-8"))

    def wake(self, queue_name: str) -> None:
        """Wake the workers of a queue; the server sends it at the commit."""
        if queue_name not in self.woken:
            self.woken[queue_name] = None
            self.later("notify", queue_name=queue_name)

    def end(self) -> None:
        """Commit, together with what is still waiting to be sent.

        Raises:
            StorageError: A statement failed and somebody swallowed the error: the
                commit would return normally and store nothing.
        """
        if self._is_begun:
            status = self._connection.info.transaction_status
            if status != TRANSACTION_STATUS_INTRANS:
                raise StorageError("the transaction failed before its commit")
        elif len(self._pending) <= 1:
            return  # nothing but the BEGIN
        self._cursor.execute(";\n".join([*self._pending, "COMMIT"]))

    def undo(self) -> None:
        """Roll back whatever was begun."""
        if self._is_begun and not self._connection.closed:
            with contextlib.suppress(psycopg2.Error):
                self._cursor.execute("ROLLBACK")
