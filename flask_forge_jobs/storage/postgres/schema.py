"""The schema of a PostgreSQL database: which steps it has, and how one is applied."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812  # a class

from flask_forge_jobs.errors import MigrationError, StorageBusyError
from flask_forge_jobs.storage.catalogue import load_statements
from flask_forge_jobs.storage.retrying import TransientError

# Any constant will do; two installs in one database must agree on it.
MIGRATION_LOCK = 7_022_013_337_001
# A step that waits for a table keeps out everybody who comes after it, so it gives up
# and comes again.
DDL_LOCK_TIMEOUT_MS = 3_000


class PostgresSchema:
    """Applies schema steps; fulfils :class:`.SchemaState`."""

    def __init__(self, connection: Connection) -> None:
        self._cursor: Any = connection.cursor()
        self._statements = load_statements("postgres")

    def applied(self) -> list[tuple[int, int]]:
        """Return (version, oldest reader) of each step that is in the database."""
        # Not to_regclass(): it answers from a cache that does not know what another
        # session made while this one waited for the lock.
        self._cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_tables "
            "WHERE tablename = 'forge_schema' "
            "AND schemaname = ANY (current_schemas(false)))"
        )
        if not self._cursor.fetchone()[0]:
            return []
        self._cursor.execute(self._statements["applied_versions"].sql)
        return [(version, reader) for version, reader, _ in self._cursor.fetchall()]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold an advisory lock that ends with the transaction."""
        # What was applied meanwhile must be visible, whatever the default level.
        self._cursor.execute(
            "BEGIN ISOLATION LEVEL READ COMMITTED; "
            f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"
        )
        try:
            # Not before: another migrator may take its time.
            self._cursor.execute(f"SET LOCAL lock_timeout = {DDL_LOCK_TIMEOUT_MS}")
            yield
        except BaseException:
            self._cursor.execute("ROLLBACK")
            raise
        self._cursor.execute("COMMIT")

    def keep_writers_out(self) -> None:
        """Take the lock that every writer shares."""
        # The second one for enqueues, which take no lock of the first.
        self._cursor.execute(
            "LOCK TABLE forge_schema, forge_job IN ACCESS EXCLUSIVE MODE"
        )

    def execute_script(self, sql: str) -> None:
        """Run the statements of one step within the open transaction."""
        try:
            self._cursor.execute(sql)
        except psycopg2.errors.InsufficientPrivilege as error:
            raise MigrationError(0, "the role may not create tables") from error
        except psycopg2.errors.LockNotAvailable as error:
            raise TransientError(
                StorageBusyError("another session keeps the schema step waiting")
            ) from error

    def record(self, version: int, oldest_reader: int, name: str) -> None:
        """Note that a step is done."""
        self._cursor.execute(self._statements["create_schema_table"].sql)
        self._cursor.execute(
            self._statements["record_version"].sql,
            {"version": version, "oldest_reader": oldest_reader, "name": name},
        )
        self.replace_version_check(version, oldest_reader)

    def replace_version_check(self, version: int, oldest_reader: int) -> None:
        """Say which code may store something from the commit on."""
        self._cursor.execute(
            self._statements["replace_version_check"].sql,
            {"version": version, "oldest_reader": oldest_reader},
        )
