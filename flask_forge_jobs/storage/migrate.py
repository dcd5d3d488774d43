"""Brings a schema up to date, once, under a lock, whoever comes first.

Each step is recorded with the oldest code that can still work on the result. Additive
steps keep that number, so during a rolling deploy the release before goes on opening a
database that a newer one has migrated.

A server or library that is too old is refused at the opening. It would fail later, at
the first statement that it does not know, with a syntax error that says nothing of the
cause.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from flask_forge_jobs.errors import MigrationError, StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.storage.catalogue import Migration
from flask_forge_jobs.storage.database import Database, SchemaVersions
from flask_forge_jobs.storage.faults import TransientError

logger = get_logger(__name__)


class SchemaState(Protocol):
    """What a dialect offers to the migrations."""

    def applied(self) -> list[tuple[int, int]]:
        """Return (version, oldest reader) of each applied step in order."""

    def locked(self) -> AbstractContextManager[None]:
        """Open one transaction that keeps every other migrator out."""

    def keep_writers_out(self) -> None:
        """Let those end who write by now, and make all others wait for the commit."""

    def execute_script(self, sql: str) -> None:
        """Run the statements of one step."""

    def record(self, version: int, oldest_reader: int, name: str) -> None:
        """Note that a step is done; part of the same transaction."""


def apply_migrations(
    schema: SchemaState, steps: Sequence[Migration], *, may_change: bool
) -> list[str]:
    """Apply the steps that are missing.

    Args:
        schema: The database's schema.
        steps: All steps this code knows, in order.
        may_change: False forbids DDL: a schema that is not current is then an error.

    Returns:
        The names of the steps that were applied.

    Raises:
        SchemaTooNewError: The schema is newer than this code can read.
        MigrationError: A step failed, or steps are missing and may not be applied.
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
        # Somebody else may have finished while this process waited for the lock.
        applied = schema.applied()
        missing = _missing(applied, steps)
        if applied and any(step.oldest_reader > applied[-1][1] for step in missing):
            # Before any other lock: writers take this one first as well.
            schema.keep_writers_out()
        for step in missing:
            try:
                schema.execute_script(step.sql)
                schema.record(step.version, step.oldest_reader, step.name)
            except TransientError:
                raise
            except Exception as error:
                raise MigrationError(
                    step.version, f"step {step.name!r} failed: {error}"
                ) from error
            names.append(step.name)
            logger.info("applied schema step %s (%s)", step.version, step.name)
    return names


def is_behind(schema: SchemaState, steps: Sequence[Migration]) -> bool:
    """Return whether steps are missing.

    Raises:
        SchemaTooNewError: The schema is newer than this code can read.
    """
    return bool(_missing(schema.applied(), steps))


def look_at_schema(database: Database) -> SchemaVersions:
    """Return the versions of the schema as they are now; a single cheap read.

    Raises:
        StorageError: The database could not be asked, or not opened.
    """
    return SchemaVersions.of(
        database.read_one("newest_version"), database.known_version
    )


def _missing(
    applied: Sequence[tuple[int, int]], steps: Sequence[Migration]
) -> list[Migration]:
    versions = SchemaVersions.of(applied, steps[-1].version)
    versions.require_readable()
    return [step for step in steps if step.version > versions.stored]


# Has the JSON functions built in; before, a build could lack them.
OLDEST_SQLITE = "3.38"
# Reads what a WITH clause is told to keep only once, and no older one is maintained.
OLDEST_POSTGRES = "12"


def refuse_older(product: str, found: str, oldest: str) -> None:
    """Refuse a database that is too old.

    Args:
        product: Its name, such as ``SQLite``.
        found: Its version in its own words, such as ``16beta1`` or ``12.22 (Debian)``;
            one without a number passes.
        oldest: The oldest version that works.

    Raises:
        StorageError: It is older; the message names both versions.
    """
    numbers = _numbers(found)
    if numbers and numbers < _numbers(oldest):
        raise StorageError(
            f"{product} {found} is too old; flask-forge-jobs needs {product} {oldest} "
            "or newer"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"[0-9]+", version)))
