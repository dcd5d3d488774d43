"""``flask forge-jobs db``: make, upgrade, look at and remove the database."""

from __future__ import annotations

import click

from flask_forge_jobs.cli.failing import within_application
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.state import current
from flask_forge_jobs.storage.administration import (
    create_database,
    drop_database,
    live_workers,
)
from flask_forge_jobs.storage.connect import open_storage

USAGE_ERROR = 2


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
    """Tell whether the database exists and its schema is current; change nothing.

    Exit status 1 when something is missing.
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


@db_group.command()
@click.option("--force", "-f", is_flag=True, help="Really drop, live workers or not.")
@within_application
def drop(*, force: bool) -> None:
    """Remove the database and everything in it."""
    _drop("drop", force=force)
    _ok("drop")


@db_group.command()
@click.option("--force", "-f", is_flag=True, help="Really drop, live workers or not.")
@within_application
def reset(*, force: bool) -> None:
    """Remove the database, create it and migrate it."""
    _drop("reset", force=force)
    create_database(_settings())
    _migrate()
    _ok("reset")


def _drop(command: str, *, force: bool) -> None:
    settings = _settings()
    if not force:
        workers = live_workers(settings, current().settings.lease_s)
        note = f" while {workers} workers are live" if workers else ""
        click.echo(
            f"Error: {command} removes {settings.dsn_for_display} and every job in it"
            f"{note}; repeat with --force if you mean it",
            err=True,
        )
        raise SystemExit(USAGE_ERROR)
    drop_database(settings)
