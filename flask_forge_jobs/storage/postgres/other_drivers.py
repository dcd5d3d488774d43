"""Joins transactions of other drivers than psycopg2.

Psycopg 3's connections are joined directly, those of any other driver through
SQLAlchemy. The drivers pass parameters in different ways, so this module writes the
values into the text of a statement itself. No driver is imported here: a connection can
be of one only when the application has imported it.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_INTRANS
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.storage.caller_transaction import (
    GivenConnection,
    is_asynchronous,
    not_a,
    refuse,
)
from flask_forge_jobs.storage.database import Parameter, Row
from flask_forge_jobs.storage.postgres.join import (
    JoinedTransaction,
    not_utf8,
    require_at_rest,
    require_usable,
)
from flask_forge_jobs.storage.postgres.transaction import CopySource, version_check

_ACCEPTED = (
    "a connection of psycopg2 or psycopg 3, or a connection or session of SQLAlchemy "
    "to PostgreSQL"
)
_LOST = "08006"
_INSERT_CHARACTERS = 1024 * 1024


def joinable(given: GivenConnection) -> Callable[..., JoinedTransaction]:
    """Return what opens a savepoint in the transaction of a caller's connection.

    Raises:
        InvalidInputError: It is of another database system, closed, asynchronous, busy,
            in pipeline mode, or does not speak UTF-8.
        StorageError: Its transaction has failed.
    """
    driver: Any = given.driver
    if isinstance(driver, Connection):
        require_usable(driver)
        return partial(JoinedTransaction, driver)
    psycopg = sys.modules.get("psycopg")
    if psycopg is not None and isinstance(driver, psycopg.AsyncConnection):
        raise is_asynchronous()
    if psycopg is not None and isinstance(driver, psycopg.Connection):
        _require_psycopg3_usable(driver)
        return partial(Psycopg3Transaction, driver, psycopg)
    wrapper = given.wrapper
    if wrapper is None or wrapper.dialect.name != "postgresql":
        raise not_a(_ACCEPTED, driver)
    return partial(PlainTransaction, driver, wrapper.dialect.dbapi)


def _require_psycopg3_usable(connection: Any) -> None:
    if connection.closed:
        raise refuse("is closed")
    if connection.info.pipeline_status:
        raise refuse(
            "is in pipeline mode; enqueue before or after the pipeline() block"
        )
    if connection.info.encoding != "utf-8":
        raise not_utf8(connection.info.encoding)
    require_at_rest(connection.info.transaction_status)


class OtherDriverError(psycopg2.Error):
    """An error of another driver in the form of psycopg2's.

    Args:
        error: The driver's.
        dbapi: The driver's module, or what SQLAlchemy has in its place.
    """

    pgcode: str | None = None
    diag: Any = None

    def __init__(self, error: Exception, dbapi: Any) -> None:
        super().__init__(str(error))
        told = getattr(error, "diag", None)
        fields = error.args[0] if error.args else None
        if not isinstance(fields, dict):  # as pg8000 has it
            fields = {}
        self.pgcode = getattr(error, "sqlstate", None) or fields.get("C")
        self.diag = SimpleNamespace(
            message_detail=getattr(told, "message_detail", None)
            or fields.get("D")
            or getattr(error.__cause__, "detail", None),  # asyncpg's, by SQLAlchemy
            source_file=getattr(told, "source_file", None) or fields.get("F"),
        )
        if self.pgcode is None and isinstance(
            error, (dbapi.OperationalError, dbapi.InterfaceError, OSError)
        ):
            self.pgcode = _LOST


class _TextTransaction(JoinedTransaction):
    """Runs statements as texts that hold their values."""

    _cursor: Any

    def __init__(
        self, connection: Any, dbapi: Any, known_version: int, *, is_quiet: bool
    ) -> None:
        self._dbapi = dbapi
        super().__init__(connection, known_version, is_quiet=is_quiet)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (self._dbapi.Error, OSError) as error:
            raise OtherDriverError(error, self._dbapi) from error

    def _execute(self, name: str, parameters: dict[str, Parameter]) -> None:
        self._run(*self._texts_unsent(self._text(name, parameters)))

    def _text(self, name: str, parameters: dict[str, Parameter]) -> str:
        return self._sql(name) % {key: literal(parameters[key]) for key in parameters}

    def defer(self, name: str, /, **parameters: Parameter) -> None:
        """Send a statement together with the next one, or with the end."""
        self.send_ahead(self._text(name, parameters))


class Psycopg3Transaction(_TextTransaction):
    """A savepoint in a transaction of psycopg 3."""

    def _open_cursor(self) -> Any:
        from psycopg import ClientCursor
        from psycopg.rows import tuple_row

        # It prepares no statement, so one message can have several.
        connection: Any = self._connection
        return ClientCursor(connection, row_factory=tuple_row)

    def _run(self, *texts: str) -> None:
        with self._translated():
            super()._run(*texts)
            while self._cursor.nextset():
                pass  # the rows are those of the last statement

    def copy_rows(self, name: str, rows: Iterable[Sequence[Parameter]], /) -> None:
        """Add rows by ``COPY``."""
        if self._pending or not self._is_begun:
            self._run(*self._texts_unsent())
        source = CopySource(rows)
        with self._translated(), self._cursor.copy(self._statements[name].sql) as copy:
            while chunk := source.read():
                copy.write(chunk)

    def _roll_back(self) -> None:
        with self._translated():
            super()._roll_back()


class PlainTransaction(_TextTransaction):
    """A savepoint in a transaction of any driver, which SQLAlchemy has begun.

    It asks no more of the driver than a cursor that runs one statement.
    """

    def _open_cursor(self) -> Any:
        return self._connection.cursor()

    # Drivers do not tell in one way; the server refuses what is not so.
    def _status(self) -> int:
        return TRANSACTION_STATUS_INTRANS

    def _is_closed(self) -> bool:
        return False

    def _run(self, *texts: str) -> None:
        with self._translated():
            for text in texts:
                self._cursor.execute(text)

    def check_version(self) -> None:
        """Make sure, with the next statement, that this code may store something."""
        for statement in version_check(self._known_version).split(";\n"):
            self.send_ahead(statement)

    def all(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run a statement and return its rows."""
        self._execute(name, parameters)
        with self._translated():
            return [tuple(row) for row in self._cursor.fetchall()]

    def copy_rows(self, name: str, rows: Iterable[Sequence[Parameter]], /) -> None:
        """Add rows by ``INSERT``: not every driver has a way to ``COPY``."""
        copy = self._statements[name].sql
        into = copy.removeprefix("COPY ").removesuffix(" FROM STDIN")
        for values in _bounded(f"({', '.join(map(literal, row))})" for row in rows):
            insert = f"INSERT INTO {into} VALUES\n" + ",\n".join(values)
            self._run(*self._texts_unsent(insert))


def _bounded(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield texts in lists of about a million characters."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _INSERT_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def literal(value: Parameter) -> str:
    """Return a value as PostgreSQL reads it in a text of SQL.

    Raises:
        ValueError: It holds U+0000, which PostgreSQL cannot store.
    """
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if not math.isfinite(value):
        return f"'{float(value)}'::float8"
    # A minus sign behind another one would begin a comment.
    return f" {value!r}"


def _quoted(text: str) -> str:
    if "\0" in text:
        raise ValueError("a text for PostgreSQL holds U+0000")
    quoted = text.replace("'", "''")
    if "\\" not in quoted:
        return f"'{quoted}'"
    # Means the same whatever standard_conforming_strings says.
    return " E'" + quoted.replace("\\", "\\\\") + "'"
