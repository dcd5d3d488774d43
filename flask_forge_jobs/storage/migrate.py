"""Brings the schema up to date, in one process at a time.

Each step records the oldest code that can still work on the result. Additive steps keep
that number, so during a rolling deploy the previous release still works on a migrated
database.

Opening refuses a server or library that is too old: later it would fail with an obscure
syntax error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from flask_forge_jobs.errors import MigrationError, StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.storage.catalogue import Migration
from flask_forge_jobs.storage.database import Database, SchemaVersions, TransientError

logger = get_logger(__name__)


class SchemaState(Protocol):
    """The schema operations of a dialect."""

    def applied(self) -> list[tuple[int, int]]:
        """Return (version, oldest reader) of each applied step in order."""

    def locked(self) -> AbstractContextManager[None]:
        """Open a transaction that keeps every other migrator out."""

    def keep_writers_out(self) -> None:
        """Wait for current writers to end and block new ones until the commit."""

    def execute_script(self, sql: str) -> None:
        """Run the statements of one step."""

    def record(self, version: int, oldest_reader: int, name: str) -> None:
        """Record an applied step in the same transaction."""


def apply_migrations(
    schema: SchemaState, steps: Sequence[Migration], *, may_change: bool
) -> list[str]:
    """Apply the missing ones of all known steps and return their names.

    Raises:
        SchemaTooNewError: The schema is too new for this code.
        MigrationError: A step failed, or steps are missing and ``may_change`` is False.
    """
    if not _missing(schema.applied(), steps):
        return []
    if not may_change:
        raise MigrationError(
            steps[-1].version,
            "the schema is not up to date; run `flask forge-jobs db migrate`",
        )
    names = []
    with schema.locked():
        # Another process may have migrated while this one waited for the lock.
        applied = schema.applied()
        missing = _missing(applied, steps)
        if applied and any(step.oldest_reader > applied[-1][1] for step in missing):
            # Before any other lock, as writers do.
            schema.keep_writers_out()
        for step in missing:
            try:
                schema.execute_script(step.sql)
                schema.record(step.version, step.oldest_reader, step.name)
            except TransientError:
                raise
            except Exception as error:
                reason = error.message if isinstance(error, MigrationError) else error
                raise MigrationError(
                    step.version, f"step {step.name!r} failed: {reason}"
                ) from error
            names.append(step.name)
            logger.info("applied schema step %s (%s)", step.version, step.name)
    return names


def is_behind(schema: SchemaState, steps: Sequence[Migration]) -> bool:
    """Return whether steps are missing; raise SchemaTooNewError as above."""
    return bool(_missing(schema.applied(), steps))


def look_at_schema(database: Database) -> SchemaVersions:
    """Return the current versions of the schema, by one cheap read."""
    return SchemaVersions.of(
        database.read_one("newest_version"), database.known_version
    )


def _missing(
    applied: Sequence[tuple[int, int]], steps: Sequence[Migration]
) -> list[Migration]:
    versions = SchemaVersions.of(applied, steps[-1].version)
    versions.require_readable()
    return [step for step in steps if step.version > versions.stored]


# The first with JSON functions in every build.
OLDEST_SQLITE = "3.38"
# The first with WITH ... AS MATERIALIZED.
OLDEST_POSTGRES = "12"


def refuse_older(product: str, version: str, oldest: str) -> None:
    """Raise StorageError if ``version`` is older than ``oldest``.

    ``version`` is as the product prints it, such as ``16beta1`` or ``12.22 (Debian)``;
    one without a number passes.
    """
    numbers = _numbers(version)
    if numbers and numbers < _numbers(oldest):
        raise StorageError(
            f"{product} {version} is too old; flask-forge-jobs needs {product} "
            f"{oldest} or newer"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"[0-9]+", version)))
