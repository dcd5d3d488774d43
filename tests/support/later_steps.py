"""A later release: this code with schema steps that do not exist yet.

The steps run through the real mechanism. Older code could still write to the tables
after the breaking step, so only the version check keeps it out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.catalogue import Migration, load_migrations
from flask_forge_jobs.storage.postgres import database as postgres
from flask_forge_jobs.storage.postgres.transaction import PostgresSchema
from flask_forge_jobs.storage.sqlite import database as sqlite
from tests.support.sql import Sql

ADDITIVE, BREAKING = "additive", "breaking"
_SCRIPTS = {
    ADDITIVE: "ALTER TABLE forge_queue ADD COLUMN later_note TEXT;\n",
    # What was there before is 1, what anybody stores afterwards is 0.
    BREAKING: (
        "ALTER TABLE forge_job ADD COLUMN later_shape INTEGER NOT NULL DEFAULT 0;\n"
        "UPDATE forge_job SET later_shape = 1;\n"
    ),
}
_UNDOING = (
    "ALTER TABLE forge_queue DROP COLUMN later_note",
    "ALTER TABLE forge_job DROP COLUMN later_shape",
)


def later_steps(dialect: str, *sorts: str) -> tuple[Migration, ...]:
    """Return the steps of this code and some more.

    Args:
        dialect: ``sqlite`` or ``postgres``.
        sorts: ``additive`` or ``breaking``, one for each further step.
    """
    steps = load_migrations(dialect)
    for sort in sorts:
        last = steps[-1]
        version = last.version + 1
        oldest_reader = last.oldest_reader if sort == ADDITIVE else version
        steps += (Migration(version, sort, oldest_reader, _SCRIPTS[sort]),)
    return steps


def become_later(*sorts: str) -> Callable[[], None]:
    """Let databases that are made from now on know further steps.

    Returns:
        Takes it back.
    """
    modules: tuple[Any, ...] = (sqlite, postgres)

    def use(load: Callable[[str], tuple[Migration, ...]]) -> None:
        for module in modules:
            module.load_migrations = load

    use(lambda dialect: later_steps(dialect, *sorts))
    return lambda: use(load_migrations)


@contextlib.contextmanager
def later_storage(settings: DatabaseSettings, *sorts: str) -> Iterator[Storage]:
    """The stores of later code over a database that it has not migrated yet."""
    undo = become_later(*sorts)
    try:
        storage = open_storage(settings, jitter=None)
    finally:
        undo()
    try:
        yield storage
    finally:
        storage.close()
        take_back(settings)


@contextlib.contextmanager
def migrated(settings: DatabaseSettings, *sorts: str) -> Iterator[Storage]:
    """The stores of later code, which has migrated the database."""
    with later_storage(settings, *sorts) as storage:
        storage.open()
        yield storage


def take_back(settings: DatabaseSettings) -> None:
    """Undo what later code did to a database that other tests will use."""
    sql = Sql(settings)
    newest = load_migrations(settings.backend)[-1]
    sql.run("DELETE FROM forge_schema WHERE version > ?", newest.version)
    if settings.backend == "postgres":
        with contextlib.closing(sql.connect()) as connection:
            PostgresSchema(connection).replace_version_check(
                newest.version, newest.oldest_reader
            )
    for statement in _UNDOING:
        with contextlib.suppress(Exception):  # another step, or none
            sql.run(statement)
