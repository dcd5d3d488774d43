"""Makes and removes whole databases; for the command line only."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    InvalidInputError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.storage.connect import open_storage

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class

MAINTENANCE_DATABASE = "postgres"
# PostgreSQL 13 has DROP DATABASE … WITH (FORCE), which keeps others out meanwhile.
_FORCE_SINCE = 13_00_00
_LONGEST_NAME = 63
# What SQLite and this package keep beside the file.
_COMPANIONS = ("", "-wal", "-shm", ".ckpt-lock", ".ckpt-turn")


def create_database(settings: DatabaseSettings) -> None:
    """Create a database if it is missing.

    A SQLite file is migrated too, because a file without a schema is nothing.

    Raises:
        StorageUnavailableError: The place cannot be reached or written to.
    """
    if settings.backend == "sqlite":
        with contextlib.closing(open_storage(settings)) as storage:
            storage.open()
        return
    name = _name(settings)
    with _maintenance(settings) as cursor:
        if not _is_there(cursor, name):
            cursor.execute(f'CREATE DATABASE "{name}"')


def database_exists(settings: DatabaseSettings) -> bool:
    """Tell whether a PostgreSQL server has the database.

    Raises:
        StorageUnavailableError: The server cannot be reached.
    """
    with _maintenance(settings) as cursor:
        return _is_there(cursor, settings.database or settings.username or "")


def _is_there(cursor: Cursor, name: str) -> bool:
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
    return cursor.fetchone() is not None


def drop_database(settings: DatabaseSettings) -> None:
    """Remove a database and everything in it, whosever; one that is missing is fine.

    Raises:
        StorageUnavailableError: The place cannot be reached or written to.
    """
    if settings.backend == "sqlite":
        if settings.path is not None:
            _remove_file(settings.path)
        return
    with _maintenance(settings) as cursor:
        _drop(cursor, _name(settings))


def _drop(cursor: Cursor, name: str) -> None:
    if cursor.connection.server_version >= _FORCE_SINCE:
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        return
    cursor.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
        (name,),
    )
    cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')


def live_workers(settings: DatabaseSettings, lease_s: float) -> int:
    """Return how many worker processes are alive; 0 when there is no schema.

    Args:
        settings: The database; it is not changed, and not created.
        lease_s: Oldest heartbeat that counts, in seconds.
    """
    with contextlib.closing(open_storage(settings, migrate=False)) as storage:
        try:
            if storage.database.schema_versions() is None:
                return 0
            return len(storage.processes.live_pods(lease_s))
        except StorageError:
            return 0


def _remove_file(path: Path) -> None:
    try:
        for suffix in _COMPANIONS:
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        sockets = Path(f"{path}-wake")
        if sockets.is_dir():
            for socket in sockets.iterdir():
                socket.unlink(missing_ok=True)  # its process may remove it as well
            sockets.rmdir()
    except OSError as error:
        raise StorageUnavailableError(f"{path}: {error.strerror}") from error


def _name(settings: DatabaseSettings) -> str:
    name = settings.database or settings.username or ""
    if not name.isidentifier() or not name.isascii() or len(name) > _LONGEST_NAME:
        raise InvalidInputError(
            "database",
            f"{name!r} cannot be created or dropped; use 1 to 63 letters, digits and "
            "underscores, not starting with a digit",
        )
    return name


@contextlib.contextmanager
def _maintenance(settings: DatabaseSettings) -> Iterator[Cursor]:
    import psycopg2

    from flask_forge_jobs.storage.postgres.pool import connect

    other = replace(settings, database=MAINTENANCE_DATABASE)
    try:
        with (
            contextlib.closing(connect(other)) as connection,
            connection.cursor() as cursor,
        ):
            yield cursor
    except psycopg2.Error as error:
        reason = str(error).strip().splitlines()[0]
        raise StorageError(f"{settings.dsn_for_display}: {reason}") from error
