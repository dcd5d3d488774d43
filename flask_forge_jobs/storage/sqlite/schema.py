"""The schema of a SQLite file: which steps it has, and how one is applied."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator

from flask_forge_jobs.storage.catalogue import load_statements


class SqliteSchema:
    """Applies schema steps; fulfils :class:`.SchemaState`."""

    def __init__(
        self, connection: sqlite3.Connection | sqlite3.Cursor, now_us: int
    ) -> None:
        self._connection = connection
        self._statements = load_statements("sqlite")
        self._now_us = now_us

    def applied(self) -> list[tuple[int, int]]:
        """Return (version, oldest reader) of each step that is in the database."""
        found = self._connection.execute(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'forge_schema'"
        ).fetchone()
        if found is None:
            return []
        rows = self._connection.execute(self._statements["applied_versions"].sql)
        return [(version, oldest_reader) for version, oldest_reader, _ in rows]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the write lock from before the look until after the last step."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def keep_writers_out(self) -> None:
        """Do nothing: whoever writes holds the lock that this transaction has."""

    def execute_script(self, sql: str) -> None:
        """Run the statements of one step within the open transaction."""
        pending = ""
        for line in sql.splitlines(keepends=True):
            pending += line
            # Knows that a trigger's body has semicolons of its own.
            if sqlite3.complete_statement(pending):
                self._connection.execute(pending)
                pending = ""

    def record(self, version: int, oldest_reader: int, name: str) -> None:
        """Note that a step is done."""
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
