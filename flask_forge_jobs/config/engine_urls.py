"""The address of a SQLAlchemy engine, from its URL and its ``connect_args``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flask_forge_jobs.config.checks import CONTROL
from flask_forge_jobs.config.urls import (
    MEMORY,
    PARAMETERS,
    POSTGRES_SCHEMES,
    Location,
    put,
    read_parameters,
    refuse_sqlcipher,
    sqlite_location,
)
from flask_forge_jobs.errors import InvalidInputError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

# Objects by which a driver takes TLS; libpq takes names of files.
_TLS_OBJECTS = ("ssl_context", "ssl")


def engine_location(
    url: URL, connect_args: Mapping[str, object], base_dir: Path
) -> Location:
    """Return the location of the database that an engine connects to.

    Args:
        url: The URL, of whatever driver.
        connect_args: The arguments that the engine passes to its driver. Parameters of
            libpq count, those that concern the driver alone do not.
        base_dir: The start of a relative SQLite path.

    Raises:
        InvalidInputError: The jobs cannot use the database. The field is ``url``; the
            message contains no password.
    """
    scheme, _, driver = url.drivername.partition("+")
    pairs = list(_pairs(url.query))
    if scheme == "sqlite":
        refuse_sqlcipher(driver)
        return sqlite_location(url.database or MEMORY, dict(pairs), base_dir)
    if scheme not in POSTGRES_SCHEMES:
        raise InvalidInputError("url", "names neither SQLite nor PostgreSQL")
    return _postgres_location(url, pairs, connect_args)


def _postgres_location(
    url: URL, pairs: list[tuple[str, str]], connect_args: Mapping[str, object]
) -> Location:
    location: Location = {"backend": "postgres"}
    parts = {
        "host": url.host,
        "port": url.port,
        "dbname": url.database,
        "user": url.username,
        "password": None if url.password is None else str(url.password),
    }
    for name, value in parts.items():
        if value is not None:
            if isinstance(value, str) and CONTROL.search(value):
                raise InvalidInputError("url", f"has a control character in its {name}")
            put(location, name, value)
    read_parameters(location, pairs)
    for name, argument in _arguments(connect_args):
        if name == "dbname":
            put(location, name, argument)
        else:
            read_parameters(location, [(name, argument)])
    if not location.get("database"):
        raise InvalidInputError("url", "must name one database after the host")
    return location


def _pairs(query: Mapping[str, str | tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for name, value in query.items():
        for each in (value,) if isinstance(value, str) else value:
            yield name, each


def _arguments(connect_args: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for given, value in connect_args.items():
        name = "dbname" if given == "database" else given
        if name in _TLS_OBJECTS and value and not isinstance(value, str):
            raise InvalidInputError(
                "url",
                f"comes with connect_args[{name!r}], which only its driver can use; "
                "name the same database, with sslmode and sslrootcert, by "
                "FORGE_JOBS_DATABASE_URL",
            )
        if isinstance(value, str | int) and (name in PARAMETERS or name == "ssl"):
            yield name, str(value)
