"""Finds the driver's connection in what an application passes as ``connection``.

This module never imports SQLAlchemy: the caller has, if the object is SQLAlchemy's.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_forge_jobs.errors import InvalidInputError, StorageError

if TYPE_CHECKING:
    from sqlalchemy import Connection

FIELD = "connection"
SAVEPOINT = "forge_jobs"


@dataclass(frozen=True, slots=True)
class GivenConnection:
    """The driver's connection, and SQLAlchemy's around it if there is one."""

    driver: object
    wrapper: Connection | None = None


def look_below(given: object) -> GivenConnection:
    """Return the driver's connection of an object that a caller passed.

    SQLAlchemy's ``Connection``, ``Session`` and ``scoped_session`` (Flask-SQLAlchemy's
    ``db.session``) begin a transaction if none is open. A pooled connection is
    unwrapped; anything else is returned as it is.

    Raises:
        InvalidInputError: It belongs to SQLAlchemy's asyncio extension.
        StorageError: SQLAlchemy cannot provide a connection, for instance because an
            error has ended the session's transaction.
    """
    core = sys.modules.get("sqlalchemy")
    if core is None:
        return GivenConnection(given)
    try:
        _refuse_asynchronous(given)
        orm = sys.modules.get("sqlalchemy.orm")
        if orm is not None and isinstance(given, orm.scoped_session):
            given = given()
        if orm is not None and isinstance(given, orm.Session):
            given = given.connection()
        if isinstance(given, core.Connection):
            if not given.in_transaction():
                given.begin()
            return GivenConnection(given.connection.dbapi_connection, given)
    except core.exc.SQLAlchemyError as error:
        raise StorageError(
            f"{FIELD}: SQLAlchemy provides none ({type(error).__name__}); roll the "
            "transaction back first"
        ) from error
    return GivenConnection(getattr(given, "dbapi_connection", given))


def _refuse_asynchronous(given: object) -> None:
    aio = sys.modules.get("sqlalchemy.ext.asyncio")
    if aio is not None and isinstance(
        given, (aio.AsyncConnection, aio.AsyncSession, aio.async_scoped_session)
    ):
        raise is_asynchronous()


def refuse(message: str) -> InvalidInputError:
    """Return the error for a connection that cannot be joined."""
    return InvalidInputError(FIELD, message)


def not_a(accepted: str, connection: object) -> InvalidInputError:
    """Return the error for a connection that is not of an accepted kind."""
    kind = type(connection)
    return refuse(
        f"a {kind.__module__}.{kind.__qualname__} cannot be joined; pass {accepted}"
    )


def is_asynchronous() -> InvalidInputError:
    """Return the error for a connection whose calls have to be awaited."""
    return refuse(
        "is asynchronous; with SQLAlchemy, await its run_sync() and pass the "
        "connection or session that the function gets"
    )


def in_autocommit() -> InvalidInputError:
    """Return the error for a connection in autocommit mode."""
    return refuse(
        "is in autocommit mode and no transaction is open; begin one, or omit the "
        "connection"
    )


def has_failed() -> StorageError:
    """Return the error for a failed transaction."""
    return StorageError(
        f"{FIELD}: its transaction has failed and would store nothing; roll it back"
    )
