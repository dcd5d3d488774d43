"""``flask forge-jobs copy``: move to another database, such as PostgreSQL."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from flask import current_app

from flask_forge_jobs.cli.actor import actor
from flask_forge_jobs.cli.errors import AppCommand
from flask_forge_jobs.cli.streams import is_terminal
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import StorageError, StorageUnavailableError
from flask_forge_jobs.handlers import audit
from flask_forge_jobs.model.sentences import count
from flask_forge_jobs.state import current
from flask_forge_jobs.storage import transfer
from flask_forge_jobs.storage.administration import create_database, live_workers
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.sides import AUDIT, Side


@click.command("copy", cls=AppCommand, example="copy --to postgresql://shop@db/shop")
@click.option("--from", "source_url", help="The old database. Default: the one in use.")
@click.option("--to", "target_url", required=True, help="The new, empty database.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted copy.")
def copy_command(*, source_url: str | None, target_url: str, resume: bool) -> None:
    """Copy jobs, schedules, limits, figures and the audit trail to another database.

    From SQLite to PostgreSQL, or back. The new database is created if it is missing.
    Stop the workers and everything that enqueues first; reading may go on. All rows
    are compared at the end. An interrupted copy goes on with --resume. Leave passwords
    out of the addresses, which other users of this machine can see: PGPASSWORD and
    ~/.pgpass hold them.
    """
    old, new = _settings(source_url), _settings(target_url)
    _require_idle(old, new)
    _require_current(old)
    with (
        contextlib.closing(_opened(new)) as storage,
        contextlib.closing(transfer.open_side(old)) as source,
        contextlib.closing(transfer.open_side(new)) as target,
    ):
        source.hold_still()
        if resume:
            _require_interrupted(source, target)
        else:
            _require_empty(target)
        rows = sum(transfer.filled_tables(source).values())
        with _progress("copying", rows) as advance:
            transfer.copy_rows(source, target, advance)
        target.hold_still()
        with _progress("comparing", rows) as advance:
            _refuse(transfer.differences(source, target, advance))
        audit.record_copy(storage, old.dsn_for_display, rows, actor=actor())
    click.echo(f"copy: {count(rows, 'row')}, the same in {new.dsn_for_display}")


def _settings(url: str | None) -> DatabaseSettings:
    if url is None:
        return current().database.settings
    return DatabaseSettings.from_url(url, base_dir=Path(current_app.instance_path))


def _require_idle(*databases: DatabaseSettings) -> None:
    lease_s = current().settings.lease_s
    for settings in databases:
        if number := live_workers(settings, lease_s):
            raise StorageError(
                f"{count(number, 'worker')} of {settings.dsn_for_display} "
                f"{'is' if number == 1 else 'are'} live; stop them first"
            )


def _require_current(settings: DatabaseSettings) -> None:
    """Refuse a source without our tables, or with those of another version."""
    with contextlib.closing(open_storage(settings, migrate=False)) as storage:
        versions = storage.database.schema_versions()
    if versions is None:
        raise StorageError(f"{settings.dsn_for_display} has no tables of the jobs")
    versions.require_readable()
    if versions.stored != versions.known:
        raise StorageError(
            f"{settings.dsn_for_display} has the schema {versions.stored}, this code "
            f"knows {versions.known}; run `flask forge-jobs db migrate` there first"
        )
    with contextlib.closing(open_storage(settings, migrate=False)) as storage:
        # Counts that a worker has left, which the other database counts in place.
        storage.batches.fold_changed()


def _opened(settings: DatabaseSettings) -> Storage:
    """Return the stores over a database, which is created if it is missing."""
    storage = open_storage(settings, migrate=True)
    try:
        storage.open()
    except StorageUnavailableError:
        create_database(settings)
        storage.open()
    return storage


def _require_empty(target: Side) -> None:
    filled = transfer.filled_tables(target)
    if filled:
        held = ", ".join(f"{number:,} in {name}" for name, number in filled.items())
        raise StorageError(
            f"the new database is not empty ({held}); take an empty one, empty it by "
            "`flask forge-jobs db drop --force` there, or add --resume to go on with "
            "an interrupted copy"
        )


def _require_interrupted(source: Side, target: Side) -> None:
    """Refuse to go on with a copy that has ended, which its audit record shows."""
    old, new = source.last_key(AUDIT), target.last_key(AUDIT)
    if new is not None and (old is None or new > old):
        raise StorageError(
            "there is nothing to resume: the copy has ended, and the new database has "
            "audit records of its own"
        )


def _refuse(differing: list[str]) -> None:
    if differing:
        raise StorageError(
            f"the rows differ in {', '.join(differing)}; another program wrote to one "
            "of the databases: stop it, empty the new one by `flask forge-jobs db drop "
            "--force` there, and copy again"
        )


@contextlib.contextmanager
def _progress(label: str, rows: int) -> Iterator[Callable[[int], object]]:
    with click.progressbar(
        length=rows, label=label, file=sys.stderr, hidden=not is_terminal(sys.stderr)
    ) as bar:
        yield bar.update
