"""``flask forge-jobs db``: make, upgrade, look at and remove the tables."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import click

from flask_forge_jobs.cli.audit import actor
from flask_forge_jobs.cli.failing import within_application
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.handlers import audit
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.one_line import one_line
from flask_forge_jobs.state import current
from flask_forge_jobs.storage.administration import (
    Contents,
    contents,
    create_database,
    drop_database,
    live_workers,
    remove_tables,
)
from flask_forge_jobs.storage.base import open_storage

logger = get_logger(__name__)

USAGE_ERROR = 2
MOST_NAMES = 5


@click.group("db")
def db_group() -> None:
    """Make, upgrade, look at and remove the database."""


def _settings() -> DatabaseSettings:
    return current().database.settings


def _ok(command: str) -> None:
    click.echo(f"{command}: ok")


@db_group.command()
@within_application
def create() -> None:
    """Create the database if it is missing.

    For SQLite the file is made and migrated; for PostgreSQL the database is made
    without a schema, which ``migrate`` or the first use brings.
    """
    create_database(_settings())
    _ok("create")


@db_group.command()
@within_application
def migrate() -> None:
    """Bring the schema up to date; safe while workers run."""
    _migrate()
    _ok("migrate")


def _migrate() -> None:
    # Whatever FORGE_JOBS_MIGRATE says of the application: here it was asked for.
    storage = open_storage(_settings(), migrate=True)
    storage.open()
    storage.close()


@db_group.command()
@within_application
def status() -> None:
    """Say whether the database is there and up to date.

    Changes nothing. Exit status 1 when something is missing.
    """
    database = current().database
    click.echo(f"database: {database.settings.dsn_for_display}")
    click.echo(f"chosen by: {database.source}")
    versions = open_storage(database.settings, migrate=False).database.schema_versions()
    if versions is None:
        raise StorageError("there is no schema; run `flask forge-jobs db migrate`")
    click.echo(f"schema: {versions.stored} of {versions.known}")
    # A newer one is usual during a rolling deploy, unless this code cannot read it.
    versions.require_readable()
    pending = versions.known - versions.stored
    if pending > 0:
        raise StorageError(f"{pending} steps are pending; run `db migrate`")
    click.echo(f"ok: adapter={database.settings.backend}")


_force = click.option(
    "--force", "-f", is_flag=True, help="Really remove, live workers or not."
)
_database = click.option(
    "--database",
    "as_a_whole",
    is_flag=True,
    help="The database or the file as well, if it holds nothing else.",
)


@db_group.command()
@_force
@_database
@within_application
def drop(*, force: bool, as_a_whole: bool) -> None:
    """Remove the tables of the jobs and every job in them.

    Whatever else is in the database stays. The audit trail goes, so a line in the log
    says who removed it.
    """
    gone = _drop("drop", force=force, as_a_whole=as_a_whole)
    if gone is not None and gone.tables:
        logger.warning(
            "db drop by %s removed %s from %s",
            one_line(actor()),
            _what_goes(gone),
            _settings().dsn_for_display,
        )
    _ok("drop")


@db_group.command()
@_force
@_database
@within_application
def reset(*, force: bool, as_a_whole: bool) -> None:
    """Remove the tables of the jobs and make them anew.

    The new audit trail begins with an entry of this.
    """
    gone = _drop("reset", force=force, as_a_whole=as_a_whole)
    if as_a_whole or gone is None:
        create_database(_settings())
    jobs = {} if gone is None else gone.jobs
    with contextlib.closing(open_storage(_settings(), migrate=True)) as storage:
        storage.open()
        audit.record_reset(storage, jobs, actor=actor(), is_whole=as_a_whole)
    _ok("reset")


def _drop(command: str, *, force: bool, as_a_whole: bool) -> Contents | None:
    """Remove what was asked for; return what was there, None without a database."""
    settings = _settings()
    found = contents(settings)
    if as_a_whole and found is not None and found.others:
        raise click.UsageError(
            f"{settings.dsn_for_display} holds more than the jobs: "
            f"{_listed(found.others)}; leave out --database"
        )
    if not force:
        workers = live_workers(settings, current().settings.lease_s)
        note = f" while {workers} workers are live" if workers else ""
        whole = ", and the database itself" if as_a_whole else ""
        click.echo(
            f"Error: {command} removes {_what_goes(found)} from "
            f"{settings.dsn_for_display}{whole}{note}; repeat with --force if you mean "
            "it",
            err=True,
        )
        raise SystemExit(USAGE_ERROR)
    if as_a_whole:
        drop_database(settings)
    else:
        remove_tables(settings)
    return found


def _what_goes(found: Contents | None) -> str:
    if found is None or not found.tables:
        return "nothing, as there are no tables of the jobs,"
    states = ", ".join(f"{number} {state}" for state, number in found.jobs.items())
    total = sum(found.jobs.values())
    return (
        f"{len(found.tables)} tables ({', '.join(found.tables)}) with {total} jobs"
        f"{f' ({states})' if states else ''}"
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
