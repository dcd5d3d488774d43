"""Joins callers' transactions on drivers other than psycopg2.

Connections of psycopg 3 are joined directly, those of other drivers through SQLAlchemy.
Drivers pass parameters in different ways, so this module writes values into the SQL
text itself. It imports no driver: the application has, if a connection is of one.
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
from flask_forge_jobs.storage.database import Parameter, Row, Values
from flask_forge_jobs.storage.postgres.copying import CopySource
from flask_forge_jobs.storage.postgres.join import (
    JoinedTransaction,
    not_utf8,
    require_at_rest,
    require_usable,
)
from flask_forge_jobs.storage.postgres.transaction import version_check

_ACCEPTED = (
    "a connection of psycopg2 or psycopg 3, or a connection or session of SQLAlchemy "
    "to PostgreSQL"
)
_LOST = "08006"
_INSERT_CHARACTERS = 1024 * 1024


def joinable(given: GivenConnection) -> Callable[..., JoinedTransaction]:
    """Return a function that opens a savepoint in the caller's transaction.

    Raises:
        InvalidInputError: The connection is to another database system, closed,
            asynchronous, busy, in pipeline mode, or not in UTF-8.
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
    """Another driver's error in psycopg2's form; ``dbapi`` is the driver's module."""

    pgcode: str | None = None
    diag: Any = None

    def __init__(self, error: Exception, dbapi: Any) -> None:
        super().__init__(str(error))
        diag = getattr(error, "diag", None)
        fields = error.args[0] if error.args else None
        if not isinstance(fields, dict):  # pg8000's errors have one
            fields = {}
        self.pgcode = getattr(error, "sqlstate", None) or fields.get("C")
        self.diag = SimpleNamespace(
            message_detail=getattr(diag, "message_detail", None)
            or fields.get("D")
            or getattr(error.__cause__, "detail", None),  # asyncpg's, by SQLAlchemy
            source_file=getattr(diag, "source_file", None) or fields.get("F"),
        )
        if self.pgcode is None and isinstance(
            error, (dbapi.OperationalError, dbapi.InterfaceError, OSError)
        ):
            self.pgcode = _LOST


class _TextTransaction(JoinedTransaction):
    """Runs statements with their values written into the text."""

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
        except UnicodeEncodeError as error:
            raise not_utf8(error.encoding) from error
        except (self._dbapi.Error, OSError) as error:
            raise OtherDriverError(error, self._dbapi) from error

    def _execute(self, name: str, parameters: dict[str, Parameter]) -> None:
        self._run(*self._texts_unsent(self._text(name, parameters)))

    def _text(self, name: str, parameters: Values) -> str:
        return self._sql(name) % {key: literal(parameters[key]) for key in parameters}


class Psycopg3Transaction(_TextTransaction):
    """A savepoint in a transaction of psycopg 3."""

    def _open_cursor(self) -> Any:
        from psycopg import ClientCursor
        from psycopg.rows import tuple_row
        from psycopg.types.bool import BoolLoader
        from psycopg.types.numeric import FloatLoader, IntLoader
        from psycopg.types.string import TextLoader

        # A client cursor does not prepare, so one message may hold several statements.
        connection: Any = self._connection
        cursor = ClientCursor(connection, row_factory=tuple_row)
        for name, loader in (
            ("bool", BoolLoader),
            ("float8", FloatLoader),
            ("int4", IntLoader),
            ("int8", IntLoader),
            ("text", TextLoader),
        ):
            # The caller's connection may have others.
            cursor.adapters.register_loader(name, loader)
        return cursor

    def _run(self, *texts: str) -> None:
        with self._translated():
            super()._run(*texts)
            while self._cursor.nextset():
                pass  # skip to the last statement's rows

    def copy_rows(self, name: str, rows: Iterable[Sequence[Parameter]], /) -> None:
        """Insert rows by ``COPY``."""
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
    """A savepoint in a transaction that SQLAlchemy has begun, on any driver.

    It needs only a cursor that runs one statement.
    """

    def _open_cursor(self) -> Any:
        return self._connection.cursor()

    # Drivers report these in different ways; the server rejects a wrong state.
    def _status(self) -> int:
        return TRANSACTION_STATUS_INTRANS

    def _is_closed(self) -> bool:
        return False

    def _run(self, *texts: str) -> None:
        with self._translated():
            for text in texts:
                self._cursor.execute(text)

    def check_version(self) -> None:
        """Check, with the next statement, that this code may write to the schema."""
        for statement in version_check(self._known_version).split(";\n"):
            self._send_ahead(statement)

    def all(self, name: str, /, **parameters: Parameter) -> list[Row]:
        """Run a statement and return its rows."""
        self._execute(name, parameters)
        with self._translated():
            return [tuple(row) for row in self._cursor.fetchall()]

    def copy_rows(self, name: str, rows: Iterable[Sequence[Parameter]], /) -> None:
        """Insert rows by ``INSERT``, because not every driver supports ``COPY``."""
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
    """Return a value as a SQL literal; raise ValueError if it holds U+0000."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if not math.isfinite(value):
        return f"'{float(value)}'::float8"
    # Not the text of a subclass, such as an enumeration. With a space, because two
    # minus signs would begin a comment.
    text = int.__repr__(value) if isinstance(value, int) else float.__repr__(value)
    return f" {text}"


def _quoted(text: str) -> str:
    if "\0" in text:
        raise ValueError("a text for PostgreSQL holds U+0000")
    quoted = text.replace("'", "''")
    if "\\" not in quoted:
        return f"'{quoted}'"
    # Independent of standard_conforming_strings.
    return " E'" + quoted.replace("\\", "\\\\") + "'"
