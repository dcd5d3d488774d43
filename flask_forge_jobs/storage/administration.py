"""Creates and drops databases and removes our tables; for the command line only.

Our tables live beside the application's own, so we remove only objects with our prefix
and never cascade.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import (
    InvalidInputError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.storage.base import open_storage
from flask_forge_jobs.storage.sqlite.wake import remove_sockets

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812  # a class
    from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class

MAINTENANCE_DATABASE = "postgres"
# PostgreSQL 13 has DROP DATABASE … WITH (FORCE), which also keeps new sessions out.
_FORCE_SINCE = 13_00_00
_LONGEST_NAME = 63
# The files of SQLite and of this package.
_COMPANIONS = ("", "-wal", "-shm", ".ckpt-lock")
PREFIX = "forge_"
_JOBS = (
    "SELECT status, SUM(jobs) FROM forge_job_count GROUP BY status "
    "HAVING SUM(jobs) > 0 ORDER BY status"
)
_SQLITE_NAMES = (
    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') "
    "AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name"
)
# A foreign key to a dropped table would break the table that has it.
_SQLITE_REFERENCES = (
    "SELECT DISTINCT m.name "
    "FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS f "
    "WHERE m.type = 'table' AND substr(m.name, 1, 6) <> 'forge_' "
    "AND substr(f.\"table\", 1, 6) = 'forge_'"
)
# Leaves out objects that belong to an extension or a table. Ours have the prefix and
# are in the schema that the stores use.
_POSTGRES_OBJECTS = """
WITH objects (class, id, kind, namespace, name, address) AS (
    SELECT 'pg_class'::regclass, oid, 'TABLE', relnamespace, relname, NULL
    FROM pg_class WHERE relkind IN ('r', 'p')
    UNION ALL
    SELECT 'pg_class'::regclass, oid, 'OTHER', relnamespace, relname, NULL
    FROM pg_class WHERE relkind IN ('v', 'm', 'f', 'S')
    UNION ALL
    SELECT 'pg_proc'::regclass, oid,
        CASE prorettype WHEN 'trigger'::regtype THEN 'FUNCTION' ELSE 'ROUTINE' END,
        pronamespace, proname, oid::regprocedure::text
    FROM pg_proc
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid, 'TYPE', typnamespace, typname, NULL
    FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid
    WHERE typtype IN ('e', 'd', 'r') OR (typtype = 'c' AND c.relkind = 'c')
), home (namespace) AS (
    SELECT COALESCE(
        (SELECT relnamespace FROM pg_class AS c
         JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE relname = 'forge_schema' AND nspname = ANY (current_schemas(false))
         ORDER BY array_position(current_schemas(false), nspname) LIMIT 1),
        (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    )
)
SELECT kind, name, COALESCE(address, format('%I.%I', nspname, name)),
    starts_with(name, 'forge_') AND namespace = (SELECT namespace FROM home)
FROM objects JOIN pg_namespace AS n ON n.oid = namespace
WHERE nspname <> 'information_schema' AND NOT starts_with(nspname, 'pg_')
AND NOT EXISTS (
    SELECT 1 FROM pg_depend
    WHERE classid = objects.class AND objid = objects.id AND deptype IN ('e', 'a', 'i')
)
ORDER BY name
"""


def create_database(settings: DatabaseSettings) -> None:
    """Create a database if it is missing; a SQLite file gets the schema as well."""
    if settings.backend == "sqlite":
        with contextlib.closing(open_storage(settings)) as storage:
            storage.open()
        return
    name = _name(settings)
    with _maintenance(settings) as cursor:
        if not _is_there(cursor, name):
            cursor.execute(f'CREATE DATABASE "{name}"')


def database_exists(settings: DatabaseSettings) -> bool:
    """Return whether a PostgreSQL server has the database."""
    with _maintenance(settings) as cursor:
        return _is_there(cursor, settings.database or settings.username or "")


def _is_there(cursor: Cursor, name: str) -> bool:
    cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
    return cursor.fetchone() is not None


def drop_database(settings: DatabaseSettings) -> None:
    """Drop a database, if it exists, with everything in it."""
    if settings.backend == "sqlite":
        if settings.path is not None:
            _remove_file(Path(os.path.realpath(settings.path)))
        return
    name = _name(settings)
    with _maintenance(settings) as cursor:
        if cursor.connection.server_version >= _FORCE_SINCE:
            cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
            return
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
            (name,),
        )
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}"')


def live_workers(settings: DatabaseSettings, lease_s: float) -> int:
    """Return how many workers have a heartbeat younger than ``lease_s`` seconds.

    0 if there is no schema; creates and changes nothing.
    """
    with contextlib.closing(open_storage(settings, migrate=False)) as storage:
        try:
            if storage.database.schema_versions() is None:
                return 0
            return len(storage.workers.live(lease_s))
        except StorageError:
            return 0


def _remove_file(path: Path) -> None:
    try:
        remove_sockets(path)  # first: whose folder it may be, the file says
        for suffix in _COMPANIONS:
            Path(f"{path}{suffix}").unlink(missing_ok=True)
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
    from flask_forge_jobs.storage.postgres.connection import connect

    other = replace(settings, database=MAINTENANCE_DATABASE)
    with _cursor(settings, connect(other)) as cursor:
        yield cursor


@contextlib.contextmanager
def _cursor(settings: DatabaseSettings, connection: Connection) -> Iterator[Cursor]:
    import psycopg2

    try:
        with contextlib.closing(connection), connection.cursor() as cursor:
            yield cursor
    except psycopg2.Error as error:
        reason = str(error).strip().splitlines()[0]
        raise StorageError(f"{settings.dsn_for_display}: {reason}") from error


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a database.

    Args:
        tables: Our tables.
        others: Names of all other tables, views, functions and types.
        jobs: Number of jobs in each state that has any.
    """

    tables: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    jobs: Mapping[str, int] = field(default_factory=dict)


def contents(settings: DatabaseSettings) -> Contents | None:
    """Return the contents of a database, or None if it does not exist."""
    if settings.backend == "sqlite":
        with _file(settings) as file:
            return None if file is None else _contents_of_file(file)
    with _session(settings) as cursor:
        return None if cursor is None else _contents_of_server(cursor)


def remove_tables(settings: DatabaseSettings) -> None:
    """Remove our tables, functions and types, all or none.

    Raises:
        StorageError: The database cannot be changed, or a foreign object depends on
            one of our tables.
    """
    if settings.backend == "sqlite":
        with _file(settings) as file:
            if file is not None:
                _remove_from_file(file)
        return
    with _session(settings) as cursor:
        if cursor is not None:
            _remove_from_server(cursor)


# -- SQLite ----------------------------------------------------------------------------


@contextlib.contextmanager
def _file(settings: DatabaseSettings) -> Iterator[sqlite3.Connection | None]:
    from flask_forge_jobs.storage.sqlite.shared_file import disable_autocheckpoint

    path = settings.path
    if path is None or not path.exists():
        yield None
        return
    try:
        address = f"{Path(path).absolute().as_uri()}?mode=rw"
        with contextlib.closing(
            sqlite3.connect(
                address, timeout=settings.busy_timeout_s, isolation_level=None, uri=True
            )
        ) as file:
            disable_autocheckpoint(file)
            yield file
    except sqlite3.Error as error:
        raise StorageError(f"{path}: {error}") from error


def _contents_of_file(file: sqlite3.Connection) -> Contents:
    names = [name for (name,) in file.execute(_SQLITE_NAMES)]
    tables = tuple(name for name in names if name.startswith(PREFIX))
    return Contents(
        tables=tables,
        others=tuple(name for name in names if not name.startswith(PREFIX)),
        jobs=dict(file.execute(_JOBS)) if "forge_job_count" in tables else {},
    )


def _refuse_references(file: sqlite3.Connection) -> None:
    referring = [name for (name,) in file.execute(_SQLITE_REFERENCES)]
    if referring:
        raise StorageError(
            f"{', '.join(referring)}: has a foreign key to a table of the jobs; remove "
            "that first"
        )


def _remove_from_file(file: sqlite3.Connection) -> None:
    # With foreign keys on, each drop would look for rows that refer to the table.
    file.execute("PRAGMA foreign_keys = OFF")
    file.execute("BEGIN IMMEDIATE")
    try:
        _refuse_references(file)
        for table in _contents_of_file(file).tables:
            file.execute(f'DROP TABLE "{table}"')
    except BaseException:
        file.execute("ROLLBACK")
        raise
    file.execute("COMMIT")


# -- PostgreSQL ------------------------------------------------------------------------


@contextlib.contextmanager
def _session(settings: DatabaseSettings) -> Iterator[Cursor | None]:
    from flask_forge_jobs.storage.postgres.connection import connect

    try:
        connection = connect(settings)
    except StorageUnavailableError:
        if database_exists(settings):
            raise
        yield None
        return
    with _cursor(settings, connection) as cursor:
        yield cursor


def _contents_of_server(cursor: Cursor) -> Contents:
    cursor.execute(_POSTGRES_OBJECTS)
    objects = cursor.fetchall()
    tables = tuple(
        name for kind, name, _, is_ours in objects if is_ours and kind == "TABLE"
    )
    jobs: dict[str, int] = {}
    if "forge_job_count" in tables:
        cursor.execute(_JOBS)
        jobs = {status: int(number) for status, number in cursor.fetchall()}
    others = tuple(name for _, name, _, is_ours in objects if not is_ours)
    return Contents(tables=tables, others=others, jobs=jobs)


def _remove_from_server(cursor: Cursor) -> None:
    from flask_forge_jobs.storage.postgres.transaction import PostgresSchema

    with PostgresSchema(cursor.connection).locked():
        cursor.execute(_POSTGRES_OBJECTS)
        objects = cursor.fetchall()
        # Functions may return rows of tables, whose triggers need other functions.
        for kind in ("ROUTINE", "TABLE", "FUNCTION", "TYPE"):
            ours = [
                address for what, _, address, mine in objects if mine and what == kind
            ]
            if ours:
                cursor.execute(f"DROP {kind} {', '.join(ours)}")
