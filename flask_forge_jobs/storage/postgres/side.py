"""A PostgreSQL database as one side of a copy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import psycopg2
from psycopg2.extras import execute_values

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.storage.postgres.connection import connect
from flask_forge_jobs.storage.sides import TABLES, Row, Side, Table

_FETCHED_AT_ONCE = 2000
_TYPES = """
SELECT attname::text, format_type(atttypid, NULL)
FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
"""
_IDENTITY = """
SELECT setval(
    pg_get_serial_sequence(%s, 'id'), COALESCE(MAX(id), 1), MAX(id) IS NOT NULL
) FROM {table}
"""


class PostgresSide(Side):
    """Reads from and writes to a database with our tables."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._name = settings.dsn_for_display
        self._writer = connect(settings)
        self._reader = connect(settings)
        self._reader.autocommit = self._writer.autocommit = False

    @contextlib.contextmanager
    def _clear(self) -> Iterator[None]:
        try:
            yield
        except psycopg2.Error as error:
            raise StorageError(f"{self._name}: {error}") from error

    def hold_still(self) -> None:
        """Read from the present snapshot from now on."""
        with self._clear(), self._reader.cursor() as cursor:
            self._reader.rollback()
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cursor.execute("SELECT 1")

    def close(self) -> None:
        """Close the connections."""
        self._reader.close()
        self._writer.close()

    def _read(self, statement: str, *values: object) -> list[Row]:
        with self._clear(), self._reader.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def _types(self, table: Table) -> dict[str, str]:
        return dict(self._read(_TYPES, table.name))

    def _key(self, table: Table) -> Sequence[str]:
        types = self._types(table)
        return [
            f'{column} COLLATE "C"' if types[column] == "text" else column
            for column in table.key
        ]

    def rows(self, table: Table, after: Row | None) -> Iterator[Row]:
        """Yield the rows behind a key in the order of the keys."""
        statement = self._rows_behind(table, after, "%s")
        with self._clear(), self._reader.cursor(f"copy_{table.name}") as cursor:
            cursor.itersize = _FETCHED_AT_ONCE
            cursor.execute(statement, after)
            yield from cursor

    def write(self, table: Table, rows: Sequence[Row]) -> None:
        """Store rows in a transaction."""
        statement = (
            f"INSERT INTO {table.name} ({', '.join(self.columns(table))}) "  # noqa: S608  # our own
            "OVERRIDING SYSTEM VALUE VALUES %s"
        )
        with self._clear(), self._writer, self._writer.cursor() as cursor:
            execute_values(cursor, statement, rows, page_size=len(rows))

    def finish(self) -> None:
        """Let the ids of identity columns begin after those that were written."""
        with self._clear(), self._writer, self._writer.cursor() as cursor:
            for table in TABLES:
                if table.key == ("id",) and self._types(table)["id"] == "bigint":
                    cursor.execute(_IDENTITY.format(table=table.name), (table.name,))
