"""``flask forge-jobs db``: create, migrate, check and drop the tables."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import click
from flask import current_app

from flask_forge_jobs.cli.actor import actor
from flask_forge_jobs.cli.errors import AppGroup
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.handlers import audit
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.sharing import warn_of_old_alembic
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
MAX_NAMES = 5


@click.group("db", cls=AppGroup)
def db_group() -> None:
    """Create, migrate, check and drop the database."""


def _settings() -> DatabaseSettings:
    return current().database.settings


def _ok(command: str) -> None:
    click.echo(f"{command}: ok")


@db_group.command(example="db create")
def create() -> None:
    """Create the database if it is missing.

    A SQLite file is also migrated. A PostgreSQL database stays empty until `migrate` or
    the first use.
    """
    create_database(_settings())
    _ok("create")


@db_group.command(example="db migrate")
def migrate() -> None:
    """Migrate the schema to the latest version; safe while workers run."""
    # Regardless of FORGE_JOBS_MIGRATE.
    storage = open_storage(_settings(), migrate=True)
    storage.open()
    storage.close()
    warn_of_old_alembic(current_app, _settings())
    _ok("migrate")


@db_group.command(example="db status")
def status() -> None:
    """Check that the database exists and is up to date.

    Changes nothing. The exit status is 1 if something is missing.
    """
    database = current().database
    click.echo(f"database: {database.settings.dsn_for_display}")
    click.echo(f"chosen by: {database.source}")
    versions = open_storage(database.settings, migrate=False).database.schema_versions()
    if versions is None:
        raise StorageError("there is no schema; run `flask forge-jobs db migrate`")
    click.echo(f"schema: {versions.stored} of {versions.known}")
    # During a rolling deploy the schema may be newer, as long as this code can read it.
    versions.require_readable()
    pending = versions.known - versions.stored
    if pending > 0:
        raise StorageError(
            f"{pending} migrations are pending; run `flask forge-jobs db migrate`"
        )
    click.echo(f"ok: adapter={database.settings.backend}")


_force = click.option(
    "--force",
    "-f",
    is_flag=True,
    help="Drop them even while workers run; without it, only show what is dropped.",
)
_database = click.option(
    "--database",
    "as_a_whole",
    is_flag=True,
    help="Also drop the database or file, if it holds nothing else.",
)


@db_group.command(example="db drop --force")
@_force
@_database
def drop(*, force: bool, as_a_whole: bool) -> None:
    """Drop the tables of the jobs with every job.

    Other tables stay. The audit trail is dropped too, so the log names the user.
    """
    gone = _drop("drop", force=force, as_a_whole=as_a_whole)
    if gone is not None and gone.tables:
        logger.warning(
            "db drop by %s removed %s from %s",
            one_line(actor()),
            _drop_summary(gone),
            _settings().dsn_for_display,
        )
    _ok("drop")


@db_group.command(example="db reset --force")
@_force
@_database
def reset(*, force: bool, as_a_whole: bool) -> None:
    """Drop the tables of the jobs and create them again.

    The new audit trail starts with an entry for this.
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
    """Drop the tables or the database; return the former contents, if any."""
    settings = _settings()
    existing = contents(settings)
    if as_a_whole and existing is not None and existing.others:
        raise click.UsageError(
            f"{settings.dsn_for_display} also contains {_listed(existing.others)}; "
            "leave out --database"
        )
    if not force:
        workers = live_workers(settings, current().settings.lease_s)
        note = f" while {workers} workers are live" if workers else ""
        whole = ", and the database itself" if as_a_whole else ""
        click.echo(
            f"Error: {command} would remove {_drop_summary(existing)} from "
            f"{settings.dsn_for_display}{whole}{note}; add --force to do it",
            err=True,
        )
        raise SystemExit(USAGE_ERROR)
    if as_a_whole:
        drop_database(settings)
    else:
        remove_tables(settings)
    return existing


def _drop_summary(existing: Contents | None) -> str:
    if existing is None or not existing.tables:
        return "nothing, as there are no tables of the jobs,"
    states = ", ".join(f"{number} {state}" for state, number in existing.jobs.items())
    total = sum(existing.jobs.values())
    return (
        f"{len(existing.tables)} tables ({', '.join(existing.tables)}) "
        f"with {total} jobs"
        f"{f' ({states})' if states else ''}"
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
