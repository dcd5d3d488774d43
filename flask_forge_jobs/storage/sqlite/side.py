"""A SQLite file as one side of a copy."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.storage.sides import Row, Side, Table
from flask_forge_jobs.storage.sqlite.shared_file import disable_autocheckpoint


class SqliteSide(Side):
    """Reads from and writes to a file with our tables."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        with self._clear():
            self._file = sqlite3.connect(path, timeout=timeout_s, isolation_level=None)
            disable_autocheckpoint(self._file)
            self._reader = sqlite3.connect(
                path, timeout=timeout_s, isolation_level=None
            )
            disable_autocheckpoint(self._reader)

    @contextlib.contextmanager
    def _clear(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {error}") from error

    def hold_still(self) -> None:
        """Read from the present snapshot from now on."""
        with self._clear():
            self._reader.execute("BEGIN")
            self._reader.execute("SELECT 1 FROM sqlite_master").fetchone()

    def close(self) -> None:
        """Close the connections."""
        self._reader.close()
        self._file.close()

    def _read(self, statement: str, *values: object) -> list[Row]:
        with self._clear():
            return self._reader.execute(statement, values).fetchall()

    def _types(self, table: Table) -> dict[str, str]:
        rows = self._read(f"PRAGMA table_info({table.name})")
        return {name: kind for _, name, kind, *_ in rows}

    def rows(self, table: Table, after: Row | None) -> Iterator[Row]:
        """Yield the rows behind a key in the order of the keys."""
        types = sorted(self._types(table).items())
        flags = [i for i, (_, kind) in enumerate(types) if kind == "BOOLEAN"]
        statement = self._rows_behind(table, after, "?")
        with self._clear(), contextlib.closing(self._reader.cursor()) as cursor:
            for row in cursor.execute(statement, after or ()):
                if not flags:
                    yield row
                    continue
                values = list(row)
                for i in flags:
                    values[i] = bool(values[i])
                yield tuple(values)

    def write(self, table: Table, rows: Sequence[Row]) -> None:
        """Store rows in a transaction."""
        names = self.columns(table)
        statement = (
            f"INSERT INTO {table.name} ({', '.join(names)}) "  # noqa: S608  # our own
            f"VALUES ({', '.join('?' for _ in names)})"
        )
        with self._clear():
            self._file.execute("BEGIN IMMEDIATE")
            try:
                self._file.executemany(statement, rows)
            except BaseException:
                self._file.execute("ROLLBACK")
                raise
            self._file.execute("COMMIT")

    def finish(self) -> None:
        """Do nothing: ids follow the greatest by themselves."""
