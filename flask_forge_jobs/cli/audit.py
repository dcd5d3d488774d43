"""``flask forge-jobs audit``: look after the audit trail."""

from __future__ import annotations

import getpass
import os

import click

from flask_forge_jobs.cli.failing import within_application
from flask_forge_jobs.handlers import audit
from flask_forge_jobs.state import current


def actor() -> str:
    """Return who runs this command, as the audit trail calls it."""
    try:
        name = getpass.getuser()
    except (ImportError, KeyError, OSError):  # nobody knows the number of the user
        name = str(os.getuid())
    return f"command:{name}"


@click.group("audit")
def audit_group() -> None:
    """Look after the audit trail."""


@audit_group.command()
@click.option(
    "--days", required=True, type=int, help="Keep this many days; at least 90."
)
@within_application
def prune(*, days: int) -> None:
    """Delete the entries that are older than so many days.

    Each batch of the deletion leaves an entry of its own.
    """
    pruned = audit.prune(current().storage, days, actor=actor())
    click.echo(f"prune: {pruned} entries deleted")
