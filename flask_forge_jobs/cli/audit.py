"""``flask forge-jobs audit``: manage the audit trail."""

from __future__ import annotations

import getpass
import os

import click

from flask_forge_jobs.cli.errors import within_application
from flask_forge_jobs.handlers import audit
from flask_forge_jobs.state import current


def actor() -> str:
    """Return the name of this command's user, for the audit trail."""
    try:
        name = getpass.getuser()
    except (ImportError, KeyError, OSError):  # the user has no name
        name = str(os.getuid())
    return f"command:{name}"


@click.group("audit")
def audit_group() -> None:
    """Manage the audit trail."""


@audit_group.command()
@click.option(
    "--days", required=True, type=int, help="Keep this many days; at least 90."
)
@within_application
def prune(*, days: int) -> None:
    """Delete the entries that are older than --days.

    Each deleted batch is recorded as a new entry.
    """
    pruned = audit.prune(current().storage, days, actor=actor())
    click.echo(f"prune: {pruned} entries deleted")
