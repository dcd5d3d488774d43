"""What a database holds, ours and others', and the removal of ours alone.

For the command line only. The jobs live beside the application's own tables, so nothing
is removed but what carries our prefix, and nothing cascades.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError, StorageUnavailableError
from flask_forge_jobs.storage.administration import database_exists

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class

PREFIX = "forge_"
_JOBS = (
    "SELECT status, SUM(jobs) FROM forge_job_count GROUP BY status "
    "HAVING SUM(jobs) > 0 ORDER BY status"
)
_SQLITE_NAMES = (
    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') "
    "AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name"
)
# A reference to a table that is gone would break the other at its next change.
_SQLITE_REFERENCES = (
    "SELECT DISTINCT m.name "
    "FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS f "
    "WHERE m.type = 'table' AND substr(m.name, 1, 6) <> 'forge_' "
    "AND substr(f.\"table\", 1, 6) = 'forge_'"
)
# What belongs to an extension, or to a table such as its sequence, is not counted. Ours
# has the prefix and lies in the schema that the stores would find.
_POSTGRES_OBJECTS = """
WITH found (class, id, kind, namespace, name, address) AS (
    SELECT 'pg_class'::regclass, oid, 'TABLE', relnamespace, relname, NULL
    FROM pg_class WHERE relkind IN ('r', 'p')
    UNION ALL
    SELECT 'pg_class'::regclass, oid, 'OTHER', relnamespace, relname, NULL
    FROM pg_class WHERE relkind IN ('v', 'm', 'f', 'S')
    UNION ALL
    SELECT 'pg_proc'::regclass, oid, 'ROUTINE', pronamespace, proname,
        oid::regprocedure::text
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
FROM found JOIN pg_namespace AS n ON n.oid = namespace
WHERE nspname <> 'information_schema' AND NOT starts_with(nspname, 'pg_')
AND NOT EXISTS (
    SELECT 1 FROM pg_depend
    WHERE classid = found.class AND objid = found.id AND deptype IN ('e', 'a', 'i')
)
ORDER BY name
"""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a database holds.

    Args:
        tables: Our tables.
        others: Names of what is not ours: tables, views, functions and types.
        jobs: How many jobs are in each state; states without one are left out.
    """

    tables: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    jobs: Mapping[str, int] = field(default_factory=dict)


def contents(settings: DatabaseSettings) -> Contents | None:
    """Return what a database holds; None when there is no such database.

    Raises:
        StorageError: It cannot be reached or read.
    """
    if settings.backend == "sqlite":
        with _file(settings) as file:
            return None if file is None else _contents_of_file(file)
    with _session(settings) as cursor:
        return None if cursor is None else _contents_of_server(cursor)


def remove_tables(settings: DatabaseSettings) -> None:
    """Remove our tables, functions and types, all or none; fine without any.

    Raises:
        StorageError: The database cannot be reached or changed, or something that is
            not ours depends on a table of ours.
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
    path = settings.path
    if path is None or not path.exists():
        yield None
        return
    try:
        address = f"{Path(path).absolute().as_uri()}?mode=rw"
        with contextlib.closing(
            sqlite3.connect(
                address,
                timeout=settings.busy_timeout_s,
                isolation_level=None,
                uri=True,
            )
        ) as file:
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
            f"{', '.join(referring)}: refers to a table of the jobs by a foreign key; "
            "remove that first"
        )


def _remove_from_file(file: sqlite3.Connection) -> None:
    # Each drop would look for rows that refer to the table, row by row.
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
    import psycopg2

    from flask_forge_jobs.storage.postgres.pool import connect

    try:
        connection = connect(settings)
    except StorageUnavailableError:
        if database_exists(settings):
            raise
        yield None
        return
    try:
        with contextlib.closing(connection), connection.cursor() as cursor:
            yield cursor
    except psycopg2.Error as error:
        reason = str(error).strip().splitlines()[0]
        raise StorageError(f"{settings.dsn_for_display}: {reason}") from error


def _contents_of_server(cursor: Cursor) -> Contents:
    cursor.execute(_POSTGRES_OBJECTS)
    found = cursor.fetchall()
    tables = tuple(
        name for kind, name, _, is_ours in found if is_ours and kind == "TABLE"
    )
    jobs: dict[str, int] = {}
    if "forge_job_count" in tables:
        cursor.execute(_JOBS)
        jobs = {status: int(number) for status, number in cursor.fetchall()}
    others = tuple(name for _, name, _, is_ours in found if not is_ours)
    return Contents(tables=tables, others=others, jobs=jobs)


def _remove_from_server(cursor: Cursor) -> None:
    from flask_forge_jobs.storage.postgres.schema import PostgresSchema

    with PostgresSchema(cursor.connection).locked():
        cursor.execute(_POSTGRES_OBJECTS)
        found = cursor.fetchall()
        # In this order: the triggers of a table need their function.
        for kind in ("TABLE", "ROUTINE", "TYPE"):
            ours = [
                address for what, _, address, mine in found if mine and what == kind
            ]
            if ours:
                cursor.execute(f"DROP {kind} {', '.join(ours)}")
