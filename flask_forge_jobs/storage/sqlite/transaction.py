"""One open transaction on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from flask_forge_jobs.storage.catalogue import load_statements
from flask_forge_jobs.storage.database import Parameter, Row, SchemaVersions


class SqliteTransaction:
    """An open transaction; fulfils :class:`.Transaction`.

    Args:
        connection: Runs the statements; it, or a cursor of it.
        now_us: The time that is stored.
        known_version: The newest schema version that this code knows.
        attempt: Number of the try, from 0.
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
        self._connection = connection
        self._statements = load_statements("sqlite")
        self._now_us = now_us
        self._known_version = known_version

    def check_version(self) -> None:
        """Make sure that this code may still work on the schema.

        Raises:
            SchemaTooNewError: It may not.
        """
        newest = self.all("newest_version")
        SchemaVersions.of(newest, self._known_version).require_readable()

    def _execute(self, name: str, parameters: dict[str, Parameter]) -> sqlite3.Cursor:
        statement = self._statements[name]
        if statement.uses_now:
            parameters["now"] = self._now_us
        if statement.uses_known:
            parameters["known"] = self._known_version
        return self._connection.execute(statement.sql, parameters)

    def all(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run a statement and return its rows."""
        return self._execute(name, parameters).fetchall()

    def run(self, name: str, /, **parameters: Parameter) -> int:
        """Run a statement and return how many rows it changed."""
        return self._execute(name, parameters).rowcount

    def later(self, name: str, /, **parameters: Parameter) -> None:
        """Run a statement now; there is no round trip to save."""
        # A statement that returns rows has to end before its transaction can.
        self._execute(name, parameters).fetchall()

    def append(self, name: str, rows: Iterable[Sequence[Parameter]], /) -> None:
        """Add rows, one after the other: there is no round trip to save."""
        self._connection.executemany(self._statements[name].sql, rows)

    def wake(self, queue_name: str) -> None:
        """Wake the workers of a queue once this transaction has committed."""
        self.woken[queue_name] = None
